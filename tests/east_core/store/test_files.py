"""Small files that are replaced: what a killed writer leaves goes, what a living one has stays."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from east_core.store.files import file_hash, kept_hash, write_atomically

KILLED = """
import os, signal, sys
from pathlib import Path
from east_core.store import files
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
files.write_atomically(Path(sys.argv[1]), b"half")
"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target, other = tmp_path / "live.json", tmp_path / ".other.json.7.partial"
    other.touch()
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, str(target)], check=False)
    assert [path.name for path in tmp_path.glob(".live.json.*.partial")], "the kill left its part"
    write_atomically(target, b"whole")
    assert target.read_bytes() == b"whole"
    assert set(tmp_path.iterdir()) == {target, other}


def test_what_a_living_writer_has_stays(tmp_path: Path) -> None:
    theirs = tmp_path / ".live.json.7.partial"
    with theirs.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        write_atomically(tmp_path / "live.json", b"whole")
        assert theirs.exists()


def test_a_failed_write_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "live.json", b"whole")
    assert not list(tmp_path.iterdir())


def test_a_home_that_takes_no_note_costs_a_hash_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").touch()  # no folder can be made in it
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"weights")
    assert kept_hash(model, smallest=0) == file_hash(model)
