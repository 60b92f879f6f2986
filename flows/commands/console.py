"""What the command line prints of runs."""

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from east_core.config import RunConfig
from east_core.errors import DataError
from east_core.reports import text
from east_core.reports.text import SET_COLUMNS
from east_core.runs.addresses import ACCURACY_PICTURE, RunAddresses
from east_core.runs.summary import RoundSummary, measured, stopped_early, summarise
from east_core.store import Store
from flows.server.connection import running_address

console = Console()
BAR_WIDTH = 6
COLUMNS = ("round", "accuracy \\[interval]", "", "kept", "dropped", "bits")
JustifyMethod = Literal["left", "right"]
# A line has 80 columns.
SHORT = {"mean entropy (bits)": "bits", "mean weight": "weight", "sum of weights": "sum"}


def print_start(config: RunConfig) -> None:
    """What is about to run, and how to watch it."""
    console.print(
        f"[bold]{config.name}[/]: {config.rounds} rounds of {config.training.loss.upper()}, "
        f"weighting {config.weighting.kind!r}, artifacts in {config.store}/{config.name}"
    )


def print_end(config: RunConfig) -> None:
    """The rounds so far, and where to look further; a run without a finished stage has none."""
    store = Store(config.store)
    try:
        rounds = summarise(store, config.name)
    except DataError:
        return
    print_rounds(config.name, rounds)
    url = f"{store.root}/{config.name}"
    plot = store.record(RunAddresses(config.name).round_report(rounds[-1].round))
    console.print(f"artifacts  {url}", soft_wrap=True)
    if plot is not None:
        console.print(f"plot       {store.url(plot, ACCURACY_PICTURE)}", soft_wrap=True)
    console.print(f"again      east show {url}", soft_wrap=True)
    console.print(f"UI         {ui_address()}", soft_wrap=True)


def ui_address() -> str:
    """Where the run is to be seen, or how."""
    api = running_address()
    return "east up" if api is None else f"{api.removesuffix('/api')}/runs"


def print_rounds(name: str, rounds: Sequence[RoundSummary]) -> None:
    """The table of rounds with a bar for each accuracy; it fits 80 columns.

    "seconds" is the stages' work, "own" the run's own time beside it. Below it, lines for
    each round tell what became of its completions, or why none was kept, and how varied they were.
    """
    table = Table(
        title=name, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )
    several = len({benchmark for summary in rounds for benchmark in summary.accuracy}) > 1
    for column in (*COLUMNS, "seconds", "own"):
        justify: JustifyMethod = "left" if column in ("round", "") else "right"
        table.add_column(column, justify=justify, no_wrap=True)
    for summary in rounds:
        _add_rows(table, summary, several)
    console.print(table)
    if (measure := measured(rounds)) is not None:
        console.print(measure, markup=False)
    for summary in rounds:
        for line in filter(None, (summary.completions, summary.diversity)):
            console.print(f"round {summary.round:<4}{line}", markup=False)
    if (reason := stopped_early(rounds)) is not None:
        console.print(reason, markup=False, style="bold")
    for summary in rounds:
        if summary.replayed is not None:
            told = f"{summary.replayed} of {summary.examples} examples replayed"
            console.print(f"round {summary.round:<4}{told}", markup=False)
    if any(summary.sets for summary in rounds):
        console.print(_table_of_sets(rounds))


def _table_of_sets(rounds: Sequence[RoundSummary]) -> Table:
    """What each set of a mixture was in each round."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for column in ("round", *SET_COLUMNS):
        is_text = column in ("round", "set")
        table.add_column(SHORT.get(column, column), justify="left" if is_text else "right")
    for summary in rounds:
        for name, of in summary.sets.items():
            table.add_row(str(summary.round), *text.set_row(name, of))
    return table


def _add_rows(table: Table, summary: RoundSummary, with_names: bool) -> None:
    label = "base" if summary.round == 0 else str(summary.round)
    numbers = (
        text.number(summary.kept),
        text.number(summary.dropped),
        text.number(summary.mean_entropy_bits, ".2f"),
        f"{sum(summary.seconds.values()):.0f}",
        text.number(summary.overhead_seconds, ".1f"),
    )
    for index, (benchmark, accuracy) in enumerate(summary.accuracy.items()):
        bar = Bar(1.0, 0.0, accuracy.value, width=BAR_WIDTH)
        accuracy_text = (
            f"{benchmark} {text.with_interval(accuracy)}"
            if with_names
            else text.with_interval(accuracy)
        )
        table.add_row(label, accuracy_text, bar, *(numbers if index == 0 else ("",) * len(numbers)))
    if not summary.accuracy:
        table.add_row(label, "not scored yet", "", *numbers)
