"""What a round trains on besides its own examples: earlier rounds', or given solutions.

The own examples have weights of mean 1, and so have the replayed ones: all together have it, and
the share of the examples is their share of the weight.
"""

import dataclasses
import functools
import itertools
import math
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from east_core.config import Replay
from east_core.inputs.solutions import load_solutions
from east_core.protocols import Example, example_type
from east_core.records import TrainingExample
from east_core.runs import addresses
from east_core.runs.addresses import EXAMPLES_FILE
from east_core.runs.run import Run
from east_core.seeds import derive_seed
from east_core.store import ArtifactRecord, Stage, materialize
from east_core.tables import read_table, write_table


def freeze_replay(run: Run) -> ArtifactRecord | None:
    """Copy the solutions that are replayed into the run; None where there are none to copy.

    Raises DataError where one lacks its question or its completion.
    """
    replay = run.config.replay
    if replay is None or replay.path is None:
        return None
    stage = Stage(run.at.replay, addresses.REPLAY, recipe={})
    return materialize(run.store, stage, functools.partial(_copy, replay.path))


def _copy(path: str, folder: Path) -> dict[str, int]:
    rows = load_solutions(path)
    return {"solutions": write_table(folder / EXAMPLES_FILE, TrainingExample, rows)}


def replayed_from(run: Run, number: int) -> dict[str, ArtifactRecord]:
    """What the replayed examples of round `number` are drawn from, by a name for the lineage."""
    replay = run.config.replay
    if replay is None:
        return {}
    if replay.path is not None:
        return {"replay": run.record(run.at.replay)}
    return {f"examples {past}": run.record(run.at.examples(past)) for past in range(1, number)}


def replay_count(own: int, share: float) -> int:
    """How many replayed examples are `share` of all, beside `own`; to half an example."""
    part = Fraction(str(share))
    return round(own * part / (1 - part))


@dataclasses.dataclass(frozen=True)
class Replayed:
    """The examples that a round of `own` examples replays; iterates over them.

    Of a pool that is smaller than their number every example is taken as often as any other, to
    one; which are taken once more is drawn by the run's seed. Examples of weight 0 teach nothing
    and are in no pool.
    """

    run: Run
    number: int
    own: int
    replay: Replay

    @functools.cached_property
    def pool_size(self) -> int:
        """How many examples there are to draw from."""
        return sum(1 for _ in self._pool())

    @functools.cached_property
    def count(self) -> int:
        """How many are replayed: none where there is nothing to draw from."""
        return replay_count(self.own, self.replay.share) if self.pool_size else 0

    def __iter__(self) -> Iterator[Example]:
        """The examples in the pool's order, with weights of mean 1."""
        if not self.count:
            return
        scale = self.count / math.fsum(example.weight for example in self._chosen())
        for example in self._chosen():
            yield dataclasses.replace(example, weight=example.weight * scale)

    def _chosen(self) -> Iterator[Example]:
        times, odd = divmod(self.count, self.pool_size)
        seed = derive_seed(self.run.config.seed, "replay", self.number)
        draw = random.Random(seed)  # noqa: S311 - a reproducible draw, not a secret
        once_more = set(draw.sample(range(self.pool_size), odd))
        for position, example in enumerate(self._pool()):
            yield from itertools.repeat(example, times + (position in once_more))

    def _pool(self) -> Iterator[Example]:
        for record in replayed_from(self.run, self.number).values():
            rows = read_table(
                self.run.store.fetch(record) / EXAMPLES_FILE,
                example_type(self.run.config.training),
            )
            for example in itertools.islice(rows, _own_count(record)):
                if example.weight > 0:
                    yield example


def _own_count(record: ArtifactRecord) -> int | None:
    """How many of an artifact's examples come first and are no replayed ones; None: all."""
    replayed = record.facts.get("replayed")
    return None if replayed is None else int(record.facts["examples"]) - int(replayed)
