"""`make check-gpu`, as far as a machine without a GPU goes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CRASHING = """
import os, sys
if "benchmarks.gpu_parts" in sys.orig_argv:
    print("```gone", flush=True)
    os._exit(7)
"""


def check(folder: Path, *arguments: str, fails: bool = False) -> str:
    """Run it with these arguments; the page that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.check_gpu", "--out", "page.md", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == int(fails), done.stdout + done.stderr
    page = (folder / "page.md").read_text()
    assert page in done.stdout
    return page


def test_what_works_and_what_can_not_are_told_apart(tmp_path: Path) -> None:
    page = check(tmp_path, "--device", "cpu", "machine", "sleep")
    assert "| machine | ok | " in page
    assert "torch 2" in page
    assert "| sleep | not run | an engine on a CPU holds no GPU" in page


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU here")
def test_a_machine_without_a_gpu_fails(tmp_path: Path) -> None:
    page = check(tmp_path, "machine", fails=True)
    assert "| machine | FAILED | PyTorch sees no GPU; " in page
    assert "## machine" in page


def test_a_part_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    page = check(tmp_path, "--device", "cpu", "--limit", "0.1", "losses", fails=True)
    assert "| losses | FAILED | took longer than 0 s |" in page


def test_a_part_that_crashes_is_told_with_its_last_output(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(CRASHING)
    page = check(tmp_path, "--device", "cpu", "machine", fails=True)
    assert "| machine | FAILED | it ended in between |" in page
    assert page.endswith("## machine\n\n```\n'''gone\n```\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["machine", "ranks", "losses", "resume", "training", "sampling", "demo"]
)
def test_the_parts_hold_on_a_cpu(tmp_path: Path, name: str) -> None:
    assert f"| {name} | ok | " in check(tmp_path, "--device", "cpu", "--limit", "900", name)
