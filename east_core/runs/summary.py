"""What a run has reached so far, read from its records: a table of rounds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from typing import Any

from east_core.errors import DataError
from east_core.evaluation.estimates import Estimate
from east_core.protocols import TRAINING_LOG
from east_core.runs.addresses import (
    CHECKPOINT,
    EXAMPLES,
    NOTHING_KEPT,
    OVERHEAD_LOG,
    SCORES,
    STOPS,
    WEIGHTS,
    Part,
    RunAddresses,
    is_shard,
)
from east_core.runs.best import best_round
from east_core.store import ArtifactRecord, Store


@dataclass(frozen=True)
class RoundTime:
    """From when to when a process worked on a round, in seconds since 1970."""

    began: float
    ended: float


@dataclass(frozen=True)
class Diversity:
    """How varied a round's samples of the training questions were; see `RoundStatistics`."""

    accuracy: float
    pass_at_n: float
    majority_at_n: float
    distinct_answers: float
    distinct_solutions_share: float

    def __str__(self) -> str:
        return (
            f"right {self.accuracy:.1%}, pass@n {self.pass_at_n:.1%}, maj@n "
            f"{self.majority_at_n:.1%}; {self.distinct_answers:.2f} answers a question, "
            f"{self.distinct_solutions_share:.1%} of the right solutions different"
        )


@dataclass(frozen=True)
class SetSummary:
    """One set of a mixture in a round; the mean entropy and the weights are of the kept.

    `examples` are those trained on, None where they are not chosen yet.
    """

    questions: int
    kept: int
    accuracy: float
    mean_entropy_bits: float | None
    mean_weight: float | None
    total_weight: float
    examples: int | None


@dataclass(frozen=True)
class RoundSummary:
    """One round's numbers; round 0 is the base model, which is only scored.

    `seconds` is the building time of each stage; None stands for what is not there (yet).
    `overhead_seconds` is what the run took besides: Prefect, records, hashes, uploads.
    `entropy_histogram` counts questions in bins of `histogram_bin_bits`; `drop_reasons` counts the
    dropped ones. `losses` are of the first and the last optimizer step. The shares are of all
    completions: `unboxed_share` is the part of `no_answer_share` with an answer but no box, and
    `unboxed_correct_share` the part of that which is right. `nothing_kept` is why a round ended.
    `undecided` counts comparisons of answers that took too long. `diversity` is of the samples,
    which are the checkpoint's before; None where they are not weighed, or by an older version.
    `stopped` is why the run once ended after this round (`stopped_early`: whether it still does).
    `sets` are a mixture's, by name; `replayed` of the examples are no own ones of the round.
    `samples` says of benchmarks scored by the mean over samples of how many; others are greedy.
    """

    round: int
    accuracy: Mapping[str, Estimate]
    kept: int | None
    dropped: int | None
    mean_entropy_bits: float | None
    seconds: Mapping[str, float]
    drop_reasons: Mapping[str, int] = field(default_factory=dict)
    entropy_histogram: Sequence[int] = ()
    histogram_bin_bits: float | None = None
    effective_sample_size: float | None = None
    examples: int | None = None
    losses: tuple[float, float] | None = None
    overhead_seconds: float | None = None
    truncated_share: float | None = None
    no_answer_share: float | None = None
    unboxed_share: float | None = None
    unboxed_correct_share: float | None = None
    nothing_kept: str | None = None
    undecided: int | None = None
    diversity: Diversity | None = None
    stopped: str | None = None
    sets: Mapping[str, SetSummary] = field(default_factory=dict)
    replayed: int | None = None
    samples: Mapping[str, int] = field(default_factory=dict)

    @property
    def completions(self) -> str | None:
        """What became of the completions, in words; None where they are not weighed.

        Rounds weighed by an older version do not tell which answers lacked a box.
        """
        if self.nothing_kept is not None:
            return self.nothing_kept
        if self.truncated_share is None or self.no_answer_share is None:
            return None
        text = f"{self.truncated_share:.1%} truncated, {self.no_answer_share:.1%} without an answer"
        if self.undecided:
            text = f"{self.undecided} comparisons of answers undecided, {text}"
        if not self.unboxed_share:
            return text
        right = self.unboxed_correct_share or 0.0
        return (
            f"{text} that counts ({self.unboxed_share:.1%} an answer but no box, {right:.1%} right)"
        )


def summarise(store: Store, run_name: str) -> list[RoundSummary]:
    """The rounds of a run, in order.

    Raises DataError where there is no such run.
    """
    rounds = summarise_records(list(store.records(run_name)), run_name, store.root)
    return [
        replace(summary, overhead_seconds=_overhead(store, run_name, summary.round))
        for summary in rounds
    ]


def overhead_seconds(records: Iterable[ArtifactRecord], round_time: RoundTime) -> float:
    """The part of a round_time in which none of a run's artifacts was being built.

    Prefect, records, hashing and publishing: what the run costs besides its stages' own work.
    Artifacts may be built side by side: a report beside the next round's samples.
    """
    own, free_from = 0.0, round_time.began
    for began, ended in sorted((_finished_at(r) - r.seconds, _finished_at(r)) for r in records):
        own += max(0.0, min(began, round_time.ended) - free_from)
        free_from = max(free_from, ended)
    return round(own + max(0.0, round_time.ended - free_from), 3)


def _finished_at(record: ArtifactRecord) -> float:
    return datetime.fromisoformat(record.created_at).timestamp()


def _overhead(store: Store, run_name: str, number: int) -> float | None:
    record = store.record(RunAddresses(run_name).round_report(number))
    if record is None or not any(file.path == OVERHEAD_LOG for file in record.files):
        return None
    log = json.loads((store.fetch(record, [OVERHEAD_LOG]) / OVERHEAD_LOG).read_text())
    return float(log["seconds"])


def summarise_records(
    records: Iterable[ArtifactRecord], run_name: str, where: str
) -> list[RoundSummary]:
    """The rounds of a run whose records are at hand; `where` names the store in errors."""
    by_round: dict[int, list[tuple[Part, ArtifactRecord]]] = {}
    for record in records:
        part = RunAddresses(run_name).part(record.address)
        number = _round_of(part) if part else None
        if part is not None and number is not None:
            by_round.setdefault(number, []).append((part, record))
    if not by_round:
        raise DataError(f"no run {run_name!r} with a finished stage in {where}")
    return [_summary(number, by_round[number]) for number in sorted(by_round)]


def _round_of(part: Part) -> int | None:
    """The round that a part of a run tells of; the note of its early end tells of the last one."""
    return int(part.name) if part.kind == STOPS else part.round


def stopped_early(rounds: Sequence[RoundSummary]) -> str | None:
    """After which round a run ended early, and why; None where it did not, or went on since."""
    last = max((each.round for each in rounds if each.accuracy), default=0)
    stopped = (each for each in rounds if each.stopped is not None and each.round == last)
    found = next(stopped, None)
    return None if found is None else f"stopped after round {found.round}: {found.stopped}"


def best_trained(rounds: Iterable[RoundSummary]) -> int | None:
    """The best round after the base model (`best_round`)."""
    return best_round(
        {
            each.round: {name: score.value for name, score in each.accuracy.items()}
            for each in rounds
            if each.round
        }
    )


def measured(rounds: Sequence[RoundSummary]) -> str | None:
    """What accuracies are of, in words, where they are not all of greedy completions."""
    counts = {name: count for each in rounds for name, count in sorted(each.samples.items())}
    if not counts:
        return None
    told = (f"{count} samples a question on {name}" for name, count in counts.items())
    return f"accuracy is the mean over {', '.join(told)}"


def summary_json(rounds: Sequence[RoundSummary]) -> dict[str, Any]:
    """The rounds for programs: the shape that `east show --json` prints."""
    return {"rounds": [asdict(summary) for summary in rounds]}


def _summary(number: int, records: Iterable[tuple[Part, ArtifactRecord]]) -> RoundSummary:
    accuracy: dict[str, Estimate] = {}
    samples: dict[str, int] = {}
    seconds: dict[str, float] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for part, record in records:
        if part.kind == SCORES:
            accuracy[part.name] = Estimate(**record.facts["accuracy"])
            if count := record.facts.get("samples"):
                samples[part.name] = count
        else:
            facts[part.kind if not is_shard(record.address) else ""] = record.facts
        if part.kind != STOPS:
            seconds[part.kind] = round(seconds.get(part.kind, 0.0) + record.seconds, 3)
    weights, training = facts.get(WEIGHTS, {}), facts.get(CHECKPOINT, {})
    return RoundSummary(
        round=number,
        accuracy=dict(sorted(accuracy.items())),
        samples=samples,
        kept=weights.get("kept"),
        dropped=sum(weights["dropped"].values()) if weights else None,
        mean_entropy_bits=weights.get("mean_entropy_bits"),
        seconds=seconds,
        drop_reasons=weights.get("dropped", {}),
        entropy_histogram=weights.get("entropy_histogram", ()),
        histogram_bin_bits=weights.get("histogram_bin_bits"),
        effective_sample_size=weights.get("effective_sample_size"),
        examples=facts.get(EXAMPLES, {}).get("examples"),
        nothing_kept=None if weights else facts.get(NOTHING_KEPT, {}).get("message"),
        undecided=weights.get("undecided"),
        truncated_share=weights.get("truncated_share"),
        no_answer_share=weights.get("no_answer_share"),
        unboxed_share=weights.get("unboxed_share"),
        unboxed_correct_share=weights.get("unboxed_correct_share"),
        losses=(training["first_loss"], training["last_loss"]) if training else None,
        diversity=_diversity(weights),
        stopped=facts.get(STOPS, {}).get("message"),
        replayed=facts.get(EXAMPLES, {}).get("replayed"),
        sets=_sets(weights.get("sets", {}), facts.get(EXAMPLES, {}).get("sets", {})),
    )


def _sets(
    weighed: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Mapping[str, Any]]
) -> dict[str, SetSummary]:
    """The sets of a mixture, in its order, from the facts of its weights and its examples."""
    told = [spec.name for spec in fields(SetSummary) if spec.name != "examples"]
    return {
        name: SetSummary(
            **{each: facts[each] for each in told}, examples=chosen.get(name, {}).get("examples")
        )
        for name, facts in weighed.items()
    }


def _diversity(weights: Mapping[str, Any]) -> Diversity | None:
    if "distinct_answers" not in weights:
        return None
    return Diversity(**{each.name: weights[each.name] for each in fields(Diversity)})


def training_losses(store: Store, run_name: str, rounds: Iterable[int]) -> dict[int, list[float]]:
    """The loss of every optimizer step of the rounds, as far as they are trained.

    From the training logs; where there is none, the first and the last loss of the record.
    """
    losses: dict[int, list[float]] = {}
    for number in rounds:
        record = store.record(RunAddresses(run_name).checkpoint(number)) if number else None
        if record is not None:
            losses[number] = _losses(store, record)
    return losses


def _losses(store: Store, record: ArtifactRecord) -> list[float]:
    if any(file.path == TRAINING_LOG for file in record.files) and not store.is_pruned(record):
        text = (store.fetch(record, [TRAINING_LOG]) / TRAINING_LOG).read_text("utf-8")
        entries = map(json.loads, text.splitlines())
        return [float(entry["loss"]) for entry in entries if "loss" in entry]
    return [float(record.facts["first_loss"]), float(record.facts["last_loss"])]
