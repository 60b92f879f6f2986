"""A run's results on its page in the UI, and as events that automations can act on.

The run has one page (tasks.run_page). What belongs to a round alone is published by the round's own
flow run, under one key for all rounds, so that the UI shows its history.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import Task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.events import emit_event
from prefect.futures import PrefectFuture

from east_core.config import RunConfig
from east_core.records import Prediction, Question
from east_core.reports import figures, round_report, text
from east_core.reports.html import Solution, choose_solutions
from east_core.reports.markdown import escape_markdown
from east_core.runs import weights
from east_core.runs.addresses import QUESTIONS_FILE
from east_core.runs.predictions import read_predictions
from east_core.runs.run import Run
from east_core.runs.summary import RoundSummary, RoundTime, measured, summarise
from east_core.store import ArtifactRecord
from east_core.tables import read_table, read_tables
from east_core.weighting.weighed import WeighedQuestion
from tasks.browser import run_page
from tasks.context import current_run
from tasks.run_page import image, note_round_done, show_rounds
from tasks.stages import plain_task, stage_task
from tasks.trackers import tell_trackers

ROUND_COMPLETED = "east.round.completed"
LONGEST_TEXT = 1200


@dataclass
class Stopwatch:
    """Cuts a run's time into laps, one a round; the first starts here."""

    began: float = field(default_factory=time.time)

    def round_time(self) -> RoundTime:
        """The time since the last round_time."""
        round_time = RoundTime(self.began, time.time())
        self.began = round_time.ended
        return round_time


@contextmanager
def beside_stages() -> Iterator[Callable[..., None]]:
    """Gives what begins a task beside the stages that follow: `begin(task, *arguments)`.

    One at a time; each is waited for before the next begins, and on leaving. Raises then what the
    task raised, unless the stages themselves fail.
    """
    begun: list[PrefectFuture[Any]] = []

    def begin(task: Task[..., Any], *arguments: object) -> None:
        if begun:
            begun.pop().result()
        begun.append(task.submit(*arguments))

    try:
        yield begin
    except BaseException:
        for future in begun:
            future.wait()
        raise
    for future in begun:
        future.result()


@stage_task("report")
def publish_round_report(number: int, round_time: RoundTime) -> ArtifactRecord:
    """Draw the curves so far, renew the run's page, and tell that the round is complete."""
    run = current_run()
    note_round_done(number)
    is_new = run.store.record(run.at.round_report(number)) is None
    record = round_report.publish(run, number, round_time)
    rounds = [past for past in summarise(run.store, run.name) if past.round <= number]
    pictures = sorted(run.store.fetch(record).glob("*.png"))
    link, shown = f"{run.store.root}/{run.name}", run_page(run.store, run.name)
    title = f"{run.name}, round {number} of {run.config.rounds}: {_accuracy(rounds[-1])}"
    show_rounds(curve_page(run.name, rounds, pictures, link, shown), title)
    if is_new:  # automations and trackers hear of a round once, however often the run is started
        emit_round_completed(run.config, rounds[-1])
        tell_trackers(run, rounds[-1])
    return record


@plain_task("weights page", "round {number}: weights page")
def publish_weights_page(number: int) -> None:
    """Publish the round's weights on the page of the round's own flow run."""
    run = current_run()
    publish_page(run.config, "weights", f"Weights of round {number}", weights_page(run, number))


@plain_task("solutions page", "round {number}: solutions page")
def publish_solutions_page(number: int) -> None:
    """Publish some solutions before and after on the page of the round's own flow run."""
    run = current_run()
    publish_page(run.config, "solutions", f"After round {number}", solutions_page(run, number))


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


def curve_page(
    run: str, rounds: Sequence[RoundSummary], pictures: Iterable[Path], link: str, shown: str | None
) -> str:
    """The pictures, accuracy first, the table of rounds, and where everything is.

    `shown` is the run's page in the run browser, where the server has one.
    """
    until = rounds[-1].round
    images = "\n\n".join(
        image(path.stem, path.read_bytes(), shown and f"{shown}/{_address(path.stem, until)}")
        for path in pictures
    )
    header = "| round | accuracy | kept | dropped | mean entropy (bits) |\n|---|---|---|---|---|"
    rows = "\n".join(map(_row, rounds))
    if (measure := measured(rounds)) is not None:
        rows += f"\n\n{measure}"
    places = (
        f"Artifacts: `{link}`  \nReport: `east report {link}`  \n"
        f"Training steps: `tensorboard --logdir {link}`"
    )
    if until:
        behind = (f"[{kind}](/artifacts/key/{run}-{kind})" for kind in ("weights", "solutions"))
        places = f"Of each round: {', '.join(behind)}  \n{places}"
    if shown:
        pages = f"[run]({shown}), [report]({shown}/report)"
        samples = f", [samples]({shown}/samples/{until})" if until else ""
        places = f"In the run browser: {pages}{samples}  \n{places}"
    return f"{header}\n{rows}\n\n{places}\n\n{images}\n"


def _address(picture: str, until: int) -> str:
    """Where the run's page has a picture, as it was after a round."""
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
    facts = "\n".join(
        f"| {label} | {value} |" for label, value in text.labelled_facts(record.facts)
    )
    shown = run_page(run.store, run.name)
    picture = image("weights", drawn, shown and f"{shown}/weights/{number}.svg")
    return f"{picture}\n\n{_sets_table(run, number)}| | |\n|---|---|\n{facts}\n"


def _sets_table(run: Run, number: int) -> str:
    """The sets of a mixture in a round; nothing where the questions are one set."""
    (summary,) = (each for each in summarise(run.store, run.name) if each.round == number)
    rows = [text.set_row(*named) for named in summary.sets.items()]
    if not rows:
        return ""
    lines = (" | ".join(row) for row in (text.SET_COLUMNS, ["---"] * len(text.SET_COLUMNS), *rows))
    return "".join(f"| {line} |\n" for line in lines) + "\n"


def solutions_page(run: Run, number: int) -> str:
    """A few questions of each benchmark: what the base model wrote, and what this round's does."""
    parts = [
        _solutions(kind, chosen)
        for benchmark in run.config.benchmarks
        for kind, chosen in _chosen(run, number, benchmark).items()
        if chosen
    ]
    return "\n".join(parts) or "Every answer is as right or wrong as the base model's."


def _chosen(run: Run, number: int, benchmark: str) -> dict[str, list[Solution]]:
    before, after = (
        read_predictions(run.store, run.record(run.at.scores(scored, benchmark)))
        for scored in (0, number)
    )
    questions = run.store.fetch(run.record(run.at.benchmark(benchmark))) / QUESTIONS_FILE
    return choose_solutions(read_table(questions, Question), before, after)


def _solutions(kind: str, chosen: Sequence[Solution]) -> str:
    return f"## {kind.capitalize()}\n\n" + "\n".join(map(_solution, chosen))


def _solution(solution: Solution) -> str:
    gold = _quoted(str(solution.question.answer))
    return (
        f"**{_quoted(solution.question.prompt)}** (gold: {gold})\n\n"
        f"base model, {_graded(solution.before)}:\n{_block(solution.before.completion)}\n"
        f"now, {_graded(solution.after)}:\n{_block(solution.after.completion)}\n"
    )


def _graded(prediction: Prediction) -> str:
    answer = _quoted(prediction.answer or "no answer")
    return "right" if prediction.is_correct else f"wrong ({answer})"


def _block(text: str) -> str:
    """Text as a code block: whatever a model wrote stays text."""
    return "\n" + "\n".join(f"    {line}" for line in text[:LONGEST_TEXT].splitlines()) + "\n"


def _quoted(text: str) -> str:
    return escape_markdown(text[:LONGEST_TEXT])


def _accuracy(summary: RoundSummary) -> str:
    return "; ".join(
        f"{name} {text.with_interval(value)}" for name, value in summary.accuracy.items()
    )


def _row(summary: RoundSummary) -> str:
    accuracy = _accuracy(summary)
    entropy = text.number(summary.mean_entropy_bits, ".2f")
    kept, dropped = text.number(summary.kept), text.number(summary.dropped)
    return f"| {summary.round} | {accuracy} | {kept} | {dropped} | {entropy} |"
