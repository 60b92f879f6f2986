"""TRL's configuration for a job: what the recipe and the resources mean to its trainers."""

import math
import os
from importlib.util import find_spec
from typing import Any

import torch
from transformers import TrainingArguments
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe, TrainingRecipe
from east_core.engines.devices import require_trackers
from east_core.engines.trl.checkpoints import CHECKPOINTS_KEPT
from east_core.engines.trl.deepspeed import deepspeed_config
from east_core.engines.trl.job import RankJob, longest_sequence
from east_core.errors import ConfigError

_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
}
_OPTIMIZERS = {"adamw": "adamw_torch", "sgd": "sgd"}


def is_bf16(job: RankJob) -> bool:
    """Whether this job trains in bf16: as asked, and for "auto" where the GPU has it."""
    if job.recipe.precision != "auto":
        return job.recipe.precision == "bf16"
    return job.device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def training_arguments(job: RankJob, steps: int) -> TrainingArguments:
    """TRL's configuration for this job.

    Raises ConfigError for a tracker or kernels that are not installed.
    """
    recipe, resources = job.recipe, job.resources
    require_trackers(resources)
    require_kernels(recipe)
    common: dict[str, Any] = {
        "output_dir": str(job.checkpoints),
        "max_steps": steps,
        "per_device_train_batch_size": resources.micro_batch_size,
        "gradient_accumulation_steps": job.accumulation_steps,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": math.ceil(recipe.warmup_ratio * steps),
        "lr_scheduler_type": _SCHEDULES[recipe.schedule],
        "optim": _OPTIMIZERS[recipe.optimizer],
        "weight_decay": recipe.weight_decay,
        "max_grad_norm": recipe.max_grad_norm,
        "bf16": is_bf16(job),
        "use_cpu": job.device == "cpu",
        "gradient_checkpointing": resources.gradient_checkpointing,
        "seed": job.seed,
        "data_seed": job.seed,
        "deepspeed": deepspeed_config(resources) if resources.zero_stage else None,
        "ddp_find_unused_parameters": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": ["tensorboard", *resources.trackers],
        "disable_tqdm": True,
        "save_strategy": "steps" if resources.checkpoint_every_steps else "no",
        "save_steps": resources.checkpoint_every_steps or 500,
        "save_total_limit": CHECKPOINTS_KEPT,
        "dataloader_pin_memory": job.device == "cuda",
        "router_aux_loss_coef": recipe.router_loss,
        "max_length": recipe.max_length,
    }
    common |= recipe.trainer_options
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(job.tensorboard)
    match recipe:
        case SftRecipe():
            return SFTConfig(**common)
        case DpoRecipe():
            return DPOConfig(**common, beta=recipe.beta, precompute_ref_log_probs=True)
        case KtoRecipe():
            return KTOConfig(**common, beta=recipe.beta, precompute_ref_log_probs=True)


def require_kernels(recipe: TrainingRecipe) -> None:
    """Refuse Liger's kernels where they are not installed. Raises ConfigError."""
    if recipe.trainer_options.get("use_liger_kernel") and find_spec("liger_kernel") is None:
        raise ConfigError(
            "training.trainer_options.use_liger_kernel needs liger-kernel, which is not installed; "
            "pip install liger-kernel, or leave it out"
        )


def collator(job: RankJob, pad_token_id: int) -> Any:
    """TRL's collator for the job's loss. It pads by length, so a pad token that is EOS is safe."""
    match job.recipe:
        case SftRecipe():
            return DataCollatorForLanguageModeling(pad_token_id=pad_token_id)
        case DpoRecipe():
            return DataCollatorForPreference(pad_token_id=pad_token_id)
        case KtoRecipe():
            # a mismatched pair of the KL estimate may be longer than any example: it alone is cut
            return DataCollatorForUnpairedPreference(
                pad_token_id=pad_token_id, max_length=longest_sequence(job)
            )


def peft_config(job: RankJob) -> Any:
    """peft's configuration of the recipe's adapters; None where all parameters are trained."""
    lora = job.recipe.lora
    if lora is None:
        return None
    from peft import LoraConfig

    targets = lora.target_modules
    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # peft takes floats
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
