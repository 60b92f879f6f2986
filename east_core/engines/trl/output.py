"""The trained checkpoint: one folder that vLLM and Transformers load, with its training log and
the probe by which an engine's weights are known.
"""

import json
import shutil
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import Module
from transformers import PreTrainedTokenizerBase

from east_core.config import LoraRecipe
from east_core.engines.probe import SENTENCE, Probe
from east_core.engines.trl.job import RankJob
from east_core.protocols import TRAINING_LOG
from east_core.store.manifest import LOGS

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json")
_OF_THE_MODEL = ("config.json", "README.md", ".gitattributes")
_GENERATION = "generation_config.json"
_ADAPTED = ".base_layer.weight"


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
        state, model = merge_lora(state, job.recipe.lora, model), model.get_base_model()
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


def merge_lora(state: dict[str, Tensor], lora: LoraRecipe, model: Module) -> dict[str, Tensor]:
    """Full weights of the peft model `model`: W + alpha / r * B A for adapted layers, others as
    they are in `state`.

    The product is taken in fp32 whatever the weights' precision (LoRA, arXiv:2106.09685, eq. 3);
    transposed where the layer keeps W so (GPT-2's Conv1D).
    """
    scale = lora.alpha / lora.rank
    modules = model.named_modules()
    transposed = {name for name, layer in modules if getattr(layer, "fan_in_fan_out", False)}
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): (
            _merged(state, name, scale, transposed) if name.endswith(_ADAPTED) else tensor
        )
        for name, tensor in state.items()
        if ".lora_" not in name
    }


def _merged(
    state: dict[str, Tensor], name: str, scale: float, transposed: Collection[str]
) -> Tensor:
    stem, weight = name.removesuffix(_ADAPTED), state[name]
    a, b = (state[f"{stem}.lora_{side}.default.weight"].float() for side in "AB")
    change = (b @ a).T if stem in transposed else b @ a
    return (weight.float() + scale * change).to(weight.dtype)
