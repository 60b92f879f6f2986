"""What a run's start does before anything is built."""

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from east_core.runs import start
from east_core.runs.run import Run

DAY = 86_400.0


def test_a_start_sweeps_the_scratch_and_what_was_on_its_way_to_the_store(
    finished_run: Callable[[int], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished_run(1)
    monkeypatch.setenv("EAST_SCRATCH", str(tmp_path / "elsewhere"))
    left = [
        run.store.scratch() / f"sums--config-{'0' * 16}-{'0' * 8}",
        run.store.place.scratch / f"{uuid.uuid4().hex}.staged",
    ]
    fresh = run.store.place.scratch / f"{uuid.uuid4().hex}.staged"
    for folder in (*left, fresh):
        folder.mkdir(parents=True)
    for folder in left:
        os.utime(folder, times=(time.time() - 30 * DAY,) * 2)
    start.claim(run)
    assert not any(folder.exists() for folder in left)
    assert fresh.exists(), "somebody may be copying"
