"""What the strategies know of a question, and what all of them have in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from east_core.errors import ConfigError
from east_core.form_schema import for_forms
from east_core.records import set_of
from east_core.weighting.scaling import scaling


@dataclass(frozen=True, slots=True)
class QuestionStatistics:
    """What the strategies may know of a question.

    `entropy_bits` is H, `accuracy` A (the share of correct completions), `rejected_share` R (the
    share of the most common wrong answer); `perplexity` is that of its correct completions, None
    where the sampler told no log-probabilities. All are over `samples` completions in `answers`
    clusters (0 where they are not known), of `sizes` completions each. `novelty` is that of its
    correct completions (`east_core.weighting.novelty`), None where it is not asked for.
    """

    entropy_bits: float
    accuracy: float
    rejected_share: float
    perplexity: float | None = None
    samples: int = 0
    answers: int = 0
    sizes: tuple[int, ...] = ()
    novelty: float | None = None


class BaseWeighting(BaseModel):
    """What all strategies have in common: a cap, and what becomes of unanimous questions."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=for_forms)
    needs_perplexity: ClassVar[bool] = False
    needs_novelty: ClassVar[bool] = False
    is_unfiltered: ClassVar[bool] = False  # wrong completions are trained on like right ones
    has_mean_one: ClassVar[bool] = True  # but for what repeats the released code (as_released)

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
    normalize: Literal["all", "set"] = Field(
        "all",
        description="What weights have the mean 1 over, where the questions are a mixture: all "
        "kept questions of the round, or those of each set (docs/mixtures.md).",
    )

    def identity(self) -> dict[str, Any]:
        """The settings as they enter a recipe; `normalize`, which came later, where it is set."""
        later = {"normalize"} if self.normalize == "all" else set()
        return self.model_dump(mode="json", exclude=later)

    def group_of(self, question_id: str) -> str:
        """Which questions' weights have the mean 1 together: the round's (""), or a set's."""
        return set_of(question_id) if self.normalize == "set" else ""

    def raw_weight(self, question: QuestionStatistics) -> float:
        """r_i, the weight before scaling to mean 1; at least 0 and finite."""
        raise NotImplementedError

    def keeps(self, question: QuestionStatistics) -> bool:  # noqa: ARG002
        """Whether the question may be trained on at all; one that is not is "filtered"."""
        return True

    def raw_variance(self, question: QuestionStatistics) -> float | None:  # noqa: ARG002
        """How uncertain r_i is, as a variance, where `of_round` asks for it; else None."""
        return None

    def of_round(
        self,
        raw: Sequence[float],
        variances: Sequence[float],  # noqa: ARG002
    ) -> Sequence[float]:
        """The raw weights of all kept questions, in their order, once all of them are known.

        `variances` are theirs (`raw_variance`); there are none where the strategy tells none.
        """
        return raw

    def example_count(self, question: QuestionStatistics) -> int:  # noqa: ARG002
        """How many of the question's correct completions to train on, as far as there are any."""
        return 1

    def scaled(self, raw: Sequence[float], variances: Sequence[float] = ()) -> Iterator[float]:
        """The weights of all questions that are scaled together: mean exactly 1.

        Raises ConfigError where the normaliser is 0 or a weight is infinite.
        """
        known = self.of_round(raw, variances)
        return map(scaling(known, self.max_weight), known)

    def weights(self, questions: Sequence[QuestionStatistics]) -> list[float]:
        """The weights of the kept questions: at least 0, at most `max_weight`, mean exactly 1.

        Raises ConfigError where the normaliser is 0 or a weight is infinite.
        """
        variances = [self.raw_variance(question) for question in questions]
        raw = [self.raw_weight(question) for question in questions]
        return list(self.scaled(raw, [each for each in variances if each is not None]))


class PowerWeighting(BaseWeighting):
    """A strategy of the form r_i = q_i^a."""

    exponent: float = Field(
        1.0,
        ge=-10,
        le=10,
        description="a in r = q^a. Above 0 favours questions with a large q (above 1 sharper, "
        "below 1 flatter), 0 is vanilla self-training, below 0 favours a small q. The paper "
        "sweeps [-3, 3].",
    )

    def power(self, base: float, meaning: str) -> float:
        """base^a. Raises ConfigError, which says what `base` means, where that is infinite."""
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
