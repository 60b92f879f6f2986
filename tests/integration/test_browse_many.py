"""The run browser on a store of 1,000 runs, one of them of 100,000 completions, on Ceph's S3."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from east_core.config import DatasetConfig, SamplingRecipe
from east_core.runs.run import Run
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from east_core.testing.radosgw import missing_requirement, radosgw_server
from east_core.testing.s3_servers import BUCKET, free_port
from tests.east_core.conftest import finish, sums_config
from tests.flows.browser.test_browser import LIMIT_SECONDS, copy_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]
RUNS, QUESTIONS, SAMPLES = 1000, 12_500, 8
PAGES = (
    "/", "/?q=run-09", "/?sort=score&order=desc", "/run/big", "/run/big/samples/1",
    "/run/big/samples/1?shown=kept&sort=entropy", "/run/big/report", "/champions",
    "/compare?run=big&run=run-0001",
)  # fmt: skip
MOST_MEMORY = 1.5 * 2**30


def make_store(folder: Path) -> Path:
    """The store as a folder: a run of 100,000 completions, and copies of a small one."""
    rows = (
        {"id": f"q{number}", "question": f"{number} + 1 = ?", "answer": str(number + 1)}
        for number in range(QUESTIONS)
    )
    questions = folder / "many.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, given in (("big", questions), ("first", None)):
        config = sums_config(folder, name=name, rounds=1 if given else 2)
        if given:
            data = DatasetConfig(path=str(given))
            many = {"questions": data, "sampling": SamplingRecipe(samples_per_question=SAMPLES)}
            config = config.model_copy(update=many)
        finish(Run.open(config), ScriptedSampler(), InstantTrainer())
    store = folder / "store"
    for number in range(RUNS - 2):
        copy_run(store / "first", store / f"run-{number:04d}")
    return store


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    """The address and the process of `east browse` on radosgw."""
    if reason := missing_requirement():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("many")
    store = make_store(folder)
    with radosgw_server(tmp_path_factory.mktemp("ceph")) as server:
        server.create_bucket()
        env = {**os.environ, **server.environment(), "EAST_CACHE": str(folder / "cache")}
        upload = f"import s3fs; s3fs.S3FileSystem().put({str(store)!r}, {BUCKET!r}, recursive=True)"
        subprocess.run([sys.executable, "-c", upload], env=env, check=True)
        shutil.rmtree(store)
        port = free_port()
        command = [*EAST, "browse", f"s3://{BUCKET}/store", "--port", str(port)]
        with subprocess.Popen(command, env=env, cwd=folder) as process:
            try:
                yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
            finally:
                process.terminate()


def ask(address: str) -> tuple[float, str]:
    """Seconds until a page is there, and its text."""
    began = time.monotonic()
    with urllib.request.urlopen(address, timeout=120) as answer:
        text = answer.read().decode()
    return time.monotonic() - began, text


def wait_until_all_are_read(url: str) -> float:
    """Seconds until the table has all runs; raises where that takes ten minutes."""
    began = time.monotonic()
    while time.monotonic() - began < 600:
        try:
            if f"{RUNS} of {RUNS} runs" in ask(f"{url}/")[1]:
                return time.monotonic() - began
        except OSError:
            pass
        time.sleep(0.5)
    raise AssertionError("not all runs were read within ten minutes")


def test_pages_come_in_time_and_memory_stays_small(
    browser: tuple[str, psutil.Process], capsys: pytest.CaptureFixture[str]
) -> None:
    url, process = browser
    told = [f"all {RUNS} runs read after {wait_until_all_are_read(url):.1f} s"]
    again: list[float] = []
    for page in PAGES:
        (first, text), (second, _) = ask(url + page), ask(url + page)
        again.append(second)
        assert "Traceback" not in text
        told.append(f"{page}: {first:.2f} s, again {second:.2f} s")
    held = process.memory_info().rss
    told.append(f"memory {held / 2**20:,.0f} MiB")
    with capsys.disabled():
        print("\n" + "\n".join(told))
    assert statistics.median(again) < LIMIT_SECONDS
    assert max(again) < 5 * LIMIT_SECONDS
    assert held < MOST_MEMORY
