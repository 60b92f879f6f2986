"""Judging on a Ray cluster: one shard of samples to a machine, its clusters and weights back.

What comes back is what `judge_here` gives, so the artifact is the same, to the last bit.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.answers.grading import Grader
from east_core.config import Resources
from east_core.engines.ray.cluster import Pool, actor, connect
from east_core.protocols import Sampler
from east_core.records import SampledQuestion
from east_core.tables import read_table, write_table
from east_core.weighting.weighing import Rules, WeighedQuestion, Weigher

Judged = tuple[bytes, int]  # a Parquet file of WeighedQuestion rows; comparisons left undecided


class JudgeActor:
    """A grader with its workers, on a machine of the cluster."""

    def __init__(self, processes: int) -> None:
        self._grader = Grader(processes)

    def ready(self) -> None:
        """Answer as soon as there is room for the actor."""

    def judge(self, samples: bytes, rules: Rules) -> Judged:
        """The judged questions of one shard, both as Parquet files."""
        undecided, out = self._grader.undecided, io.BytesIO()
        questions = read_table(io.BytesIO(samples), SampledQuestion)
        write_table(out, WeighedQuestion, Weigher(rules, self._grader).judge(questions))
        return out.getvalue(), self._grader.undecided - undecided


@dataclass(frozen=True)
class RayJudge:
    """A weighing.Judge: `resources.engines` graders, on the cores that the engines leave free."""

    resources: Resources
    sampler: Sampler

    def __call__(
        self, shards: Sequence[Path], rules: Rules, grader: Grader
    ) -> Iterator[Iterable[WeighedQuestion]]:
        """Judge the shards on the cluster; `grader` counts what they leave undecided."""
        assert self.resources.ray is not None
        connect(self.resources.ray)
        self.sampler.release()
        pool: Pool[Path, Judged] = Pool(
            self._start,
            lambda judge, shard: judge.judge.remote(shard.read_bytes(), rules),
            min(self.resources.engines, len(shards)),
            self.resources.stage_timeout_hours,
        )
        try:
            for judged, undecided in pool.map(shards):
                grader.undecided += undecided
                yield read_table(io.BytesIO(judged), WeighedQuestion)
        finally:
            pool.close()

    def _start(self) -> Any:
        return actor(JudgeActor, 1, 0, self.resources.grader_processes)
