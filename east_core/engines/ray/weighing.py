"""Weighing on a Ray cluster: one shard of samples to a machine, its clusters and weights back.

What comes back is what `weigh_shards` gives, so the artifact is the same, to the last bit.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.answers.grading import Grader
from east_core.config import Resources
from east_core.engines.devices import engine_count
from east_core.engines.ray.cluster import ActorPool, actor, connect
from east_core.protocols import Sampler
from east_core.records import SampledQuestion
from east_core.tables import read_table, write_table
from east_core.weighting.weighed import WeighedQuestion
from east_core.weighting.weighing import Weigher, WeighingRules

WeighedShard = tuple[
    bytes, int
]  # a Parquet file of WeighedQuestion rows; comparisons left undecided


class WeighingActor:
    """A grader with its workers, on a machine of the cluster."""

    def __init__(self, processes: int) -> None:
        self._grader = Grader(processes)

    def ready(self) -> None:
        """Answer as soon as there is room for the actor."""

    def weigh(self, samples: bytes, rules: WeighingRules) -> WeighedShard:
        """The weighed questions of one shard, both as Parquet files."""
        undecided, out = self._grader.undecided, io.BytesIO()
        questions = read_table(io.BytesIO(samples), SampledQuestion)
        write_table(out, WeighedQuestion, Weigher(rules, self._grader).weigh(questions))
        return out.getvalue(), self._grader.undecided - undecided


@dataclass(frozen=True)
class RayShardWeigher:
    """A weighing.ShardWeigher: `resources.engines` graders, on cores that engines leave free."""

    resources: Resources
    sampler: Sampler

    def __call__(
        self, shards: Sequence[Path], rules: WeighingRules, grader: Grader
    ) -> Iterator[Iterable[WeighedQuestion]]:
        """Weigh the shards on the cluster; `grader` counts what they leave undecided."""
        assert self.resources.ray is not None
        connect(self.resources.ray)
        self.sampler.release()
        pool: ActorPool[Path, WeighedShard] = ActorPool(
            self._start,
            lambda actor, shard: actor.weigh.remote(shard.read_bytes(), rules),
            min(engine_count(self.resources), len(shards)),
            self.resources.stage_timeout_hours,
        )
        try:
            for table, undecided in pool.map(shards):
                grader.undecided += undecided
                yield read_table(io.BytesIO(table), WeighedQuestion)
        finally:
            pool.close()

    def _start(self) -> Any:
        return actor(WeighingActor, 1, 0, self.resources.grader_processes)
