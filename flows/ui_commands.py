"""The commands around the UI: `east up`."""

from pathlib import Path
from typing import Annotated

import typer

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on loopback.")]
Deployments = Annotated[
    Path | None, typer.Option(help="A prefect.yaml of your own; default: infra/prefect.yaml.")
]


def up(port: Port = 4200, deployments: Deployments = None) -> None:
    """Start Prefect's UI with a worker and all deployments, on loopback, until Ctrl-C.

    What ran in this folder before is in its history. Nothing is sent to the outside.
    """
    from flows.cockpit import DEPLOYMENTS, cockpit

    typer.echo("starting Prefect's server, a worker and the deployments (15 to 60 seconds) ...")
    with cockpit(port, deployments or DEPLOYMENTS) as running:
        typer.echo(f"UI         {running.url}/deployments")
        typer.echo("logs       .east/prefect/server.log and worker.log")
        typer.echo("stop       Ctrl-C; running runs stop too, and go on when run again")
        running.watch()
    typer.echo("stopped")
