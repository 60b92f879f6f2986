"""The figures of the pages, drawn on the server as SVG."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from east_core.errors import DataError
from east_core.reports import figures
from east_core.reports.curves import curves
from east_core.runs.addresses import WEIGHTS_FOLDER, RunAddresses
from east_core.runs.live import read_live
from east_core.runs.summary import summarise_records, training_losses
from east_core.store import Store

_drawing = threading.Lock()  # matplotlib's fonts and caches are shared


def run_picture(store: Store, run: str, kind: str, until: int | None) -> bytes:
    """A curve of a run up to a round (None: the last one). Raises DataError where there is none."""
    records = list(store.records(run))
    rounds = [
        each
        for each in summarise_records(records, run, store.root)
        if until is None or each.round <= until
    ]
    numbers = [each.round for each in rounds if each.losses]
    losses = training_losses(store, run, numbers) if kind == "loss" else {}
    return _drawn(lambda: curves(rounds, losses, run), kind)


def weights_picture(store: Store, run: str, number: int) -> bytes:
    """Histograms of a round's weights and entropies."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    record = store.require(RunAddresses(run).weights(number))
    paths = sorted((store.fetch(record) / WEIGHTS_FOLDER).glob("*.parquet"))
    names = ["kept", "weight", "entropy_bits"]
    table = pa.concat_tables(pq.read_table(path, columns=names) for path in paths)
    kept = table.filter(table["kept"])
    pairs = list(zip(kept["weight"].to_pylist(), kept["entropy_bits"].to_pylist(), strict=True))
    title = f"{run}, round {number}"
    return _drawn(lambda: {"weights": figures.weight_histograms(pairs, title)}, "weights")


def live_picture(store: Store, run: str) -> bytes:
    """The loss of the round that is being trained. Raises DataError where none is."""
    live = read_live(store, run)
    if live is None or len(live.losses) < 2:
        raise DataError(f"{run} is not training")
    return _drawn(lambda: {"loss": figures.loss_by_step(live.losses, live.steps, run)}, "loss")


def comparison_picture(store: Store, runs: Sequence[str], benchmark: str) -> bytes:
    """The accuracies of several runs on one benchmark, overlaid."""
    overlaid = {}
    for run in runs:
        rounds = summarise_records(list(store.records(run)), run, store.root)
        overlaid[run] = {s.round: s.accuracy[benchmark] for s in rounds if benchmark in s.accuracy}
    return _drawn(lambda: {benchmark: figures.estimates_by_round(overlaid, benchmark)}, benchmark)


def _drawn(draw: Callable[[], dict[str, Any]], name: str) -> bytes:
    with _drawing:
        drawn = draw()
        if name not in drawn:
            raise DataError(f"there is nothing to draw for {name!r} yet")
        return figures.svg(drawn[name])
