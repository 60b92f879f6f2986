"""Ranks launched, and their ends told; integration/test_training.py runs real ones."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from east_core.engines.trl import fork_server, launcher
from east_core.engines.trl.launcher import RankLauncher
from east_core.engines.trl.messages import Fork, RankEnd
from east_core.errors import EngineError

# Answers each order with what its job's name says.
SCRIPTED = """
import sys
for order in sys.stdin:
    print("a rank speaks", flush=True)
    if "dies" in order:
        sys.exit(3)
    if "hangs" in order:
        continue
    failed = '{"rank": 1, "status": -9}' if "killed" in order else ""
    print('@east {"type": "Ended", "failed": [%s]}' % failed, flush=True)
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[RankLauncher]:
    monkeypatch.setattr(launcher, "_PROGRAM", ("-c", SCRIPTED))
    with RankLauncher() as ranks:
        yield ranks


def run(ranks: RankLauncher, job: str, seconds: float = 60) -> tuple[int, list[str]]:
    """Run a job; the process that forked its ranks, and what these said."""
    lines: list[str] = []
    pid = ranks.warm_up().pid
    ranks.run(Path(job), 2, lines.append, seconds)
    return pid, lines


def test_one_process_serves_job_after_job_even_after_one_that_failed(started: RankLauncher) -> None:
    first, lines = run(started, "well")
    with pytest.raises(EngineError, match=r"training rank 1 was killed by SIGKILL; where the host"):
        run(started, "killed")
    again, _ = run(started, "well")
    assert first == again
    assert lines == ["a rank speaks"]
    started.close()
    assert not psutil.pid_exists(first)


@pytest.mark.parametrize(
    ("job", "told"),
    [
        ("dies", "no rank could be started; last output: a rank speaks"),
        ("hangs", "training was ended after 1 s; last output: a rank speaks"),
    ],
)
def test_a_process_that_is_of_no_use_is_replaced(
    started: RankLauncher, job: str, told: str
) -> None:
    with pytest.raises(EngineError, match=told):
        run(started, job, seconds=1 if job == "hangs" else 60)
    assert run(started, "well")[1] == ["a rank speaks"]


def test_outside_of_a_run_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_PROGRAM", ("-c", SCRIPTED))
    pid, _ = run(RankLauncher(), "well")
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        ([RankEnd(0, 1), RankEnd(1, -9)], "training rank 1 was killed by SIGKILL; where"),
        ([RankEnd(2, -9), RankEnd(0, -6)], "training rank 2 was killed by SIGKILL; where"),
        ([RankEnd(0, 1), RankEnd(1, -11)], "training rank 1 was killed by SIGSEGV"),
        ([RankEnd(3, 1)], "training rank 3 ended with status 1; last output: (none)"),
    ],
)
def test_the_killed_rank_is_the_cause_whatever_its_peers_did(
    started: RankLauncher, failed: list[RankEnd], told: str
) -> None:
    assert str(launcher._cause(failed, started.warm_up())).startswith(told)


def _leave_or_wait(order: Fork, rank: int, port: int) -> None:
    assert port > 0
    if order.job == "well":
        return
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)  # as in a collective whose peer is gone


@pytest.mark.parametrize(("job", "failed"), [("well", []), ("killed", [RankEnd(1, -9)])])
def test_ranks_are_forked_and_the_first_to_fail_ends_them_all(
    monkeypatch: pytest.MonkeyPatch, job: str, failed: list[RankEnd]
) -> None:
    monkeypatch.setattr(fork_server, "_run_rank", _leave_or_wait)
    before = set(psutil.Process().children())
    assert fork_server.run_ranks(Fork(job, 3)) == failed
    assert set(psutil.Process().children()) <= before
