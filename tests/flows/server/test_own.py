"""A command's own server that is killed is there again, and who asked meanwhile gets an answer."""

import logging
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows.server import own
from flows.server.connection import prefect_api
from flows.server.own import MOST_STARTS, own_server

# Answers with its process id.
SMALL = """
import http.server, os, socket, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
server = http.server.HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever()
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


def small(monkeypatch: pytest.MonkeyPatch, program: str = SMALL) -> None:
    monkeypatch.setattr(
        own, "server_command", lambda _app, _fd, number: ["-c", program, str(number)]
    )


def pid_at(url: str) -> int:
    with urllib.request.urlopen(url, timeout=30) as response:
        return int(response.read())


def test_a_killed_server_is_started_again_at_its_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small(monkeypatch)
    with own_server() as url, caplog.at_level(logging.WARNING, "prefect.east"):
        logging.getLogger("prefect.east").addHandler(caplog.handler)
        first = pid_at(url)
        psutil.Process(first).kill()
        second = pid_at(url)  # waits for the new one
        assert second != first
    assert "ended (status -9); it is started again" in caplog.text
    assert not psutil.pid_exists(second)


def test_a_server_that_can_not_live_refuses_instead_of_letting_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small(monkeypatch)
    monkeypatch.setattr(own, "LOOK_SECONDS", 0.01)
    with own_server() as url:
        first = pid_at(url)
        small(monkeypatch, "raise SystemExit(1)")
        psutil.Process(first).kill()
        began = time.monotonic()
        with pytest.raises(OSError, match=r"refused|reset"):
            pid_at(url)
        assert time.monotonic() - began < 20 + MOST_STARTS


@pytest.mark.slow
def test_a_flow_goes_on_when_its_server_was_killed() -> None:
    from prefect import flow

    @flow
    def survivor(waiting: Callable[[], Any] | None = None) -> list[Any]:
        """Kills its server between two tasks."""
        from prefect.artifacts import create_markdown_artifact

        [server] = [
            p for p in psutil.Process().children() if "flows.server.application" in str(p.cmdline())
        ]
        killer = threading.Timer(0.1, server.kill)
        killer.start()
        killer.join()
        return [create_markdown_artifact(key="after", markdown="text") for _ in range(2)]

    with prefect_api():
        assert len(survivor()) == 2


@pytest.mark.slow
def test_what_lies_in_the_current_folder_hides_no_module_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("attr", "numbers", "uvicorn", "flows"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('hidden')")
    monkeypatch.chdir(tmp_path)
    with own_server() as url, urllib.request.urlopen(f"{url}/api/health", timeout=30) as answer:
        assert answer.status == 200
