"""What a checkpoint holds: adapters merged as peft would merge them."""

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from east_core.config import LoraRecipe
from east_core.engines.trl.output import merge_lora

LORA = LoraRecipe(rank=4, alpha=12)
SIZES: dict[str, Any] = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
CONFIGS = [
    LlamaConfig(
        **SIZES,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    ),
    GPT2Config(**SIZES, n_embd=16, n_layer=1, n_head=2, n_positions=32),  # keeps W transposed
]


@pytest.mark.parametrize("config", CONFIGS, ids=["llama", "gpt-2"])
def test_adapters_are_merged_as_peft_merges_them(config: Any) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    adapters = LoraConfig(
        r=LORA.rank,
        lora_alpha=int(LORA.alpha),
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    adapted = get_peft_model(model, adapters)
    for name, parameter in adapted.named_parameters():
        if ".lora_B." in name:  # zeros at the start, which change nothing
            torch.nn.init.normal_(parameter)
    ours = merge_lora(adapted.state_dict(), LORA, adapted)
    merged: Any = copy.deepcopy(adapted)
    theirs = merged.merge_and_unload().state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, msg=name)
