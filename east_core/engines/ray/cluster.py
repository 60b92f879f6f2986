"""A Ray cluster as the machine that stages run on: connecting, and actors that may be lost.

Ray core and nothing above it: an actor holds an engine for as long as the stage lasts, an item of
work is one call, and Ray decides where the actors live, restarts nothing, and adds or gives back
machines. docs/clusters.md says why. Ray is an optional extra; only what is called here imports it.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from east_core.errors import ConfigError, EastError, EngineError, MachineLost

Work = TypeVar("Work")
Result = TypeVar("Result")
LOSSES = 3  # an item that lost so many machines is what kills them
LOOK_AHEAD = 4  # items a worker that may be finished before the first of them is
WAIT_SECONDS = 30.0
_CONNECT_SECONDS = 10.0
log = logging.getLogger(__name__)


def connect(address: str) -> None:
    """Join a Ray cluster as its driver; nothing where this process has joined already.

    `address` is host:port, or "auto" for the one in RAY_ADDRESS or on this machine.
    Raises ConfigError where Ray is not installed, EngineError where the cluster can't be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "resources.ray needs Ray; install it here and on every node: "
            "pip install 'east-self-training[ray]'"
        ) from None
    if ray.is_initialized():
        return
    _require_listener(address)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        with ThreadPoolExecutor(1) as aside:  # where Ray can't take over our signal handlers
            aside.submit(lambda: ray.init(address, namespace="east", **options)).result()
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise EngineError(
            f"the Ray cluster at {address} can't be joined: {reason}; `ray status` there tells "
            "more, and its Ray and Python must be of the versions here"
        ) from error


def cluster_facts(address: str) -> str:
    """What a Ray cluster has at present, as a phrase. Raises as `connect` does."""
    connect(address)
    import ray

    nodes = sum(node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]
    has = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus, cores = has.get("GPU", 0), has.get("CPU", 0)
    return f"Ray {ray.__version__} at {address}: {nodes} nodes, {gpus:.0f} GPUs, {cores:.0f} cores"


def _require_listener(address: str) -> None:
    """Fail in seconds where Ray itself would wait for minutes."""
    place = os.environ.get("RAY_ADDRESS", address) if address == "auto" else address
    host, _, port = place.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"nothing answers at {place}, the Ray cluster of resources.ray: {error}; start it "
            "(ray start --head), or correct the address"
        ) from error


def actor(kind: type, cpus: float, gpus: float, *arguments: object) -> Any:
    """Start an actor of class `kind` where there is room, spread over the machines.

    It is never restarted: whoever uses it decides what its loss means.
    """
    import ray

    options = {"num_cpus": cpus, "num_gpus": gpus, "max_restarts": 0}
    return ray.remote(kind).options(**options, scheduling_strategy="SPREAD").remote(*arguments)


def outcome(ref: Any) -> Any:
    """What a finished call gave.

    Raises the EastError that it raised, EngineError for any other failure of our code there, and
    MachineLost where its machine (or its process) is gone.
    """
    import ray
    from ray.exceptions import RayError, RayTaskError

    try:
        return ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EastError):
            raise cause from error
        raise EngineError(f"on a node of the cluster: {type(cause).__name__}: {cause}") from error
    except RayError as error:
        raise MachineLost((str(error).strip().splitlines() or [type(error).__name__])[0]) from error


def end(owner: Any) -> None:
    """End an actor, and with it the processes that it owns."""
    import ray

    ray.kill(owner)


@dataclass
class WorkItem(Generic[Work]):
    """An item of work on its way: its place in the order, and how often its machine was lost."""

    number: int
    work: Work
    losses: int = 0


class ActorPool(Generic[Work, Result]):
    """`size` actors that work through items; what a lost machine had is done again by another.

    `start` starts an actor, which needs a method `ready`; `call` gives it an item and returns the
    reference to its result. An actor works on one item at a time, and one whose machine comes later
    joins in. `hours` is the longest that nothing may come from any of them.
    """

    def __init__(
        self,
        start: Callable[[], Any],
        call: Callable[[Any, Work], Any],
        size: int,
        hours: float,
    ) -> None:
        self._start, self._call, self._size, self._hours = start, call, size, hours
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}
        self._running: dict[Any, tuple[Any, WorkItem[Work]]] = {}
        self._lost: list[WorkItem[Work]] = []
        self._failed_starts = 0

    def map(self, items: Iterable[Work]) -> Iterator[Result]:
        """The items' results in their order; items are taken as they are needed.

        Raises EngineError where an item lost LOSSES machines, and what the calls raise. The pool is
        closed then, as it is where the caller stops early.
        """
        is_done = False
        try:
            yield from self._in_order(WorkItem(*numbered) for numbered in enumerate(items))
            is_done = True
        finally:
            if not is_done:
                self.close()

    def close(self) -> None:
        """End every actor, and with it the processes that it owns."""
        working = [owner for owner, _ in self._running.values()]
        for owner in [*self._idle, *self._starting.values(), *working]:
            end(owner)
        self._idle, self._starting, self._running, self._lost = [], {}, {}, []

    def _in_order(self, items: Iterator[WorkItem[Work]]) -> Iterator[Result]:
        done: dict[int, Result] = {}
        following = 0
        while True:
            self._start_missing_actors()
            while self._idle and (item := self._next_item(items, len(done))):
                owner = self._idle.pop()
                self._running[self._call(owner, item.work)] = owner, item
            if self._idle and not self._running:
                return
            for ref in self._finished():
                done.update(self._collect(ref))
            while following in done:
                yield done.pop(following)
                following += 1

    def _start_missing_actors(self) -> None:
        """Start the actors that are missing."""
        for _ in range(self._size - len(self._idle) - len(self._starting) - len(self._running)):
            owner = self._start()
            self._starting[owner.ready.remote()] = owner

    def _next_item(self, items: Iterator[WorkItem[Work]], unordered: int) -> WorkItem[Work] | None:
        """What was lost comes first; nothing new while too many results wait for their turn."""
        if self._lost:
            return self._lost.pop(0)
        return next(items, None) if unordered < LOOK_AHEAD * self._size else None

    def _finished(self) -> list[Any]:
        """References to what has ended. Raises EngineError after `hours` of silence."""
        import ray

        references = [*self._running, *self._starting]
        deadline = time.monotonic() + self._hours * 3600
        while time.monotonic() < deadline:
            ended, _ = ray.wait(references, num_returns=1, timeout=WAIT_SECONDS)
            if ended:
                return list(ended)
            if not self._running:
                log.info("waiting for room in the cluster for %d workers", len(self._starting))
        raise EngineError(f"the cluster said nothing for {self._hours} h; `ray status` tells more")

    def _collect(self, ref: Any) -> dict[int, Result]:
        """The result behind `ref` by its number; nothing for an actor that is ready, or lost."""
        if ref in self._starting:
            self._add_started(ref)
            return {}
        owner, item = self._running.pop(ref)
        try:
            result = outcome(ref)
        except MachineLost as loss:
            self._requeue(owner, item, loss)
            return {}
        self._idle.append(owner)
        return {item.number: result}

    def _add_started(self, ref: Any) -> None:
        owner = self._starting.pop(ref)
        try:
            outcome(ref)
        except MachineLost as loss:
            self._failed_starts += 1
            if self._failed_starts > LOSSES * self._size:
                raise EngineError(f"workers of the cluster do not start: {loss}") from loss
            return
        self._failed_starts = 0
        self._idle.append(owner)

    def _requeue(self, owner: Any, item: WorkItem[Work], loss: MachineLost) -> None:
        """Let another machine do what a lost one had."""
        end(owner)  # it may only be out of reach, and must not come back
        item.losses += 1
        if item.losses == LOSSES:
            raise EngineError(
                f"{LOSSES} machines were lost while they worked on part {item.number + 1} of the "
                f"stage; the last: {loss}"
            ) from loss
        log.warning("part %d of the stage is done again: %s", item.number + 1, loss)
        self._lost.append(item)
