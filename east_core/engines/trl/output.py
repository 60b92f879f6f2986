"""The trained checkpoint: one folder that vLLM and Transformers load, with its training log and
the probe by which an engine's weights are known.
"""

import json
import shutil
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, distributed
from torch.nn import Module
from transformers import PreTrainedTokenizerBase

from east_core.engines.probe import SENTENCE, Probe
from east_core.engines.trl.job import RankJob
from east_core.protocols import TRAINING_LOG
from east_core.store.manifest import LOGS

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json")
_OF_THE_MODEL = ("config.json", "README.md", ".gitattributes")
_GENERATION = "generation_config.json"
_ADAPTER = "default"  # peft's name of the only adapter


def save_checkpoint(trainer: Any, tokenizer: PreTrainedTokenizerBase, job: RankJob) -> None:
    """Write a checkpoint that vLLM and Transformers load; all ranks take part.

    The tokenizer's files are copied byte for byte, so that no round changes a prompt's ids.
    """
    probe = _probed(trainer, tokenizer)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if distributed.get_rank() != 0:
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if job.recipe.lora is not None:
        state, model = merge_lora(state, model), model.get_base_model()
    untied = {name: t for name, t in state.items() if name not in model.all_tied_weights_keys}
    model.save_pretrained(job.out, state_dict=untied)
    _keep_configs(job, _dtype_of(state))
    for file in job.model.folder.iterdir():
        if file.is_file() and not file.name.endswith(_WEIGHTS) and file.name not in _OF_THE_MODEL:
            shutil.copyfile(file, job.out / file.name)
    probe.write(job.out)
    log = (json.dumps(entry) + "\n" for entry in trainer.state.log_history)
    (job.out / TRAINING_LOG).write_text("".join(log))
    if job.tensorboard.exists():
        shutil.copytree(job.tensorboard, job.out / LOGS / "tensorboard", dirs_exist_ok=True)


def _keep_configs(job: RankJob, dtype: str) -> None:
    """Put the model's own config.json back, which training changes in passing (pad_token_id,
    use_cache): an engine can then take the new weights in place, and a user finds it as it came.

    Where the weights have another type than the model's had (a bf16 model trained in fp32, whose
    small steps bf16 would lose), its entry alone is changed.
    """
    theirs = job.model.folder / "config.json"
    config = json.loads(theirs.read_text("utf-8"))
    if config.get("dtype", config.get("torch_dtype")) == dtype:
        shutil.copyfile(theirs, job.out / "config.json")
    else:
        config.pop("torch_dtype", None)
        (job.out / "config.json").write_text(
            json.dumps({**config, "dtype": dtype}, indent=2) + "\n"
        )
    if not (job.model.folder / _GENERATION).is_file():
        (job.out / _GENERATION).unlink(missing_ok=True)


def _dtype_of(state: dict[str, Tensor]) -> str:
    """The type of the weights as config.json spells it: "float32"."""
    return str(next(iter(state.values())).dtype).removeprefix("torch.")


@torch.no_grad()
def _probed(trainer: Any, tokenizer: PreTrainedTokenizerBase) -> Probe:
    """The log-probabilities of the probe's sentence; every rank computes them (ZeRO-3)."""
    model = trainer.model_wrapped
    model.eval()  # DeepSpeed's engine does not return itself
    ids = torch.tensor([tokenizer(SENTENCE)["input_ids"]], device=trainer.args.device)
    logits = model(input_ids=ids).logits[0, :-1].float()
    chosen = logits.log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
    return Probe(ids[0].tolist(), [round(value, 6) for value in chosen.tolist()])


def merge_lora(state: dict[str, Tensor], model: Module) -> dict[str, Tensor]:
    """Full weights of the peft model `model`: W + alpha / r * B A for what is adapted, the rest as
    it is in `state`.

    The product is taken in fp32 whatever the weights' precision (LoRA, arXiv:2106.09685, eq. 3).
    A mixture's experts are adapted as one tensor for all of them, one adapter around another.
    """
    merged = {_plain(name): tensor for name, tensor in state.items() if ".lora_" not in name}
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            adapted = f"{_plain(name)}.{getattr(layer, 'parameter_name', 'weight')}"
            weight = merged[adapted]
            change = layer.scaling[_ADAPTER] * _change(state, name, layer)
            merged[adapted] = (weight.float() + change).to(weight.dtype)
    return merged


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
