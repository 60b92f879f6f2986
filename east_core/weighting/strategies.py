"""From a question's answer distribution to its training weight: the strategies.

Each strategy is a frozen config class with a `kind`, and gives a question i a raw weight r_i from
its `QuestionStatistics`. The weights are r_i scaled to mean 1 over the N kept questions,

    w_i = r_i N / sum_k r_k        (EAST, arXiv:2503.23913, step 5: r_i = H_i^a),

so that a strategy moves learning between questions and never changes the learning rate.
Adding a strategy is one class here and its name in the `Weighting` union; what entropy weighting is
compared with beyond the paper stands in east_core.weighting.controls, novelty and shrinkage; what
repeats the released code's weights, which have another mean, in east_core.weighting.as_released.
docs/weighting.md explains each with its equation, its source and its edge cases.
"""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from east_core.errors import DataError
from east_core.form_schema import for_forms
from east_core.weighting.as_released import EntropyAsReleased, UniformAsReleased
from east_core.weighting.base import BaseWeighting, PowerWeighting, QuestionStatistics
from east_core.weighting.controls import (
    BalancedWeighting,
    CorrectedEntropyWeighting,
    MarginWeighting,
    ShuffledWeighting,
    UnfilteredWeighting,
)
from east_core.weighting.novelty import NoveltyWeighting
from east_core.weighting.shrinkage import ShrunkEntropyWeighting


class UniformWeighting(BaseWeighting):
    """Vanilla self-training: w_i = 1 (EAST's baseline; STaR, arXiv:2203.14465)."""

    model_config = ConfigDict(title="Uniform (vanilla)")

    kind: Literal["uniform"] = "uniform"

    def raw_weight(self, question: QuestionStatistics) -> float:  # noqa: ARG002
        """r_i = 1."""
        return 1.0


class EntropyWeighting(PowerWeighting):
    """EAST: r_i = H_i^a, H_i the entropy of the answer clusters (arXiv:2503.23913, section 3)."""

    model_config = ConfigDict(title="Entropy (EAST)")

    kind: Literal["entropy"] = "entropy"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = H_i^a; the unit of H (bits) cancels in the scaling."""
        return self.power(question.entropy_bits, "entropy")


class AccuracyWeighting(PowerWeighting):
    """Ablation of EAST: r_i = (1 - A_i)^a (arXiv:2503.23913; the released SFT code's form)."""

    model_config = ConfigDict(title="Accuracy")

    kind: Literal["accuracy"] = "accuracy"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = (1 - A_i)^a."""
        return self.power(1.0 - question.accuracy, "error rate")


class RejectedWeighting(PowerWeighting):
    """Ablation of EAST: r_i = R_i^a, R_i the share of the most common wrong answer."""

    model_config = ConfigDict(title="Rejected")

    kind: Literal["rejected"] = "rejected"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = R_i^a; R_i is 0 where the only failures are completions without an answer."""
        return self.power(question.rejected_share, "rejected share")


class PerplexityWeighting(PowerWeighting):
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
                "and some are missing; sample with sampling.logprobs = true, or choose another "
                "weighting"
            )
        return self.power(question.perplexity, "perplexity")


class VarianceWeighting(PowerWeighting):
    """r_i = (4 p_i (1 - p_i))^a: the variance of success, 1 at p = 1/2, 0 at p = 0 and 1.

    p_i is the accuracy. Variance-based curricula of reinforcement learning (VCRL,
    arXiv:2509.19803) use p(1-p) in this way; the factor 4 cancels in the scaling.
    """

    model_config = ConfigDict(title="Variance")

    kind: Literal["variance"] = "variance"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i = (4 A_i (1 - A_i))^a."""
        return self.power(4 * question.accuracy * (1 - question.accuracy), "success variance")


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
    | DifficultyWeighting
    | CorrectedEntropyWeighting
    | ShrunkEntropyWeighting
    | NoveltyWeighting
    | MarginWeighting
    | BalancedWeighting
    | ShuffledWeighting
    | EntropyAsReleased
    | UniformAsReleased
    | UnfilteredWeighting,
    Field(discriminator="kind"),
]


def weighting_kinds() -> dict[str, type[BaseWeighting]]:
    """The strategies by their `kind`."""
    kinds = get_args(get_args(Weighting)[0])
    return {kind.model_fields["kind"].default: kind for kind in kinds}


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
