"""A run's results on its page in the UI, and as events that automations can act on.

Each kind of artifact has one key for all rounds of a run, so that the UI shows its history. They
are published by the run and not by its rounds: a subflow's artifacts do not show on its parent.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from east_core.config import RunConfig
from east_core.reports import figures, round_report, text
from east_core.reports.rendering import data_uri, pictures_in, render
from east_core.reports.solutions import read_solutions
from east_core.runs import weights
from east_core.runs.run import Run
from east_core.runs.summary import RoundSummary, RoundTime, summarise
from east_core.store import ArtifactRecord
from east_core.tables import read_tables
from east_core.weighting.weighing import WeighedQuestion
from tasks.browser import run_page
from tasks.context import current_run
from tasks.stages import stage_task

ROUND_COMPLETED = "east.round.completed"
LONGEST_TEXT = 1200


@dataclass
class Stopwatch:
    """Cuts a run's time into laps, one a round; the first starts here."""

    began: float = field(default_factory=time.time)

    def round_time(self) -> RoundTime:
        """The time since the last round ended."""
        round_time = RoundTime(self.began, time.time())
        self.began = round_time.ended
        return round_time


@stage_task("report")
def publish_round_report(number: int, round_time: RoundTime) -> ArtifactRecord:
    """Publish the round's curves, table, weights and solutions, and tell that it is complete."""
    run = current_run()
    config = run.config
    is_new = run.store.record(run.at.round_report(number)) is None
    record = round_report.publish(run, number, round_time)
    rounds = [past for past in summarise(run.store, run.name) if past.round <= number]
    shown, until = run_page(run.store, run.name), rounds[-1].round
    pictures = pictures_in(run.store.fetch(record))
    if shown:
        pictures = {name: f"{shown}/{_address(name, until)}" for name in pictures}
    page = render(
        "curves.md",
        rounds=rounds,
        pictures=pictures,
        url=f"{run.store.root}/{run.name}",
        shown=shown,
    )
    publish_page(config, "curve", f"Accuracy after round {number}", page)
    create_table_artifact(
        key=f"{config.name}-rounds",
        table=[row for past in rounds for row in table_rows(past)],
        description=f"{config.name}: all rounds up to {number}",
    )
    if number > 0:
        publish_page(config, "weights", f"Weights of round {number}", weights_page(run, number))
        publish_page(config, "solutions", f"After round {number}", solutions_page(run, number))
    if is_new:  # automations hear of a round once, however often the run is started
        emit_round_completed(config, rounds[-1])
    return record


def publish_scores(config: RunConfig, rounds: Sequence[RoundSummary]) -> None:
    """Publish the scores of a checkpoint that was evaluated by itself."""
    create_table_artifact(
        key=f"{config.name}-scores",
        table=[row for scored in rounds for row in table_rows(scored)],
        description=f"{config.name}: {config.model.name}",
    )


def publish_page(config: RunConfig, key: str, title: str, page: str) -> None:
    """Publish a markdown page under the run's stable key."""
    create_markdown_artifact(
        key=f"{config.name}-{key}", markdown=page, description=f"{config.name}: {title}"
    )


def emit_round_completed(config: RunConfig, summary: RoundSummary) -> None:
    """Emit `east.round.completed` with the round's numbers, for automations."""
    emit_event(
        event=ROUND_COMPLETED,
        resource={
            "prefect.resource.id": f"east.run.{config.name}",
            "prefect.resource.name": config.name,
        },
        payload={
            "round": summary.round,
            "rounds": config.rounds,
            "accuracy": {name: score.value for name, score in summary.accuracy.items()},
            "kept": summary.kept,
            "mean_entropy_bits": summary.mean_entropy_bits,
            "store": config.store,
        },
    )


def _address(picture: str, until: int) -> str:
    """Where the run's page has a picture, as it was after a round.

    The newer of Prefect 3.7's UIs shows only pictures that have an address.
    """
    return (
        f"questions/{until}.png"
        if picture == "questions"
        else f"picture/{picture}.svg?until={until}"
    )


def table_rows(summary: RoundSummary) -> list[dict[str, object]]:
    """One row for each benchmark of a round."""
    return [
        {
            "round": summary.round,
            "benchmark": benchmark,
            "accuracy": f"{accuracy.value:.4f}",
            "low": f"{accuracy.low:.4f}",
            "high": f"{accuracy.high:.4f}",
            "questions": accuracy.n,
            "kept": text.number(summary.kept),
            "dropped": text.number(summary.dropped),
            "entropy (bits)": text.number(summary.mean_entropy_bits, ".3f"),
            "seconds": f"{sum(summary.seconds.values()):.0f}",
        }
        for benchmark, accuracy in summary.accuracy.items()
    ]


def weights_page(run: Run, number: int) -> str:
    """How the round's weights and entropies are distributed, and its statistics."""
    record = run.record(run.at.weights(number))
    kept = [
        (question.weight, question.entropy_bits)
        for question in read_tables(weights.weight_files(run, record), WeighedQuestion)
        if question.kept
    ]
    drawn = figures.png(figures.weight_histograms(kept, f"{run.config.name}, round {number}"))
    shown = run_page(run.store, run.name)
    picture = f"{shown}/weights/{number}.svg" if shown else data_uri(drawn, "png")
    facts = sorted(text.labelled_facts(record.facts))
    return render("weights.md", picture=picture, facts=facts)


def solutions_page(run: Run, number: int) -> str:
    """A few questions of each benchmark: what the base model wrote, and what this round's does."""
    benchmarks = [
        read_solutions(run.store, run.name, benchmark, 0, number)
        for benchmark in run.config.benchmarks
    ]
    page = render("solutions.md", benchmarks=benchmarks, longest=LONGEST_TEXT)
    return page or "Every answer is as right or wrong as the base model's."
