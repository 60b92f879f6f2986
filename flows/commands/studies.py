"""`east report`, `east compare` and `east sweep`: what runs have shown, and studies of many."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from east_core.errors import ConfigError
from flows.commands.options import Overrides, RunUrl, StudyPath
from flows.commands.say import say

if TYPE_CHECKING:
    from east_core.studies.study import StudyConfig


def report(run_url: RunUrl) -> None:
    """Write a run's report: one HTML file in its folder, readable without anything else.

    Settings, lineage, curves, scores with intervals, solutions before and after, what was dropped
    and why, timings and versions. An unfinished run has one too.
    """
    from east_core.reports.html import write_report_page
    from flows.commands.launch import open_run

    say(write_report_page(*open_run(run_url)))


def compare(config: StudyPath, set_: Overrides = []) -> None:  # noqa: B006 typer copies it
    """Run every arm of a study with every seed, and tell which differences are real.

    Arms are weightings x losses x exponents; with `bases`, files of runs, there is a study for
    each. First samples are drawn once for all arms of a seed; an interrupted study goes on when it
    is started again.

    Weightings are those of east weigh. uniform_as_released and entropy_as_released repeat the
    weights of the paper's released code, whose mean is not 1: beside uniform and entropy they tell
    whether a gain is the weighting's or the learning rate's (docs/weighting.md).

    Example: east compare infra/configs/compare-weightings.toml --set seeds=[1,2,3]
    """
    from east_core.studies.study import load_studies

    _launch(load_studies(config, set_))


def sweep(
    config: StudyPath,
    first: Annotated[float, typer.Option("--from", help="Smallest exponent a.")] = -3.0,
    last: Annotated[float, typer.Option("--to", help="Largest exponent a.")] = 3.0,
    step: Annotated[float, typer.Option(min=0.01, help="Distance of the exponents.")] = 1.0,
    set_: Overrides = [],  # noqa: B006
) -> None:
    """Run a study over the exponent a, from -3 to 3 as in the paper's Figure 3.

    Example: east sweep infra/configs/sweep-exponent.toml --from -1 --to 1 --step 0.5
    """
    from east_core.studies.study import load_studies

    _launch(load_studies(config, [*set_, f"exponents={exponent_grid(first, last, step)}"]))


def exponent_grid(first: float, last: float, step: float) -> list[float]:
    """The exponents from `first` to `last`. Raises ConfigError where there are none."""
    if last < first:
        raise ConfigError(f"--from {first:g} is above --to {last:g}; swap them")
    count = math.floor((last - first) / step + 1e-9) + 1
    return [round(first + index * step, 6) for index in range(count)]


def _launch(studies: "Sequence[StudyConfig]") -> None:
    """Run the flow in this process for each study, and print its comparison."""
    from east_core.runs.addresses import COMPARISON_TABLE
    from east_core.store import Store
    from flows.server.connection import prefect_api

    with prefect_api():
        from flows.compare import compare as compare_flow

        for study in studies:
            record = compare_flow(study)
            store = Store(study.runs_store)
            say((store.fetch(record) / COMPARISON_TABLE).read_text("utf-8"))
            say(f"figures and numbers: {store.url(record)}")
