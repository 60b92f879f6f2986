"""What torchrun says last of a killed rank. integration/test_training.py kills real ones."""

import pytest

from east_core.backends.torchrun import RankDeaths

PEER_FAILED_TOO = """
Failures:
[1]:
  time      : 2026-11-23_14:59:06
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 3879)  (SIGKILL)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 3879
Root Cause (first observed failure):
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 3878)
"""
PEER_WAS_ENDED = """
W1123 14:59:00.000000 3850 torch/api.py:1029] Sending process 3861 closing signal SIGTERM
E1123 14:59:00.000000 3850 torch/api.py:1002] failed (exitcode: -9) local_rank: 1 (pid: 3862)
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : -15 (pid: 3861)  (SIGTERM)
Root Cause (first observed failure):
[0]:
  rank      : 5 (local_rank: 1)
  exitcode  : -9 (pid: 3862)  (SIGKILL)
"""
PEER_GAVE_UP = """
[1]:
  rank      : 2 (local_rank: 2)
  exitcode  : -9 (pid: 12)  (SIGKILL)
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : -6 (pid: 10)  (SIGABRT)
"""
CRASHED = """
[1]:
  rank      : 1 (local_rank: 1)
  exitcode  : -6 (pid: 11)  (SIGABRT)
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : -11 (pid: 10)  (SIGSEGV)
"""
ONE_ERROR = """
W1123 14:59:00.000000 3850 torch/api.py:1029] Sending process 11 closing signal SIGTERM
W1123 14:59:30.000000 3850 torch/api.py:1048] Unable to shutdown process 11 via SIGTERM
[1]:
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 11)  (SIGKILL)
[0]:
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 10)
"""


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (PEER_FAILED_TOO, "training rank 1 was killed by SIGKILL; where the host ran out of"),
        (PEER_WAS_ENDED, "training rank 5 was killed by SIGKILL; where the host ran out of"),
        (PEER_GAVE_UP, "training rank 2 was killed by SIGKILL; where the host ran out of"),
        (CRASHED, "training rank 0 was killed by SIGSEGV"),
        (ONE_ERROR, "None"),
        ("", "None"),
    ],
)
def test_the_killed_rank_is_the_cause_whatever_its_peers_did(words: str, cause: str) -> None:
    deaths = RankDeaths()
    for line in words.splitlines():
        deaths.hear(line)
    assert str(deaths.cause()).startswith(cause)
