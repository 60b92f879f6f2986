"""`east report`, `east compare` and `east sweep`: what runs have shown, and studies of many."""

from typing import Annotated

import typer

RunUrl = Annotated[
    str, typer.Argument(help="The run's folder: s3://bucket/prefix/NAME or .east/store/NAME")
]


def report(run_url: RunUrl) -> None:
    """Write a run's report: one HTML file in its folder, readable without anything else.

    Settings, lineage, curves, scores with intervals, solutions before and after, what was dropped
    and why, timings and versions. An unfinished run has one too.
    """
    from east_core.html_report import write_report
    from flows.launch import open_run

    typer.echo(write_report(*open_run(run_url)))
