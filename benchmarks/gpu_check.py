"""Is packed training right on this GPU? Log-probabilities and gradients of joined rows, bf16.

Small models of several attentions, each in bf16 by PyTorch's kernel, row after row and by a mask,
held against the same rows padded, in fp32. A kernel that mixed rows would be off by far more.
"""

from typing import Any

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from trl.trainer.utils import add_fused_lm_head

from east_core.engines.trl.attention import ROWS, VARLEN, fits_varlen, has_varlen, use
from east_core.engines.trl.packing import Forward, joined_rows

_COMMON: dict[str, Any] = {
    "vocab_size": 1024,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.1,
}
_LAYERS = ["sliding_attention", "full_attention"]
_MODELS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "heads of 64": (LlamaForCausalLM, LlamaConfig, {"head_dim": 64}),
    "heads of 128 in groups": (
        Qwen3ForCausalLM,
        Qwen3Config,
        {"head_dim": 128, "num_key_value_heads": 2},
    ),
    "window of 32": (
        MistralForCausalLM,
        MistralConfig,
        {"head_dim": 64, "num_key_value_heads": 2, "sliding_window": 32},
    ),
    "heads of 256, window of 32": (
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        {"head_dim": 256, "num_key_value_heads": 1, "sliding_window": 32, "layer_types": _LAYERS},
    ),
}
_LENGTHS = (130, 7, 251, 64, 1, 93)
Found = tuple[torch.Tensor, torch.Tensor]


def check(device: str) -> dict[str, Any]:
    """Relative errors |x - exact| / |exact| of log-probabilities and gradients, by model."""
    return {"errors": {name: _errors(*kind, device) for name, kind in _MODELS.items()}}


def _errors(model_class: Any, config_class: Any, more: dict[str, Any], device: str) -> Any:
    torch.manual_seed(0)
    model = model_class(config_class(**{**_COMMON, **more})).to(device)
    add_fused_lm_head(model)
    batch = _batch(device)
    exact = _run(model, model, batch)
    model.to(torch.bfloat16)
    found = {"padded, mask": _run(model, model, batch)}
    found["packed, mask"] = _run(model, joined_rows(model), batch)
    has_kernel = has_varlen(device) and fits_varlen(model)
    use(ROWS, model)
    found["packed, row after row"] = _run(model, joined_rows(model), batch)
    if has_kernel:
        use(VARLEN, model)
        found["packed, kernel"] = _run(model, joined_rows(model), batch)
    return {
        kind: [_error(*pair) for pair in zip(one, exact, strict=True)]
        for kind, one in found.items()
    }


def _batch(device: str) -> dict[str, torch.Tensor]:
    mask = torch.zeros(len(_LENGTHS), max(_LENGTHS), dtype=torch.long)
    for row, length in enumerate(_LENGTHS):
        mask[row, :length] = 1
    ids = torch.randint(1, 1024, mask.shape) * mask
    labels = ids.masked_fill(mask == 0, -100)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: value.to(device) for name, value in batch.items()}


def _run(model: Any, forward: Forward, batch: dict[str, torch.Tensor]) -> Found:
    model.zero_grad()
    logps = forward(**batch, fused_lm_head=True).log_probs
    weights = torch.arange(len(_LENGTHS), device=logps.device)
    (logps.sum(1) * weights).sum().backward()
    gradients = torch.cat([each.grad.flatten().float() for each in model.parameters()])
    return logps.detach().float(), gradients


def _error(one: torch.Tensor, exact: torch.Tensor) -> float:
    return float((one - exact).norm() / exact.norm())
