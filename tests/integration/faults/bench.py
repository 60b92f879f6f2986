"""What all rows of the fault table share: processes in one folder, S3, Prefect's server."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import psutil

from east_core.engines.supervise import adopt_orphans, die_with_parent
from east_core.testing.s3_servers import S3Server, free_port, moto_server, wait_for_port

ROOT = Path(__file__).resolve().parents[3]
LONGEST_WAIT = 400.0


class Bench:
    """What all rows share: a work folder, S3 with a proxy, Prefect's server, a worker."""

    def __init__(self, work: Path) -> None:
        self.work = work.absolute()
        (self.work / "logs").mkdir(parents=True, exist_ok=True)
        self.ends = self._whole = contextlib.ExitStack()
        self._server: subprocess.Popen[bytes] | None = None
        self._forks: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._whole.close()

    @contextlib.contextmanager
    def row(self) -> Iterator[None]:
        """What a row starts in here ends with it."""
        with contextlib.ExitStack() as self.ends:
            yield
        self.ends = self._whole

    @cached_property
    def s3(self) -> S3Server:
        """moto's server, with a bucket."""
        server = self._whole.enter_context(moto_server())
        server.create_bucket()
        return server

    @cached_property
    def port(self) -> int:
        """The port of Prefect's server."""
        return free_port()

    @property
    def prefect_url(self) -> str:
        """The API of a Prefect server that is up."""
        if self._server is None:
            self._whole.callback(self.kill_server)
            self.start_server()
        return f"http://127.0.0.1:{self.port}/api"

    def environment(self) -> dict[str, str]:
        """This environment, with a Prefect of the bench's own and quiet engines."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        return kept | {
            "PREFECT_HOME": str(self.work / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
            "EAST_WORKDIR": str(self.work),
        }

    def start_server(self) -> None:
        """Start Prefect's server and wait until it answers."""
        from flows.server.connection import HOST, server_command

        arguments = server_command("create_app", "--host", HOST, "--port", self.port)
        self._server = self.spawn("server", arguments, ends=self._whole)
        wait_for_port(self.port, 180)
        health = f"http://127.0.0.1:{self.port}/api/health"
        wait_until(lambda: _answers(health), "Prefect's server")

    def kill_server(self) -> None:
        """End Prefect's server as kill -9 does."""
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self._server = None

    def spawn(
        self,
        name: str,
        arguments: list[str],
        env: Mapping[str, str] | None = None,
        ends: contextlib.ExitStack | None = None,
    ) -> "subprocess.Popen[bytes]":
        """A python that writes to logs/NAME.log; ended with `ends`, by default with the row."""
        with (self.work / "logs" / f"{name}.log").open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=self.work, env=env or self.environment(),
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                preexec_fn=die_with_parent,  # noqa: PLW1509 the proxy's threads hold no locks
            )  # fmt: skip
        (ends or self.ends).callback(end_tree, process)
        return process

    def fork(
        self, program: Path, name: str, arguments: list[str], env: Mapping[str, str]
    ) -> "Forked":
        """`spawn` of a program that has imported what it needs before (see its `fork`).

        Prefect's settings are the bench's, with its server; they are read at the import.
        """
        if self._forks is None:
            adopt_orphans()
            settings = self.environment() | {"PREFECT_API_URL": self.prefect_url}
            self._forks = subprocess.Popen(
                [sys.executable, str(program), "fork"], cwd=self.work, env=settings,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509 the proxy's threads hold no locks
            )  # fmt: skip
            self._whole.callback(end_tree, self._forks)
        assert self._forks.stdin is not None
        assert self._forks.stdout is not None
        log = self.work / "logs" / f"{name}.log"
        order = {"arguments": arguments, "environment": dict(env), "log": str(log)}
        self._forks.stdin.write(json.dumps(order) + "\n")
        self._forks.stdin.flush()
        forked = Forked(int(self._forks.stdout.readline()))
        self.ends.callback(end_tree, forked)
        return forked

    def api(self, path: str, body: object = None) -> Any:
        """Ask Prefect's API; POST where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(f"{self.prefect_url}/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    @cached_property
    def deployment(self) -> str:
        """The id of the deployment of self-training, made with everything else that a worker needs.

        The server must be up.
        """
        prepare = (
            "from pathlib import Path; from flows.server.setup import prepare_server;"
            f"prepare_server(Path({str(ROOT / 'infra/prefect.yaml')!r}))"
        )
        env = self.environment() | {"PREFECT_API_URL": self.prefect_url}
        subprocess.run([sys.executable, "-c", prepare], cwd=self.work, env=env, check=True)
        found = self.api("deployments/filter", {})
        return str(next(d["id"] for d in found if d["name"] == "self-training"))


class Forked:
    """A process that a child forked and left to us; as much of a Popen as the scenes use."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status, -N where signal N ended it; None while it lives."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end. Raises AssertionError where it does not come."""
        ended = lambda: self.poll() is not None or time.sleep(0.02)  # noqa: E731
        wait_until(ended, f"the end of process {self.pid}", timeout or LONGEST_WAIT)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def wait_until(reached: Callable[[], object], what: str, seconds: float = LONGEST_WAIT) -> Any:
    """Poll until `reached` gives something, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := reached()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)
    return found


def end_tree(process: "subprocess.Popen[bytes] | Forked") -> None:
    """Kill a process and all below it, if it still lives."""
    if process.poll() is not None:
        return
    below = psutil.Process(process.pid).children(recursive=True)
    for each in (*below, process):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False
