"""One row of the fault table: a run in a folder of its own, and what became of its records.

A `Scene` starts the run, waits for the place where the fault belongs, and afterwards tells what is
recorded.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from east_core.store.manifest import RECORD_NAME, decode_record
from east_core.testing.fakes import write_model
from east_core.testing.s3_servers import BUCKET, S3Server
from tests.integration.faults.bench import Bench, Forked, wait_until
from tests.integration.faulty_proxy import FaultyProxy, faulty_proxy

SCRIPTED_EAST = Path(__file__).parents[1] / "scripted_east.py"
Engines = Literal["real", "scripted"]
NAME = "faults"
LONGEST_RUN = 900.0
# A run's stages in the order in which they are recorded.
STAGES = (
    "config", "base-model", "questions", "benchmarks", "round-00/scores", "round-00/report",
    "round-01/samples", "round-01/weights", "round-01/examples", "round-01/checkpoint",
    "round-01/scores", "round-01/report",
)  # fmt: skip
REAL = """
name = "faults"
store = "{store}"
rounds = 1
[questions]
path = "builtin:train.jsonl"
limit = 60
[benchmarks.problems]
path = "builtin:test.jsonl"
limit = 20
[sampling]
samples_per_question = 32
max_tokens = 64
[training]
loss = "sft"
learning_rate = 1e-4
epochs = 2
global_batch_size = 4
[evaluation]
max_tokens = 64
[resources]
device = "cpu"
processes = 2
micro_batch_size = 2
zero_stage = 2
shard_questions = 20
kv_cache_gib = 0.25
checkpoint_every_steps = 2
"""
SCRIPTED = """
name = "faults"
store = "{store}"
rounds = 1
[model]
name = "{folder}/model"
[questions]
path = "{folder}/questions.jsonl"
[benchmarks.sums]
path = "{folder}/questions.jsonl"
[sampling]
samples_per_question = 6
[resources]
shard_questions = 15
"""
Records = dict[str, bytes]


@dataclass(frozen=True)
class Ended:
    """A run that ended: its exit status and what it wrote."""

    status: int
    output: str

    @property
    def line(self) -> str:
        """The one line that tells the user what happened."""
        told = [line for line in self.output.splitlines() if line.startswith("east: ")]
        return told[-1].removeprefix("east: ") if told else f"exit status {self.status}"

    def told(self, pattern: str) -> str:
        """The first part of the output that matches. Raises AssertionError where none does."""
        found = re.search(pattern, self.output)
        assert found is not None, f"{pattern!r} is not in:\n{self.output[-3000:]}"
        return found[0]


@dataclass
class Scene:
    """One row's run: its folder, its store, and the records seen when the fault struck.

    `extra` is added to its environment; `program` is what runs where the engines are scripted.
    `rerun` runs it again where `east run` is not the way, and
    `unrepeated` is what the rerun's output must not show.
    """

    bench: Bench
    name: str
    engines: Engines
    on_s3: bool = False
    extra: dict[str, str] = field(default_factory=dict)
    program: Path = SCRIPTED_EAST
    struck: Records = field(default_factory=dict)
    unrepeated: str = ""
    rerun: Callable[[], Ended] | None = None
    _proxy: FaultyProxy | None = None
    _runs: int = 0

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if self.on_s3:
            self._proxy = self.bench.ends.enter_context(faulty_proxy(self.bench.s3))
        if self.engines == "scripted":
            write_model(self.folder / "model")
            (self.folder / "questions.jsonl").write_text(sums(40))
        self.config.write_text(self.toml)

    @property
    def proxy(self) -> FaultyProxy:
        """What stands between the run and S3."""
        assert self._proxy is not None
        return self._proxy

    @property
    def folder(self) -> Path:
        """The row's folder, empty at its start."""
        return self.bench.work / "runs" / self.name

    @property
    def config(self) -> Path:
        """The run's config file."""
        return self.folder / "run.toml"

    @property
    def toml(self) -> str:
        """The run's settings."""
        text = REAL if self.engines == "real" else SCRIPTED
        return text.format(store=self.store, folder=self.folder)

    @property
    def store(self) -> str:
        """The URL of the run's store."""
        return f"s3://{BUCKET}/{self.name}" if self.on_s3 else str(self.folder / "store")

    @property
    def run_folder(self) -> Path:
        """The run's artifacts in a local store."""
        return self.folder / "store" / NAME

    def environment(self) -> dict[str, str]:
        """The environment of the run's processes."""
        env = self.bench.environment() | {"EAST_CACHE": str(self.folder / "cache")}
        if self._proxy is not None:
            env |= self.bench.s3.environment(self._proxy.endpoint)
        return env | self.extra

    def start_before(self, before: str) -> None:
        """Start from what the undisturbed run had recorded before a stage."""
        source = self.bench.work / "runs" / f"baseline-{self.engines}" / "store" / NAME
        for stage in STAGES[: STAGES.index(before)]:
            if self.on_s3:
                put_tree(self.bench.s3, source / stage, f"{self.name}/{NAME}/{stage}")
            else:
                shutil.copytree(source / stage, self.run_folder / stage)

    def start(self, config: Path | None = None, **extra: str) -> "Started":
        """Start `east run` (or its scripted likeness) and return at once."""
        self._runs += 1
        program = [str(self.program)]
        if self.engines == "real":
            program = ["-c", "from flows.commands.main import main; main()"]
        name = f"{self.name}-{self._runs}"
        log = self.bench.work / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        arguments = [*program, "run", str(config or self.config)]
        process = self.bench.spawn(name, arguments, self.environment() | extra)
        return Started(process, log)

    def fork_on_server(self) -> "Started":
        """`start_on_server` of a `program` that forks: quicker by its imports."""
        self._runs += 1
        name = f"{self.name}-{self._runs}"
        env = self.environment()
        process = self.bench.fork(self.program, name, ["run", str(self.config)], env)
        return Started(process, self.bench.work / "logs" / f"{name}.log")

    def start_on_server(self) -> "Started":
        """`start`, told to the bench's Prefect server instead of one of its own: quicker."""
        return self.start(PREFECT_API_URL=self.bench.prefect_url)

    def run(self) -> Ended:
        """Run to the end."""
        return self.start_on_server().end()

    def records(self) -> Records:
        """The bytes of every record of the run, by address within it."""
        found = self._objects() if self.on_s3 else self._files()
        return {
            path.removesuffix(f"/{RECORD_NAME}"): data
            for path, data in found.items()
            if path.endswith(f"/{RECORD_NAME}")
        }

    def contents(self) -> dict[str, str]:
        """The content hash of every artifact; `config` names its store and is left out."""
        return {
            address: decode_record(data, address).content
            for address, data in self.records().items()
            if address != "config"
        }

    def strike(self) -> None:
        """Remember what is recorded now: none of it may be made again."""
        self.struck = self.records()

    def scratch(self, pattern: str) -> list[Path]:
        """Files of unfinished builds."""
        place = "cache/scratch" if self.on_s3 else "store/.scratch"
        return list((self.folder / place).glob(pattern))

    def _files(self) -> Records:
        paths = self.run_folder.rglob(RECORD_NAME)
        return {path.relative_to(self.run_folder).as_posix(): path.read_bytes() for path in paths}

    def _objects(self) -> Records:
        client, prefix = self.bench.s3.client(), f"{self.name}/{NAME}/"
        return {
            key.removeprefix(prefix): client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
            for key in self.bench.s3.keys(prefix)
            if key.endswith(RECORD_NAME)
        }


@dataclass(frozen=True)
class Row:
    """One fault, and how a run is disturbed by it; `disturb` returns what the user is told."""

    name: str
    fault: str
    disturb: Callable[[Scene], str]
    engines: Engines = "real"
    on_s3: bool = False
    mounts: bool = False  # a small disk, which needs root


@dataclass
class Started:
    """A run's process and its log."""

    process: "subprocess.Popen[bytes] | Forked"
    log: Path

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def end(self) -> Ended:
        """Wait for the end."""
        return Ended(self.process.wait(LONGEST_RUN), self.output)

    def engine(self) -> psutil.Process | None:
        """The process that samples, once there is one."""
        return first(self.process.pid, "east_core.engines.vllm.worker")

    def ranks(self) -> list[psutil.Process]:
        """The training ranks that live."""
        launched = matching(self.process.pid, "east_core.engines.trl.fork_server")
        return [process for process in launched if process.name().startswith("east-rank-")]

    def kill(self) -> str:
        """kill -9 the run; tells how long its engines outlived it."""
        return kill_owner(self.process.pid, self.process.wait)


def kill_owner(pid: int, wait: Callable[[], object]) -> str:
    """kill -9 a process, and tell how long those below it outlived it."""
    below = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    wait()
    started = time.monotonic()
    wait_until(lambda: not any(map(_lives, below)), "the end of what was below it", 60)
    seconds = time.monotonic() - started
    return f"killed; its {len(below)} child processes ended with it, in {seconds:.1f} s"


def matching(pid: int, module: str) -> list[psutil.Process]:
    """The living processes below `pid` that run a module themselves."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                command = child.cmdline()
                is_owner = "east_core.engines.supervise" in command
                if module in command and not is_owner and _lives(child):
                    found.append(child)
    return found


def first(pid: int, module: str) -> psutil.Process | None:
    """The first of them, if any."""
    return next(iter(matching(pid, module)), None)


def sums(count: int) -> str:
    """Questions for the scripted sampler, as JSON lines."""
    rows = ({"id": f"q{i}", "question": f"{i} + 1", "answer": str(i + 1)} for i in range(count))
    return "".join(json.dumps(row) + "\n" for row in rows)


def put_tree(server: S3Server, folder: Path, prefix: str) -> None:
    """Put every file below a folder into the bucket."""
    client = server.client()
    for path in folder.rglob("*"):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(folder).as_posix()}"
            client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())


def form_of(scene: Scene) -> dict[str, Any]:
    """The run's settings as the UI's form takes them."""
    return {"form": tomllib.loads(scene.toml)}


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
