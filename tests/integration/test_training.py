"""Training through the front door: torchrun, TRL and DeepSpeed on a tiny model."""

import json
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from east_core.config import LoraRecipe
from east_core.engines.trl.job import rank_job
from east_core.errors import ConfigError, DataError, EngineError, TrainingDiverged
from east_core.inputs.chat import prompt_token_ids
from east_core.testing.small_jobs import ONE_RANK, RECIPES, small_job, tiny_model
from tests.integration.loop import train_by_hand
from tests.integration.training_runs import (
    kill_a_rank,
    max_difference,
    on_ranks,
    train_quietly,
    trainer,
    whole_checkpoint,
)

TWO_RANKS = {"processes": 2, "micro_batch_size": 2, "group_by_length": True}


def changed(recipe, **update):
    return recipe.model_copy(update=update)


def quiet_trainer(lines=None, on_step=lambda _: None):
    return trainer(on_step=on_step, on_log=(lines if lines is not None else []).append)


def test_two_sharded_ranks_train_what_a_hand_written_loop_trains(tmp_path):
    job = small_job(
        tmp_path,
        RECIPES["sft"],
        examples=21,
        resources=ONE_RANK.model_copy(update={**TWO_RANKS, "zero_stage": 2, "packing": "on"}),
    )
    steps = []
    result = quiet_trainer(on_step=steps.append).train(job, tmp_path / "out")
    trained = load_file(tmp_path / "out" / "model.safetensors")
    by_hand = {k: v for k, v in train_by_hand(job, tmp_path / "loop").items() if k in trained}
    assert max_difference(trained, by_hand) <= 1e-6
    assert max_difference(trained, load_file(job.model.folder / "model.safetensors")) > 1e-3
    assert (result.steps, result.examples, result.dropped_too_long) == (6, 21, 0)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert (result.first_loss, result.last_loss) == (steps[0].loss, steps[-1].loss)
    check_is_complete(tmp_path / "out", job)


def check_is_complete(out, job):
    """A checkpoint has all that sampling and the next round need, and its log."""
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.config.tie_word_embeddings
    tokenizers = AutoTokenizer.from_pretrained(out), AutoTokenizer.from_pretrained(job.model.folder)
    new, old = (
        prompt_token_ids(each, system_prompt="Think.", question="1 + 1?") for each in tokenizers
    )
    assert new == old
    log = [json.loads(line) for line in (out / "logs" / "training.jsonl").open()]
    assert {"loss", "unweighted_loss", "grad_norm", "learning_rate"} <= log[0].keys()
    assert list((out / "logs" / "tensorboard").glob("events.*"))


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["off", "on"])
@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_preferences_on_two_zero3_ranks_match_the_loop(tmp_path, loss, packing):
    job = small_job(tmp_path, RECIPES[loss])
    job = on_ranks(job, tmp_path / "sharded", **TWO_RANKS, zero_stage=3, packing=packing)
    trained = train_quietly(job, tmp_path / "out")
    by_hand = {k: v for k, v in train_by_hand(job, tmp_path / "loop").items() if k in trained}
    assert max_difference(trained, by_hand) <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 2])
def test_a_killed_rank_ends_the_run_at_once_and_a_rerun_loses_nothing(tmp_path, stage):
    job = small_job(tmp_path, RECIPES["sft"])
    job = on_ranks(job, tmp_path / "whole", **TWO_RANKS, zero_stage=stage)
    undisturbed = train_quietly(job, tmp_path / "undisturbed")
    job = on_ranks(job, tmp_path / "killed", checkpoint_every_steps=1)
    killed_at = []

    def on_step(step):
        killed_at.append(time.monotonic())
        kill_a_rank(at_step=5)(step)

    with pytest.raises(EngineError, match=r"rank \d was killed by SIGKILL.*micro_batch_size"):
        quiet_trainer(on_step=on_step).train(job, tmp_path / "out")
    assert time.monotonic() - killed_at[-1] < 15
    lines = []
    quiet_trainer(lines).train(job, tmp_path / "out")
    assert any("training resumes from checkpoint-" in line for line in lines)
    assert max_difference(undisturbed, load_file(tmp_path / "out" / "model.safetensors")) == 0


@pytest.mark.slow
def test_a_corrupt_checkpoint_is_passed_over_for_the_one_before(tmp_path):
    job = small_job(tmp_path, RECIPES["sft"])
    undisturbed = train_quietly(job, tmp_path / "undisturbed")
    job = on_ranks(job, tmp_path / "scratch2", checkpoint_every_steps=2)
    with pytest.raises(EngineError):
        quiet_trainer(on_step=kill_a_rank(at_step=5)).train(job, tmp_path / "out")
    checkpoints = rank_job(job, tmp_path / "out", "cpu").checkpoints
    newest = checkpoints / "checkpoint-4" / "optimizer.pt"
    newest.write_bytes(newest.read_bytes()[:-1] + b"x")
    lines = []
    quiet_trainer(lines).train(job, tmp_path / "out")
    assert "training skips checkpoint-4: optimizer.pt is missing or damaged" in lines
    assert "training resumes from checkpoint-2" in lines
    assert max_difference(undisturbed, load_file(tmp_path / "out" / "model.safetensors")) == 0


@pytest.mark.slow
def test_checkpoints_by_the_clock(tmp_path):
    resources = ONE_RANK.model_copy(update={"checkpoint_every_minutes": 1e-6})
    lines = []
    job = small_job(tmp_path, changed(RECIPES["sft"], epochs=1.0), resources=resources)
    quiet_trainer(lines).train(job, tmp_path / "out")
    assert [line for line in lines if line.startswith("training saved")] == [
        f"training saved checkpoint-{step}" for step in (1, 2, 3)
    ]


@pytest.mark.slow
def test_another_jobs_checkpoints_and_reference_are_never_used(tmp_path):
    """Trap: TRL served an older reference model's log-probabilities again under ZeRO-3."""
    first = small_job(tmp_path / "a", RECIPES["dpo"])
    first = on_ranks(first, tmp_path / "scratch", zero_stage=3, checkpoint_every_steps=2)
    train_quietly(first, tmp_path / "first")
    model = tiny_model(tmp_path / "a" / "model", seed=1)  # other weights at the same path
    second = replace(first, model=model, reference=model)
    lines, steps = [], []
    quiet_trainer(lines, steps.append).train(second, tmp_path / "second")
    assert not any("resumes" in line for line in lines)
    assert steps[0].unweighted_loss == pytest.approx(0.693147, abs=1e-6)


@pytest.mark.slow
def test_the_base_model_as_reference(tmp_path):
    job = small_job(tmp_path, RECIPES["dpo"])
    job = replace(job, reference=tiny_model(tmp_path / "base", seed=1))
    steps = []
    quiet_trainer(on_step=steps.append).train(job, tmp_path / "out")
    assert abs(steps[0].unweighted_loss - 0.693147) > 1e-3


@pytest.mark.slow
def test_lora_trains_adapters_and_leaves_them(tmp_path):
    recipe = changed(RECIPES["sft"], lora=LoraRecipe(rank=4, alpha=8))
    job = small_job(tmp_path, recipe)
    trained = train_quietly(job, tmp_path / "out")
    before = load_file(job.model.folder / "model.safetensors")
    assert trained.keys() == before.keys()
    moved = {name for name in before if not torch.equal(before[name], trained[name])}
    assert moved == {name for name in before if "_proj" in name}
    assert not (tmp_path / "out" / "model.safetensors").exists()
    check_is_complete(whole_checkpoint(job, tmp_path / "out"), job)


@pytest.mark.slow
def test_a_diverging_loss_stops_the_run(tmp_path):
    job = small_job(tmp_path, RECIPES["sft"])
    weights = load_file(job.model.folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, job.model.folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingDiverged, match=r"loss is nan at step 1 of 6; lower"):
        quiet_trainer().train(job, tmp_path / "out")
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.slow
def test_a_model_without_a_chat_template_is_refused_before_the_first_step(tmp_path):
    job = small_job(tmp_path, RECIPES["sft"])
    (job.model.folder / "chat_template.jinja").unlink()
    with pytest.raises(DataError, match="no chat template"):
        quiet_trainer().train(job, tmp_path / "out")


@pytest.mark.slow
def test_a_tracker_that_is_not_installed_is_refused_before_the_first_step(tmp_path):
    resources = ONE_RANK.model_copy(update={"trackers": ("wandb",)})
    with pytest.raises(ConfigError, match="pip install wandb"):
        quiet_trainer().train(
            small_job(tmp_path, RECIPES["sft"], resources=resources), tmp_path / "out"
        )
