"""From a question's answer distribution to its training weight: the strategies.

Each strategy is a frozen config class with a `kind`, and gives a question i a raw weight r_i from
its `QuestionStatistics`. The weights are r_i scaled to mean 1 over the N kept questions,

    w_i = r_i N / sum_k r_k        (EAST, arXiv:2503.23913, step 5: r_i = H_i^a),

so that a strategy moves learning between questions and never changes the learning rate.
Adding a strategy is one class here and its name in the `Weighting` union. docs/weighting.md
explains each with its equation, its source and its edge cases.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from east_core.errors import ConfigError, DataError
from east_core.form_schema import for_forms


@dataclass(frozen=True, slots=True)
class QuestionStatistics:
    """What the strategies may know of a question.

    `entropy_bits` is H, `accuracy` A (the share of correct completions), `rejected_share` R (the
    share of the most common wrong answer); `perplexity` is that of its correct completions, None
    where the sampler told no log-probabilities.
    """

    entropy_bits: float
    accuracy: float
    rejected_share: float
    perplexity: float | None = None


class BaseWeighting(BaseModel):
    """What all strategies have in common: a cap, and what becomes of unanimous questions."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=for_forms)
    needs_perplexity: ClassVar[bool] = False

    max_weight: float | None = Field(
        None,
        ge=1,
        description="Largest weight a question may get. What is cut off is spread over the other "
        "questions in proportion, so the mean stays 1. None: no cap.",
    )
    drop_unanimous: bool = Field(
        True,
        description="Leave out questions whose completions all give one answer, as EAST's "
        "released code does before weighting. Off: they stay, with the weight of H = 0.",
    )

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i, the weight before scaling to mean 1; at least 0 and finite."""
        raise NotImplementedError

    def example_count(self, question: QuestionStatistics) -> int:  # noqa: ARG002
        """How many of the question's correct completions to train on, as far as there are any."""
        return 1

    def weights(self, questions: Sequence[QuestionStatistics]) -> list[float]:
        """The weights of the kept questions: at least 0, at most `max_weight`, mean exactly 1.

        Raises ConfigError where the normaliser is 0 or a weight is infinite.
        """
        scale = scaling([self.raw_weight(question) for question in questions], self.max_weight)
        return [scale(self.raw_weight(question)) for question in questions]


class _PowerWeighting(BaseWeighting):
    """A strategy of the form r_i = q_i^a."""

    exponent: float = Field(
        1.0,
        ge=-10,
        le=10,
        description="a in r = q^a. Above 0 favours questions with a large q (above 1 sharper, "
        "below 1 flatter), 0 is vanilla self-training, below 0 favours a small q. The paper "
        "sweeps [-3, 3].",
    )

    def _power(self, base: float, meaning: str) -> float:
        if base == 0 and self.exponent < 0:
            raise ConfigError(
                f"weighting.exponent {self.exponent:g} makes the weight of a kept question with "
                f"{meaning} 0 infinite; choose an exponent of 0 or above, or drop such questions "
                "(weighting.drop_unanimous = true)"
            )
        try:
            return float(base**self.exponent)
        except OverflowError:
            raise ConfigError(
                f"weighting.exponent {self.exponent:g} makes the weight of a question with "
                f"{meaning} {base:.3g} infinite; choose an exponent closer to 0"
            ) from None


class UniformWeighting(BaseWeighting):
    """Vanilla self-training: w_i = 1 (EAST's baseline; STaR, arXiv:2203.14465)."""

    model_config = ConfigDict(title="Uniform (vanilla)")

    kind: Literal["uniform"] = "uniform"

    def raw_weight(self, question: QuestionStatistics) -> float:  # noqa: ARG002
        """r_i = 1."""
        return 1.0


class EntropyWeighting(_PowerWeighting):
    """EAST: r_i = H_i^a, H_i the entropy of the answer clusters (arXiv:2503.23913, section 3)."""

    model_config = ConfigDict(title="Entropy (EAST)")

    kind: Literal["entropy"] = "entropy"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = H_i^a; the unit of H (bits) cancels in the scaling."""
        return self._power(question.entropy_bits, "entropy")


class AccuracyWeighting(_PowerWeighting):
    """Ablation of EAST: r_i = (1 - A_i)^a (arXiv:2503.23913; the released SFT code's form)."""

    model_config = ConfigDict(title="Accuracy")

    kind: Literal["accuracy"] = "accuracy"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = (1 - A_i)^a."""
        return self._power(1.0 - question.accuracy, "error rate")


class RejectedWeighting(_PowerWeighting):
    """Ablation of EAST: r_i = R_i^a, R_i the share of the most common wrong answer."""

    model_config = ConfigDict(title="Rejected")

    kind: Literal["rejected"] = "rejected"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = R_i^a; R_i is 0 where the only failures are completions without an answer."""
        return self._power(question.rejected_share, "rejected share")


class PerplexityWeighting(_PowerWeighting):
    """Ablation of EAST, "local uncertainty": r_i = PPL_i^a.

    PPL_i = exp(mean over the question's correct completions j of -mean_t log p(y_jt)), with the
    sampling model's log-probabilities before temperature. The paper names perplexity and gives no
    formula; this is ours: a mean over completions, each counted once whatever its length.
    """

    model_config = ConfigDict(title="Perplexity (local uncertainty)")
    needs_perplexity: ClassVar[bool] = True

    kind: Literal["perplexity"] = "perplexity"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = PPL_i^a; at least 1 for a > 0. Raises DataError without log-probabilities."""
        if question.perplexity is None:
            raise DataError(
                "weighting 'perplexity' needs the completions' log-probabilities (mean_logprob), "
                "and some are missing; sample with a sampler that reports them, or choose "
                "another weighting"
            )
        return self._power(question.perplexity, "perplexity")


class VarianceWeighting(_PowerWeighting):
    """r_i = (4 p_i (1 - p_i))^a: the variance of success, 1 at p = 1/2, 0 at p = 0 and 1.

    p_i is the accuracy. Variance-based curricula of reinforcement learning (VCRL,
    arXiv:2509.19803) use p(1-p) in this way; the factor 4 cancels in the scaling.
    """

    model_config = ConfigDict(title="Variance")

    kind: Literal["variance"] = "variance"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = (4 A_i (1 - A_i))^a."""
        return self._power(4 * question.accuracy * (1 - question.accuracy), "success variance")


class DifficultyWeighting(BaseWeighting):
    """Examples in proportion to difficulty, each of weight 1 (DART-Math's Prop2Diff).

    k_i = max(1, round(K (1 - A_i))) correct completions of question i are trained on, where there
    are as many: harder questions teach by more solutions, not by heavier ones
    (arXiv:2407.13690, section 2.2, with the fail rate as difficulty).
    """

    model_config = ConfigDict(title="Difficulty (DART)")

    kind: Literal["difficulty"] = "difficulty"
    most_examples: int = Field(
        4, ge=1, le=1024, description="K: examples of a question with a fail rate of 1."
    )

    def raw_weight(self, question: QuestionStatistics) -> float:  # noqa: ARG002
        """r_i = 1: the number of examples carries the emphasis."""
        return 1.0

    def example_count(self, question: QuestionStatistics) -> int:
        """k_i = max(1, round(K (1 - A_i)))."""
        return max(1, round(self.most_examples * (1 - question.accuracy)))


Weighting = Annotated[
    UniformWeighting
    | EntropyWeighting
    | AccuracyWeighting
    | RejectedWeighting
    | PerplexityWeighting
    | VarianceWeighting
    | DifficultyWeighting,
    Field(discriminator="kind"),
]


class LabelFree(BaseModel):
    """Training without gold answers: the majority answer is the label (TTRL, ScPO).

    Majority voting as in TTRL (arXiv:2504.16084) and ScPO (arXiv:2411.04109). A question without
    a single largest answer, or whose largest share is below `min_majority`, is dropped.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_extra=for_forms, title="Label-free"
    )

    min_majority: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Smallest share of all completions that the most common answer must have to "
        "serve as the label; completions without an answer count in the denominator.",
    )


NEGLIGIBLE = 1e-300


def scaling(raw: Sequence[float], max_weight: float | None = None) -> Callable[[float], float]:
    """The function from raw weights to weights of mean 1 over `raw` (no weights for no questions).

    With a cap c: w = min(c, s r), with the one s that makes the mean 1 again. Raises ConfigError
    where all raw weights are 0, or where too few are above 0 for a mean of 1 under the cap; one
    of NEGLIGIBLE size beside the largest counts as 0.
    """
    largest = max(raw, default=0.0)
    if not raw or largest == 0:
        return _scaling_of_nothing(len(raw))
    # neither overflows nor underflows; what is next to nothing is nothing, or its factor overflows
    relative = [share if (share := r / largest) > NEGLIGIBLE else 0.0 for r in raw]
    factor = len(raw) / math.fsum(relative)
    if max_weight is None or factor <= max_weight:
        return lambda r: r / largest * factor
    capped = _capped_factor(sorted(relative), max_weight)
    return lambda r: min(max_weight, r / largest * capped)


def _scaling_of_nothing(count: int) -> Callable[[float], float]:
    if count:
        raise ConfigError(
            f"all {count} kept questions have the weight 0, so weights of mean 1 are undefined "
            "(with entropy weights: every question is unanimous); raise sampling.temperature or "
            "choose weighting 'uniform'"
        )
    return lambda _: 0.0


def _capped_factor(ascending: Sequence[float], cap: float) -> float:
    """s with mean(min(cap, s r)) = 1, found by capping the largest weights one after another."""
    count = len(ascending)
    sums = list(itertools.accumulate(ascending))
    for capped in range(count):
        largest, rest = ascending[count - 1 - capped], sums[count - 1 - capped]
        room = count - cap * capped
        if rest > 0 and room >= 0 and room / rest * largest <= cap:
            return room / rest
    positive = sum(value > 0 for value in ascending)
    raise ConfigError(
        f"weighting.max_weight {cap:g} leaves no weights of mean 1: only {positive} of {count} "
        f"questions have a weight above 0; set it to {count / positive:.3g} or more"
    )
