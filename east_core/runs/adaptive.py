"""Adaptive sampling: go on with a question only until its entropy is known well enough.

Questions are sampled in steps. After each, a question is decided (and drawn no further) where

    it is unanimous           and has `unanimous_after` completions: a rare other answer would give
                              it a small weight at most;
    it is all wrong           and has `all_wrong_after` completions, where that is set: otherwise it
                              gets all N, for one correct completion among many wrong answers
                              gives it one of the largest weights;
    D(n, N) <= tolerance_bits where it is neither: D is the expected change of its entropy, were it
                              sampled on from its n completions to the full N.

For the plug-in entropy H of n draws with K answers and shares p (in nats; Miller 1955 for the bias,
Basharin 1959 and Harris 1975 for the variance),

    bias(n) = -(K - 1) / 2n        variance(n) = (sum p ln^2 p - H^2) / n + (K - 1) / 2n^2

and the n draws are a part of the N, so what is still to come is

    D(n, N)^2 = (bias(n) - bias(N))^2 + variance(n) - variance(N).

The second-order term matters: for equal shares the first is 0 whatever n is. K is the number of
answers seen so far. Stopping on what was seen biases the entropies: docs/weighting.md tells how
much.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from east_core.answers.clustering import cluster_all
from east_core.answers.extraction import AnswerPolicy
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, BaseGrading
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.config import AdaptiveRecipe
from east_core.protocols import GenerationSettings
from east_core.records import Question, SampledQuestion
from east_core.seeds import derive_seed

Draw = Callable[[Sequence[Sequence[Question]], GenerationSettings], Iterable[list[SampledQuestion]]]
"""Samples shards of questions with one checkpoint, in their order and the questions' order."""


def expected_change_bits(sizes: Sequence[int], most: int) -> float:
    """D(n, N): the expected change of the entropy from n = sum(sizes) completions to N = `most`.

    A root mean square, in bits; 0 where all N are drawn, and for a single answer.
    """
    drawn = sum(sizes)
    if drawn >= most:
        return 0.0
    shares = [size / drawn for size in sizes]
    entropy = -math.fsum(share * math.log(share) for share in shares)
    spread = math.fsum(share * math.log(share) ** 2 for share in shares) - entropy**2
    freedom = (len(sizes) - 1) / 2
    left, left_squared = 1 / drawn - 1 / most, 1 / drawn**2 - 1 / most**2
    variance = max(0.0, spread) * left + freedom * left_squared
    return math.sqrt((freedom * left) ** 2 + variance) / math.log(2)


def is_decided(
    sizes: Sequence[int], correct: int | None, recipe: AdaptiveRecipe, most: int
) -> bool:
    """Whether a question with answer clusters of these sizes is sampled no further.

    `correct` counts its correct completions; None where no gold answer is looked at.
    """
    drawn = sum(sizes)
    if drawn >= most:
        return True
    if correct == 0:
        return recipe.all_wrong_after is not None and drawn >= recipe.all_wrong_after
    if len(sizes) == 1:
        return drawn >= recipe.unanimous_after
    return expected_change_bits(sizes, most) <= recipe.tolerance_bits


def step_sizes(recipe: AdaptiveRecipe, most: int) -> Iterator[int]:
    """How many completions a question gets in each step: `first`, then `step`, N in all."""
    drawn, size = 0, recipe.first
    while drawn < most:
        yield min(size, most - drawn)
        drawn, size = drawn + size, recipe.step


def step_settings(settings: GenerationSettings, number: int, size: int) -> GenerationSettings:
    """The settings of a step: its completions are new ones, under a seed of the step's own."""
    seed = derive_seed(settings.seed, "step", number) if number else settings.seed
    return replace(settings, samples_per_question=size, seed=seed)


@dataclass(frozen=True)
class AdaptiveSampling:
    """Samples shards in steps until every question of a shard is decided.

    `is_labelled` False looks at no gold answer (label-free training). `policy` says which final
    answers count, `thinking` where they stand and `grading` which are equal, as in the weighing.
    """

    draw: Draw
    recipe: AdaptiveRecipe
    grader: Grader
    is_labelled: bool = True
    policy: AnswerPolicy = "boxed"
    thinking: Thinking = MARKS_ALONE
    grading: BaseGrading = MATH

    def sample(
        self, shards: Sequence[Sequence[Question]], settings: GenerationSettings
    ) -> list[list[SampledQuestion]]:
        """The shards' questions, in order, each with as many completions as it took.

        A step draws for all shards at once, which keeps as many engines busy.
        `settings.samples_per_question` is N, the most that a question gets.
        """
        most = settings.samples_per_question
        sampled = [[SampledQuestion(question, ()) for question in shard] for shard in shards]
        undecided = [list(range(len(shard))) for shard in shards]
        for number, size in enumerate(step_sizes(self.recipe, most)):
            active = [at for at, indices in enumerate(undecided) if indices]
            if not active:
                break
            asked = [[shards[at][index] for index in undecided[at]] for at in active]
            drawn = self.draw(asked, step_settings(settings, number, size))
            for at, new in zip(active, drawn, strict=True):
                undecided[at] = self._still_undecided(sampled[at], undecided[at], new, most)
        return sampled

    def _still_undecided(
        self,
        sampled: list[SampledQuestion],
        asked: Sequence[int],
        drawn: Sequence[SampledQuestion],
        most: int,
    ) -> list[int]:
        """Add what was drawn to the shard's `asked` questions; those that are to go on."""
        for index, new in zip(asked, drawn, strict=True):
            sampled[index] = _joined(sampled[index], new)
        judged = zip(asked, self._decided([sampled[index] for index in asked], most), strict=True)
        return [index for index, is_done in judged if not is_done]

    def _decided(self, rows: Sequence[SampledQuestion], most: int) -> Iterator[bool]:
        for clusters in cluster_all(rows, self.grader, self.policy, self.thinking, self.grading):
            sizes = [len(cluster.members) for cluster in clusters.clusters]
            correct = sum(len(c.members) for c in clusters.clusters if c.is_correct)
            known = correct if self.is_labelled else None
            yield is_decided(sizes, known, self.recipe, most)


def _joined(earlier: SampledQuestion, new: SampledQuestion) -> SampledQuestion:
    return replace(new, completions=earlier.completions + new.completions)
