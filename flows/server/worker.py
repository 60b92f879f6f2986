"""A worker for machines that are taken away: told to end, it gives its runs back to the pool.

A Slurm allocation and a spot machine end a little after a SIGTERM. Prefect's worker would leave its
runs Crashed, or Running for ever; here they wait in the pool again, and the next worker goes on
with them behind their last finished stage or shard.
"""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import psutil

from east_core.engines.supervise import die_with_parent
from east_core.errors import EngineError
from flows.server.connection import end_service, require_server
from flows.server.stack import end_flow_runs

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

GIVEN_BACK = 75  # the exit status where runs wait for another worker; sysexits.h: try again later
TAKEN_AWAY = "the machine is taken away; the run waits for another worker, which goes on with it"
LOOK_SECONDS = 1.0
ENGINES_SECONDS = 10.0  # what supervises an engine needs to end it
_RUN = "PREFECT__FLOW_RUN_ID"
# A stage whose engine was ended under it may fail before its flow hears that it is to end.
_CUT_OFF = {"RUNNING", "PENDING", "CRASHED", "FAILED"}
_WORKER = "prefect.worker.name"


def serve_pool(pool: str, name: str, limit: int) -> list[str]:
    """Serve a pool until SIGTERM or Ctrl-C; return the names of the runs that were given back.

    Raises EngineError or ConfigError where the server can't be used, EngineError where Prefect's
    worker ends by itself.
    """
    require_server()
    asked = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: asked.set())
    command = ["-m", "prefect", "worker", "start", "--pool", pool, "--name", name]
    worker = subprocess.Popen(
        [sys.executable, *command, "--limit", str(limit)],
        preexec_fn=die_with_parent,  # noqa: PLW1509 one call of the kernel, which takes no lock
    )
    held: set[str] = set()
    while not asked.wait(LOOK_SECONDS):
        if worker.poll() is not None:
            raise EngineError(f"Prefect's worker ended with status {worker.returncode}; see above")
        held = runs_below(worker.pid)
    held |= runs_below(worker.pid)
    end_worker(worker)
    return give_back(pool, name, held)


def runs_below(worker: int) -> set[str]:
    """The ids of the runs whose processes a worker has started."""
    found = set()
    for process in _children(worker):
        try:
            found.add(process.environ().get(_RUN, ""))
        except psutil.Error:
            continue  # it has just ended
    return found - {""}


def end_worker(worker: "subprocess.Popen[bytes]") -> None:
    """End a worker's runs, then the worker; nothing that they started is left."""
    below = _children(worker.pid, recursive=True)
    end_flow_runs(worker.pid)
    end_service(worker)
    for left in psutil.wait_procs(below, timeout=ENGINES_SECONDS)[1]:
        left.kill()


def give_back(pool: str, name: str, held: Iterable[str]) -> list[str]:
    """Let the runs of a worker that has ended wait in the pool again; return their names.

    Those are the runs whose processes it has `held`, and what it had only just taken. A run that
    came to its end, or that a person has cancelled, stays as it is.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        taken = {*held, *_under_way(client, pool, name)}
        return [told for run in sorted(taken) if (told := _wait_again(client, run))]


def _under_way(client: "SyncPrefectClient", pool: str, name: str) -> list[str]:
    """The ids of the pool's runs that the server takes for this worker's, and for under way."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType

    types = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    runs = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=types)),
        work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool])),
    )
    return [str(run.id) for run in runs if run.labels.get(_WORKER) == name]


def _wait_again(client: "SyncPrefectClient", run_id: str) -> str | None:
    """Put a run behind those that wait; its name, or None where it has an end of its own."""
    from uuid import UUID

    from prefect.states import AwaitingRetry, Crashed

    run = client.read_flow_run(UUID(run_id))
    if run.state is None or run.state.type.value not in _CUT_OFF:
        return None
    if not run.state.is_crashed():  # who watches for crashes must hear that it no longer runs
        client.set_flow_run_state(run.id, Crashed(message=TAKEN_AWAY), force=True)
    client.set_flow_run_state(run.id, AwaitingRetry(message=TAKEN_AWAY))
    return run.name


def _children(pid: int, recursive: bool = False) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = psutil.Process(pid).children(recursive)
        return found
    except psutil.NoSuchProcess:
        return []
