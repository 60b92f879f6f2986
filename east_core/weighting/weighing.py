"""The weighing stage: shards of sampled questions in, shards of weighed questions and facts out.

Two passes. The first clusters each question's completions, decides whether it is kept, and writes
it without a weight; the second divides by the normaliser, which only the whole round knows.
Questions stream through: what stays in memory is 8 bytes a kept question, for the normaliser.

Why a question is dropped:

    all_wrong     no completion is correct: there is nothing to learn from (EAST, step 3)
    unanimous     all completions give one answer: H = 0 (dropped in EAST's released code)
    no_majority   label-free: no single answer has the majority asked for
    filtered      the weighting is a filter, and leaves it out
"""

import dataclasses
import itertools
import math
import tempfile
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from east_core.answers.clustering import cluster, cluster_all
from east_core.answers.extraction import AnswerPolicy
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, Grading
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.errors import NothingToLearn
from east_core.records import AnswerCluster, AnswerClusters, SampledQuestion
from east_core.tables import read_table, write_table
from east_core.weighting.base import QuestionStatistics
from east_core.weighting.nothing_kept import SampleCounts, nothing_kept
from east_core.weighting.scaling import scaling
from east_core.weighting.strategies import LabelFree, Weighting

DropReason = Literal["all_wrong", "unanimous", "no_majority", "filtered"]

HISTOGRAM_BIN_BITS = 0.5
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, slots=True)
class WeighedQuestion:
    """A question's clusters, what they say of it, and its weight: one row of the stage's table.

    `label` is the answer held correct: the gold answer, or the majority's where `is_pseudo_label`.
    `weight` has mean 1 over the kept questions of the round, and is 0 for a dropped one.
    `example_count` is the number of correct completions to train on, where there are as many.
    `unboxed` of the `no_answer` completions name an answer outside of a box, where only a box
    counts; `unboxed_correct` of them name the right one (0 without a gold answer).
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
        )


@dataclass(frozen=True, slots=True)
class RoundStatistics:
    """What a round's samples were like, as plain data (`dataclasses.asdict` gives JSON).

    Shares are of all completions; `accuracy` is the mean over all questions of A, `pass_at_n` the
    share of questions with a correct completion (in label-free mode both speak of the majority's
    label). `mean_entropy_bits` and the weights are over the kept questions, `entropy_histogram`
    over all: it counts questions in bins of `histogram_bin_bits`, from 0 bits. `undecided` counts
    comparisons of answers that ran out of time or memory and so count as "different".
    `unboxed_share` is part of `no_answer_share`: answers outside of a box, where only a box counts;
    `unboxed_correct_share` is the part of it that is right. `effective_sample_size` is
    (sum w)^2 / sum w^2. `weight_quantiles` go by percent ("p50").
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


@dataclass(frozen=True)
class WeighingRules:
    """What makes a question's answers its weight.

    `policy` says which final answers count: "boxed" for what is trained on. With `label_free` the
    gold answers are not looked at. `thinking` tells what of a completion is its answer, `grading`
    how answers are read and compared.
    """

    weighting: Weighting
    policy: AnswerPolicy = "boxed"
    label_free: LabelFree | None = None
    thinking: Thinking = MARKS_ALONE
    grading: Grading = MATH


# Weighs the questions of each shard (Weigher.weigh), here or elsewhere; yields them by shard.
ShardWeigher = Callable[
    [Sequence[Path], WeighingRules, Grader], Iterator[Iterable["WeighedQuestion"]]
]


def weigh_shards(
    shards: Sequence[Path], rules: WeighingRules, grader: Grader
) -> Iterator[Iterable[WeighedQuestion]]:
    """Weigh the shards in this process, whose `grader` compares the answers."""
    weigher = Weigher(rules, grader)
    for shard in shards:
        yield weigher.weigh(read_table(shard, SampledQuestion))


def weigh_samples(
    shards: Sequence[Path],
    out_dir: Path,
    rules: WeighingRules,
    grader: Grader,
    weigher: ShardWeigher = weigh_shards,
) -> RoundStatistics:
    """Weigh the questions of `shards`; one shard of WeighedQuestion rows for each, in its order.

    The files are named 00000.parquet, 00001.parquet, ... in the order of `shards`. `weigher`
    does what takes time. Raises NothingToLearn where no question is kept, ConfigError where the
    weighting is undefined for those that are.
    """
    totals = RoundTotals(grader)
    names = [f"{index:05d}.parquet" for index in range(len(shards))]
    with tempfile.TemporaryDirectory(dir=out_dir, prefix=".unweighed-") as folder:
        for rows, name in zip(weigher(shards, rules, grader), names, strict=True):
            write_table(Path(folder) / name, WeighedQuestion, totals.counting(rows))
        if not totals.kept:
            raise NothingToLearn(nothing_kept(totals.questions, totals.dropped, totals.counts))
        weigh = finish(rules.weighting, totals.raw)
        for name in names:
            rows = totals.weighing(map(weigh, read_table(Path(folder) / name, WeighedQuestion)))
            write_table(out_dir / name, WeighedQuestion, rows)
    return totals.statistics(rules.label_free is not None)


class Weigher:
    """The first pass: clusters sampled questions, and decides which are kept."""

    def __init__(self, rules: WeighingRules, grader: Grader) -> None:
        self._weighting = rules.weighting
        self._grader = grader
        self._policy = rules.policy
        self._label_free = rules.label_free
        self._thinking = rules.thinking
        self._grading = rules.grading

    def weigh(self, questions: Iterable[SampledQuestion]) -> Iterator[WeighedQuestion]:
        """The questions with their clusters, kept or dropped, and their raw weights."""
        questions, copies = itertools.tee(questions)
        if self._label_free is not None:
            copies = map(_without_gold, copies)
        clustered = cluster_all(copies, self._grader, self._policy, self._thinking, self._grading)
        for question, clusters in zip(questions, clustered, strict=True):
            yield self._weigh(question, clusters)

    def _weigh(self, question: SampledQuestion, clusters: AnswerClusters) -> WeighedQuestion:
        label = question.question.answer
        if self._label_free is not None:
            clusters, label = _with_majority_label(clusters, self._label_free.min_majority)
        row = _row(question, clusters, label, self._label_free is not None)
        row = self._with_unboxed(row, question)
        reason = self._drop_reason(row)
        if reason is not None:
            return replace(row, kept=False, drop_reason=reason)
        raw = self._weighting.raw_weight(row.statistics)
        count = self._weighting.example_count(row.statistics)
        return replace(row, weight=raw, example_count=count)

    def _with_unboxed(self, row: WeighedQuestion, sampled: SampledQuestion) -> WeighedQuestion:
        """Count the answers that a box would have made count."""
        if self._policy != "boxed" or not row.no_answer or not self._grading.has_policies:
            return row
        silent = (m for c in row.clusters if c.answer is None for m in c.members)
        looser = replace(sampled, completions=tuple(sampled.completions[m] for m in silent))
        if self._label_free is not None:
            looser = _without_gold(looser)
        found = cluster(looser, self._grader, "lenient", self._thinking, self._grading).clusters
        named = sum(len(c.members) for c in found if c.answer is not None)
        right = sum(len(c.members) for c in found if c.is_correct)
        return replace(row, unboxed=named, unboxed_correct=right)

    def _drop_reason(self, row: WeighedQuestion) -> DropReason | None:
        if row.accuracy == 0:
            return "all_wrong" if self._label_free is None else "no_majority"
        if len(row.clusters) == 1 and self._weighting.drop_unanimous:
            return "unanimous"
        return None if self._weighting.keeps(row.statistics) else "filtered"


def finish(
    weighting: Weighting, raw: Sequence[float]
) -> Callable[[WeighedQuestion], WeighedQuestion]:
    """The second pass: what gives each question, in their order, its weight.

    `raw` are all raw weights. Raises ConfigError where weights of mean 1 are undefined.
    """
    dealt = weighting.of_round(raw)
    scale, following = scaling(dealt, weighting.max_weight), iter(dealt)
    return lambda row: replace(row, weight=scale(next(following))) if row.kept else row


def _without_gold(sampled: SampledQuestion) -> SampledQuestion:
    return replace(sampled, question=replace(sampled.question, answer=None))


def _with_majority_label(
    clusters: AnswerClusters, min_majority: float
) -> tuple[AnswerClusters, str | None]:
    """Hold the largest answer correct, where it is the only largest and large enough."""
    answered = [cluster for cluster in clusters.clusters if cluster.answer is not None]
    sizes = [len(cluster.members) for cluster in answered]
    tied = len(sizes) > 1 and sizes[0] == sizes[1]
    if not sizes or tied or sizes[0] < min_majority * clusters.sample_count:
        return clusters, None
    majority = answered[0]
    marked = (replace(c, is_correct=c is majority) for c in clusters.clusters)
    return AnswerClusters(clusters.question_id, tuple(marked)), majority.answer


def _row(
    sampled: SampledQuestion, clusters: AnswerClusters, label: str | None, is_pseudo_label: bool
) -> WeighedQuestion:
    completions = sampled.completions
    return WeighedQuestion(
        question_id=sampled.question.id,
        sample_count=len(completions),
        clusters=clusters.clusters,
        entropy_bits=clusters.entropy_bits,
        accuracy=clusters.accuracy,
        rejected_share=clusters.rejected_share,
        perplexity=_perplexity(sampled, clusters),
        label=label,
        is_pseudo_label=is_pseudo_label,
        truncated=sum(completion.finish_reason == "length" for completion in completions),
        no_answer=sum(len(c.members) for c in clusters.clusters if c.answer is None),
        kept=True,
        drop_reason=None,
        weight=0.0,
        example_count=0,
    )


def _perplexity(sampled: SampledQuestion, clusters: AnswerClusters) -> float | None:
    """exp of the mean over correct completions of their mean token negative log-probability."""
    logprobs = [
        sampled.completions[index].mean_logprob
        for cluster in clusters.clusters
        if cluster.is_correct
        for index in cluster.members
    ]
    known = [value for value in logprobs if value is not None]
    if not known or len(known) < len(logprobs):
        return None
    return math.exp(-math.fsum(known) / len(known))


class RoundTotals:
    """Counts the questions of a round as they pass by, and the weights in the second pass."""

    def __init__(self, grader: Grader) -> None:
        self.raw = array("d")
        self.dropped: Counter[str] = Counter()
        self.questions = 0
        self._grader, self._undecided_before = grader, grader.undecided
        self._sums: Counter[str] = Counter()
        self._entropy = self._accuracy = 0.0
        self._histogram: Counter[int] = Counter()
        self._weights = array("d")

    @property
    def kept(self) -> int:
        """The number of questions kept so far."""
        return len(self.raw)

    @property
    def counts(self) -> SampleCounts:
        """What became of the completions so far."""
        names = (spec.name for spec in dataclasses.fields(SampleCounts))
        return SampleCounts(**{name: self._sums[name] for name in names})

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
            self._sums["correct"] += sum(len(c.members) for c in row.clusters if c.is_correct)
            if row.drop_reason is None:
                self.raw.append(row.weight)
                self._entropy += row.entropy_bits
            else:
                self.dropped[row.drop_reason] += 1
            yield row

    def weighing(self, rows: Iterable[WeighedQuestion]) -> Iterator[WeighedQuestion]:
        """Second pass: pass weighed rows on and note the weights of the kept ones."""
        for row in rows:
            if row.kept:
                self._weights.append(row.weight)
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
            undecided=self._grader.undecided - self._undecided_before,
            weight_quantiles=_quantiles(self._weights),
            effective_sample_size=_effective_sample_size(self._weights),
            label_free=label_free,
            unboxed_share=self._sums["unboxed"] / completions,
            unboxed_correct_share=self._sums["unboxed_correct"] / completions,
        )

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
