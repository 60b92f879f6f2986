"""Two complete demo runs with the real engines, in different folders: the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from east_core.store import Store
from east_core.store.manifest import LOGS

EAST = [sys.executable, "-c", "from flows.commands.main import main; main()"]
COMPARED = {"samples", "weights", "examples", "checkpoint", "scores"}


def demo(folder: Path) -> dict[str, dict[str, str]]:
    """Run the demo in `folder`; the hash of every compared file, by artifact."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        [*EAST, "demo", "--store", str(folder / "store")],
        cwd=folder,
        env={**os.environ, "PREFECT_HOME": str(folder / "prefect")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        record.address: {
            file.path: file.sha256 for file in record.files if not file.path.startswith(LOGS)
        }
        for record in Store(str(folder / "store")).records("demo")
        if record.stage in COMPARED
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_demo_runs_in_different_folders_have_identical_hashes(tmp_path: Path) -> None:
    first, second = demo(tmp_path / "first"), demo(tmp_path / "second" / "deeper")
    assert len([name for name in first if name.endswith("/checkpoint")]) == 3
    assert len([name for name in first if "/scores/" in name]) == 4
    assert first.keys() == second.keys()
    for address in first:
        assert first[address] == second[address], address
