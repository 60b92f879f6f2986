"""torchrun's agents on a Ray cluster: one on each machine, the same for one machine and for many.

Ray finds machines that have all the GPUs at once (a placement group) and holds them for the stage;
between the ranks there is only torchrun's rendezvous, as in any other launch. The end of one agent
ends them all: ranks that lost a peer would wait in a collective that never comes.

The machines share a disk: the ranks of all of them write one training checkpoint, and a retry may
find itself on other machines.
"""

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.config import Resources
from east_core.engines.processes import engine_process
from east_core.engines.ray.cluster import WAIT_SECONDS, connect, end, outcome
from east_core.errors import ConfigError, EngineError, MachineLost

LAST_OUTPUT_SECONDS = 10.0
KILLED = 128  # plus the signal's number: the status of a killed process
Command = Callable[[Sequence[str]], list[str]]
log = logging.getLogger(__name__)


class Agent:
    """One machine's torchrun."""

    def ready(self) -> tuple[str, int]:
        """This machine's address in the cluster, and a free port there."""
        import ray

        address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        with socket.socket() as probe:
            probe.bind((address, 0))
            return address, int(probe.getsockname()[1])

    def missing_files(self, job: Path, content: bytes, folders: Sequence[Path]) -> list[str]:
        """What this machine does not see as the driver does: the job's file, and folders."""
        is_same = job.is_file() and job.read_bytes() == content
        missing = [str(folder) for folder in folders if not folder.is_dir()]
        return missing if is_same else [str(job), *missing]

    def run(self, command: list[str], environment: Mapping[str, str]) -> Iterator[str]:
        """Run torchrun, in this machine's Python of engines, and yield its output line by line.

        Raises MachineLost where it was killed, EngineError where it fails otherwise.
        """
        with engine_process(command, environment) as child:
            yield from child.lines()
            status = child.wait()
        if status > KILLED:
            raise MachineLost(f"torchrun was killed by {signal.Signals(status - KILLED).name}")
        if status:
            raise EngineError(f"torchrun ended with status {status}; {child.last_output()}")


@dataclass(frozen=True)
class Launch:
    """What the agents run: `command` makes torchrun's arguments out of those of a rendezvous.

    `job` is the file that tells the ranks what to do, `folders` what it speaks of.
    """

    command: Command
    environment: Mapping[str, str]
    job: Path
    folders: Sequence[Path]


def run_agents(
    launch: Launch, resources: Resources, on_line: Callable[[str], None], timeout: float
) -> None:
    """Run the ranks of `launch` on `resources.nodes` machines to their end.

    Raises ConfigError where a machine does not share the disk, MachineLost where one is lost or its
    agent killed, EngineError where an agent fails, or after `timeout` seconds. No agent is left
    when this returns or raises.
    """
    assert resources.ray is not None
    connect(resources.ray)
    deadline = time.monotonic() + timeout
    with _agents(resources, deadline) as agents:
        places = [outcome(agent.ready.remote()) for agent in agents]
        for agent, (address, _) in zip(agents, places, strict=True):
            _require_shared_disk(agent, address, launch)
        streams = {
            agent.run.options(num_returns="streaming").remote(
                launch.command(_rendezvous(places, rank)), launch.environment
            ): places[rank][0]
            for rank, agent in enumerate(agents)
        }
        _follow(streams, on_line, deadline)


def _rendezvous(places: Sequence[tuple[str, int]], rank: int) -> list[str]:
    """torchrun's arguments on machine `rank`: all meet at the first one's address."""
    host, port = places[0]
    return [
        f"--nnodes={len(places)}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={host}:{port}",
        f"--rdzv-id=east-{port}",
        f"--rdzv-conf=is_host={int(rank == 0)}",
        f"--local-addr={places[rank][0]}",
    ]


@contextmanager
def _agents(resources: Resources, deadline: float) -> Iterator[list[Any]]:
    """An agent on each of `resources.nodes` machines, which are held until the end."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    ranks = float(resources.processes_per_node)
    needs = {"CPU": ranks} if resources.device == "cpu" else {"CPU": 1.0, "GPU": ranks}
    group = placement_group([needs] * resources.nodes, strategy="STRICT_SPREAD")
    agents: list[Any] = []
    try:
        _wait_for_room(group, f"{resources.nodes} machines with {needs}", deadline)
        for index in range(resources.nodes):
            options = {
                "num_cpus": needs["CPU"],
                "num_gpus": needs.get("GPU", 0),
                "scheduling_strategy": PlacementGroupSchedulingStrategy(group, index),
            }
            agents.append(ray.remote(Agent).options(**options).remote())
        yield agents
    finally:
        for agent in agents:
            end(agent)
        remove_placement_group(group)


def _wait_for_room(group: Any, wanted: str, deadline: float) -> None:
    while not group.wait(WAIT_SECONDS):
        if time.monotonic() > deadline:
            raise EngineError(f"the cluster had no room for {wanted}; `ray status` tells more")
        log.info("waiting for room in the cluster for %s", wanted)


def _require_shared_disk(agent: Any, address: str, launch: Launch) -> None:
    content = launch.job.read_bytes()
    lacking = outcome(agent.missing_files.remote(launch.job, content, list(launch.folders)))
    if lacking:
        raise ConfigError(
            f"machine {address} of the cluster does not see {', '.join(lacking)}: put "
            "EAST_SCRATCH, EAST_CACHE and the base model on a disk that all machines share"
        )


def _follow(streams: dict[Any, str], on_line: Callable[[str], None], deadline: float) -> None:
    """Pass on what the agents print until all have ended well.

    Raises EngineError as soon as one has not, after the others' last words, and MachineLost where
    one was killed: who tells of a broken connection is rarely the one that broke it.
    """
    import ray

    failures: list[EngineError] = []
    while streams and (left := deadline - time.monotonic()) > 0:
        ready, _ = ray.wait([*streams], num_returns=1, timeout=min(left, WAIT_SECONDS))
        for stream in ready:
            try:
                on_line(outcome(next(stream)))  # type: ignore[arg-type]
            except StopIteration:
                del streams[stream]
            except EngineError as error:
                failures.append(type(error)(f"machine {streams.pop(stream)}: {error}"))
                deadline = min(deadline, time.monotonic() + LAST_OUTPUT_SECONDS)
    if failures:
        raise next((each for each in failures if isinstance(each, MachineLost)), failures[0])
    if streams:
        raise EngineError("training took longer than resources.stage_timeout_hours")
