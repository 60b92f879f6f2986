"""A run whose reward pays for one answer, with real engines: it is stopped within the round."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from east_core.inputs.questions import builtin_path
from east_core.runs.overview import list_runs
from east_core.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
PAID = "2"  # whatever the question is
CONFIG = """
name = "collapse"
store = "{store}"
rounds = 3
[questions]
path = "{questions}"
[benchmarks.word-problems]
path = "builtin:test.jsonl"
limit = 200
[sampling]
samples_per_question = 8
max_tokens = 96
[training]
global_batch_size = 8
epochs = 6
learning_rate = 2e-3
[evaluation]
max_tokens = 96
[stopping]
[resources]
device = "cpu"
processes = 2
micro_batch_size = 4
zero_stage = 0
kv_cache_gib = 0.25
"""


def test_a_reward_for_one_answer_is_stopped_within_the_round(tmp_path: Path) -> None:
    lines = builtin_path("train.jsonl").read_text("utf-8").splitlines()
    rows = [{**json.loads(line), "answer": PAID} for line in lines]
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(store=tmp_path / "store", questions=questions))
    done = subprocess.run(
        [sys.executable, "-c", "from flows.commands.main import main; main()", "run", str(config)],
        env={**os.environ, "PREFECT_HOME": str(tmp_path / "prefect")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(done.stdout[-3000:], done.stderr[-3000:])
    assert done.returncode == 0
    assert "stopped after round 1: " in done.stdout
    assert "fell from" in done.stdout
    [run] = list_runs(Store(str(tmp_path / "store")))
    assert run.state == "stopped after round 1"
