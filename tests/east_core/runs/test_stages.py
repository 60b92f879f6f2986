"""Shards that a kill or a deletion has parted from the others."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.config import Resources
from east_core.errors import ArtifactDamaged
from east_core.records import Question, SampledQuestion
from east_core.runs import samples, weights
from east_core.runs.run import Run
from east_core.tables import read_tables
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config

SAMPLES = "round-01/samples"
SHARDS = Resources(shard_questions=15)


@pytest.fixture
def run(fake_run: Callable[..., Run]) -> Run:
    return fake_run(rounds=1, resources=SHARDS)


def contents(run: Run) -> dict[str, str]:
    """All but `config`, which names the store."""
    found = {record.address: record.content for record in run.store.records("sums")}
    del found["sums/config"]
    return found


@pytest.mark.parametrize("shard", ["0000000-0000014", "0000015-0000029", "0000030-0000039"])
def test_a_shard_built_but_not_recorded_does_not_move_the_others(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: str
) -> None:
    """Killed between a shard's build and its record: the rerun publishes that build."""
    killed = Run.open(sums_config(tmp_path, rounds=1, resources=SHARDS))
    publish = killed.store.place.publish

    def kill(record: Any, folder: Path) -> None:
        if record.address.endswith(shard):
            raise KeyboardInterrupt
        publish(record, folder)

    with monkeypatch.context() as patch:
        patch.setattr(killed.store.place, "publish", kill)
        with pytest.raises(KeyboardInterrupt):
            finish(killed, ScriptedSampler(), InstantTrainer())
    finish(killed, ScriptedSampler(), InstantTrainer())
    assert contents(killed) == contents(run)
    files = samples.sample_files(killed, killed.record(killed.at.samples(1)))
    asked = [sampled.question.id for sampled in read_tables(files, SampledQuestion)]
    assert asked == [f"q{number}" for number in range(40)]


def test_a_deleted_shard_is_sampled_again_and_nothing_else(run: Run) -> None:
    before = contents(run)
    shutil.rmtree(Path(run.store.root) / "sums" / SAMPLES / "0000015-0000029")
    other_size = run.config.model_copy(update={"resources": Resources(shard_questions=7)})
    sampler = ScriptedSampler()
    finish(Run(other_size, run.store), sampler, InstantTrainer())
    assert sampler.sampled == [f"q{number}" for number in range(15, 30)]
    assert contents(run) == before


class Drifting(ScriptedSampler):
    """Samples otherwise than before, as another GPU may."""

    def sample(self, *arguments: Any) -> Iterator[list[SampledQuestion]]:
        for shard in super().sample(*arguments):
            yield [
                SampledQuestion(Question(s.question.id, "drifted", None), s.completions)
                for s in shard
            ]


def test_a_shard_that_comes_out_otherwise_is_told(run: Run) -> None:
    root = Path(run.store.root) / "sums"
    shutil.rmtree(root / SAMPLES / "0000015-0000029")
    shutil.rmtree(root / "round-01/weights")
    samples.sample(run, 1, Drifting())
    with pytest.raises(ArtifactDamaged, match="is not what sums/round-01/samples was made of"):
        weights.weigh(run, 1)
