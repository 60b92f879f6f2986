"""What a checkpoint holds: adapters merged as peft would merge them."""

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GptOssConfig, LlamaConfig, Qwen3MoeConfig

from east_core.config import LoraRecipe
from east_core.engines.trl.lora import merge_lora

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
