"""Rounds that are stored as adapters, through every reader of a checkpoint."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from east_core.config import ModelConfig
from east_core.errors import DataError, StoreError
from east_core.inputs.base_models import (
    fingerprint_files,
    is_stored_as_adapter,
    locate_model,
    name_of_checkpoint,
    whole_model,
)
from east_core.protocols import PROBE_FILE
from east_core.runs.averaging import Blend, average
from east_core.runs.retention import plan_prune, prune
from east_core.runs.run import Run, checkpoint
from east_core.store import Stage, Store, materialize
from east_core.store.verification import verify
from east_core.studies.promotion import Entry, record_entry
from east_core.studies.publishing import parse_target, publish
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.adapter_runs import (
    WEIGHTS,
    AdapterTrainer,
    adapter_run,
    added,
    new_run,
    weight_in,
)
from tests.east_core.conftest import finish


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EAST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield adapter_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def run(finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the finished run, on a machine whose cache is empty."""
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    shutil.copytree(finished.store.root, tmp_path / "store")
    model = shutil.copytree(finished.config.model.name, tmp_path / "model")
    changes = {"store": str(tmp_path / "store"), "model": ModelConfig(name=str(model))}
    return Run.open(finished.config.model_copy(update=changes))


def round_of(run: Run, number: int) -> Path:
    return whole_model(run.store, run.record(run.at.checkpoint(number)))


def merged_files(run: Run) -> list[Path]:
    return sorted(run.store.cache.glob("artifacts/merged-*/" + WEIGHTS))


def test_a_round_holds_what_training_changed_and_whose_change_it_is(run: Run) -> None:
    for number in (1, 2, 3):
        record = run.record(run.at.checkpoint(number))
        assert is_stored_as_adapter(record)
        assert not any(file.path == WEIGHTS for file in record.files)
        before = run.record(run.at.checkpoint(number - 1))
        assert record.facts["adapter_of"] == record.inputs["model"] == before.content


def test_the_chain_is_merged_in_one_go_and_once(run: Run) -> None:
    weight = weight_in(Path(run.config.model.name))
    for number in (1, 2, 3):
        weight = (weight.astype(np.float64) + added(run, number)).astype(np.float32)
    last = round_of(run, 3)
    np.testing.assert_allclose(weight_in(last), weight, rtol=1e-6)
    assert merged_files(run) == [last / WEIGHTS], "no model of a round between is written"
    written = (last / WEIGHTS).stat().st_mtime_ns
    assert round_of(run, 3) == last
    assert (last / WEIGHTS).stat().st_mtime_ns == written
    in_steps = [(round_of(run, n) / WEIGHTS).read_bytes() for n in (1, 2)]
    assert len({*in_steps, (last / WEIGHTS).read_bytes()}) == 3


def test_the_bytes_are_the_same_from_the_round_before_and_from_the_base(run: Run) -> None:
    at_once = (round_of(run, 3) / WEIGHTS).read_bytes()
    shutil.rmtree(run.store.cache)
    again = Run.open(run.config)
    for number in (1, 2, 3):
        in_steps = (round_of(again, number) / WEIGHTS).read_bytes()
    assert in_steps == at_once


def test_engines_and_training_get_whole_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    run, trainer = new_run(tmp_path), AdapterTrainer()
    finish(run, ScriptedSampler(), trainer)
    for number, began_from in enumerate(trainer.trained):
        model = checkpoint(run, number)
        assert np.array_equal(weight_in(model.folder), began_from)
        assert model.fingerprint == run.record(run.at.checkpoint(number)).fingerprint
    assert (checkpoint(run, 3).folder / PROBE_FILE).is_file(), "for engines that load in place"


def test_a_run_of_whole_rounds_goes_on_with_adapters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    begun = new_run(tmp_path, rounds=1)
    finish(begun, ScriptedSampler(), InstantTrainer())
    first = begun.record(begun.at.checkpoint(1))
    run = Run.open(begun.config.model_copy(update={"rounds": 2}))
    finish(run, ScriptedSampler(), AdapterTrainer())
    assert run.record(run.at.checkpoint(1)) == first
    second = run.record(run.at.checkpoint(2))
    assert is_stored_as_adapter(second)
    assert second.facts["adapter_of"] == first.content
    before, after = (weight_in(round_of(run, n)) for n in (1, 2))
    np.testing.assert_allclose(after, before + added(run, 2), rtol=1e-5)


def test_the_base_model_is_the_one_that_the_runs_settings_name_now(run: Run) -> None:
    weights = Path(run.config.model.name) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(DataError, match="not the base model that the run began with any more"):
        checkpoint(run, 2)
    shutil.rmtree(weights.parent)
    with pytest.raises(DataError, match=r"sums/base-model needs .* does not exist") as caught:
        checkpoint(run, 2)
    assert "\n" not in str(caught.value)


def test_another_or_no_round_below_is_one_line(run: Run) -> None:
    folder = Path(run.store.root) / "sums/round-01/checkpoint"
    shutil.rmtree(folder)
    with pytest.raises(StoreError, match=r"round-02/checkpoint is an adapter on .*which is gone"):
        round_of(run, 3)
    stage = Stage("sums/round-01/checkpoint", "checkpoint")
    materialize(run.store, stage, lambda out: (out / "other").write_text("other") and None)
    with pytest.raises(StoreError, match=r"is an adapter on .*is there now; restore"):
        round_of(run, 3)


def test_a_damaged_whole_model_in_the_cache_is_merged_again(run: Run) -> None:
    weights = round_of(run, 1) / WEIGHTS
    sound = weights.read_bytes()
    weights.write_bytes(sound[:-1] + b"x")
    assert (round_of(Run.open(run.config), 1) / WEIGHTS).read_bytes() == sound


def test_what_an_adapter_is_merged_into_is_not_pruned(run: Run) -> None:
    steps = plan_prune(run.store, "sums", "last:1")
    assert [step.reason for step in steps] == [
        "round 2 is an adapter on it",
        "round 3 is an adapter on it",
        "last",
    ]
    prune(run.store, steps)
    assert round_of(run, 3).is_dir()


def test_rounds_that_all_start_from_the_base_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    run = adapter_run(tmp_path, start_from="base")
    steps = plan_prune(run.store, "sums", "last:1")
    assert [step.reason for step in steps] == [None, None, "last"]
    assert prune(run.store, steps) > 0
    assert round_of(run, 3).is_dir()


def test_averages_and_published_models_are_whole(run: Run, tmp_path: Path) -> None:
    record = average(run.store, "sums", Blend((0, 2), (0.5, 0.5)))
    middle = (weight_in(Path(run.config.model.name)) + weight_in(round_of(run, 2))) / 2
    np.testing.assert_allclose(weight_in(run.store.fetch(record)), middle, rtol=1e-5)
    url = f"{run.store.root}/sums/round-02"
    target = parse_target(str(tmp_path / "out"))
    publish(url, target, license_id=None, with_examples=False, public=False)
    assert (tmp_path / "out" / WEIGHTS).read_bytes() == (round_of(run, 2) / WEIGHTS).read_bytes()
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"README.md", "chat_template.jinja", "config.json", "skill.json", WEIGHTS}


@pytest.mark.parametrize("url", ["", "memory://adapters"])
def test_a_run_may_begin_from_an_adapter_by_its_place_in_the_store(
    run: Run, tmp_path: Path, url: str
) -> None:
    store = run.store
    if url:
        store = Store(url)
        for path in store.place.sizes(""):
            store.place.delete([path])
        for record in run.store.records("sums"):
            _copy(run.store, store, record.address)
    record = store.require("sums/round-02/checkpoint")
    name = name_of_checkpoint(store, record)
    assert name == store.url("sums/round-02/checkpoint")
    found = locate_model(ModelConfig(name=name), store.cache)
    assert weight_in(found).tobytes() == weight_in(round_of(run, 2)).tobytes()
    files = fingerprint_files(found)
    shutil.rmtree(found)
    assert fingerprint_files(locate_model(ModelConfig(name=name), store.cache)) == files


def _copy(source: Store, target: Store, address: str) -> None:
    """An artifact of one store in another, as `east_core.store.remote` lays it out."""
    record = source.require(address)
    copied = replace(record, folder=target.place.folder_for(record, record.content_folder))
    target.place.publish(copied, source.fetch(record))


def test_programs_that_serve_the_champion_are_told_that_it_is_an_adapter(run: Run) -> None:
    champion = "sums/round-02/checkpoint"
    record_entry(run.store, "line", Entry(1, "promoted", champion, "sums", "better", {}))
    told = json.loads((Path(run.store.root) / "line/champion.json").read_text())
    assert told["is_adapter"]
    assert (Path(told["url"]) / "merge.json").is_file()


def test_an_adapter_of_no_run_is_refused_as_a_base_model(run: Run, tmp_path: Path) -> None:
    folder = run.store.fetch(run.record(run.at.checkpoint(1)))
    alone = shutil.copytree(folder, tmp_path / "alone", ignore=lambda *_: ["_record.json"])
    with pytest.raises(DataError, match="is an adapter, and no run's"):
        locate_model(ModelConfig(name=str(alone)), run.store.cache)


def test_verify_reads_every_byte_of_an_adapter(run: Run) -> None:
    assert verify(run.store, "sums").is_sound
    file = Path(run.store.root) / "sums/round-02/checkpoint/merge.json"
    file.write_text(json.dumps({"dtype": "float32", "weights": {}}))
    assert not verify(run.store, "sums").is_sound
