"""What LoRA training leaves: an adapter, in files that are merged into the model that it belongs to
(east_core.inputs.adapters), or the merged weights.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import Module

from east_core.errors import DataError
from east_core.inputs.adapters import ADAPTER_CONFIG, ADAPTER_FILE, MERGE_FILE
from east_core.inputs.tensors import weight_files

_ADAPTER = "default"  # peft's name of the only adapter
# What its settings are; all else is peft's default, whose list grows with its versions.
_CONFIG = (
    "peft_type",
    "task_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    "target_modules",
    "bias",
    "rank_pattern",
    "alpha_pattern",
)


def misfit(state: Mapping[str, Tensor], model: Any, base: Path) -> str | None:
    """Why the adapter of the peft model `model` can't be added to the files of the folder `base`.

    None where it can: the files hold all weights by the names and with the numbers that they have
    in `state`, the state of the peft model. Transformers renames, joins or unpacks the weights of
    some models as it loads them.
    """
    weights = {_plain(name): tensor for name, tensor in state.items() if not _is_lora(name)}
    tied: Mapping[str, str] = model.get_base_model().all_tied_weights_keys
    if any(hasattr(layer, "parameter_name") for _, layer in _layers(model)):
        return "the experts of a mixture are adapted as one tensor"
    if len({tensor.dtype for tensor in weights.values() if tensor.is_floating_point()}) > 1:
        return "its weights have several types in training"
    adapted = {_weight_name(name) for name, _ in _layers(model)}
    if adapted & {*tied, *tied.values()}:
        return "weights are adapted that stand for two layers"
    return _difference({n: t for n, t in weights.items() if n not in tied}, base)


def _difference(weights: Mapping[str, Tensor], base: Path) -> str | None:
    """The first weight that is not in the base's files as training had it."""
    left = dict(weights)
    try:
        for file in weight_files(base):
            with safe_open(file, "pt") as held:
                for name in held.keys() & left.keys():
                    ours, theirs = left.pop(name).cpu(), held.get_tensor(name)
                    if not _is_same(ours, theirs):
                        return f"{name} is not in its files as it was trained on"
    except DataError as error:
        return str(error)
    return f"its files hold no {min(left)}" if left else None


def _is_same(ours: Tensor, theirs: Tensor) -> bool:
    both_float = ours.is_floating_point() and theirs.is_floating_point()
    return (both_float or ours.dtype == theirs.dtype) and torch.equal(ours, theirs.to(ours.dtype))


def write_adapter(state: Mapping[str, Tensor], model: Any, dtype: str, out: Path) -> None:
    """Write the adapter of the peft model `model`: for peft, and how it is merged in `dtype`.

    The files name no place of this machine, and are the same whichever process writes them.
    """
    tensors = {
        _in_file(name): tensor.contiguous().cpu()
        for name, tensor in state.items()
        if _is_lora(name) and f".{_ADAPTER}" in name
    }
    save_file(tensors, out / ADAPTER_FILE, metadata={"format": "pt"})
    config = model.peft_config[_ADAPTER].to_dict()
    plain = {name: config[name] for name in _CONFIG}
    plain["target_modules"] = sorted(plain["target_modules"])
    _write_json(out / ADAPTER_CONFIG, {**plain, "inference_mode": True})
    changes = {_weight_name(name): _told(name, layer) for name, layer in _layers(model)}
    _write_json(out / MERGE_FILE, {"dtype": dtype, "weights": changes})


def dtype_of(state: Mapping[str, Tensor]) -> str:
    """The type of the weights as config.json spells it: "float32"."""
    return str(next(iter(state.values())).dtype).removeprefix("torch.")


def merge_lora(state: dict[str, Tensor], model: Module) -> dict[str, Tensor]:
    """Full weights of the peft model `model`: W + alpha / r * B A for what is adapted, the rest as
    it is in `state`.

    The product is taken in fp32 whatever the weights' precision (LoRA, arXiv:2106.09685, eq. 3).
    A mixture's experts are adapted as one tensor for all of them, one adapter around another.
    """
    merged = {_plain(name): tensor for name, tensor in state.items() if not _is_lora(name)}
    for name, layer in _layers(model):
        adapted = _weight_name(name, getattr(layer, "parameter_name", "weight"))
        weight = merged[adapted]
        change = layer.scaling[_ADAPTER] * _change(state, name, layer)
        merged[adapted] = (weight.float() + change).to(weight.dtype)
    return merged


def _layers(model: Module) -> list[tuple[str, Any]]:
    """The adapted layers by their names in the peft model."""
    return [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]


def _is_lora(name: str) -> bool:
    return ".lora_" in name


def _weight_name(layer: str, parameter: str = "weight") -> str:
    return f"{_plain(layer)}.{parameter}"


def _plain(name: str) -> str:
    """A name in the peft model as the model without adapters has it."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")


def _change(state: dict[str, Tensor], name: str, layer: Any) -> Tensor:
    """B A of an adapted layer, in the shape of its weights."""
    if layer.lora_embedding_A:
        a, b = (state[f"{name}.lora_embedding_{side}.{_ADAPTER}"].float() for side in "AB")
        return (b @ a).T
    a, b = (state[f"{name}.lora_{side}.{_ADAPTER}.weight"].float() for side in "AB")
    experts = getattr(layer, "num_experts", 1)
    if experts == 1:
        return (b @ a).T if layer.fan_in_fan_out else b @ a  # GPT-2's Conv1D keeps W transposed
    a = a.reshape(experts, -1, a.shape[-1])
    b = b.reshape(b.shape[0], -1, experts)
    # peft's ParamWrapper.get_delta_weight, which reads parameters that ZeRO-3 has taken apart
    order = "e o i" if layer._did_swap_in_out_features else "e i o"
    return torch.einsum(f"o r e, e r i -> {order}", b, a)


def _told(name: str, layer: Any) -> dict[str, Any]:
    """How a layer's weight is merged, by the names of its matrices in the adapter's file."""
    is_embedding = bool(layer.lora_embedding_A)
    kind, end = ("embedding_", "") if is_embedding else ("", ".weight")
    return {
        "a": f"{name}.lora_{kind}A{end}",
        "b": f"{name}.lora_{kind}B{end}",
        "scale": layer.scaling[_ADAPTER],
        "is_transposed": is_embedding or bool(layer.fan_in_fan_out),
    }


def _in_file(name: str) -> str:
    """A matrix's name as peft writes it, which leaves the adapter's out."""
    return name.replace(f".{_ADAPTER}", "")


def _write_json(path: Path, plain: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(plain, indent=1, sort_keys=True) + "\n", "utf-8")
