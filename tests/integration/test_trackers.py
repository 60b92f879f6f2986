"""Trackers hear of rounds: MLflow's own server on loopback, and W&B in offline mode.

EAST_TRACKERS names a virtual environment with both packages (pip install mlflow wandb); they are
no dependencies of this project's.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.runs.summary import summarise
from east_core.store import Store
from tests.east_core.conftest import sums_config

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PACKAGES = Path(os.environ.get("EAST_TRACKERS", "none"))
# The trackers' packages stand behind ours, so that ours are not replaced.
RUN = """
import sys
sys.path.append(sys.argv[1])
from pathlib import Path
from east_core.config import RunConfig
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.server.connection import prefect_api
from tasks.engines import Engines, use_engines
config = RunConfig.model_validate_json(Path(sys.argv[2]).read_text())
with prefect_api(), use_engines(Engines(ScriptedSampler(), InstantTrainer())):
    from flows.self_training import self_training
    self_training(config)
"""
READ_WANDB = """
import json, sys
from wandb.proto import wandb_internal_pb2 as pb
from wandb.sdk.internal.datastore import DataStore
rows, summary = [], {}
for path in sorted(sys.argv[1:]):
    store = DataStore(); store.open_for_scan(path)
    while (data := store.scan_data()) is not None:
        record = pb.Record(); record.ParseFromString(data)
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


def tracked_run(python: Path, folder: Path, tracker: str, **env: str) -> Any:
    """A scripted run of two rounds, started twice; its store."""
    config = sums_config(folder, name="tracked")
    resources = config.resources.model_copy(update={"trackers": (tracker,)})
    written = folder / "config.json"
    written.write_text(config.model_copy(update={"resources": resources}).model_dump_json())
    asked = [str(python), "-c", "import site; print(site.getsitepackages()[0])"]
    packages = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    mine = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", RUN, packages, str(written)], cwd=folder, env={**mine, **env},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        assert "was not told" not in done.stdout + done.stderr, done.stderr[-3000:]
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
            [python, "-m", "mlflow", "server", *where, *kept, *files], stdout=log, stderr=log
        )
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/health", timeout=5).close()
            break
        except OSError:
            assert process.poll() is None, (tmp_path / "mlflow.log").read_text()[-2000:]
            time.sleep(0.5)
    yield url
    process.terminate()
    process.wait(30)


def ask(url: str, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{url}/api/2.0/mlflow/{path}", data, {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_mlflow_hears_of_every_round_once(python: Path, mlflow_server: str, tmp_path: Path) -> None:
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
        assert len(steps) == len(set(steps))  # the second start told nothing twice
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
        page.wait_for_timeout(15_000)
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
