"""A round's samples and weights in numbers, counted as they pass by."""

import dataclasses
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from east_core.answers.grading import Grader
from east_core.records import set_of
from east_core.weighting.base import BaseWeighting
from east_core.weighting.nothing_kept import SampleCounts
from east_core.weighting.raw_weights import RawWeights
from east_core.weighting.weighed import WeighedQuestion

HISTOGRAM_BIN_BITS = 0.5
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class SetStatistics:
    """One set of a mixture in a round.

    `accuracy` is the mean over all of its questions; the mean entropy and the weights (their mean
    and their sum) are over the kept ones.
    """

    questions: int
    kept: int
    dropped: Mapping[str, int]
    completions: int
    accuracy: float
    mean_entropy_bits: float | None
    mean_weight: float | None
    total_weight: float


@dataclass
class _SetTotals:
    """What is counted of one set."""

    questions: int = 0
    kept: int = 0
    completions: int = 0
    accuracy: float = 0.0
    entropy: float = 0.0
    weight: float = 0.0
    dropped: Counter[str] = field(default_factory=Counter)

    def count(self, row: WeighedQuestion) -> None:
        self.questions += 1
        self.completions += row.sample_count
        self.accuracy += row.accuracy
        if row.drop_reason is None:
            self.kept += 1
            self.entropy += row.entropy_bits
        else:
            self.dropped[row.drop_reason] += 1

    def statistics(self) -> SetStatistics:
        return SetStatistics(
            questions=self.questions,
            kept=self.kept,
            dropped=dict(self.dropped),
            completions=self.completions,
            accuracy=self.accuracy / max(1, self.questions),
            mean_entropy_bits=self.entropy / self.kept if self.kept else None,
            mean_weight=self.weight / self.kept if self.kept else None,
            total_weight=self.weight,
        )


@dataclass(frozen=True, slots=True)
class RoundStatistics:
    """What a round's samples were like, as plain data (`dataclasses.asdict` gives JSON).

    Shares are of all completions; `accuracy` is the mean over all questions of A, `pass_at_n` the
    share of questions with a correct completion, `majority_at_n` that of questions whose vote is
    right, ties by lot (label-free, all of them speak of the majority's label). `distinct_answers`
    is the mean number of different answers to a question, `distinct_solutions_share` the part of
    the correct completions that are different texts. `mean_entropy_bits` and the weights are over
    the kept questions, `entropy_histogram` over all: it counts questions in bins of
    `histogram_bin_bits`, from 0 bits. `undecided` counts comparisons of answers that ran out of
    time or memory and so count as "different". `unboxed_share` is part of `no_answer_share`:
    answers outside of a box, where only a box counts; `unboxed_correct_share` is the part of it
    that is right. `effective_sample_size` is (sum w)^2 / sum w^2. `weight_quantiles` go by percent
    ("p50"). `sets` are the sets of a mixture by name; there are none where the questions are one
    set. `mean_weight` is told of weights as released, whose mean is not 1.
    """

    questions: int
    kept: int
    dropped: dict[str, int]
    completions: int
    mean_entropy_bits: float | None
    entropy_histogram: tuple[int, ...]
    histogram_bin_bits: float
    accuracy: float
    pass_at_n: float
    no_answer_share: float
    truncated_share: float
    undecided: int
    weight_quantiles: dict[str, float]
    effective_sample_size: float
    label_free: bool
    unboxed_share: float = 0.0
    unboxed_correct_share: float = 0.0
    majority_at_n: float = 0.0
    distinct_answers: float = 0.0
    distinct_solutions_share: float = 0.0
    sets: Mapping[str, SetStatistics] = field(default_factory=dict)
    mean_weight: float | None = None

    def facts(self) -> dict[str, Any]:
        """The statistics as an artifact's facts; without sets or a mean where there are none."""
        plain = dataclasses.asdict(self)
        absent = {"sets"} if not self.sets else set()
        absent |= {"mean_weight"} if self.mean_weight is None else set()
        return {name: plain[name] for name in plain if name not in absent}


class RoundTotals:
    """Counts the questions of a round as they pass by, and the weights in the second pass."""

    def __init__(self, grader: Grader, weighting: BaseWeighting, sets: Sequence[str] = ()) -> None:
        self.raw = RawWeights(weighting)
        self._has_mean_one = weighting.has_mean_one
        self.dropped: Counter[str] = Counter()
        self.questions = 0
        self._grader, self._undecided_before = grader, grader.undecided
        self._sums: Counter[str] = Counter()
        self._entropy = self._accuracy = self._votes = 0.0
        self._histogram: Counter[int] = Counter()
        self._weights = array("d")
        self._sets = {name: _SetTotals() for name in sets}

    @property
    def kept(self) -> int:
        """The number of questions kept so far."""
        return len(self.raw)

    @property
    def counts(self) -> SampleCounts:
        """What became of the completions so far."""
        names = {spec.name for spec in dataclasses.fields(SampleCounts)} - {"undecided"}
        counted = {name: self._sums[name] for name in names}
        return SampleCounts(**counted, undecided=self._undecided)

    @property
    def _undecided(self) -> int:
        return self._grader.undecided - self._undecided_before

    def counting(self, rows: Iterable[WeighedQuestion]) -> Iterator[WeighedQuestion]:
        """First pass: pass rows on and count them."""
        for row in rows:
            self.questions += 1
            self._accuracy += row.accuracy
            self._histogram[int(row.entropy_bits / HISTOGRAM_BIN_BITS)] += 1
            self._sums["completions"] += row.sample_count
            self._sums["solved"] += row.accuracy > 0
            self._sums["truncated"] += row.truncated
            self._sums["no_answer"] += row.no_answer
            self._sums["unboxed"] += row.unboxed
            self._sums["unboxed_correct"] += row.unboxed_correct
            self._sums["correct"] += row.correct
            self._sums["distinct_correct"] += row.distinct_correct
            self._sums["answers"] += row.answers
            self._votes += row.vote
            if row.drop_reason is None:
                self.raw.add(row)
                self._entropy += row.entropy_bits
            else:
                self.dropped[row.drop_reason] += 1
            if self._sets:
                self._sets[set_of(row.question_id)].count(row)
            yield row

    def weighing(self, rows: Iterable[WeighedQuestion]) -> Iterator[WeighedQuestion]:
        """Second pass: pass weighed rows on and note the weights of the kept ones."""
        for row in rows:
            if row.kept:
                self._weights.append(row.weight)
                if self._sets:
                    self._sets[set_of(row.question_id)].weight += row.weight
            yield row

    def statistics(self, label_free: bool) -> RoundStatistics:
        """The round in numbers, after both passes."""
        questions, completions = max(1, self.questions), max(1, self._sums["completions"])
        return RoundStatistics(
            questions=self.questions,
            kept=self.kept,
            dropped=dict(self.dropped),
            completions=self._sums["completions"],
            mean_entropy_bits=self._entropy / self.kept if self.kept else None,
            entropy_histogram=self._bins(),
            histogram_bin_bits=HISTOGRAM_BIN_BITS,
            accuracy=self._accuracy / questions,
            pass_at_n=self._sums["solved"] / questions,
            no_answer_share=self._sums["no_answer"] / completions,
            truncated_share=self._sums["truncated"] / completions,
            undecided=self._undecided,
            weight_quantiles=_quantiles(self._weights),
            effective_sample_size=_effective_sample_size(self._weights),
            label_free=label_free,
            unboxed_share=self._sums["unboxed"] / completions,
            unboxed_correct_share=self._sums["unboxed_correct"] / completions,
            majority_at_n=self._votes / questions,
            distinct_answers=self._sums["answers"] / questions,
            distinct_solutions_share=self._sums["distinct_correct"] / max(1, self._sums["correct"]),
            sets={name: totals.statistics() for name, totals in self._sets.items()},
            mean_weight=self._mean_weight(),
        )

    def _mean_weight(self) -> float | None:
        """The mean of weights as released; None where it is 1, as always otherwise."""
        if self._has_mean_one or not self._weights:
            return None
        return math.fsum(self._weights) / len(self._weights)

    def _bins(self) -> tuple[int, ...]:
        last = max(self._histogram, default=-1)
        return tuple(self._histogram[index] for index in range(last + 1))


def _quantiles(weights: Sequence[float]) -> dict[str, float]:
    """Quantiles of the weights, each the smallest weight that so many do not exceed."""
    ordered = sorted(weights)
    last = len(ordered) - 1
    return {
        f"p{100 * share:g}": ordered[max(0, math.ceil(share * len(ordered)) - 1)]
        for share in QUANTILES
        if last >= 0
    }


def _effective_sample_size(weights: Sequence[float]) -> float:
    squares = math.fsum(weight * weight for weight in weights)
    return math.fsum(weights) ** 2 / squares if squares else 0.0
