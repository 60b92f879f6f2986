"""What all tests share: quiet engines, a Prefect of their own, and the data beside the project."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

# A time limit for one example is a test of the machine's load, not of the code.
hypothesis.settings.register_profile("east", deadline=None)
hypothesis.settings.load_profile("east")
ROOT = Path(__file__).resolve().parents[1]
os.environ.update(
    {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--write-pages", action="store_true", help="write what is measured into its page of docs/"
    )


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """GSM8K and MATH in their original forms; the tests that need them skip where they are not."""
    folder = Path(os.environ.get("EAST_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no GSM8K and MATH files in {folder}; set EAST_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def prefect_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty Prefect database and an embedded server for the whole session."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=180):
        yield


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts an nvidia-smi in PATH that prints what it is given; returns where it notes its call."""

    def place(told: str) -> Path:
        command, asked = tmp_path / "nvidia-smi", tmp_path / "nvidia-smi-asked"
        note = f'echo "$@" > {shlex.quote(str(asked))}'
        command.write_text(f"#!/bin/sh\n{note}\nprintf %s {shlex.quote(told)}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return asked

    return place


@pytest.fixture
def stand_in_lm_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Python whose lm_eval is tests/lm_eval_stand_in.py; returns where its calls are noted."""
    package, calls = tmp_path / "stand-in" / "lm_eval", tmp_path / "calls.jsonl"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "lm_eval_stand_in.py", package / "__main__.py")
    paths = [str(package.parent), str(ROOT), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("EAST_LM_EVAL_PYTHON", sys.executable)
    monkeypatch.setenv("STAND_IN_CALLS", str(calls))
    return calls
