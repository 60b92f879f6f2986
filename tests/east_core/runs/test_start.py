"""What a run's start, or a start after a kill, tidies up."""

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from east_core.runs import start
from east_core.runs.run import Run
from east_core.store import scratch
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config

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


class Killed(BaseException):
    """What a kill looks like from inside."""


def test_a_kill_behind_any_record_leaves_no_scratch_once_the_run_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each artifact's first deletion of scratch is a kill; the next start goes on."""
    run = Run.open(sums_config(tmp_path, rounds=1))
    delete, killed = scratch._delete, []

    def kill_once(root: Path, *about: Any) -> None:
        if root not in killed:
            killed.append(root)
            raise Killed
        delete(root, *about)

    monkeypatch.setattr(scratch, "_delete", kill_once)
    while True:
        try:
            finish(run, ScriptedSampler(), InstantTrainer())
            break
        except Killed:
            continue
    assert len(killed) == len(list(run.store.records("sums")))
    assert list(run.store.scratch().iterdir()) == []
