"""The retrain deployment by its schedule, and a notification that arrives at a local webhook."""

import http.server
import json
import os
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
EXAMPLE = Path(__file__).parents[2] / "examples" / "notify_on_promotion.py"
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


def test_a_promotion_reaches_the_webhook(east_up: Any, webhook: tuple[str, list[str]]) -> None:
    url, received = webhook
    env = {**os.environ, "PREFECT_API_URL": f"{east_up.url}/api"}
    subprocess.run([sys.executable, EXAMPLE, url], env=env, check=True, timeout=120)
    subprocess.run([sys.executable, "-c", EMIT], env=env, check=True, timeout=120)
    east_up.wait_until(lambda: received, 120, "the notification")
    text = json.loads(received[0])["text"]
    assert "east.checkpoint.promoted" in text
    assert "sums" in text
    assert "0.25" in text


def test_the_schedule_retrains_promotes_keeps_and_rests(
    east_up: Any, small_form: Callable[..., dict[str, Any]]
) -> None:
    """Every run here is started by the deployment's schedule, on the real engines."""
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


def add_questions(up: Any, first: int, count: int) -> None:
    """Put some of the built-in training questions where the line looks for new ones."""
    folder = up.folder / "arrivals"
    folder.mkdir(exist_ok=True)
    rows = builtin_path("train.jsonl").read_text().splitlines(keepends=True)
    (folder / f"{first:04d}.jsonl").write_text("".join(rows[first : first + count]))


def scheduled_run(up: Any, form: dict[str, Any]) -> dict[str, Any]:
    """The last state of the next run that the schedule starts with these parameters."""
    deployment = up.deployment("retrain")
    path = f"deployments/{deployment['id']}"
    mine = {"deployments": {"id": {"any_": [deployment["id"]]}}}
    ended = mine | {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
    before = {run["id"] for run in up.api("flow_runs/filter", ended)}
    up.api(path, {"parameters": {"form": form}}, method="PATCH")
    every = {"schedule": {"interval": 15.0}, "active": True}
    (schedule,) = up.api(f"{path}/schedules", [every])
    new = up.wait_until(
        lambda: [r for r in up.api("flow_runs/filter", ended) if r["id"] not in before],
        RUN_SECONDS, "a scheduled run",
    )  # fmt: skip
    up.api(f"{path}/schedules/{schedule['id']}", method="DELETE")
    assert len(new) == 1
    return dict(new[0]["state"])


def east(up: Any, command: str) -> str:
    """What `east COMMAND` says of the line."""
    program = Path(sys.executable).with_name("east")
    done = subprocess.run(
        [program, command, ".east/store/line"],
        cwd=up.folder, env=os.environ | {"PREFECT_API_URL": f"{up.url}/api"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout
