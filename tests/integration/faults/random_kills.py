"""A run that is killed at random: which of its processes, when, and what is left behind.

A `Disturbed` run is started, has its kills (one seed, one sequence of them), and is started again
wherever it ended early. The victims are its own process, any process below it, and the Prefect
server that it reports to.
"""

import contextlib
import random
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from east_core.store.manifest import RECORD_NAME, decode_record
from tests.integration.faults.bench import wait_until
from tests.integration.faults.scene import NAME, STAGES, Ended, Engines, Scene, Started
from tests.integration.scripted_children import ENGINE, RANK

Role = Literal["run", "below", "server"]
# How long after the last record a kill comes at most, and how long a start takes about, in seconds.
SPANS: dict[Engines, tuple[float, float]] = {"scripted": (0.8, 6.0), "real": (10.0, 30.0)}
ROLES: tuple[Role, ...] = ("run",) * 8 + ("below",) * 9 + ("server",) * 3  # type: ignore[assignment]
END_SECONDS = 60.0
AHEAD = 6  # stages: kills come one after the other, and the last one before the run's end
KINDS = (
    ("supervisor", "east_core.engines.supervise"),
    ("server", "uvicorn"),
    ("grader", "grading_worker.py"),
    ("grader", "function_worker.py"),
    ("engine", "east_core.engines.vllm.worker"),
    ("engine", ENGINE),
    ("rank", "east_core.engines.trl.fork_server"),
    ("rank", RANK),
)
NO_ARTIFACTS = {"live.json", ".scratch"}  # the latter empty


@dataclass(frozen=True)
class Kill:
    """Who was killed, when, and how long what was below it outlived it."""

    victim: str
    moment: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.victim}, {self.moment}"


@dataclass
class Disturbed:
    """A run of a scene, killed `wanted` times. `own_server`: it has a Prefect server of its own."""

    scene: Scene
    rng: random.Random
    wanted: int
    own_server: bool = False
    kills: list[Kill] = field(default_factory=list)
    starts: int = 0
    _is_disturbed: bool = False  # since its last start

    def carry_out(self) -> Ended:
        """Run to the end. Raises AssertionError where it ends early and nobody killed it."""
        run = self._start()
        while len(self.kills) < self.wanted and (moment := self._moment(run)):
            if run.process.poll() is None:
                self._strike(run, moment)
            if (status := run.process.poll()) is not None:
                if status == 0:
                    break
                run = self._again(run)
        ended = run.end()
        while ended.status and self._is_disturbed:
            ended = self._again(run).end()
        return ended

    def _start(self) -> Started:
        self.starts += 1
        self._is_disturbed = False
        if self.own_server:
            return self.scene.start(PREFECT_HOME=str(self.scene.folder / "prefect"))
        if self.scene.engines == "scripted":
            return self.scene.fork_on_server()
        return self.scene.start_on_server()

    def _again(self, run: Started) -> Started:
        assert self._is_disturbed, f"it ended by itself: {run.end().output[-2000:]}"
        return self._start()

    def _moment(self, run: Started) -> str:
        """Wait for a random moment, or for the run's end; empty where no stage is left."""
        first = self._done()
        if first >= len(STAGES):
            return ""
        stage = self.rng.randrange(first, min(first + AHEAD, len(STAGES)))
        span, start = SPANS[self.scene.engines]
        delay = self.rng.uniform(0, start if stage == first else span)
        wait_until(
            lambda: time.sleep(0.05) or self._has_ended(run) or self._done() >= stage,
            f"the record of {STAGES[stage - 1]}", 900,
        )  # fmt: skip
        began = time.monotonic()
        while time.monotonic() < began + delay and not self._has_ended(run):
            time.sleep(0.02)
        return f"{delay:.2f} s after " + (STAGES[stage - 1] if stage > first else "a start or kill")

    def _has_ended(self, run: Started) -> bool:
        return run.process.poll() is not None

    def _done(self) -> int:
        """How many stages have a record; benchmarks and scores are those of the one benchmark."""
        names = {re.sub(r"(benchmarks|scores)/.*", r"\1", name) for name in recorded(self.scene)}
        return sum(stage in names for stage in STAGES)

    def _strike(self, run: Started, moment: str) -> None:
        """Kill somebody, and see that nothing lives that should not."""
        role = self.rng.choice(ROLES)
        self.scene.struck = self.scene.records() | self.scene.struck
        pick = self.rng.random()
        self._is_disturbed = True
        if role == "server" and not self.own_server:
            self.scene.bench.kill_server()
            self.scene.bench.start_server()
            self.kills.append(Kill("server", moment))
        elif role == "run" or not (victim := chosen(run.process.pid, role, pick)):
            run.process.kill()
            if run.process.wait() == -signal.SIGKILL:  # else it was faster
                self.kills.append(Kill("run", moment, gone(self.scene)))
        else:
            kind = kind_of(victim)
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
            self.kills.append(Kill(kind, moment))


def chosen(pid: int, role: Role, pick: float) -> psutil.Process | None:
    """One of the processes below a run, or its server; `pick` from 0 to 1 says which."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(pid).children(recursive=True)
        if role == "server":
            below = [process for process in below if kind_of(process) == "server"]
        return below[int(pick * len(below))] if below else None
    return None


def kind_of(process: psutil.Process) -> str:
    """What a process below a run is."""
    with contextlib.suppress(psutil.Error):
        command = process.cmdline()
        for kind, word in KINDS:
            if any(part == word or part.endswith(f"/{word}") for part in command):
                return kind
        return process.name()
    return "ended"


def living(scene: Scene) -> Iterator[psutil.Process]:
    """Processes that were started by the scene's runs, wherever they are in the tree."""
    mine = scene.environment()["EAST_CACHE"]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_mine = process.environ().get("EAST_CACHE") == mine
            if is_mine and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def gone(scene: Scene) -> float:
    """Wait until none of them lives; the seconds that it took. Raises AssertionError."""
    began = time.monotonic()
    while left := list(living(scene)):
        told = [f"{process.pid} {kind_of(process)}" for process in left]
        assert time.monotonic() < began + END_SECONDS, f"{told} outlived their run"
        time.sleep(0.1)
    return time.monotonic() - began


def recorded(scene: Scene) -> set[str]:
    """The addresses that have a record now."""
    if not scene.on_s3:
        paths = scene.run_folder.rglob(RECORD_NAME)
        return {path.parent.relative_to(scene.run_folder).as_posix() for path in paths}
    prefix = f"{scene.name}/{NAME}/"
    keys = [key.removeprefix(prefix) for key in scene.bench.s3.keys(prefix)]
    return {key.removesuffix(f"/{RECORD_NAME}") for key in keys if key.endswith(RECORD_NAME)}


def left_behind(scene: Scene) -> list[str]:
    """What kills left on disk and in the store: files of no artifact, half ones, scratch, locks."""
    found = [*_in_store(scene)]
    for folder, is_left in (
        ("cache", _is_half_made),
        ("home", _is_half_made),
        ("tmp", lambda path: True),
    ):
        base = scene.folder / folder
        found += [f"{folder}/{path.relative_to(base)}" for path in base.rglob("*") if is_left(path)]
    return sorted(found)


def _is_half_made(path: Path) -> bool:
    return path.name.endswith(".partial") or "scratch" in path.parent.parts


def _in_store(scene: Scene) -> Iterator[str]:
    """The store's files that no record lists; in a folder, scratch and whatever else is there."""
    listed = set(NO_ARTIFACTS)
    for address, data in scene.records().items():
        record = decode_record(data, address)
        folder = "/".join(filter(None, (address, record.folder)))
        listed |= {f"{address}/{RECORD_NAME}"} | {f"{folder}/{file.path}" for file in record.files}
    if scene.on_s3:
        prefix = f"{scene.name}/"
        there = [key.removeprefix(prefix) for key in scene.bench.s3.keys(prefix)]
    else:
        store = scene.run_folder.parent
        there = [path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_file()
                 or not any(path.iterdir())]  # fmt: skip
    yield from (f"store/{path}" for path in there if path.removeprefix(f"{NAME}/") not in listed)
