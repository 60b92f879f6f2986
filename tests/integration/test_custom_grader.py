"""The example of a grader of one's own, as a user runs it: two rounds on the real engines."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from east_core.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a whole run, on a busy machine
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "custom_grader"
EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]


def east(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
    done = subprocess.run(
        [*EAST, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_two_rounds_are_graded_by_the_functions_beside_the_run_file(tmp_path: Path) -> None:
    folder = tmp_path / "task"
    shutil.copytree(EXAMPLE, folder)
    assert "train-0000: '79': key number 79" in east(folder, "check", "run.toml")
    east(folder, "run", "run.toml")
    store = Store(str(folder / ".east" / "store"))
    made = {record.address: record for record in store.records("custom-grader")}
    shown = east(folder, "show", ".east/store/custom-grader", "--json")
    rounds = json.loads(shown)["rounds"]
    for number in (1, 2):
        weights = made[f"custom-grader/round-0{number}/weights"]
        assert weights.recipe["grading"]["functions"] == "grader"
        assert len(weights.recipe["grading"]["source"]) == 64
        assert weights.facts["undecided"] == 0
        assert 0 < weights.facts["accuracy"] < 1  # the seed model can partly answer
        scored = made[f"custom-grader/round-0{number}/scores/word-problems"]
        assert scored.recipe["grading"] == weights.recipe["grading"]
    assert rounds[2]["accuracy"]["word-problems"]["value"] > 0.2
