"""A real `east up` in a folder of its own: server, worker, deployments, processes to look at."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

START_SECONDS = 480  # of a machine with much other work
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
# Small enough for a round in half a minute, large enough that the seed model learns something.
TRAIN_LINES, TEST_LINES = 80, 50


@dataclass
class EastUp:
    """A running `east up`, its folder, and its API."""

    url: str
    folder: Path
    process: "subprocess.Popen[bytes]"
    login: str | None = None

    def api(self, path: str, body: object = None, method: str = "") -> Any:
        """Ask Prefect's API; POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        if self.login is not None:
            headers["authorization"] = f"Basic {base64.b64encode(self.login.encode()).decode()}"
        request = urllib.request.Request(
            f"{self.url}/api/{path}", data, headers, method=method or ("POST" if data else "GET")
        )
        text = _answer(request)
        return json.loads(text) if text else None

    def deployment(self, name: str) -> dict[str, Any]:
        (found,) = [d for d in self.api("deployments/filter", {}) if d["name"] == name]
        return found

    def start(self, deployment: str, parameters: dict[str, Any]) -> str:
        """Start a run as the UI does; return its id."""
        path = f"deployments/{self.deployment(deployment)['id']}/create_flow_run"
        return str(self.api(path, {"parameters": parameters, "state": {"type": "SCHEDULED"}})["id"])

    def run_again(self, run: str) -> None:
        """What the UI's Retry button does: the same run, the same parameters."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry"}
        self.api(f"flow_runs/{run}/set_state", {"state": state})

    def state(self, run: str) -> dict[str, Any]:
        return dict(self.api(f"flow_runs/{run}")["state"])

    def wait_until(self, what: Callable[[], object], seconds: float, told: str) -> Any:
        """Poll until `what` gives something, and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.5)
        raise AssertionError(f"{told}: not within {seconds} s")

    def wait_for_end(self, run: str, seconds: float) -> dict[str, Any]:
        """The run's last state."""

        def ended() -> dict[str, Any] | None:
            state = self.state(run)
            return state if state["type"] in ENDED else None

        found: dict[str, Any] = self.wait_until(ended, seconds, f"the end of run {run}")
        return found

    def processes(self, *words: str) -> list[psutil.Process]:
        """All living processes below `east up`, or once below it, whose command has the words."""
        return [
            process
            for process in _with_folder(self.folder)
            if all(word in " ".join(process.info["cmdline"] or ()) for word in words)
        ]

    def stop(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(90)


def _answer(request: urllib.request.Request) -> bytes:
    """The server's answer; it says 503 and "again" while its SQLite database is locked."""
    for _ in range(10):
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return bytes(response.read())
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(1)
    raise AssertionError(f"{request.full_url} stays at 503")


def _with_folder(folder: Path) -> Iterator[psutil.Process]:
    """Processes that were started with this test's PREFECT_HOME in their environment."""
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            home = process.environ().get("PREFECT_HOME", "")
            if home.startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def start_east_up(
    folder: Path,
    port: int | None = None,
    *options: str,
    environment: Mapping[str, str] = MappingProxyType({}),
    login: str | None = None,
    east: Sequence[str | Path] = (Path(sys.executable).with_name("east"),),
) -> EastUp:
    port = port or _free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    env |= {"PYTHONUNBUFFERED": "1", "PREFECT_HOME": str(folder / ".east" / "prefect")}
    env |= environment
    log = folder / "up.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*east, "up", "--port", str(port), *options],
            cwd=folder, env=env, stdout=stream, stderr=stream,
        )  # fmt: skip
    up = EastUp(f"http://127.0.0.1:{port}", folder, process, login)
    up.wait_until(
        lambda: b"Ctrl-C" in log.read_bytes() or process.poll() is not None,
        START_SECONDS, "the start of east up",
    )  # fmt: skip
    assert process.poll() is None, log.read_text()
    return up


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def east_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EastUp]:
    """`east up` in an empty folder, with a few questions in it; stopped by Ctrl-C."""
    folder = tmp_path_factory.mktemp("east-up")
    builtin = Path(__file__).parents[2] / "east_core" / "demo"
    for name, lines in (("train", TRAIN_LINES), ("test", TEST_LINES)):
        text = (builtin / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(text[:lines]))
    up = start_east_up(folder)
    try:
        yield up
    finally:
        if up.process.poll() is None:
            up.stop()


@pytest.fixture
def small_form() -> Callable[..., dict[str, Any]]:
    """The parameters of a run on those questions; keyword arguments change them."""

    def form(name: str, **changes: Any) -> dict[str, Any]:
        values = {
            "name": name,
            "rounds": 1,
            "questions": "train.jsonl",
            "benchmarks": {"problems": "test.jsonl"},
            "training": {"loss": "sft", "learning_rate": 1e-4},
            "max_tokens": 96,
        }
        return {"form": {**values, **changes}}

    return form
