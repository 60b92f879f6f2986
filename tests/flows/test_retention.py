"""A run that keeps few checkpoints, and goes on all the same."""

from pathlib import Path

import pytest

from east_core.config import Resources, RunConfig
from east_core.errors import ConfigError
from east_core.runs.summary import summarise
from east_core.store import Store
from east_core.store.verification import verify
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.self_training import self_training
from tasks.engines import Engines, use_engines
from tests.flows.test_self_training import InterruptedTrainer, config

pytestmark = pytest.mark.usefixtures("prefect_api")
LAST = Resources(retention="last:1", shard_questions=15)


def pruned(store: Store, rounds: int) -> list[bool]:
    records = [store.require(f"test-run/round-{n:02d}/checkpoint") for n in range(1, rounds + 1)]
    return [store.is_pruned(record) for record in records]


def contents(run: RunConfig) -> dict[str, str]:
    """What round 2 came out as."""
    records = Store(run.store).records("test-run/round-02")
    return {record.address: record.content for record in records}


def test_only_the_last_checkpoint_stays_and_the_run_can_grow(tmp_path: Path) -> None:
    run = config(tmp_path, rounds=2, resources=LAST)
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
        store = Store(run.store)
        assert pruned(store, 2) == [True, False]
        self_training(run.model_copy(update={"rounds": 3}))
    assert pruned(store, 3) == [True, True, False]
    assert verify(store, run.name).is_sound
    assert [len(past.accuracy) for past in summarise(store, run.name)] == [1, 1, 1, 1]


def test_an_interrupted_run_finds_what_it_needs(tmp_path: Path) -> None:
    for name in ("kept", "pruned"):
        (tmp_path / name).mkdir()
    kept = config(tmp_path / "kept")
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(kept)
    run = config(tmp_path / "pruned", resources=LAST)
    trainer = InterruptedTrainer(round_number=2, failures=1)
    with use_engines(Engines(ScriptedSampler(), trainer)), pytest.raises(KeyboardInterrupt):
        self_training(run)
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
    assert contents(kept) == contents(run)


def test_the_default_keeps_everything(tmp_path: Path) -> None:
    run = config(tmp_path)
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)
    assert pruned(Store(run.store), 2) == [False, False]


@pytest.mark.parametrize("wrong", ["last", "last:0", "some"])
def test_an_unknown_retention_is_refused(wrong: str) -> None:
    from east_core.config.toml_file import parse_config

    with pytest.raises(ConfigError, match="retention"):
        parse_config({"resources": {"retention": wrong}}, where="test")
