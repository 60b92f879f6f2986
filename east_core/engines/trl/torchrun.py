"""torchrun as the launcher of ranks on a cluster's machines, and what it prints when one dies."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from east_core.engines.trl.job import MEMORY_KNOBS
from east_core.errors import EngineError


def torchrun_command(ranks: int, rendezvous: Sequence[str], job: Path) -> list[str]:
    """Arguments of the engines' Python that start so many ranks of a job on a machine."""
    launcher = ["-m", "torch.distributed.run", "--max-restarts=0"]
    ranked = [f"--nproc-per-node={ranks}", *rendezvous]
    return [*launcher, *ranked, "-m", "east_core.engines.trl.rank", str(job)]


class RankKilled(EngineError):
    """A signal ended a training rank."""

    def __init__(self, rank: int | str, number: signal.Signals) -> None:
        cure = f"; where the host ran out of memory (dmesg tells), {MEMORY_KNOBS}"
        hint = cure if number is signal.SIGKILL else ""
        super().__init__(f"training rank {rank} was killed by {number.name}{hint}")


@dataclass
class KilledRanks:
    """Which rank was killed, by what torchrun prints when a job fails.

    Its table lists the ranks that were dead when it looked: the killed one, and others that broken
    connections to it made fail, one of which it may call the root cause, since it looks a few
    times a second. It also lists those that it then ended itself, after saying so.
    """

    _ended: set[str] = field(default_factory=set)
    _rank: str = ""
    _kills: list[tuple[signal.Signals, str]] = field(default_factory=list)

    def read_line(self, line: str) -> None:
        """Take in one line of torchrun's output."""
        if ended := re.search(r"Sending process (\d+) closing signal", line):
            self._ended.add(ended[1])
        elif ranked := re.search(r"rank\s+: (\d+) \(local_rank", line):
            self._rank = ranked[1]
        elif died := re.search(r"exitcode\s+: -(\d+) \(pid: (\d+)\)", line):
            number, pid = died.groups()
            if pid not in self._ended:
                self._kills.append((signal.Signals(int(number)), self._rank))

    def cause(self) -> EngineError | None:
        """The killed rank, where there is one: SIGKILL, which comes from outside, before others."""
        if not self._kills:
            return None
        from_outside = [kill for kill in self._kills if kill[0] is signal.SIGKILL]
        number, rank = (from_outside or self._kills)[-1]
        return RankKilled(rank, number)
