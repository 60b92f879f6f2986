"""From weighed questions to training examples: which completions are learned from.

A training target is finished (finish reason "stop"), correct, and boxed unless the recipe's
`targets` takes any answer; a rejected completion is finished and gives the most common wrong answer
that has one. Truncated completions are never
trained on, on either side: teaching an end after them would teach a lie.

With the weighting `unfiltered` any finished completion counts as correct.

SFT  one correct completion a question drawn by seed (EAST's way), or up to k different ones.
DPO  one correct completion against one from the most common wrong cluster (EAST's released code).
KTO  the same two completions as unpaired examples; either side may stand alone.

Not every kept question yields an example, so weights of mean 1 over questions are rescaled to
mean 1 over the examples really trained on: otherwise the weighting would silently change the
learning rate. That takes two passes over the same stream, `survey_examples` then `build_examples`;
neither ever holds more than one question.
"""

import itertools
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

from east_core.answers.gradings import GradingOfSets
from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.protocols import Example, Recipe
from east_core.records import (
    AnswerCluster,
    Completion,
    LabelledExample,
    PreferencePair,
    SampledQuestion,
    TrainingExample,
    set_of,
)
from east_core.seeds import derive_seed
from east_core.weighting.weighed import WeighedQuestion

Weighed: TypeAlias = tuple[SampledQuestion, WeighedQuestion]
BOXED = "\\boxed"


@dataclass(frozen=True, slots=True)
class SetExamples:
    """The examples of one set of a mixture; `total_weight` is their sum before rescaling."""

    examples: int = 0
    total_weight: float = 0.0

    @property
    def weight_scale(self) -> float:
        """The factor that brings the mean weight to 1 (1 where no weight is left)."""
        return self.examples / self.total_weight if self.total_weight > 0 else 1.0


@dataclass(frozen=True, slots=True)
class SetRules:
    """What is asked of a mixture's sets.

    `grading` knows which sets have boxes; `within` asks for weights of mean 1 in each set.
    """

    grading: GradingOfSets
    within: bool = False

    def identity(self) -> dict[str, Any]:
        """What they add to a recipe."""
        gradings = self.grading.sets.items()
        return {
            "normalize": "set" if self.within else "all",
            "without_boxes": [name for name, each in gradings if not each.has_policies],
        }


@dataclass(frozen=True, slots=True)
class ExampleStatistics:
    """What became of a round's questions on their way to training examples.

    `questions` counts the kept ones. `without_correct` of them have no correct completion that may
    be a target, `without_wrong` none that is finished with a wrong answer. `total_weight`
    is the examples' sum of weights before rescaling. `sets` are those of a mixture, by name.
    """

    questions: int = 0
    examples: int = 0
    without_correct: int = 0
    without_wrong: int = 0
    total_weight: float = 0.0
    sets: Mapping[str, SetExamples] = field(default_factory=dict)

    @property
    def weight_scale(self) -> float:
        """The factor that brings the examples' mean weight to 1 (1 where no weight is left)."""
        return SetExamples(self.examples, self.total_weight).weight_scale

    def facts(self) -> dict[str, Any]:
        """The statistics as an artifact's facts; without sets where there are none."""
        plain = asdict(self)
        return plain if self.sets else {name: plain[name] for name in plain if name != "sets"}


@dataclass(frozen=True, slots=True)
class _Choices:
    """A question's eligible completions, as sampled: correct ones, and one wrong cluster's."""

    correct: list[Completion]
    wrong: list[Completion]


def survey_examples(
    pairs: Iterable[Weighed],
    recipe: Recipe,
    seed: int,
    round_number: int,
    sets: SetRules | None = None,
) -> ExampleStatistics:
    """First pass: count the examples that `build_examples` will yield, and sum their weights."""
    counts = {"questions": 0, "examples": 0, "without_correct": 0, "without_wrong": 0}
    weights: list[float] = []
    by_set: dict[str, list[float]] = {name: [] for name in (sets.grading.sets if sets else ())}
    for sampled, weighed in _kept(pairs):
        asked = _recipe_of(weighed.question_id, recipe, sets)
        sides = _choices(sampled, weighed, asked)
        chosen = [
            example.weight for example in _examples(sampled, weighed, asked, seed, round_number)
        ]
        weights.append(math.fsum(chosen))
        if sets:
            by_set[set_of(weighed.question_id)] += chosen
        counts["questions"] += 1
        counts["examples"] += len(chosen)
        counts["without_correct"] += not sides.correct
        counts["without_wrong"] += not sides.wrong
    found = {name: SetExamples(len(each), math.fsum(each)) for name, each in by_set.items()}
    return ExampleStatistics(**counts, total_weight=math.fsum(weights), sets=found)


def build_examples(
    pairs: Iterable[Weighed],
    recipe: Recipe,
    seed: int,
    round_number: int,
    statistics: ExampleStatistics,
    sets: SetRules | None = None,
    has_mean_one: bool = True,
) -> Iterator[Example]:
    """Second pass: yield the examples in the questions' order, weights of mean 1.

    They are the questions' own where these have another mean (`has_mean_one`). `statistics` is
    what `survey_examples` told of the same `pairs`, recipe, seed and round. The draw for a question
    depends on seed, round and question id alone, never on other questions.
    """
    for sampled, weighed in _kept(pairs):
        name = weighed.question_id
        scaled = statistics.sets[set_of(name)] if sets and sets.within else statistics
        scale = scaled.weight_scale if has_mean_one else 1.0
        asked = _recipe_of(name, recipe, sets)
        for example in _examples(sampled, weighed, asked, seed, round_number):
            yield replace(example, weight=example.weight * scale)


def _recipe_of(question_id: str, recipe: Recipe, sets: SetRules | None) -> Recipe:
    """The recipe, without asking for a box where the question's set knows none."""
    if sets is None or sets.grading.of(question_id).has_policies:
        return recipe
    return recipe.model_copy(update={"targets": "any"})


def _kept(pairs: Iterable[Weighed]) -> Iterator[Weighed]:
    return (pair for pair in pairs if pair[1].kept)


def _examples(
    sampled: SampledQuestion, weighed: WeighedQuestion, recipe: Recipe, seed: int, round_number: int
) -> list[Example]:
    """One question's examples, with the question's own weight."""
    draw = random.Random(  # noqa: S311 - a reproducible draw, not a secret
        derive_seed(seed, "examples", round_number, sampled.question.id)
    )
    sides = _choices(sampled, weighed, recipe)
    match recipe:
        case SftRecipe():
            return _sft_examples(sampled, weighed, sides, recipe, draw)
        case DpoRecipe():
            return _preference_pairs(sampled, weighed.weight, sides, draw)
        case KtoRecipe():
            return _labelled_examples(sampled, weighed.weight, sides, draw)


def _sft_examples(
    sampled: SampledQuestion,
    weighed: WeighedQuestion,
    sides: _Choices,
    recipe: SftRecipe,
    draw: random.Random,
) -> list[Example]:
    # the difficulty weighting asks for more completions of hard questions; the others ask for one
    count = max(recipe.completions_per_question, weighed.example_count)
    weight, drawn = weighed.weight, _draw_distinct(sides.correct, count, draw)
    share = weight / len(drawn) if drawn and recipe.weight_sharing == "share" else weight
    head = (sampled.question.id, sampled.question.prompt)
    return [
        TrainingExample(*head, each.text, share, sampled.prompt_ids, each.ids) for each in drawn
    ]


def _preference_pairs(
    sampled: SampledQuestion, weight: float, sides: _Choices, draw: random.Random
) -> list[Example]:
    if not sides.correct or not sides.wrong:
        return []
    question = sampled.question
    chosen, rejected = draw.choice(sides.correct), draw.choice(sides.wrong)
    return [
        PreferencePair(
            question.id,
            question.prompt,
            chosen.text,
            rejected.text,
            weight,
            prompt_ids=sampled.prompt_ids,
            chosen_ids=chosen.ids,
            rejected_ids=rejected.ids,
        )
    ]


def _labelled_examples(
    sampled: SampledQuestion, weight: float, sides: _Choices, draw: random.Random
) -> list[Example]:
    question = sampled.question
    drawn = [
        (draw.choice(completions), is_desirable)
        for completions, is_desirable in ((sides.correct, True), (sides.wrong, False))
        if completions
    ]
    return [
        LabelledExample(
            question.id,
            question.prompt,
            each.text,
            is_desirable,
            weight,
            prompt_ids=sampled.prompt_ids,
            completion_ids=each.ids,
        )
        for each, is_desirable in drawn
    ]


def _draw_distinct(
    completions: Sequence[Completion], count: int, draw: random.Random
) -> list[Completion]:
    """Draw up to `count` completions whose texts differ in more than white space.

    The first one is uniform over all samples, duplicates included, as in the paper.
    """
    shuffled = draw.sample(completions, len(completions))
    distinct = {" ".join(each.text.split()): each for each in shuffled}
    return list(itertools.islice(distinct.values(), count))


def _choices(sampled: SampledQuestion, weighed: WeighedQuestion, recipe: Recipe) -> _Choices:
    correct = _correct(sampled, weighed)
    if recipe.targets == "boxed" and not weighed.is_unfiltered:
        correct = [each for each in correct if BOXED in each.text]
    return _Choices(correct, wrong=_rejected(sampled, weighed))


def _correct(sampled: SampledQuestion, weighed: WeighedQuestion) -> list[Completion]:
    anything = weighed.is_unfiltered
    clusters = (cluster for cluster in weighed.clusters if anything or cluster.is_correct)
    return [each for cluster in clusters for each in _finished(sampled, cluster)]


def _rejected(sampled: SampledQuestion, weighed: WeighedQuestion) -> list[Completion]:
    """Finished completions of the most common wrong answer that has any ("no answer" is none)."""
    wrong = (
        cluster
        for cluster in weighed.clusters
        if not cluster.is_correct and cluster.answer is not None
    )
    by_size = sorted(wrong, key=lambda cluster: -len(cluster.members))
    candidates = (_finished(sampled, cluster) for cluster in by_size)
    return next((finished for finished in candidates if finished), [])


def _finished(sampled: SampledQuestion, cluster: AnswerCluster) -> list[Completion]:
    members = (sampled.completions[index] for index in cluster.members)
    return [completion for completion in members if completion.finish_reason == "stop"]
