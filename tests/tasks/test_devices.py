"""A machine's engines belong to one run at a time, and a dead run holds nothing."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

HOLDER = """
import logging, sys, time
from tasks import devices
devices.get_run_logger = lambda: logging.getLogger("run")
logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
with devices.device_slot():
    print("holds", flush=True)
    time.sleep(float(sys.argv[1]))
"""


def holder(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(seconds)], stdout=subprocess.PIPE, text=True
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture(autouse=True)
def _own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EAST_DEVICE_LOCK", str(tmp_path / "device.lock"))


def test_a_second_run_waits_and_says_so_until_the_first_is_done() -> None:
    first = holder(60)
    assert first_line(first) == "holds"
    second = holder(0)
    assert first_line(second).startswith("waiting until another run frees this machine's engines")
    assert second.poll() is None
    first.kill()  # the kernel frees the lock of a killed run
    begin = time.monotonic()
    assert first_line(second) == "holds"
    assert time.monotonic() - begin < 30
    assert second.wait() == 0
    first.wait()
