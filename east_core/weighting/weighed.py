"""What is known of a weighed question: one row of the weighing stage's table.

Why a question is dropped:

    all_wrong     no completion is correct: there is nothing to learn from (EAST, step 3)
    unanimous     all completions give one answer: H = 0 (dropped in EAST's released code)
    no_majority   label-free: no single answer has the majority asked for
    filtered      the weighting is a filter, and leaves it out
"""

from dataclasses import dataclass
from typing import Literal

from east_core.records import AnswerCluster
from east_core.weighting.base import QuestionStatistics

DropReason = Literal["all_wrong", "unanimous", "no_majority", "filtered"]


@dataclass(frozen=True, slots=True)
class WeighedQuestion:
    """A question's clusters, what they say of it, and its weight: one row of the stage's table.

    `label` is the answer held correct: the gold answer, or the majority's where `is_pseudo_label`.
    `weight` has mean 1 over the kept questions of the round, and is 0 for a dropped one.
    `example_count` is the number of correct completions to train on, where there are as many.
    `unboxed` of the `no_answer` completions name an answer outside of a box, where only a box
    counts; `unboxed_correct` of them name the right one (0 without a gold answer).
    `distinct_correct` counts the correct completions that are different texts, white space aside.
    With `is_unfiltered` any finished completion may be trained on, right or wrong.
    `perplexity` is that of the correct completions, None without log-probabilities.
    """

    question_id: str
    sample_count: int
    clusters: tuple[AnswerCluster, ...]
    entropy_bits: float
    accuracy: float
    rejected_share: float
    perplexity: float | None
    label: str | None
    is_pseudo_label: bool
    truncated: int
    no_answer: int
    kept: bool
    drop_reason: DropReason | None
    weight: float
    example_count: int
    unboxed: int = 0
    unboxed_correct: int = 0
    distinct_correct: int = 0
    is_unfiltered: bool = False

    @property
    def correct(self) -> int:
        """The number of correct completions."""
        return sum(len(each.members) for each in self.clusters if each.is_correct)

    @property
    def answers(self) -> int:
        """The number of different answers; "no answer" is none."""
        return sum(each.answer is not None for each in self.clusters)

    @property
    def vote(self) -> float:
        """The chance that the vote of all completions is right; ties are broken by lot."""
        sizes = [len(each.members) for each in self.clusters if each.answer is not None]
        leaders = [
            each.is_correct
            for each in self.clusters
            if each.answer is not None and len(each.members) == max(sizes)
        ]
        return sum(leaders) / len(leaders) if leaders else 0.0

    @property
    def statistics(self) -> QuestionStatistics:
        """What the weighting strategies may know of the question."""
        return QuestionStatistics(
            self.entropy_bits,
            self.accuracy,
            self.rejected_share,
            self.perplexity,
            self.sample_count,
            len(self.clusters),
            tuple(len(each.members) for each in self.clusters),
        )
