"""Averages of a run's checkpoints: which files they consist of, and which requests are refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from east_core.config import Averaging, RunConfig
from east_core.errors import ArtifactMismatch, ConfigError, DataError, StoreError
from east_core.inputs.adapters import ADAPTER_CONFIG, ADAPTER_FILE, MERGE_FILE
from east_core.inputs.tensors import INDEX_FILE
from east_core.protocols import PROBE_FILE, TRAINING_LOG, TrainingJob, TrainingResult
from east_core.runs import start
from east_core.runs.averaging import Blend, average
from east_core.runs.retention import plan_prune, prune
from east_core.runs.run import Run
from east_core.store import Stage, materialize
from east_core.store.lineage import trace
from east_core.store.verification import verify
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config

Shards = dict[str, dict[str, torch.Tensor]]
ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHARDS: Shards = {
    ONE: {"embed": torch.arange(12.0).view(4, 3).bfloat16()},
    TWO: {"head": torch.linspace(-1, 1, 7), "norm": torch.ones(3).bfloat16()},
}
HALF = Blend((0, 2), (0.5, 0.5))


def write_shards(folder: Path, shards: Shards) -> None:
    for file in folder.glob("*.safetensors"):
        file.unlink()
    for name, tensors in shards.items():
        save_file(tensors, folder / name, metadata={"format": "pt"})
    weight_map = {name: file for file, tensors in shards.items() for name in tensors}
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))


def read_all(folder: Path) -> dict[str, torch.Tensor]:
    return {
        n: t for file in sorted(folder.glob("*.safetensors")) for n, t in load_file(file).items()
    }


def make_run(folder: Path, base: Shards = SHARDS) -> Run:
    """A run that has begun from a model of these shards."""
    run = Run.open(sums_config(folder))
    write_shards(folder / "model", base)
    (folder / "model/pytorch_model.bin.index.json").write_text("{}")
    start.claim(run)
    start.register_base_model(run)
    return run


def add_checkpoint(run: Run, number: int, shards: Shards, **config: Any) -> None:
    """What training writes: other weights, the model's other files, logs and a probe."""

    def build(folder: Path) -> None:
        shutil.copytree(run.config.model.name, folder, dirs_exist_ok=True)
        write_shards(folder, shards)
        (folder / "config.json").write_text(json.dumps({"round": number, **config}))
        (folder / "logs").mkdir()
        (folder / "logs/probe.json").write_text("{}")

    inputs = {"model": run.record(run.at.checkpoint(number - 1))}
    materialize(run.store, Stage(run.at.checkpoint(number), "checkpoint", inputs=inputs), build)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run whose rounds 1 and 2 have added 0.5 to every weight."""
    run = make_run(tmp_path_factory.mktemp("average"))
    for number in (1, 2):
        added = {f: {n: t + 0.5 * number for n, t in held.items()} for f, held in SHARDS.items()}
        add_checkpoint(run, number, added)
    return run


@pytest.fixture
def run(finished: Run, tmp_path: Path) -> Run:
    """A copy of the finished run, for a test to spoil; its base model is where it was."""
    shutil.copytree(finished.store.root, tmp_path / "store")
    return Run.open(finished.config.model_copy(update={"store": str(tmp_path / "store")}))


def checkpoint(run: Run, number: int) -> Path:
    return run.store.fetch(run.record(run.at.checkpoint(number)))


def test_a_sharded_run_is_averaged_shard_by_shard(run: Run) -> None:
    record = average(run.store, run.name, HALF)
    assert record.address == "sums/averages/0x0.5-2x0.5"
    assert record.facts == {"tensors": 3, "parameters": 22}
    made = run.store.fetch(record)
    for file, tensors in SHARDS.items():
        found = load_file(made / file)
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            last = load_file(checkpoint(run, 2) / file)[name]
            wanted = ((tensor.double() + last.double()) / 2).to(tensor.dtype)
            assert torch.equal(found[name], wanted), name


def test_all_but_the_weights_are_the_last_rounds_byte_for_byte(run: Run) -> None:
    record = average(run.store, run.name, HALF)
    made, last = run.store.fetch(record), checkpoint(run, 2)
    names = {file.path for file in record.files}
    theirs = {file.path for file in run.record(run.at.checkpoint(2)).files}
    assert names == theirs - {"logs/probe.json", "pytorch_model.bin.index.json"}
    for name in names - SHARDS.keys():
        assert (made / name).read_bytes() == (last / name).read_bytes(), name
    assert "chat_template.jinja" in names


@pytest.mark.parametrize(("weights", "same"), [((1.0, 0.0), 0), ((0.0, 1.0), 2)])
def test_a_weight_of_one_gives_that_checkpoints_weights(
    run: Run, finished: Run, weights: tuple[float, float], same: int
) -> None:
    made = run.store.fetch(average(run.store, run.name, Blend((0, 2), weights)))
    base = Path(finished.config.model.name)
    for file in SHARDS:
        theirs = (checkpoint(run, same) if same else base) / file
        assert (made / file).read_bytes() == theirs.read_bytes()


def test_it_may_be_named_after_the_base_model(run: Run) -> None:
    made = run.store.fetch(average(run.store, run.name, Blend((2, 0), (0.25, 0.75)), "near-base"))
    assert json.loads((made / "config.json").read_text()) == {}
    assert torch.equal(read_all(made)["norm"], torch.full((3,), 1.25).bfloat16())


def test_thirds_are_made_to_add_up(run: Run) -> None:
    thirds = Blend((0, 1, 2), (0.3333331, 0.3333331, 0.3333331))
    made = read_all(run.store.fetch(average(run.store, run.name, thirds)))
    wanted = (SHARDS[TWO]["head"].double() + 0.5).float()
    torch.testing.assert_close(made["head"], wanted, rtol=0, atol=1e-7)


def test_it_is_an_artifact_like_any_other(run: Run) -> None:
    first = average(run.store, run.name, HALF)
    assert average(run.store, run.name, HALF) == first
    assert verify(run.store, run.name).is_sound
    traced = trace(run.store, first.address)
    assert {link.address for link in traced.links[first.address]} == {
        run.at.checkpoint(0), run.at.checkpoint(2)
    }  # fmt: skip
    assert run.at.checkpoint(1) in traced.records


def test_pruning_leaves_it_and_it_outlives_its_rounds(run: Run) -> None:
    made = average(run.store, run.name, Blend((1, 2), (0.5, 0.5)))
    steps = plan_prune(run.store, run.name, "last:1")
    assert [step.address for step in steps if step.reason is None] == [run.at.checkpoint(1)]
    prune(run.store, steps)
    assert average(run.store, run.name, Blend((1, 2), (0.5, 0.5))) == made
    assert run.store.fetch(made).is_dir()
    assert verify(run.store, run.name).is_sound
    with pytest.raises(StoreError, match="round-01/checkpoint were pruned"):
        average(run.store, run.name, Blend((0, 1), (0.5, 0.5)))


def test_a_name_stands_for_one_average(run: Run) -> None:
    average(run.store, run.name, HALF, "between")
    with pytest.raises(
        ArtifactMismatch, match=r"another average: .*weights.*choose another --name"
    ):
        average(run.store, run.name, Blend((0, 2), (0.25, 0.75)), "between")


@pytest.mark.parametrize(
    ("rounds", "weights", "says"),
    [
        ((0, 2), (0.5,), "2 rounds and 1 weights"),
        ((0, 2), (0.5, 0.4), r"add up to 0\.9; they must add up to 1"),
        ((0, 2), (0.5, 0.500002), r"add up to 1\.000002"),
        ((0, 2), (-0.5, 1.5), "must be numbers of 0 or more"),
        ((0, 2), (float("nan"), 1.0), "must be numbers of 0 or more"),
        ((0, 2), (float("inf"), 0.0), "add up to inf"),
        ((2, 2), (0.5, 0.5), "named twice"),
        ((), (), "add up to 0"),
    ],
)
def test_weights_that_are_none_are_refused(
    rounds: tuple[int, ...], weights: tuple[float, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        Blend(rounds, weights)


def test_what_is_not_there_is_refused(run: Run) -> None:
    with pytest.raises(StoreError, match=r"round 7 of sums has no checkpoint; .* 0, 1, 2"):
        average(run.store, run.name, Blend((0, 7), (0.5, 0.5)))
    with pytest.raises(StoreError, match=r"round -1 of sums has no checkpoint"):
        average(run.store, run.name, Blend((0, -1), (0.5, 0.5)))
    with pytest.raises(StoreError, match="there is no run at"):
        average(run.store, "other", HALF)
    with pytest.raises(ConfigError, match=r"name '\.\./x'"):
        average(run.store, run.name, HALF, "../x")


ONE_ROUND = Blend((0, 1), (0.5, 0.5))


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ({"embed": torch.zeros(5, 3)}, r"embed is BF16 \[4, 3\] in round 0 and F32 \[5, 3\]"),
        ({"embed": torch.zeros(4, 3).long()}, r"embed is BF16 .* and I64"),
        ({**SHARDS[ONE], "lora_A": torch.ones(2)}, "round 0 has no tensor lora_A beside round 1"),
        ({}, "round 0 has only tensor embed beside round 1"),
    ],
)  # fmt: skip
def test_other_architectures_are_refused(
    tmp_path: Path, first: dict[str, torch.Tensor], says: str
) -> None:
    run = make_run(tmp_path)
    add_checkpoint(run, 1, {**SHARDS, ONE: first})
    with pytest.raises(DataError, match=says):
        average(run.store, run.name, ONE_ROUND)


@pytest.mark.parametrize("is_tied", [True, False])
def test_a_tied_output_layer_that_only_the_base_has_written_is_no_difference(
    tmp_path: Path, is_tied: bool
) -> None:
    head = {"lm_head.weight": SHARDS[ONE]["embed"].clone()}
    run = make_run(tmp_path, {**SHARDS, ONE: {**SHARDS[ONE], **head}})
    add_checkpoint(run, 1, SHARDS, tie_word_embeddings=is_tied)
    if is_tied:
        assert average(run.store, run.name, ONE_ROUND).facts["tensors"] == 3
    else:
        with pytest.raises(DataError, match=r"round 0 has only tensor lm_head\.weight"):
            average(run.store, run.name, ONE_ROUND)


def test_another_model_in_the_bases_place_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    add_checkpoint(run, 1, SHARDS)
    (tmp_path / "model/config.json").write_text('{"other": 1}')
    with pytest.raises(DataError, match="not the base model that the run began with"):
        average(run.store, run.name, ONE_ROUND)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(DataError, match="does not exist"):
        average(run.store, run.name, ONE_ROUND)


class AddingTrainer(InstantTrainer):
    """Adds 1 to every weight of the model that it is given, and leaves a probe and a log."""

    def __init__(self) -> None:
        self.started_from: list[dict[str, torch.Tensor]] = []

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        result = super().train(job, out)
        self.started_from.append(read_all(job.model.folder))
        for file in out.glob("*.safetensors"):
            save_file({n: t + 1 for n, t in load_file(file).items()}, file, {"format": "pt"})
        (out / "logs").mkdir(exist_ok=True)
        for name in (PROBE_FILE, TRAINING_LOG):
            (out / name).write_text('{"loss": 1.0}')
        return result


def averaged_run(folder: Path, **settings: Any) -> Run:
    """A run of two rounds with one shard, averaged as the settings say."""
    run = Run.open(sums_config(folder, averaging=Averaging(**settings)))
    (folder / "model/model.safetensors").unlink()
    write_shards(folder / "model", SHARDS)
    return run


@pytest.mark.parametrize(
    ("settings", "added"),
    [
        # from b: b + 1, half of it; then from b + 1/2: b + 3/2, half of it
        ({"earlier": "base", "weight": 0.5}, (0.5, 0.75)),
        # a quarter of the last one: b + 3/4; then b + 7/4 and b + 3/4 in the ratio 3 : 1
        ({"earlier": "previous", "weight": 0.25}, (0.75, 1.5)),
    ],
)
def test_a_round_publishes_the_average_and_goes_on_from_it(
    tmp_path: Path, settings: dict[str, Any], added: tuple[float, float]
) -> None:
    run, trainer = averaged_run(tmp_path, **settings), AddingTrainer()
    finish(run, ScriptedSampler(), trainer)
    base = {n: t for held in SHARDS.values() for n, t in held.items()}
    for number, more in enumerate(added, 1):
        for name, tensor in read_all(checkpoint(run, number)).items():
            wanted = (base[name].double() + more).to(tensor.dtype)
            assert torch.allclose(tensor, wanted, rtol=1e-2, atol=1e-2), name
        assert not (checkpoint(run, number) / PROBE_FILE).exists()
        assert (checkpoint(run, number) / TRAINING_LOG).is_file()
    second = run.record(run.at.checkpoint(2))
    other = run.at.checkpoint(0 if settings["earlier"] == "base" else 1)
    assert second.input_addresses["averaged with"] == other
    assert second.recipe["averaging"] == settings
    after_one = read_all(checkpoint(run, 1))
    assert all(torch.equal(t, after_one[n]) for n, t in trainer.started_from[1].items())
    assert run.record(run.at.scores(2, "sums")).input_addresses["model"] == second.address


class AdapterTrainer(InstantTrainer):
    """Leaves an adapter that adds 2 to one matrix, as training by LoRA does."""

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        result = super().train(job, out)
        shutil.rmtree(out)
        out.mkdir()
        factors = {"A": torch.ones(1, 3), "B": torch.full((4, 1), 2.0)}
        save_file(factors, out / ADAPTER_FILE)
        (out / ADAPTER_CONFIG).write_text("{}")
        change = {"a": "A", "b": "B", "scale": 1.0, "is_transposed": False}
        told = {"dtype": "float32", "weights": {"embed": change}}
        (out / MERGE_FILE).write_text(json.dumps(told))
        return result


def test_the_average_with_an_adapter_is_a_whole_model(tmp_path: Path) -> None:
    run = averaged_run(tmp_path, weight=0.5)
    finish(run, ScriptedSampler(), AdapterTrainer())
    embed = SHARDS[ONE]["embed"].float()
    for number, added in ((1, 1.0), (2, 1.5)):
        assert "adapter_of" not in run.record(run.at.checkpoint(number)).facts
        averaged = read_all(checkpoint(run, number))
        assert averaged.keys() == {"embed", "head", "norm"}
        assert torch.equal(averaged["embed"], embed + added)


def test_a_base_that_can_not_be_averaged_is_refused_when_the_run_begins(tmp_path: Path) -> None:
    run = averaged_run(tmp_path, earlier="base")
    (tmp_path / "model" / ONE).write_bytes((tmp_path / "model" / TWO).read_bytes())
    with pytest.raises(DataError, match="and so does"):
        start.register_base_model(run)


def test_what_is_trained_must_fit_the_model_that_it_is_averaged_with(tmp_path: Path) -> None:
    class Renaming(AddingTrainer):
        def train(self, job: TrainingJob, out: Path) -> TrainingResult:
            result = super().train(job, out)
            write_shards(out, {ONE: {"embed": torch.ones(4, 3)}, TWO: {"tail": torch.ones(7)}})
            return result

    with pytest.raises(DataError, match="round 0 has only tensor head beside round 1"):
        finish(averaged_run(tmp_path), ScriptedSampler(), Renaming())


def test_a_quantised_base_is_refused_when_the_run_begins(tmp_path: Path) -> None:
    run = averaged_run(tmp_path)
    config = {"quantization_config": {"quant_method": "mxfp4"}}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="the base model is quantised"):
        start.register_base_model(run)


def test_a_run_without_averaging_knows_nothing_of_it(finished_run: Any) -> None:
    run = finished_run(1)
    record = run.record(run.at.checkpoint(1))
    assert "averaging" not in record.recipe
    assert "averaged with" not in record.input_addresses
    assert "averaging" not in run.config.identity()
    assert RunConfig(averaging={"earlier": "base"}).identity()["averaging"]["weight"] == 0.5
