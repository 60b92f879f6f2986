"""The retrain deployment by its schedule and by new questions, and notifications that arrive."""

import contextlib
import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.inputs.questions import builtin_path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
RUN_SECONDS = 900
EAST = Path(sys.executable).with_name("east")
EMIT = """
from prefect.events import emit_event
from prefect.events.worker import EventsWorker
emit_event("east.checkpoint.promoted", {"prefect.resource.id": "east.line.sums",
           "prefect.resource.name": "sums"}, payload={"gain": 0.25})
EventsWorker.instance().drain()
"""


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[str]]]:
    """A server that keeps what is posted to it."""
    received: list[str] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", received
    server.shutdown()


@pytest.fixture
def mailbox() -> Iterator[tuple[str, list[str]]]:
    """A mail server without TLS, that keeps what is sent to it."""
    received: list[str] = []

    class Smtp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            for raw in self.rfile:
                word = raw.decode().split()[0].upper()
                if word == "DATA":
                    self._say("354 go on")
                    received.append(self._message())
                self._say("221 bye" if word == "QUIT" else "250 ok")

        def _message(self) -> str:
            lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
            return "".join(lines)

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    yield f"mailto://127.0.0.1:{port}?from=east@example.org&to=team@example.org", received
    server.shutdown()


def test_a_promotion_reaches_a_webhook_and_a_mailbox(
    east_up: Any, webhook: tuple[str, list[str]], mailbox: tuple[str, list[str]]
) -> None:
    """Each by the one line of the manual; the second address takes the place of the first."""
    env = {**os.environ, "PREFECT_API_URL": f"{east_up.url}/api"}
    (url, posted), (address, mailed) = webhook, mailbox
    for where, received in ((url.replace("http:", "json:"), posted), (address, mailed)):
        subprocess.run([EAST, "notify", where], env=env, check=True, timeout=120)
        subprocess.run([sys.executable, "-c", EMIT], env=env, check=True, timeout=120)
        east_up.wait_until(lambda found=received: found, 120, f"the notification at {where}")
    told = json.loads(posted[0])
    assert told["title"] == "east.checkpoint.promoted"
    assert "sums" in told["message"]
    assert "0.25" in told["message"]
    assert "Subject: east.checkpoint.promoted" in mailed[0]
    assert "0.25" in mailed[0]
    assert len(posted) == 1


@contextlib.contextmanager
def watching(up: Any) -> Iterator[None]:
    """`east watch` beside the server, in the folder of its worker."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    env |= {"PREFECT_API_URL": f"{up.url}/api", "PREFECT_HOME": str(up.folder / "watch")}
    with (up.folder / "watch.log").open("wb") as log:
        process = subprocess.Popen(
            [EAST, "watch", "--every", "1"], cwd=up.folder, env=env, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def test_schedule_and_arrivals_retrain_promote_keep_and_rest(
    east_up: Any, small_form: Callable[..., dict[str, Any]]
) -> None:
    """Every run here is started by the deployment's schedule, or by new questions."""
    form = small_form("line", questions="arrivals", least_questions=16)["form"]
    add_questions(east_up, 0, 3)
    rested = scheduled_run(east_up, form)
    assert rested["message"].startswith("No new questions: fewer than 16 new questions")

    add_questions(east_up, 3, 40)
    ruinous = {**form, "training": {"loss": "sft", "learning_rate": 0.02}}
    assert scheduled_run(east_up, ruinous)["message"].startswith("Kept: ")

    add_questions(east_up, 43, 240)
    learning = {"loss": "sft", "learning_rate": 2e-4}
    better = {**form, "training": learning, "rule": {"kind": "margin", "points": 1.0}}
    promoted = scheduled_run(east_up, better)
    assert promoted["message"].startswith("Promoted: "), promoted["message"]
    assert scheduled_run(east_up, better)["message"].startswith("No new questions: ")
    assert {run["name"] for run in (rested, promoted)} == {"Completed"}

    assert "line-0002/round-01/checkpoint" in east(east_up, "champions").splitlines()[-2]
    assert "champion is now the base model" in east(east_up, "rollback")
    assert "rolled back" in east(east_up, "champions").splitlines()[-2]

    with watching(east_up), new_run(east_up) as came:  # no schedule is there any more
        add_questions(east_up, 283, 40)
    assert came[0]["message"].startswith(("Promoted: ", "Kept: "))
    assert "line-0004" in east(east_up, "champions")
    assert len(came) == 1


def add_questions(up: Any, first: int, count: int) -> None:
    """Put some of the built-in training questions where the line looks for new ones."""
    folder = up.folder / "arrivals"
    folder.mkdir(exist_ok=True)
    rows = builtin_path("train.jsonl").read_text().splitlines(keepends=True)
    (folder / f"{first:04d}.jsonl").write_text("".join(rows[first : first + count]))


def scheduled_run(up: Any, form: dict[str, Any]) -> dict[str, Any]:
    """The last state of the next run that the schedule starts with these parameters."""
    path = f"deployments/{up.deployment('retrain')['id']}"
    up.api(path, {"parameters": {"form": form}}, method="PATCH")
    every = {"schedule": {"interval": 15.0}, "active": True}
    with new_run(up) as came:
        (schedule,) = up.api(f"{path}/schedules", [every])
    up.api(f"{path}/schedules/{schedule['id']}", method="DELETE")
    assert len(came) == 1
    return came[0]


@contextlib.contextmanager
def new_run(up: Any) -> Iterator[list[dict[str, Any]]]:
    """The last states of the retrainings that end from now on: one or more, at the block's end."""
    mine = {"deployments": {"id": {"any_": [up.deployment("retrain")["id"]]}}}
    ended = mine | {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
    before = {run["id"] for run in up.api("flow_runs/filter", ended)}
    came: list[dict[str, Any]] = []
    yield came
    new = up.wait_until(
        lambda: [r for r in up.api("flow_runs/filter", ended) if r["id"] not in before],
        RUN_SECONDS, "a run of the retraining",
    )  # fmt: skip
    came += [dict(run["state"]) for run in new]


def east(up: Any, command: str) -> str:
    """What `east COMMAND` says of the line."""
    done = subprocess.run(
        [EAST, command, ".east/store/line"],
        cwd=up.folder, env=os.environ | {"PREFECT_API_URL": f"{up.url}/api"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout
