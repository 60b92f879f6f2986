"""The retrain deployment by its schedule, and a notification that arrives at a local webhook."""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
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


def test_the_schedule_starts_retraining_which_finds_no_new_questions(east_up: Any) -> None:
    (east_up.folder / ".east" / "questions").mkdir(parents=True)
    few = (east_up.folder / "train.jsonl").read_text().splitlines(keepends=True)[:3]
    (east_up.folder / ".east" / "questions" / "few.jsonl").write_text("".join(few))
    deployment = east_up.deployment("retrain")
    path = f"deployments/{deployment['id']}/schedules"
    assert not any(schedule["active"] for schedule in deployment["schedules"])
    every = {"schedule": {"interval": 15.0}, "active": True}
    east_up.api(path, [every])
    wanted = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
    }
    runs = east_up.wait_until(lambda: east_up.api("flow_runs/filter", wanted), 240, "a run")
    assert runs[0]["state"]["name"] == "No new questions"
    assert "fewer than 64 new questions" in runs[0]["state"]["message"]
    for schedule in east_up.deployment("retrain")["schedules"]:
        east_up.api(f"{path}/{schedule['id']}", {"active": False}, method="PATCH")
