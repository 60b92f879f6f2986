"""The commands around the UI and retraining: `east up`, `deploy`, `worker`, `champions` ..."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from east_core.errors import ConfigError, DataError
from flows.commands.options import LineUrl, StoreUrl
from flows.commands.say import say

Port = Annotated[int, typer.Option(min=1, max=65535, help="Port on loopback.")]
Deployments = Annotated[
    Path | None, typer.Option(help="A prefect.yaml of your own; default: infra/prefect.yaml.")
]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]


def up(
    port: Port = 4200,
    deployments: Deployments = None,
    store: Annotated[str, typer.Option(help="The store that is shown at /east.")] = ".east/store",
    watch: Annotated[
        float, typer.Option(min=0, help="Seconds between looks for new questions; 0: none.")
    ] = 0,
) -> None:
    """Start Prefect's UI with a worker and all deployments, on loopback, until Ctrl-C.

    What ran in this folder before is in its history. Nothing is sent to the outside.
    """
    from flows.server.connection import service_log
    from flows.server.stack import DEPLOYMENTS, server_stack

    say("starting Prefect's server, a worker and the deployments (15 to 60 seconds) ...")
    with server_stack(port, deployments or DEPLOYMENTS, store, watch) as running:
        say(f"UI         {running.url}/deployments")
        say(f"runs       {running.url}/east/ ({store})")
        say(f"logs       {service_log('server')} and worker.log")
        say("stop       Ctrl-C; running runs stop too, and go on when run again")
        running.watch()
    say("stopped")


def browse(
    store_url: StoreUrl = ".east/store",
    port: Port = 4280,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
) -> None:
    """Show a store's runs in the browser: curves, rounds, samples, comparisons, champions.

    Read-only. It asks for the password of PREFECT_SERVER_API_AUTH_STRING ("user:password") where
    that is set, and listens elsewhere than on loopback only then. Ctrl-C ends it.
    """
    from flows.commands.browse import serve

    serve(store_url, host, port)


def watch(
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 60,
) -> None:
    """Start a retraining whenever enough new questions have come, until Ctrl-C.

    Looks at the questions of every retraining deployment, in folders and at URLs, and sends the
    event on which the server's automation starts the run. For servers that others run, in the
    folder of their workers; `east up --watch 60` does it by itself.
    """
    from flows.commands.watch import watch_questions

    _require_named_server()
    watch_questions(every)


def notify(
    address: Annotated[
        str,
        typer.Argument(envvar="EAST_NOTIFY", help="Slack's webhook, mailtos://..., json://HOST."),
    ],
) -> None:
    """Tell people of promotions, failed runs, and runs that wait for an approval.

    Any address of Apprise: https://hooks.slack.com/services/..., mailtos://USER:PASSWORD@HOST?to=...
    The server keeps it encrypted, and sends. Put an address with a password into EAST_NOTIFY.
    """
    from flows.server.notifications import notify as install

    _require_named_server()
    for rule in install(address):
        say(f"automation {rule}")


def _require_named_server() -> None:
    """Raises ConfigError where neither the environment nor this folder names a server."""
    from flows.server.connection import use_project_settings

    use_project_settings()
    if "PREFECT_API_URL" not in os.environ:
        raise ConfigError("PREFECT_API_URL is not set; name the server, http://HOST:4200/api")


def deploy(deployments: Deployments = None) -> None:
    """Make the pool, the automations and the deployments on the server of PREFECT_API_URL.

    For servers that others run; `east up` does it by itself. It may be repeated.
    """
    from flows.server.setup import prepare_server
    from flows.server.stack import DEPLOYMENTS, require_file

    _require_named_server()
    os.environ.setdefault("EAST_WORKDIR", str(Path.cwd()))  # where runs of the workers start
    prepare_server(require_file(deployments or DEPLOYMENTS))
    say(f"deployed on {os.environ['PREFECT_API_URL']}")


def worker(
    pool: Annotated[str, typer.Option(help="The work pool that it serves.")] = "east",
    name: Annotated[str | None, typer.Option(help="Its name in the UI; the host's name.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 1,
) -> None:
    """Serve a work pool until SIGTERM or Ctrl-C, and give back then what was running.

    Prefect's worker, for machines that are taken away (Slurm, spot markets): the run that it had
    waits in the pool for the next worker, which goes on with it. Ends with status 75 then.
    """
    from flows.server.worker import GIVEN_BACK, serve_pool

    _require_named_server()
    given_back = serve_pool(pool, name or socket.gethostname(), limit)
    for run in given_back:
        say(f"given back  {run}: it waits for another worker")
    if given_back:
        raise typer.Exit(GIVEN_BACK)


def rollback(line: LineUrl, reason: Reason = "rolled back by hand") -> None:
    """Put the champion before the current one back in use; the history keeps both."""
    from east_core.studies.promotion import roll_back
    from flows.commands.launch import open_run
    from flows.server.connection import use_project_settings

    store, name = open_run(line)
    entry = roll_back(store, name, reason)
    say(f"{name}: champion is now {entry.champion or 'the base model'}")
    use_project_settings()
    if "PREFECT_API_URL" in os.environ:  # a server that automations may wait on
        from tasks.promotions import emit_decision, publish_history

        publish_history(store, name)
        emit_decision(name, entry)


def champions(line: LineUrl) -> None:
    """Show a line's decisions: promoted, kept, rolled back, and which checkpoint is in use."""
    from east_core.studies.promotion import history
    from flows.commands.launch import open_run

    store, name = open_run(line)
    entries = history(store, name)
    if not entries:
        raise DataError(
            f"{store.root} holds no decisions of a line {name!r}; name the folder STORE/LINE of a "
            "retraining that has come to its end"
        )
    for entry in entries:
        champion = entry.champion or "base model"
        say(f"{entry.number:4}  {entry.decided_at}  {entry.action:11}  {champion}")
        say(f"      {entry.run}: {entry.reason}")
