"""`python -m benchmarks.run` on a copy of itself, whose benchmarks take no time."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("sampling", "training", "clustering", "store", "stage", "demo", "profile", "rounds")
FAKE = """
import sys
from pathlib import Path
from benchmarks.pairs import alternate, median_row, write_result

clock = iter(range(8))
pairs = alternate(lambda: float(next(clock)), lambda: float(next(clock)), 3)
row = median_row("fake", [ours / plain for ours, plain in pairs], 0.9)
write_result(Path(sys.argv[-1]), [row], "### Fake\\n")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The real benchmarks.run, with the fake in place of every benchmark."""
    package = tmp_path / "benchmarks"
    package.mkdir()
    (tmp_path / "docs").mkdir()
    for name in ("run", "pairs"):
        shutil.copy(ROOT / "benchmarks" / f"{name}.py", package)
    for name in NAMES:
        (package / f"{name}.py").write_text(FAKE)
    return tmp_path


def bench(folder: Path, *names: str, fails: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.run", *names],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stdout


def test_what_is_finished_is_kept_and_a_rerun_goes_on(folder: Path) -> None:
    (folder / "benchmarks" / "store.py").write_text("raise SystemExit(1)")
    assert "store failed" in bench(folder, fails=True)
    rows = json.loads((folder / "benchmarks" / "results.json").read_text())
    # both sides of a pair go first in turn: (0, 1), (3, 2), (4, 5)
    fake = {"name": "fake", "ratio": 0.8, "low": 0.0, "high": 1.5, "goal": 0.9, "runs": 3}
    assert rows == [fake] * (len(NAMES) - 1)
    assert "| fake | 0.8 | 0 | 1.5 | 0.9 | 3 |" in (folder / "docs" / "benchmarks.md").read_text()
    (folder / "benchmarks" / "store.py").write_text(FAKE)
    said = bench(folder)
    assert "sampling: finished already" in said
    assert "store: running" in said
    assert "store: running" in bench(folder, "store"), "one that is asked for runs again"


def test_an_unknown_name_is_refused(folder: Path) -> None:
    bench(folder, "sampling", "samplng", fails=True)
    assert not (folder / "benchmarks" / "results.json").exists()
