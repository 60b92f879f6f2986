"""`east verify` finds one flipped byte anywhere in a run."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from east_core.runs.run import Run
from east_core.store.verification import verify


@pytest.fixture
def run(finished_run: Callable[[int], Run]) -> Run:
    return finished_run(1)


def folder_of(run: Run) -> Path:
    return Path(run.store.root) / "sums"


def test_a_whole_run_is_sound(run: Run) -> None:
    result = verify(run.store, "sums")
    assert result.findings == ()
    assert result.artifacts == len(run.store.addresses("sums"))
    assert result.bytes > 0


def test_one_flipped_bit_in_any_file_is_found(run: Run) -> None:
    chance = random.Random(5)
    paths = sorted(path for path in folder_of(run).rglob("*") if path.is_file())
    names = {path.relative_to(folder_of(run)).as_posix() for path in paths}
    assert names >= {
        "round-01/samples/_record.json",
        "round-01/samples/0000000-0000039/samples.parquet",
        "round-01/checkpoint/model.safetensors",
        "round-01/report/accuracy.png",
        "config/config.json",
    }
    for path in paths:
        sound = path.read_bytes()
        flipped = bytearray(sound)
        flipped[chance.randrange(len(sound))] ^= 1 << chance.randrange(8)
        path.write_bytes(flipped)
        result = verify(run.store, "sums")
        name = path.relative_to(run.store.root).as_posix()
        assert not result.is_sound
        assert name in [finding.path for finding in result.findings]
        path.write_bytes(sound)
    assert verify(run.store, "sums").is_sound


def test_missing_files_and_records_are_found(run: Run) -> None:
    folder = folder_of(run)
    next((folder / "round-01/examples").glob("*.parquet")).unlink()
    shutil.rmtree(folder / "round-01/weights")
    problems = {(finding.problem, finding.path) for finding in verify(run.store, "sums").findings}
    assert ("missing", "sums/round-01/examples/examples.parquet") in problems
    assert ("missing", "sums/round-01/weights") in problems


def test_a_file_of_no_artifact_is_named_but_is_no_damage(run: Run) -> None:
    (folder_of(run) / "notes.txt").write_text("mine")
    result = verify(run.store, "sums")
    assert result.is_sound
    assert [str(finding) for finding in result.findings] == [
        "unrecorded sums/notes.txt: 4 bytes that belong to no artifact"
    ]
