"""Flows open their store once: files are hashed once, and what is fetched stays to the end."""

import gc
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from east_core.config import DatasetConfig, RunConfig
from east_core.store import Store
from east_core.store.cache import DownloadCache
from east_core.studies.study import StudyConfig
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from flows.compare import compare
from flows.evaluate import EvaluationForm, evaluate
from flows.self_training import self_training
from tasks.engines import Engines, use_engines
from tests.flows.test_self_training import config

pytestmark = pytest.mark.usefixtures("prefect_api")
WEIGHTS = "model.safetensors"


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each file of weights was read for its hash, by inode (a publish moves it)."""
    counts: Counter[int] = Counter()
    digest = hashlib.file_digest

    def counted(file: Any, name: str) -> Any:
        if Path(file.name).name == WEIGHTS:
            counts[Path(file.name).stat().st_ino] += 1
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return counts


def run_it(run: RunConfig) -> None:
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        self_training(run)


def test_each_checkpoint_is_hashed_once_however_many_benchmarks_score_it(
    tmp_path: Path, hashed: Counter[int]
) -> None:
    questions = DatasetConfig(path=str(tmp_path / "questions.jsonl"))
    run_it(config(tmp_path, benchmarks=dict.fromkeys(("a", "b", "c"), questions)))
    assert len(hashed) == 3, "the base model and two checkpoints"
    assert set(hashed.values()) == {1}


def test_a_study_hashes_its_base_model_once(tmp_path: Path, hashed: Counter[int]) -> None:
    run = config(tmp_path, rounds=1)
    shared = run.model_dump(mode="json", include={"rounds", "model", "questions", "benchmarks"})
    study = StudyConfig(
        name="tried", store=str(tmp_path / "store"), seeds=(1, 2), run=shared,
        training={"sft": {"global_batch_size": 8}},
    )  # fmt: skip
    with use_engines(Engines(ScriptedSampler(), InstantTrainer())):
        compare(study)
    assert hashed[(tmp_path / "model" / WEIGHTS).stat().st_ino] == 1


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store that is not on disk, with a cache that has room for nothing but what is pinned."""
    import fsspec

    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    yield "memory://pins"
    fsspec.filesystem("memory").rm("/pins", recursive=True)


class Evicting(ScriptedSampler):
    """While it samples, another process with a full cache evicts whatever it may."""

    def __init__(self, cache: Path) -> None:
        super().__init__()
        self.cache = cache
        self.was_there: list[bool] = []

    def sample(self, model: Any, *arguments: Any) -> Any:
        gc.collect()
        DownloadCache(self.cache, limit=0)._evict()
        self.was_there.append((model.folder / "skill.json").exists())
        yield from super().sample(model, *arguments)


def test_what_is_being_scored_is_never_evicted(tmp_path: Path, memory: str) -> None:
    run = config(tmp_path, store=memory, rounds=1)
    evicting = Evicting(tmp_path / "cache" / "artifacts")
    with use_engines(Engines(evicting, InstantTrainer())):
        self_training(run)
        form = EvaluationForm(
            name="again", store=memory, checkpoint="run:test-run/round-01",
            benchmarks={"sums": run.benchmarks["sums"]},
        )  # fmt: skip
        evaluate(form)
    assert evicting.was_there == [True] * 4
    again = Store(memory).require("again/round-00/scores/sums").facts
    assert json.dumps(again) == json.dumps(
        Store(memory).require("test-run/round-01/scores/sums").facts
    )


def test_a_finished_flow_lets_its_downloads_go(tmp_path: Path, memory: str) -> None:
    run_it(config(tmp_path, store=memory, rounds=1))
    cache = DownloadCache(tmp_path / "cache" / "artifacts", limit=0)
    cache._evict()
    assert not list(cache.root.glob("*/skill.json"))
