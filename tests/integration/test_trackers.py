"""Trackers hear of rounds: MLflow's own server on loopback, and W&B in offline mode.

EAST_TRACKERS names a virtual environment with both packages (pip install mlflow wandb); they are
no dependencies of this project's.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.runs.run import Run
from east_core.runs.summary import summarise
from east_core.store import Store
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PACKAGES = Path(os.environ.get("EAST_TRACKERS", "none"))
# The trackers' packages stand behind ours, so that ours are not replaced.
TELL = """
import sys
sys.path.append(sys.argv[1])
from east_core.runs.run import Run
from east_core.config import RunConfig
from east_core.runs.summary import summarise
from pathlib import Path
from tasks.trackers import tell_trackers
run = Run.open(RunConfig.model_validate_json(Path(sys.argv[2]).read_text()))
for each in summarise(run.store, run.name):
    if str(each.round) in sys.argv[3:]:
        tell_trackers(run, each)  # a warning would fail: no flow is there to log it
"""
READ_WANDB = """
import json, sys
from wandb.proto import wandb_internal_pb2 as pb
BLOCK, rows, summary = 32768, [], {}
def records(data):
    # LevelDB's log behind a header of 7 bytes: blocks of records with CRC, length and type
    at, whole = 7, b""
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        size, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # full, or the last part
            yield whole
            whole = b""
for path in sorted(sys.argv[1:]):
    with open(path, "rb") as stream:
        data = stream.read()
    for raw in records(data):
        record = pb.Record.FromString(raw)
        if record.HasField("history"):
            rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json)
                         for i in record.history.item})
        for i in record.summary.update if record.HasField("summary") else ():
            summary[i.key or "/".join(i.nested_key)] = json.loads(i.value_json)
print(json.dumps([rows, summary]))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter of the trackers' environment."""
    found = PACKAGES / "bin" / "python"
    if not found.exists():
        pytest.skip("EAST_TRACKERS names no environment with mlflow and wandb")
    return found


def tracked_run(python: Path, folder: Path, tracker: str, **env: str) -> Store:
    """A finished run of two rounds, told by two processes, as after an interruption; its store."""
    config = sums_config(folder, name="tracked")
    resources = config.resources.model_copy(update={"trackers": (tracker,)})
    config = config.model_copy(update={"resources": resources})
    finish(Run.open(config), ScriptedSampler(), InstantTrainer())
    written = folder / "config.json"
    written.write_text(config.model_dump_json())
    asked = [str(python), "-c", "import site; print(site.getsitepackages()[0])"]
    packages = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    for rounds in (("0", "1"), ("2",)):
        done = subprocess.run(
            [sys.executable, "-c", TELL, packages, str(written), *rounds],
            cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
    return Store(config.store)


def check(rows: dict[int, dict[str, float]], places: dict[str, str], store: Store) -> None:
    """The tracker has what the store has."""
    rounds = summarise(store, "tracked")
    assert sorted(rows) == [0, 1, 2]
    for each in rounds:
        score, told = each.accuracy["sums"], rows[each.round]
        assert told["accuracy/sums"] == pytest.approx(score.value)
        assert told["accuracy_low/sums"] == pytest.approx(score.low)
        assert told["accuracy_high/sums"] == pytest.approx(score.high)
    for each in rounds[1:]:
        weights = store.require(f"tracked/round-{each.round:02d}/weights").facts
        told = rows[each.round]
        assert told["mean_entropy_bits"] == pytest.approx(weights["mean_entropy_bits"])
        assert told["kept"] == weights["kept"]
        assert told["pass_at_n"] == pytest.approx(weights["pass_at_n"])
        place = store.url(store.require(f"tracked/round-{each.round:02d}/checkpoint"))
        assert places[f"checkpoint-{each.round:02d}"] == place


@pytest.fixture
def mlflow_server(python: Path, tmp_path: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    where = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    kept = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db"]
    files = ["--artifacts-destination", str(tmp_path / "mlflow-files")]
    with (tmp_path / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "mlflow", "server", *where, *kept, *files],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, (tmp_path / "mlflow.log").read_text()[-2000:]
            time.sleep(0.5)
    try:
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # its web workers too
        process.wait(30)


def ask(url: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}", data, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_mlflow_hears_of_every_round_in_one_run(
    python: Path, mlflow_server: str, tmp_path: Path
) -> None:
    store = tracked_run(python, tmp_path / "run", "mlflow", MLFLOW_TRACKING_URI=mlflow_server)
    [run] = ask(mlflow_server, "runs/search", {"experiment_ids": ["0"]})["runs"]
    assert (run["info"]["run_name"], run["info"]["status"]) == ("tracked", "FINISHED")
    params = {each["key"]: each["value"] for each in run["data"]["params"]}
    assert params["weighting.kind"] == "entropy"
    tags = {each["key"]: each["value"] for each in run["data"]["tags"]}
    rows: dict[int, dict[str, float]] = {}
    for metric in run["data"]["metrics"]:
        asked = f"metrics/get-history?run_id={run['info']['run_id']}&metric_key={metric['key']}"
        history = ask(mlflow_server, asked)["metrics"]
        steps = [int(each["step"]) for each in history]
        assert len(steps) == len(set(steps))
        for each in history:
            rows.setdefault(int(each["step"]), {})[metric["key"]] = each["value"]
    check(rows, tags, store)
    if shots := os.environ.get("EAST_SCREENSHOTS"):
        _look(f"{mlflow_server}/#/experiments/0/runs/{run['info']['run_id']}/model-metrics", shots)


def _look(url: str, folder: str) -> None:
    """A picture of the run in MLflow's own UI, for a person."""
    import shutil

    driver = pytest.importorskip("playwright.sync_api")
    with driver.sync_playwright() as started:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(url)
        page.get_by_text("accuracy").first.wait_for(timeout=120_000)
        page.wait_for_timeout(5_000)
        page.screenshot(path=Path(folder) / "mlflow.png")
        browser.close()


def test_wandb_hears_of_every_round_offline(python: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    quiet = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_DIR": str(folder)}
    store = tracked_run(python, folder, "wandb", **quiet)
    kept = [str(path) for path in folder.glob("wandb/offline-run-*/run-*.wandb")]
    done = subprocess.run(
        [python, "-c", READ_WANDB, *kept], capture_output=True, text=True, check=True
    )
    history, summary = json.loads(done.stdout)
    rows = {int(row["_step"]): row for row in history}
    assert len(rows) == len(history)
    check(rows, summary, store)
