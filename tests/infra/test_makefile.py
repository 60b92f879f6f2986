"""The Makefile takes the newest Python that fits and starts, and says what to do without one."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")
SHIM = "exit 127"  # pyenv's, of a version that is not chosen


def python(version: tuple[int, int, int], can_make_venvs: bool = True) -> str:
    """A shell script that is a Python of that version, as far as `-c` goes."""
    module = "sys" if can_make_venvs else "None"
    code = (
        f"import sys; sys.version_info = {version}; sys.modules['ensurepip'] = {module}; "
        "exec(sys.argv[2])"
    )
    return f'exec {shlex.quote(sys.executable)} -c {shlex.quote(code)} "$@"'


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The Makefile and what it installs from, without a .venv; its PATH is its folder bin."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / "bin").mkdir()
    return folder


def make(checkout: Path, *words: str, **pythons: str) -> subprocess.CompletedProcess[str]:
    for name, script in pythons.items():
        command = checkout / "bin" / name.replace("_", ".")
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
    return subprocess.run(
        [str(MAKE), "install", *words],
        cwd=checkout, env={"PATH": str(checkout / "bin")}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        (
            {"python3_11": python((3, 11, 2)), "python3_13": python((3, 13, 0))},
            "python3.13",
        ),
        ({"python3_11": python((3, 11, 2)), "python3": python((3, 13, 0))}, "python3.11"),
        ({"python3": python((3, 12, 3))}, "python3"),
        ({"python3_13": SHIM, "python3_12": python((3, 12, 3))}, "python3.12"),
        ({"python3_13": python((3, 13, 0), False), "python3": python((3, 11, 2))}, "python3"),
    ],
    ids=["newest", "by its name first", "python3 alone", "a shim", "no venv module"],
)
def test_the_newest_that_fits_is_taken(
    checkout: Path, pythons: dict[str, str], chosen: str
) -> None:
    assert f"|| {chosen} -m venv .venv\n" in make(checkout, "--dry-run", **pythons).stdout


@pytest.mark.parametrize("version", [None, (3, 10, 13), (3, 14, 0)], ids=str)
def test_without_one_a_line_says_how_to_get_it(
    checkout: Path, version: tuple[int, int, int] | None
) -> None:
    done = make(checkout, **({"python3": python(version)} if version else {}))
    assert done.returncode == 2
    told = done.stderr.splitlines()[0]
    assert told.startswith("no Python 3.11, 3.12 or 3.13")
    assert "apt-get install python3 python3-venv" in told
    assert not (checkout / ".venv").exists()


def test_the_one_that_is_named_is_taken(checkout: Path) -> None:
    done = make(checkout, "--dry-run", "PYTHON=/opt/python", python3_13=python((3, 13, 0)))
    assert "|| /opt/python -m venv .venv\n" in done.stdout


def test_it_asks_for_what_pyproject_takes() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text("utf-8")
    assert "(3, 11) <= sys.version_info[:2] < (3, 14)" in makefile
    assert "PYTHONS ?= 3.11 3.12 3.13\n" in makefile
