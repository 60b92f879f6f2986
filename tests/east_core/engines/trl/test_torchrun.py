"""Which rank was killed, by torchrun's last words. integration/test_training.py kills real ones."""

import signal

import pytest

from east_core.engines.trl.torchrun import KilledRanks


def failure(rank: int, status: int) -> str:
    """An entry of the table that torch 2.13's torchrun prints; its pid is 10 + rank."""
    name = f" ({signal.Signals(-status).name})" if status < 0 else ""
    return (
        f"[{rank}]:\n"
        f"  time      : 2026-11-23_14:59:06\n"
        f"  host      : localhost\n"
        f"  rank      : {rank} (local_rank: {rank % 2})\n"
        f"  exitcode  : {status} (pid: {10 + rank}) {name}\n"
        f"  error_file: <N/A>\n"
    )


def ended(rank: int) -> str:
    """What torchrun says before it ends a rank itself."""
    return (
        f"W1123 14:59 3850 torch/api.py:1029] Sending process {10 + rank} closing signal SIGTERM\n"
    )


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (failure(1, -9) + failure(0, 1), "training rank 1 was killed by SIGKILL; where the host"),
        (ended(0) + failure(0, -15) + failure(5, -9), "training rank 5 was killed by SIGKILL"),
        (failure(2, -9) + failure(0, -6), "training rank 2 was killed by SIGKILL; where the host"),
        (failure(1, -6) + failure(0, -11), "training rank 0 was killed by SIGSEGV"),
        (ended(1) + failure(1, -9) + failure(0, 1), "None"),
        ("", "None"),
    ],
)
def test_the_killed_rank_is_the_cause_whatever_its_peers_did(words: str, cause: str) -> None:
    deaths = KilledRanks()
    for line in words.splitlines():
        deaths.read_line(line)
    assert str(deaths.cause()).startswith(cause)
