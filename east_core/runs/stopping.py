"""Whether a run should go on after a round: it got worse, or no better for long.

Each round is held against the earlier round that did best, by paired tests on the same questions:

    accuracy, answered     each benchmark's greedy completions, or the samples that it is scored
                           by: right; with an answer at all
    pass@n                 samples of each benchmark, where it has some
    pass@n in training     the round's own samples of the training questions, before it is trained

The significance is divided by the number of pairs of rounds and of tests that a run can compare,
so a run in which nothing changes is ended as having got worse at most so often.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from east_core.config import Stopping
from east_core.evaluation.decline import Decline, comparisons, decline
from east_core.runs import addresses
from east_core.runs.best import best_round, scored_before
from east_core.runs.harness_tasks import harness_tasks
from east_core.runs.predictions import read_answered, read_outcomes, read_votes
from east_core.runs.run import Run
from east_core.runs.weights import weight_files
from east_core.store import ArtifactRecord, Stage, Store, materialize
from east_core.tables import read_tables
from east_core.weighting.weighed import WeighedQuestion

Facts = Mapping[str, Any]
Outcomes = Mapping[str, float]  # by question id: right or wrong, or a share of samples


@dataclass(frozen=True, slots=True)
class Alarm:
    """What got worse at a checkpoint (`round`), since which round's, and how surely."""

    what: str
    round: int
    since: int
    decline: Decline

    def __str__(self) -> str:
        fell = self.decline
        return (
            f"{self.what} fell from {fell.before:.1%} at round {self.since} to {fell.now:.1%} at "
            f"round {self.round} ({fell.questions} questions, p = {fell.p_value:.2g})"
        )


@dataclass(frozen=True, slots=True)
class _Measure:
    """A share of a benchmark's questions: by its scores' facts, and question by question."""

    what: str
    share: Callable[[Facts], float]
    outcomes: Callable[[Store, ArtifactRecord], Outcomes]


def after_scores(run: Run, number: int) -> list[Alarm]:
    """What got worse on the benchmarks with checkpoint `number` (1 or above), the surest first."""
    found = [
        _on_benchmark(run, number, benchmark, measure)
        for benchmark in run.config.benchmarks
        for measure in _measures(run, benchmark)
    ]
    return _significant(run, found)


def after_weighing(run: Run, number: int) -> list[Alarm]:
    """What got worse in the samples that round `number` is about to learn from.

    Samples of round r are checkpoint r - 1's. Only questions with as many completions as before
    are compared; label-free, and where every round starts from the best, nothing can be said.
    """
    if run.config.label_free is not None or run.config.start_from == "best":
        return []
    rounds = range(1, number + 1)
    records = {past: run.record(run.at.weights(past)) for past in rounds}
    since = _highest({past: _pass_at_n(records[past].facts) for past in rounds if past < number})
    if since is None:
        return []
    fell = decline(_solved(run, records[since]), _solved(run, records[number]))
    alarm = Alarm("pass@n of the training questions", number - 1, since - 1, fell)
    return _significant(run, [alarm])


def no_better(run: Run, number: int) -> str | None:
    """Why the run ends after round `number` for want of a better one; None where it goes on."""
    patience = run.config.stopping.patience if run.config.stopping else None
    best = best_round(scored_before(run, number + 1))
    if patience is None or best is None or number - best < patience:
        return None
    return f"no round was better than round {best} for {patience} in a row (mean accuracy)"


def record_stop(run: Run, number: int, reason: str) -> ArtifactRecord:
    """Note that the run ended after round `number`, and why; the first reason stays."""
    scores = {name: run.record(run.at.scores(number, name)) for name in run.config.benchmarks}
    stage = Stage(run.at.stop(number), addresses.STOPS, inputs=scores)
    return materialize(run.store, stage, lambda _: {"round": number, "message": reason})


def _significant(run: Run, found: list[Alarm]) -> list[Alarm]:
    rule = run.config.stopping or Stopping()
    checks = 1 + sum(len(_measures(run, benchmark)) for benchmark in run.config.benchmarks)
    level = rule.significance / comparisons(run.config.rounds, checks)
    alarms = [alarm for alarm in found if alarm.decline.p_value <= level]
    return sorted(alarms, key=lambda alarm: alarm.decline.p_value)


def _on_benchmark(run: Run, number: int, benchmark: str, measure: _Measure) -> Alarm:
    records = [run.record(run.at.scores(past, benchmark)) for past in range(number + 1)]
    shares = {past: measure.share(records[past].facts) for past in range(number)}
    since = _highest(shares) or 0
    before, now = (measure.outcomes(run.store, records[each]) for each in (since, number))
    return Alarm(f"{measure.what} on {benchmark}", number, since, decline(before, now))


def _highest(shares: Mapping[int, float]) -> int | None:
    """The round with the highest share, the earliest of equals."""
    return max(shares, key=lambda past: (shares[past], -past), default=None)


def _measures(run: Run, benchmark: str) -> list[_Measure]:
    scored = [
        _Measure("accuracy", lambda facts: float(facts["accuracy"]["value"]), read_outcomes),
        _Measure(
            "the share with an answer",
            lambda facts: -float(facts["no_answer_share"]["value"]),
            read_answered,
        ),
    ]
    if not run.config.evaluation.samples_per_question or benchmark in harness_tasks(run):
        return scored
    n = str(run.config.evaluation.samples_per_question)
    sampled = _Measure(
        f"pass@{n}", lambda facts: float(facts["pass_at"][n]["value"]), _solved_by_samples
    )
    return [*scored, sampled]


def _solved_by_samples(store: Store, scores: ArtifactRecord) -> Outcomes:
    return {row.question_id: row.accuracy > 0 for row in read_votes(store, scores)}


def _pass_at_n(weights: Facts) -> float:
    return float(weights["pass_at_n"])


def _solved(run: Run, weights: ArtifactRecord) -> Outcomes:
    """Whether any completion of a question is right, by its id and number of completions."""
    rows = read_tables(weight_files(run, weights), WeighedQuestion)
    return {f"{row.sample_count} of {row.question_id}": row.accuracy > 0 for row in rows}
