"""DeepSpeed's configuration: what `resources` mean to it, or a file of the user's own."""

import json
from pathlib import Path
from typing import Any

from east_core.config import Resources
from east_core.errors import ConfigError

# Transformers fills "auto" from the job: these follow from its recipe and its resources.
_FROM_JOB: dict[str, Any] = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
    "fp16": {"enabled": False},
}
_FORBIDDEN = ("optimizer", "scheduler")  # the recipe's
_HOST = {"device": "cpu", "pin_memory": True}


def deepspeed_config(resources: Resources) -> dict[str, Any]:
    """The configuration for a ZeRO stage of 1 to 3 and an offload, or the user's own.

    Raises ConfigError where the user's file can't be read or would change what is learned.
    """
    if resources.deepspeed_config is not None:
        return _own_config(Path(resources.deepspeed_config), resources.zero_stage)
    config = {
        **_FROM_JOB,
        "zero_optimization": _zero(resources.zero_stage, resources.offload),
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 2**31 - 1,  # never: the trainer tells the steps
        "wall_clock_breakdown": False,
    }
    if resources.offload != "none":
        # PyTorch's AdamW on the host: DeepSpeed's own needs a compiler
        config["zero_force_ds_cpu_optimizer"] = False
    return config


def _zero(stage: int, offload: str) -> dict[str, Any]:
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": stage > 1,
        "contiguous_gradients": True,
        "reduce_bucket_size": "auto",
    }
    if stage == 3:
        zero |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,  # a checkpoint for vLLM
        }
    else:
        zero |= {"reduce_scatter": True, "allgather_partitions": True}
    if offload != "none":
        zero["offload_optimizer"] = _HOST
    if offload == "all":
        zero["offload_param"] = _HOST
    return zero


def _own_config(path: Path, stage: int) -> dict[str, Any]:
    where = f"resources.deepspeed_config {path}"
    try:
        own = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{where} is no JSON file that can be read: {error}") from error
    if not isinstance(own, dict):
        raise ConfigError(f"{where} is no JSON object; docs/training.md shows one")
    for name in _FORBIDDEN:
        if name in own:
            raise ConfigError(f"{where} sets {name}, which is the recipe's; use [training]")
    for name, value in _FROM_JOB.items():
        if own.get(name, value) != value:
            raise ConfigError(f"{where} sets {name}, which follows from the run; leave it out")
    own_stage = own.get("zero_optimization", {}).get("stage", 0)
    if own_stage != stage:
        raise ConfigError(
            f"{where} has ZeRO stage {own_stage}; set resources.zero_stage to the same"
        )
    return {**_FROM_JOB, **own}
