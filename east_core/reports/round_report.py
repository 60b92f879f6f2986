"""The report of a round: the curves so far, and the map of its questions."""

import json
from pathlib import Path

from east_core.reports import figures
from east_core.reports.curves import curves
from east_core.reports.entropy_figure import draw_entropy_figure
from east_core.runs import addresses
from east_core.runs.addresses import OVERHEAD_LOG, QUESTIONS_PICTURE
from east_core.runs.run import Run
from east_core.runs.summary import RoundTime, overhead_seconds, summarise, training_losses
from east_core.runs.weights import weight_files
from east_core.store import (
    ArtifactRecord,
    Stage,
    materialize,
)
from east_core.store.manifest import LOGS
from east_core.tables import read_tables
from east_core.weighting.weighed import WeighedQuestion


def publish(run: Run, number: int, round_time: RoundTime | None = None) -> ArtifactRecord:
    """Draw the curves up to round `number`, and the round's questions (EAST, Figure 5).

    `round_time` is the time that the round took so far; the report's log holds the overhead in it.
    """
    name = run.config.name

    def build(folder: Path) -> None:
        if round_time is not None:
            seconds = overhead_seconds(run.store.records(name), round_time)
            (folder / LOGS).mkdir()
            (folder / OVERHEAD_LOG).write_text(json.dumps({"seconds": seconds}))
        rounds = [past for past in summarise(run.store, name) if past.round <= number]
        losses = training_losses(run.store, name, range(1, number + 1))
        for drawn, figure in curves(rounds, losses, name).items():
            (folder / f"{drawn}.png").write_bytes(figures.png(figure))
            (folder / f"{drawn}.svg").write_bytes(figures.svg(figure))
        if number:
            files = weight_files(run, run.record(run.at.weights(number)))
            title = f"{name}: questions of round {number}"
            draw_entropy_figure(
                read_tables(files, WeighedQuestion), folder / QUESTIONS_PICTURE, title
            )

    stage = Stage(
        run.at.round_report(number),
        addresses.REPORT,
        inputs=_drawn_from(run, number),
        revision=3,
    )
    return materialize(run.store, stage, build)


def _drawn_from(run: Run, number: int) -> dict[str, ArtifactRecord]:
    """What the curves up to round `number` are drawn from."""
    given = [
        run.at.scores(past, benchmark)
        for past in range(number + 1)
        for benchmark in run.config.benchmarks
    ]
    for past in range(1, number + 1):
        given += [run.at.weights(past), run.at.checkpoint(past)]
    return {address.removeprefix(f"{run.name}/"): run.record(address) for address in given}
