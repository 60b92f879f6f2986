"""The Prefect server that a command talks to: one that is there, or one of its own.

A server of our own (flows.server.own) never outlives the process that started it, however that
ends. Prefect's embedded one does when its parent is killed.
"""

import contextlib
import logging
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from east_core.engines.supervise import die_with_parent
from east_core.errors import ConfigError, EngineError

HOST = "127.0.0.1"
ADDRESS_FILE = "api-url"  # in PREFECT_HOME, while `east up` is running
_REFUSED = (401, 403)
START_SECONDS, END_SECONDS = 180.0, 15.0
LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"
# Nothing phones home, and the server's history stays beside the store.
PREFECT_SETTINGS = {
    "PREFECT_HOME": str(Path(".east/prefect").resolve()),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # A run that stops sending heartbeats is marked Crashed; see flows/server/stack.py.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # On disk, so that a slot held over a restart of the server is still known, and freed.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES_ON_DISK,
    "DO_NOT_TRACK": "1",
}


def use_project_settings() -> None:
    """Prefect's settings for this project, where the user's environment does not say otherwise."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    _join_running_server()


@contextlib.contextmanager
def prefect_api(meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
    """A Prefect API to report to: the one of the user's settings, of an `east up` in this folder,
    or a server of our own for as long as this lasts, with the same history.

    `meanwhile` is called while a server of our own starts.

    Raises EngineError or ConfigError where the server of the settings can't be used.
    """
    use_project_settings()
    from prefect import settings

    if settings.PREFECT_API_URL.value():
        require_server()
        with _told_in_one_line():
            yield
        return
    from flows.server.own import own_server

    with own_server(meanwhile) as url:
        ours: dict[Any, object] = {
            settings.PREFECT_API_URL: f"{url}/api",
            # nobody hears them, and each flow's end would wait up to a second for their thread
            settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
        with settings.temporary_settings(ours), _told_in_one_line(), _without_addresses():
            try:
                yield
            finally:
                _flush_logs_and_events()


@contextlib.contextmanager
def _told_in_one_line() -> Iterator[None]:
    """Raise EngineError where the server went away for good while a run went on."""
    import httpx

    try:
        yield
    except httpx.TransportError as error:
        raise EngineError(
            f"Prefect's server no longer answers ({error!r}); what is recorded stays: start the "
            "run again to go on"
        ) from error


@contextlib.contextmanager
def _without_addresses() -> Iterator[None]:
    """Leave out "View at ...": a server of our own has no UI."""
    logger = logging.getLogger("prefect.flow_runs")
    logger.addFilter(_is_no_address)
    try:
        yield
    finally:
        logger.removeFilter(_is_no_address)


def _is_no_address(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("View at ")


def _flush_logs_and_events() -> None:
    """Send the logs and events that wait, while the server is there."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    EventsWorker.drain_all()


def server_command(app: str, *where: object) -> list[str]:
    """The arguments of python that serve an application of flows.server.application.

    `where` are uvicorn's options: --host and --port, or --fd.
    """
    calm = ("--log-level", "warning", "--timeout-graceful-shutdown", "2")
    # Uvicorn puts a folder in front of all modules: without one, the current folder.
    nowhere = ("--app-dir", os.devnull)
    served = ("--factory", f"flows.server.application:{app}")
    return ["-P", "-m", "uvicorn", *nowhere, *served, *map(str, where), *calm]


def start_service(
    name: str, arguments: list[str], descriptors: Sequence[int] = ()
) -> "subprocess.Popen[bytes]":
    """A python that writes to PREFECT_HOME/NAME.log and does not outlive the thread that calls.

    It inherits the open files of `descriptors`.
    """
    with service_log(name).open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C is for us, who end things in order
            preexec_fn=die_with_parent,  # noqa: PLW1509 one call of the kernel, which takes no lock
        )


def end_service(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process, and kill it where it takes too long."""
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_server(url: str, server: "subprocess.Popen[bytes]") -> None:
    """Return when the server answers. Raises EngineError where it ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310
            return
        time.sleep(0.3)
    raise EngineError(f"Prefect's server did not come up at {url}; see {service_log('server')}")


def service_log(name: str) -> Path:
    """Where a service writes its log."""
    return Path(os.environ["PREFECT_HOME"]) / f"{name}.log"


def _join_running_server() -> None:
    """Report to this folder's `east up`, if it is running, so that its UI shows the run live."""
    if "PREFECT_API_URL" not in os.environ and (url := running_address()):
        os.environ["PREFECT_API_URL"] = url


def running_address() -> str | None:
    """The API of this folder's `east up`; None where none is running."""
    home = os.environ.get("PREFECT_HOME", PREFECT_SETTINGS["PREFECT_HOME"])
    file = Path(home) / ADDRESS_FILE
    if not file.is_file():
        return None
    url = file.read_text()
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310
        return url
    return None


def require_server() -> None:
    """Ask the server of Prefect's settings whether it is there and lets us in.

    Raises EngineError where it does not answer, ConfigError where it refuses the password.
    """
    import httpx
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        url = client.api_url
        try:
            client.hello()
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in _REFUSED:
                raise
            raise ConfigError(
                f"Prefect's server at {url} refuses the password; set PREFECT_API_AUTH_STRING to "
                "the server's PREFECT_SERVER_API_AUTH_STRING, or PREFECT_API_KEY for Prefect Cloud"
            ) from None
        except httpx.TransportError as error:
            raise EngineError(
                f"Prefect's server at {url} does not answer ({error}); start it, or correct "
                "PREFECT_API_URL"
            ) from None
