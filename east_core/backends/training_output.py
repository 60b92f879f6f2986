"""The trained checkpoint: one folder that vLLM and Transformers load, with its training log."""

import json
import shutil
from typing import Any

from torch import Tensor, distributed

from east_core.backends.training_job import RankJob
from east_core.config import LoraRecipe
from east_core.manifest import LOGS

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json")
_OF_THE_MODEL = ("config.json", "README.md", ".gitattributes")
_ADAPTED = ".base_layer.weight"


def save_checkpoint(trainer: Any, job: RankJob) -> None:
    """Write a checkpoint that vLLM and Transformers load; all ranks take part.

    The tokenizer's files are copied byte for byte, so that no round changes a prompt's ids.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if distributed.get_rank() != 0:
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if job.recipe.lora is not None:
        state, model = merge_lora(state, job.recipe.lora), model.get_base_model()
    untied = {name: t for name, t in state.items() if name not in model.all_tied_weights_keys}
    model.save_pretrained(job.out, state_dict=untied)
    for file in job.model.folder.iterdir():
        if file.is_file() and not file.name.endswith(_WEIGHTS) and file.name not in _OF_THE_MODEL:
            shutil.copyfile(file, job.out / file.name)
    log = (json.dumps(entry) + "\n" for entry in trainer.state.log_history)
    logs = job.out / LOGS
    logs.mkdir(exist_ok=True)
    (logs / "training.jsonl").write_text("".join(log))
    if job.tensorboard.exists():
        shutil.copytree(job.tensorboard, logs / "tensorboard", dirs_exist_ok=True)


def merge_lora(state: dict[str, Tensor], lora: LoraRecipe) -> dict[str, Tensor]:
    """Full weights of a peft model: W + alpha / r * B A for adapted layers, others as they are.

    The product is taken in fp32 whatever the weights' precision (LoRA, arXiv:2106.09685, eq. 3).
    """
    scale = lora.alpha / lora.rank
    return {
        name.removeprefix("base_model.model.").replace(".base_layer.", "."): (
            _merged(state, name, scale) if name.endswith(_ADAPTED) else tensor
        )
        for name, tensor in state.items()
        if ".lora_" not in name
    }


def _merged(state: dict[str, Tensor], name: str, scale: float) -> Tensor:
    stem, weight = name.removesuffix(_ADAPTED), state[name]
    a, b = (state[f"{stem}.lora_{side}.default.weight"].float() for side in "AB")
    return (weight.float() + scale * (b @ a)).to(weight.dtype)
