"""What a checkpoint holds: adapters merged as peft would merge them."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GptOssConfig, LlamaConfig, Qwen3MoeConfig

from east_core.config import LoraRecipe
from east_core.engines.trl.lora import dtype_of, merge_lora, misfit, write_adapter
from east_core.inputs.adapters import read_adapter, write_merged

LORA = LoraRecipe(rank=4, alpha=12)
SIZES: dict[str, Any] = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
LAYERS: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
EXPERTS = {"num_experts_per_tok": 2}
CONFIGS = {
    "llama": LlamaConfig(**SIZES, **LAYERS),
    "gpt-2": GPT2Config(**SIZES, n_embd=16, n_layer=1, n_head=2, n_positions=32),  # W transposed
    "qwen3-moe": Qwen3MoeConfig(
        **SIZES, **LAYERS, **EXPERTS, num_experts=4, moe_intermediate_size=8
    ),
    "gpt-oss": GptOssConfig(**SIZES, **LAYERS, **EXPERTS, num_local_experts=4),
}
EVERYTHING = ["q_proj", "embed_tokens"]


@pytest.mark.parametrize(
    ("family", "targets"),
    [*((family, "all-linear") for family in CONFIGS), ("llama", EVERYTHING)],
)
def test_adapters_are_merged_as_peft_merges_them(family: str, targets: Any) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[family])
    adapters = LoraConfig(
        r=LORA.rank,
        lora_alpha=int(LORA.alpha),
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, adapters)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:  # one of A and B is zeros at the start, which changes nothing
            torch.nn.init.normal_(parameter)
    ours = merge_lora(adapted.state_dict(), adapted)
    merged: Any = copy.deepcopy(adapted)
    theirs = merged.merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, msg=name)


def adapted_model(family: str, folder: Path, targets: Any = "all-linear") -> Any:
    """A saved model, and a peft model of it whose adapters were moved."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[family])
    model.save_pretrained(folder)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=targets, task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter)
    return adapted


@pytest.mark.parametrize(
    ("family", "targets"),
    [("llama", "all-linear"), ("llama", ["embed_tokens", "up_proj"]), ("gpt-2", "all-linear")],
)
def test_a_stored_adapter_is_merged_as_the_trained_model_is(
    family: str, targets: Any, tmp_path: Path
) -> None:
    adapted = adapted_model(family, tmp_path / "base", targets)
    state = adapted.state_dict()
    ties = family == "gpt-2"
    assert misfit(state, adapted, tmp_path / "base") is None
    out, whole = tmp_path / "out", tmp_path / "whole"
    out.mkdir()
    whole.mkdir()
    write_adapter(state, adapted, dtype_of(state), out)
    write_merged(tmp_path / "base", [read_adapter(out)], whole)
    ours, theirs = load_file(whole / "model.safetensors"), merge_lora(state, adapted)
    assert ours.keys() == theirs.keys() - ({"lm_head.weight"} if ties else set())
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=2e-6, rtol=2e-6, msg=name)


def test_peft_reads_a_stored_adapter_and_computes_the_same(tmp_path: Path) -> None:
    adapted = adapted_model("llama", tmp_path / "base")
    out = tmp_path / "out"
    out.mkdir()
    write_adapter(adapted.state_dict(), adapted, "float32", out)
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    again = PeftModel.from_pretrained(base, out)
    ids = torch.tensor([[2, 3, 5, 7]])
    assert torch.equal(again(ids).logits, adapted(ids).logits)
    config = json.loads((out / "adapter_config.json").read_text())
    assert str(tmp_path) not in (out / "adapter_config.json").read_text()
    assert config["target_modules"] == sorted(config["target_modules"])


@pytest.mark.parametrize(
    ("family", "targets", "why"),
    [
        ("qwen3-moe", "all-linear", "experts"),
        ("gpt-2", ["wte"], "stand for two layers"),
    ],
)
def test_an_adapter_that_is_not_of_the_files_own_weights_does_not_fit(
    family: str, targets: Any, why: str, tmp_path: Path
) -> None:
    adapted = adapted_model(family, tmp_path / "base", targets)
    assert why in str(misfit(adapted.state_dict(), adapted, tmp_path / "base"))


def test_an_adapter_does_not_fit_other_or_renamed_weights(tmp_path: Path) -> None:
    adapted = adapted_model("llama", tmp_path / "base")
    state = adapted.state_dict()
    file = tmp_path / "base" / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.0.mlp.up_proj.weight"
    save_file({**weights, name: weights[name] + 1}, file, metadata={"format": "pt"})
    assert misfit(state, adapted, tmp_path / "base") == (
        f"{name} is not in its files as it was trained on"
    )
    save_file({f"language_{n}": t for n, t in weights.items()}, file, metadata={"format": "pt"})
    assert "its files hold no " in str(misfit(state, adapted, tmp_path / "base"))
