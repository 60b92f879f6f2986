"""Weigh samples that are at hand, without files, store or workflow."""

from collections.abc import Iterable

from east_core.answers.extraction import AnswerPolicy
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, BaseGrading
from east_core.records import SampledQuestion
from east_core.weighting.raw_weights import RawWeights
from east_core.weighting.strategies import LabelFree, Weighting
from east_core.weighting.weighed import WeighedQuestion
from east_core.weighting.weighing import Weigher, WeighingRules, finish


def weigh(
    samples: Iterable[SampledQuestion],
    weighting: Weighting,
    policy: AnswerPolicy = "lenient",
    label_free: LabelFree | None = None,
    processes: int = 2,
    grading: BaseGrading = MATH,
) -> list[WeighedQuestion]:
    """The samples' questions in their order, each with its clusters and its weight.

    Weights have mean 1 over the kept questions; a dropped one has the weight 0 and says why. Where
    no question is kept, that is a result. Answers that only mathematics can compare are compared in
    at most `processes` worker processes, which end with the call. `grading` says how the answers of
    other tasks are read. Raises ConfigError where the weighting is undefined for the questions that
    are kept, DataError where it needs what the samples lack (log-probabilities).
    """
    rules = WeighingRules(weighting, policy, label_free, grading=grading)
    with Grader(processes) as grader:
        rows = list(Weigher(rules, grader).weigh(samples))
    raw = RawWeights(weighting)
    for row in rows:
        if row.kept:
            raw.add(row)
    return list(map(finish(weighting, raw), rows))
