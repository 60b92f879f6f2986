"""Attention over joined rows, each by itself from the rows' bounds, as two of Transformers' kinds.

`torch_varlen` is PyTorch's flash attention for rows of any length (torch.nn.attention.varlen), and
needs no flash-attn package: for NVIDIA GPUs and half precision, with and without grouped heads and
sliding windows; it knows no dropout, no soft cap of the scores and no attention sinks.
`sdpa_rows` is the scaled dot product that the model has anyway, row after row: for everything else,
CPUs included. Both cost what the rows' own lengths cost. (Transformers' way for joined rows, a mask
over all of them, costs the square of their sum, and rounds by where in the sequence a row stands.)
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

VARLEN, ROWS = "torch_varlen", "sdpa_rows"
_LARGEST_HEAD = 256  # flash attention's, in PyTorch
_OLDEST_GPU = (8, 0)  # Ampere


def _attention_dropouts(settings: Mapping[Any, Any]) -> Iterator[float]:
    """Each family has its own name for it: attention_dropout, attn_pdrop (GPT-2), and within."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _attention_dropouts(value)
        elif "drop" in str(name) and ("attn" in str(name) or "attention" in str(name)):
            yield value or 0.0


@functools.cache
def _kernel() -> Callable[..., Tensor] | None:
    """PyTorch's kernel for rows of any length; None where it has none (before 2.10)."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return cast("Callable[..., Tensor]", varlen_attn)


def _options() -> set[str]:
    kernel = _kernel()
    return set() if kernel is None else {*inspect.signature(kernel).parameters}


def use(name: str, model: PreTrainedModel) -> None:
    """Let `model` attend by one of the two kinds from now on."""
    attend = varlen_attention if name == VARLEN else rows_attention
    AttentionInterface.register(name, attend)
    AttentionMaskInterface.register(name, _mask)
    model.set_attn_implementation(name)


def has_varlen(device: str) -> bool:
    """Whether this machine has the kernel: PyTorch's, and an NVIDIA GPU that runs it."""
    if device != "cuda" or _kernel() is None or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability() >= _OLDEST_GPU


def fits_rows(model: PreTrainedModel) -> bool:
    """Whether this model attends by the scaled dot product and passes on the rows' bounds."""
    return model.config._attn_implementation == "sdpa" and model._supports_flash_attn


def fits_varlen(model: PreTrainedModel) -> bool:
    """Whether the kernel computes what this model's attention asks for."""
    config = model.config.get_text_config()
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return bool(
        fits_rows(model)
        and head <= _LARGEST_HEAD
        and head % 8 == 0
        and not any(_attention_dropouts(config.to_dict()))
        and getattr(config, "attn_logit_softcapping", None) is None
        and getattr(config, "qk_rope_head_dim", None) is None  # values of another width
        and ("window_size" in _options() or not getattr(config, "sliding_window", None))
    )


def _mask(
    *, attention_mask: Tensor | None, allow_is_causal_skip: bool, use_vmap: bool, **options: Any
) -> Tensor | None:
    """The mask that Transformers makes for both: an empty one stands for joined rows.

    They need none, but a model that does not pass on the rows' bounds has to be told from one that
    has a single row.
    """
    if attention_mask is None and not allow_is_causal_skip and not use_vmap:
        return torch.empty(1, 1, 0, 0, dtype=torch.bool, device=options["device"])
    return sdpa_mask(
        attention_mask=attention_mask,
        allow_is_causal_skip=allow_is_causal_skip,
        use_vmap=use_vmap,
        **options,
    )


def varlen_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of joined rows by PyTorch's kernel, of anything else by its scaled dot product.

    query: (1, heads, L, size); key, value: (1, heads or groups of them, L, size); the result is
    (1, L, heads, size). cu_seq_lens_q: (rows + 1,) int32, where each row begins, and the end.
    """
    if attention_mask is None or attention_mask.numel():
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    unknown = [name for name in ("softcap", "s_aux") if options.get(name) is not None]
    if dropout or unknown:
        raise NotImplementedError(
            f"{type(module).__name__} asks for what PyTorch's attention of joined rows has not "
            f"({', '.join(unknown) or 'dropout'}); set resources.packing to 'off'"
        )
    bounds = _required(cu_seq_lens_q, module)
    q, k, v = (states[0].transpose(0, 1) for states in _half(query, key, value))
    attended = _over_rows(q, k, v, bounds, max_length_q, scaling, sliding_window)
    return attended[None], None


def rows_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    sliding_window: int | None = None,
    cu_seq_lens_q: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of joined rows by the scaled dot product, row after row; shapes as above."""
    if attention_mask is None or attention_mask.numel():
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    lengths = _lengths(_required(cu_seq_lens_q, module))
    states = (torch.split(each, lengths, dim=2) for each in (query, key, value))
    attended = [
        sdpa_attention_forward(module, q, k, v, _window(q, sliding_window), **options)[0]
        for q, k, v in zip(*states, strict=True)
    ]
    return torch.cat(attended, dim=1), None


def _required(bounds: Tensor | None, module: torch.nn.Module) -> Tensor:
    if bounds is None:
        raise NotImplementedError(
            f"{type(module).__name__} does not get the bounds of joined rows; set "
            "resources.packing to 'off'"
        )
    return bounds


@functools.lru_cache(maxsize=4)  # by the tensor's identity: all layers of a forward pass share it
def _lengths(bounds: Tensor) -> list[int]:
    lengths: list[int] = bounds.diff().tolist()
    return lengths


def _window(query: Tensor, window: int | None) -> Tensor | None:
    """The mask of one row, (1, 1, T, T), where it is longer than the window; None for causal."""
    length = query.shape[2]
    if window is None or length <= window:
        return None
    positions = torch.arange(length, device=query.device)
    distance = positions[:, None] - positions[None]
    return ((distance >= 0) & (distance < window))[None, None]


def _half(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
    """The states in the precision of autocast, which does not reach the kernel."""
    states = (query, key, value)
    if not torch.is_autocast_enabled(query.device.type):
        return states
    dtype = torch.get_autocast_dtype(query.device.type)
    return tuple(each.to(dtype) for each in states)


def _over_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bounds: Tensor,
    longest: int | None,
    scale: float | None,
    window: int | None,
) -> Tensor:
    kernel, known = _kernel(), _options()
    assert kernel is not None
    groups = query.shape[1] // key.shape[1]
    more: dict[str, Any] = {"scale": scale} if "scale" in known else {}
    if "window_size" in known:
        # a window of W tokens is the token itself and W - 1 before it
        more["window_size"] = (window - 1 if window else -1, 0)
    else:
        more["is_causal"] = True
    if groups > 1 and "enable_gqa" in known:
        more["enable_gqa"] = True
    elif groups > 1:
        key, value = (_repeated(states, groups) for states in (key, value))
    length = int((bounds[1:] - bounds[:-1]).max()) if longest is None else longest
    return kernel(query, key, value, bounds, bounds, length, length, **more)


def _repeated(states: Tensor, groups: int) -> Tensor:
    return repeat_kv(states.transpose(0, 1)[None], groups)[0].transpose(0, 1)
