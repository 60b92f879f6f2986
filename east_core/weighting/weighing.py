"""The weighing stage: shards of sampled questions in, shards of weighed questions and facts out.

Two passes. The first clusters each question's completions, decides whether it is kept, and writes
it without a weight; the second divides by the normaliser, which only the whole round knows.
Questions stream through: what stays in memory is 16 bytes a kept question, for the normaliser (24
where the strategy asks how uncertain each raw weight is).
"""

import itertools
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from east_core.answers.clustering import cluster, cluster_all
from east_core.answers.extraction import AnswerPolicy
from east_core.answers.grading import Grader
from east_core.answers.gradings import MATH, BaseGrading, GradingOfSets
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.errors import NothingToLearn
from east_core.records import AnswerClusters, SampledQuestion
from east_core.tables import read_table, write_table
from east_core.weighting.nothing_kept import nothing_kept
from east_core.weighting.novelty import novelty
from east_core.weighting.raw_weights import RawWeights
from east_core.weighting.round_statistics import RoundStatistics, RoundTotals
from east_core.weighting.strategies import LabelFree, Weighting
from east_core.weighting.weighed import DropReason, WeighedQuestion


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
    grading: BaseGrading = MATH

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of a mixture's sets; none where there is one set of questions."""
        return tuple(self.grading.sets) if isinstance(self.grading, GradingOfSets) else ()


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
    totals = RoundTotals(grader, rules.weighting, rules.sets)
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
        known = row.statistics
        if self._weighting.needs_novelty:
            known = replace(known, novelty=novelty(_correct_texts(question, clusters)))
        raw = self._weighting.raw_weight(known)
        count = self._weighting.example_count(known)
        unfiltered = self._weighting.is_unfiltered
        return replace(row, weight=raw, example_count=count, is_unfiltered=unfiltered)

    def _with_unboxed(self, row: WeighedQuestion, sampled: SampledQuestion) -> WeighedQuestion:
        """Count the answers that a box would have made count."""
        grading = self._grading.of(sampled.question.id)
        if self._policy != "boxed" or not row.no_answer or not grading.has_policies:
            return row
        silent = (m for c in row.clusters if c.answer is None for m in c.members)
        looser = replace(sampled, completions=tuple(sampled.completions[m] for m in silent))
        if self._label_free is not None:
            looser = _without_gold(looser)
        found = cluster(looser, self._grader, "lenient", self._thinking, grading).clusters
        named = sum(len(c.members) for c in found if c.answer is not None)
        right = sum(len(c.members) for c in found if c.is_correct)
        return replace(row, unboxed=named, unboxed_correct=right)

    def _drop_reason(self, row: WeighedQuestion) -> DropReason | None:
        if self._weighting.is_unfiltered:
            return None
        if row.accuracy == 0:
            return "all_wrong" if self._label_free is None else "no_majority"
        if len(row.clusters) == 1 and self._weighting.drop_unanimous:
            return "unanimous"
        return None if self._weighting.keeps(row.statistics) else "filtered"


def finish(weighting: Weighting, raw: RawWeights) -> Callable[[WeighedQuestion], WeighedQuestion]:
    """The second pass: what gives each question, in their order, its weight.

    `raw` are all raw weights. Raises ConfigError where the weights are undefined.
    """
    shares = raw.scaled()

    def weigh(row: WeighedQuestion) -> WeighedQuestion:
        if not row.kept:
            return row
        return replace(row, weight=next(shares[weighting.group_of(row.question_id)]))

    return weigh


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
        distinct_correct=_distinct_correct(sampled, clusters),
        kept=True,
        drop_reason=None,
        weight=0.0,
        example_count=0,
    )


def _distinct_correct(sampled: SampledQuestion, clusters: AnswerClusters) -> int:
    return len({" ".join(text.split()) for text in _correct_texts(sampled, clusters)})


def _correct_texts(sampled: SampledQuestion, clusters: AnswerClusters) -> list[str]:
    members = (m for each in clusters.clusters if each.is_correct for m in each.members)
    return [sampled.completions[member].text for member in members]


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
