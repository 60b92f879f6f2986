"""What `east up` runs: Prefect's server on loopback, a process pool, a worker, the deployments.

The server keeps its SQLite database in PREFECT_HOME (.east/prefect), the same that `east run`
uses without a server, so earlier runs and those before a restart stay in the UI.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from east_core.errors import ConfigError, EngineError
from flows.server.application import SHOWN_STORE
from flows.server.connection import (
    ADDRESS_FILE,
    HOST,
    end_service,
    running_address,
    server_command,
    service_log,
    start_service,
    use_project_settings,
    wait_for_server,
)
from flows.server.setup import POOL, crash_orphans, pool_is_ready, prepare_server

WORKER_SECONDS = 120.0
# Time for a flow to report its end, which includes ending its engines.
FLOW_SECONDS = 20.0
DEPLOYMENTS = Path(__file__).parents[2] / "infra" / "prefect.yaml"


@dataclass
class ServerStack:
    """A running server with its worker."""

    url: str
    server: "subprocess.Popen[bytes]"
    worker: "subprocess.Popen[bytes]"

    def watch(self) -> None:
        """Return on Ctrl-C or SIGTERM; start another worker where one has ended.

        Raises EngineError when the server ends.
        """
        asked = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: asked.set())
        while not asked.wait(1.0):
            if self.server.poll() is not None:
                log = service_log("server")
                raise EngineError(f"Prefect's server has ended; see {log}, then again")
            if self.worker.poll() is not None:
                self.worker = start_service("worker", _worker_command())

    def close(self) -> None:
        """End the runs, then the worker."""
        end_flow_runs(self.worker.pid)
        end_service(self.worker)


@contextlib.contextmanager
def server_stack(
    port: int, deployments: Path = DEPLOYMENTS, store: str = ".east/store", watch: float = 0
) -> Iterator[ServerStack]:
    """Server, pool, limits, automations, deployments and worker; ended in order on leaving.

    New questions are looked for every `watch` seconds, where that is not 0.

    Raises ConfigError where one is running in this folder, the port is taken or the file of
    deployments is missing, EngineError where the server does not start.
    """
    if running_here := running_address():
        ui = running_here.removesuffix("/api")
        raise ConfigError(f"already running at {ui}; open that, or end it first (Ctrl-C there)")
    use_project_settings()
    require_free(port)
    require_file(deployments)
    url = f"http://{HOST}:{port}"
    os.environ["PREFECT_API_URL"] = f"{url}/api"
    os.environ[SHOWN_STORE] = store
    os.environ["EAST_WORKDIR"] = str(Path.cwd())  # where runs of the worker start
    with contextlib.ExitStack() as stack:
        server = start_service(
            "server", server_command("create_app", "--host", HOST, "--port", port)
        )
        stack.callback(end_service, server)
        wait_for_server(f"{url}/api/health", server)
        stack.enter_context(_address_published(f"{url}/api"))
        prepare_server(deployments)
        crash_orphans()
        running = ServerStack(url, server, start_service("worker", _worker_command()))
        stack.callback(running.close)
        _wait_for_worker(running)
        if watch:
            stack.callback(end_service, start_service("watch", _watch_command(watch)))
        yield running


def end_flow_runs(worker_pid: int) -> None:
    """Ask the worker's flow runs to stop, while there is a server to hear that they did.

    They end as Crashed and can be run again; what has not stopped in time is killed.
    """
    with contextlib.suppress(psutil.NoSuchProcess):
        runs = psutil.Process(worker_pid).children()
        for run in runs:
            run.terminate()
        for run in psutil.wait_procs(runs, timeout=FLOW_SECONDS)[1]:
            run.kill()


def _worker_command() -> list[str]:
    name = f"worker on {socket.gethostname()}"
    return ["-m", "prefect", "worker", "start", "--pool", POOL, "--name", name]


def _watch_command(every: float) -> list[str]:
    east = "from flows.commands.main import main; main()"
    return ["-c", east, "watch", "--every", str(every)]


def _wait_for_worker(running: ServerStack) -> None:
    """Return when the pool is Ready: before that the UI calls every deployment Not Ready."""
    deadline = time.monotonic() + WORKER_SECONDS
    while time.monotonic() < deadline and running.worker.poll() is None:
        if pool_is_ready():
            return
        time.sleep(0.5)
    raise EngineError(f"Prefect's worker did not come up; see {service_log('worker')}")


@contextlib.contextmanager
def _address_published(api_url: str) -> Iterator[None]:
    """Let `east run` in this folder find the server while it is up."""
    file = Path(os.environ["PREFECT_HOME"]) / ADDRESS_FILE
    file.write_text(api_url)
    try:
        yield
    finally:
        if file.is_file() and file.read_text() == api_url:
            file.unlink()


def require_free(port: int, host: str = HOST) -> None:
    """Raises ConfigError where something listens at the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise ConfigError(
                f"port {port} is taken, perhaps by an `east up` that is running already; "
                "open it, stop it, or choose another one with --port"
            ) from None


def require_file(deployments: Path) -> Path:
    """The file of deployments. Raises ConfigError where there is none."""
    if not deployments.is_file():
        raise ConfigError(f"{deployments}: no such file; name your prefect.yaml with --deployments")
    return deployments
