"""Options passed on to vLLM and TRL by their own names."""

import dataclasses
from typing import Literal

import pytest
from pydantic import ValidationError

from east_core.config import DpoRecipe, Resources, SftRecipe
from east_core.config.passed_on import (
    ENGINE_OPEN,
    ENGINE_OURS,
    ENGINE_SPEED,
    TRAINER_OPEN,
    TRAINER_OURS,
    TRAINER_SPEED,
    engine_identity,
    engine_names,
    trainer_names,
)
from east_core.engines.vllm.options import EngineOptions


def test_what_the_tables_name_are_the_libraries_own_names() -> None:
    """A library that renames one fails here."""
    assert {*ENGINE_OURS, *ENGINE_SPEED} <= engine_names()
    assert engine_names() >= ENGINE_OPEN
    known = frozenset().union(*(trainer_names(loss) for loss in ("sft", "dpo", "kto")))
    assert {*TRAINER_OURS, *TRAINER_SPEED, *TRAINER_OPEN} <= known
    assert not ENGINE_OPEN & set(ENGINE_OURS)
    assert not TRAINER_OPEN & set(TRAINER_OURS)
    assert not ENGINE_SPEED & set(ENGINE_OURS)
    assert not TRAINER_SPEED & set(TRAINER_OURS)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_we_set_of_the_engine_is_refused_or_open(device: Literal["cpu", "cuda"]) -> None:
    marks = ("<think>", "</think>")
    options = EngineOptions.from_resources(Resources(device="cpu"), False, 512, marks)
    ours = dataclasses.replace(options, device=device).llm_arguments()
    assert set(ours) <= {*ENGINE_OURS, *ENGINE_OPEN}


def test_an_option_reaches_the_engine() -> None:
    asked = {"max_num_batched_tokens": 4096, "dtype": "bfloat16"}
    options = EngineOptions.from_resources(Resources(device="cpu", engine_options=asked), False)
    told = options.llm_arguments()
    assert told["max_num_batched_tokens"] == 4096
    assert told["dtype"] == "bfloat16"  # in the place of ours


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_num_batched_token": 1}, "did you mean max_num_batched_tokens"),
        ({"seed": 1}, "set seed"),
        ({"max_model_len": 1}, "set sampling.max_context"),
    ],
)
def test_a_typo_and_what_is_ours_do_not_pass(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Resources(engine_options=options)


def test_the_trainer_takes_its_losss_options() -> None:
    asked = {"precompute_ref_batch_size": 4}
    assert DpoRecipe(trainer_options=asked).trainer_options == asked
    with pytest.raises(ValidationError, match="no setting of TRL's SFTConfig"):
        SftRecipe(trainer_options=asked)
    with pytest.raises(ValidationError, match="exact weighting"):
        SftRecipe(trainer_options={"packing": True})
    kernels = {"use_liger_kernel": True, "liger_kernel_config": {"swiglu": False}}
    assert SftRecipe(trainer_options=kernels).trainer_options == kernels
    with pytest.raises(ValidationError, match="log-probability of a single example"):
        SftRecipe(trainer_options={"liger_kernel_config": {"fused_linear_cross_entropy": True}})
    with pytest.raises(ValidationError, match=r"set training.router_loss"):
        SftRecipe(trainer_options={"router_aux_loss_coef": 0.001})


def test_only_what_changes_samples_or_weights_identifies_them() -> None:
    assert engine_identity({"max_num_batched_tokens": 1, "quantization": "fp8"}) == {
        "quantization": "fp8"
    }
    fast = SftRecipe(trainer_options={"dataloader_num_workers": 2})
    assert fast.identity() == SftRecipe().identity()
    changed = SftRecipe(trainer_options={"adam_beta2": 0.95})
    assert changed.identity()["trainer_options"] == {"adam_beta2": 0.95}
