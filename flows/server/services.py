"""Processes beside a command (Prefect's server, its worker): started, waited for, ended, logged."""

import contextlib
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from east_core.engines.supervise import die_with_parent
from east_core.errors import EngineError

HOST = "127.0.0.1"
START_SECONDS, END_SECONDS = 180.0, 15.0


def server_command(app: str, *where: object) -> list[str]:
    """The arguments of python that serve an application of flows.server.application.

    `where` are uvicorn's options: --host and --port, or --fd.
    """
    calm = ("--log-level", "warning", "--timeout-graceful-shutdown", "2")
    served = ("--factory", f"flows.server.application:{app}")
    return ["-m", "uvicorn", *served, *map(str, where), *calm]


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
