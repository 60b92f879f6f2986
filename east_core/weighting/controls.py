"""What entropy weighting is held against: other measures of the same idea, filters, and chance.

A gain over vanilla self-training says little by itself: it may come from any spread of the
weights, or from leaving questions out. Each control takes one of these explanations alone.
"""

import math
import random
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from east_core.errors import DataError
from east_core.weighting.base import BaseWeighting, PowerWeighting, QuestionStatistics


class CorrectedEntropyWeighting(PowerWeighting):
    """r_i = (H_i + (K_i - 1) / (2 n_i ln 2))^a: entropy without its bias of few completions.

    The plug-in entropy of n completions in K clusters is too small by about (K - 1) / 2n nats
    (Miller 1955), which counts where questions have different n (adaptive sampling).
    """

    model_config = ConfigDict(title="Entropy, bias corrected")

    kind: Literal["corrected_entropy"] = "corrected_entropy"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """(H + bias)^a; a unanimous question has no bias. Raises DataError without counts."""
        if not question.samples:
            raise DataError(
                "weighting 'corrected_entropy' needs the numbers of completions and of answers; "
                "give them in QuestionStatistics, or choose weighting 'entropy'"
            )
        bias = (question.answers - 1) / (2 * question.samples * math.log(2))
        return self.power(question.entropy_bits + bias, "entropy")


class MarginWeighting(PowerWeighting):
    """r_i = max(0, A_i - R_i)^a: the vote margin of ScPO (arXiv:2411.04109, section 3).

    ScPO weighs a preference pair by the votes for its chosen answer less those for its rejected
    one, as shares. Both answers here are the right (label-free: the most common) one and the most
    common wrong one. It favours what the model is already sure of: entropy's opposite.
    """

    model_config = ConfigDict(title="Vote margin (ScPO)")

    kind: Literal["margin"] = "margin"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """0 (for a > 0) where a wrong answer is at least as common as the right one."""
        return self.power(max(0.0, question.accuracy - question.rejected_share), "vote margin")


class BalancedWeighting(BaseWeighting):
    """w_i = 1 where `lowest` <= A_i <= `highest`; the other questions are left out.

    Balanced online difficulty filtering (arXiv:2504.03380): questions that the model solves about
    half of the time teach most, and a filter may do what weights do.
    """

    model_config = ConfigDict(title="Balanced filter")

    kind: Literal["balanced"] = "balanced"
    lowest: float = Field(0.25, ge=0, le=1, description="Least share of correct completions.")
    highest: float = Field(0.75, ge=0, le=1, description="Largest share of correct completions.")

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.lowest > self.highest:
            raise ValueError(
                f"lowest {self.lowest:g} is above highest {self.highest:g}; exchange them"
            )
        return self

    def keeps(self, question: QuestionStatistics) -> bool:
        """Whether A is within the bounds."""
        return self.lowest <= question.accuracy <= self.highest

    def raw_weight(self, question: QuestionStatistics) -> float:  # noqa: ARG002
        """r_i = 1."""
        return 1.0


class ShuffledWeighting(PowerWeighting):
    """The entropy weights of the round, dealt out to its questions by chance.

    Same weights, same spread, no meaning: what this gains over `uniform` is not entropy's doing.
    """

    model_config = ConfigDict(title="Entropy, shuffled (control)")

    kind: Literal["shuffled"] = "shuffled"
    draw: int = Field(0, ge=0, description="Another number deals them out otherwise.")

    def raw_weight(self, question: QuestionStatistics) -> float:
        """H_i^a, which another question will get."""
        return self.power(question.entropy_bits, "entropy")

    def of_round(
        self,
        raw: Sequence[float],
        variances: Sequence[float],  # noqa: ARG002
    ) -> Sequence[float]:
        """The same weights in an order that depends on `draw` and their number alone."""
        return random.Random(self.draw).sample(raw, len(raw))  # noqa: S311 - a control, no secret


class UnfilteredWeighting(BaseWeighting):
    """w_i = 1 for every question, and any finished completion of it is trained on, right or wrong.

    Simple self-distillation (SSD, arXiv:2604.01193): no answer is looked at. What this gains is the
    doing of training on one's own samples at all, at their temperature, and not of their answers.
    """

    model_config = ConfigDict(title="Unfiltered (control)")

    is_unfiltered: ClassVar[bool] = True
    kind: Literal["unfiltered"] = "unfiltered"

    def raw_weight(self, question: QuestionStatistics) -> float:  # noqa: ARG002
        """r_i = 1."""
        return 1.0
