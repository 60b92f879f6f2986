"""One rank of a training run: TRL's trainers under DeepSpeed (ZeRO 1-3) or plain DDP (stage 0).

    torchrun --nproc-per-node N -m east_core.backends.trl_trainer JOB.json

Reads the job that east_core.backends.torchrun wrote, trains, and leaves a complete checkpoint
(safetensors, tokenizer, template) with its training log. Talks to its parent in messages
(east_core.processes): {"data"}, {"resumed"}, {"skipped_checkpoint"}, {"step"}, {"checkpoint"},
{"result"}, {"error"}.
"""

import dataclasses
import json
import math
import os
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, distributed
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging as transformers_logging
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DataCollatorForPreference
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from east_core.backends.training_checkpoints import (
    CHECKPOINTS_KEPT,
    copy_from_store,
    copy_to_store,
    discard_damaged,
    latest_checkpoint,
    seal_checkpoint,
)
from east_core.backends.training_data import TrainingData, prepare_data, read_summary
from east_core.backends.training_job import RankJob, deepspeed_config, read_job
from east_core.backends.weighted_trainers import (
    GlobalBatchSampler,
    WeightedCollator,
    WeightedDPOTrainer,
    WeightedKTOTrainer,
    WeightedSFTTrainer,
)
from east_core.config import DpoRecipe, KtoRecipe, LoraRecipe, SftRecipe
from east_core.errors import ConfigError, EastError, EngineError, TrainingDiverged
from east_core.manifest import LOGS
from east_core.processes import emit
from east_core.trainer import TrainingResult

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".index.json")
_OF_THE_MODEL = ("config.json", "README.md", ".gitattributes")
_ADAPTED = ".base_layer.weight"


def main() -> None:
    """Run one rank; tell a failure that has a known cure as one message."""
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        train(read_job(Path(sys.argv[1])))
    except EastError as error:
        _fail(error)
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            _fail(EngineError(f"training ran out of memory; {_MEMORY_KNOBS}"))
        raise


_MEMORY_KNOBS = (
    "lower resources.micro_batch_size or training.max_length, set "
    "resources.gradient_checkpointing, raise resources.zero_stage, or set resources.offload"
)


def _fail(error: EastError) -> None:
    emit({"error": type(error).__name__, "message": str(error)})
    sys.stdout.flush()
    os._exit(3)  # peers may be waiting in a collective: no orderly shutdown is possible


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return "can't allocate memory" in str(error) or "out of memory" in str(error).lower()


def train(job: RankJob) -> None:
    """Train `job` and write its checkpoint; every rank calls this."""
    start_process_group(job)
    tokenizer = AutoTokenizer.from_pretrained(
        job.model.folder, trust_remote_code=job.model.trust_remote_code
    )
    data = prepared_data(job, tokenizer)
    trainer = build_trainer(job, tokenizer, data)
    checkpoint = _resume_point(job)
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    save_checkpoint(trainer, job)
    if _is_first():
        emit({"result": dataclasses.asdict(_result(trainer.state, data))})
    distributed.barrier()
    sys.stdout.flush()
    os._exit(0)  # all is written; tearing the engines down in order takes seconds


def start_process_group(job: RankJob) -> None:
    """Join the ranks before any model is made: ZeRO-3 shards it while it is loaded."""
    backend = "nccl" if job.device == "cuda" else "gloo"
    if job.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    if job.resources.zero_stage == 0:
        distributed.init_process_group(backend)
        return
    import deepspeed

    if job.device == "cpu":
        # Its shared-memory collectives take two minutes to compile; plain gloo gives the same.
        deepspeed.ops.__dict__["__compatible_ops__"] = {}
    deepspeed.init_distributed(dist_backend=backend, auto_mpi_discovery=False, verbose=False)


def prepared_data(job: RankJob, tokenizer: PreTrainedTokenizerBase) -> TrainingData:
    """The tokenised rows on disk, written by the first rank."""
    if _is_first():
        data = prepare_data(job, tokenizer, job.data_file)
        emit({"data": dataclasses.asdict(data)})
    distributed.barrier()
    return read_summary(job.data_file)


def build_trainer(job: RankJob, tokenizer: PreTrainedTokenizerBase, data: TrainingData) -> Any:
    """The weighted trainer of the job's loss, ready to train."""
    recipe = job.recipe
    in_order = isinstance(recipe, KtoRecipe) and recipe.kl == "trl"
    sampler = GlobalBatchSampler(
        data.examples, recipe.global_batch_size, recipe.epochs, None if in_order else job.seed
    )
    arguments = training_arguments(job, sampler.steps)  # before the model: ZeRO-3 reads them
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    options: dict[str, Any] = {
        "model": load_model(job, job.model.folder),
        "args": arguments,
        "sampler": sampler,
        "recipe": recipe,
        "train_dataset": Dataset.from_file(str(job.data_file)),
        "processing_class": tokenizer,
        "callbacks": [ProgressCallback(job)],
        "peft_config": _peft_config(job),
        "data_collator": WeightedCollator(collator(job, int(pad)), data.weight_scale),
    }
    if isinstance(recipe, SftRecipe):
        trainer: Any = WeightedSFTTrainer(**options)
    else:
        assert job.reference is not None
        options["reference_fingerprint"] = job.reference.fingerprint
        if job.reference.fingerprint != job.model.fingerprint:
            options["ref_model"] = load_model(job, job.reference.folder)
        kind = WeightedDPOTrainer if isinstance(recipe, DpoRecipe) else WeightedKTOTrainer
        trainer = kind(**options)
    trainer.remove_callback(PrinterCallback)
    return trainer


def is_bf16(job: RankJob) -> bool:
    """Whether this job trains in bf16: as asked, and for "auto" where the GPU has it."""
    if job.recipe.precision != "auto":
        return job.recipe.precision == "bf16"
    return job.device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def load_model(job: RankJob, folder: Path) -> PreTrainedModel:
    """A causal language model; bf16 under DeepSpeed's bf16, which keeps fp32 master weights."""
    half = is_bf16(job) and job.resources.zero_stage > 0
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if half else torch.float32,
        trust_remote_code=job.model.trust_remote_code,
    )
    model.config.use_cache = False
    return model


def training_arguments(job: RankJob, steps: int) -> TrainingArguments:
    """TRL's configuration for this job."""
    recipe, resources = job.recipe, job.resources
    common: dict[str, Any] = {
        "output_dir": str(job.checkpoints),
        "max_steps": steps,
        "per_device_train_batch_size": resources.micro_batch_size,
        "gradient_accumulation_steps": job.accumulation_steps,
        "learning_rate": recipe.learning_rate,
        "warmup_steps": math.ceil(recipe.warmup_ratio * steps),
        "lr_scheduler_type": _SCHEDULES[recipe.schedule],
        "optim": {"adamw": "adamw_torch", "sgd": "sgd"}[recipe.optimizer],
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
        "report_to": ["tensorboard", *_trackers(job)],
        "disable_tqdm": True,
        "save_strategy": "steps" if resources.checkpoint_every_steps else "no",
        "save_steps": resources.checkpoint_every_steps or 500,
        "save_total_limit": CHECKPOINTS_KEPT,
        "dataloader_pin_memory": job.device == "cuda",
        "router_aux_loss_coef": 0.0,
        "max_length": recipe.max_length,
    }
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(job.tensorboard)
    match recipe:
        case SftRecipe():
            return SFTConfig(**common)
        case DpoRecipe():
            return DPOConfig(**common, beta=recipe.beta, precompute_ref_log_probs=True)
        case KtoRecipe():
            return KTOConfig(**common, beta=recipe.beta, precompute_ref_log_probs=True)


def _trackers(job: RankJob) -> tuple[str, ...]:
    missing = [name for name in job.resources.trackers if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"resources.trackers names {missing[0]}, which is not installed; "
            f"pip install {missing[0]}, or leave it out"
        )
    return job.resources.trackers


_SCHEDULES = {
    "linear": "linear",
    "cosine": "cosine",
    "constant": "constant_with_warmup",
}


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
                pad_token_id=pad_token_id, max_length=job.recipe.max_length
            )


def _peft_config(job: RankJob) -> Any:
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


def _resume_point(job: RankJob) -> Path | None:
    """The checkpoint to go on from, the same on every rank."""
    if _is_first():
        discard_damaged(job.checkpoints, job.identity)
        store = job.resources.checkpoint_store
        if store and latest_checkpoint(job.checkpoints) is None:
            copy_from_store(job.checkpoints, store, job.identity)
    distributed.barrier()
    checkpoint = latest_checkpoint(job.checkpoints)
    if checkpoint and _is_first():
        emit({"resumed": checkpoint.name})
    return checkpoint


class ProgressCallback(TrainerCallback):
    """Tells every step to the parent, stops at a broken loss, seals checkpoints."""

    def __init__(self, job: RankJob) -> None:
        self.job = job
        self.step_started = self.last_save = time.monotonic()

    def on_log(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the base class's signature
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        """Check the step's loss before anything of it is saved, then tell it."""
        logs: dict[str, float] = kwargs["logs"]
        if "loss" not in logs:
            return
        broken = [name for name in ("loss", "grad_norm") if not math.isfinite(logs.get(name, 0))]
        if broken:
            raise TrainingDiverged(
                f"{broken[0]} is {logs[broken[0]]} at step {state.global_step} of "
                f"{state.max_steps}; lower training.learning_rate, or look at the round's weights"
            )
        now = time.monotonic()
        seconds, self.step_started = now - self.step_started, now
        if state.is_world_process_zero:
            emit({"step": _step_message(state, logs, seconds)})

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Start the clocks."""
        self.step_started = self.last_save = time.monotonic()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,  # noqa: ARG002 - the base class's signature
        control: TrainerControl,
        **_: Any,
    ) -> None:
        """Ask for a checkpoint where the last one is too long ago by the first rank's clock."""
        seconds = self.job.resources.checkpoint_every_minutes * 60
        if not seconds:
            return
        is_due = torch.tensor([time.monotonic() - self.last_save > seconds], device=args.device)
        distributed.broadcast(is_due, src=0)
        control.should_save = control.should_save or bool(is_due)

    def on_save(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the base class's signature
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **_: Any,
    ) -> None:
        """Seal the checkpoint that all ranks have just finished."""
        distributed.barrier()
        self.last_save = time.monotonic()
        if state.is_world_process_zero:
            checkpoint = self.job.checkpoints / f"checkpoint-{state.global_step}"
            seal_checkpoint(checkpoint, self.job.identity)
            if store := self.job.resources.checkpoint_store:
                copy_to_store(checkpoint, store, self.job.identity)
            emit({"checkpoint": checkpoint.name})


def _step_message(state: TrainerState, logs: dict[str, float], seconds: float) -> dict[str, float]:
    return {
        "step": state.global_step,
        "steps": state.max_steps,
        "loss": logs["loss"],
        "unweighted_loss": logs["unweighted_loss"],
        "weight_mean": logs["weight_mean"],
        "weight_std": logs["weight_std"],
        "learning_rate": logs["learning_rate"],
        "grad_norm": logs.get("grad_norm", 0.0),
        "tokens_per_second": logs["tokens"] / seconds,
    }


def save_checkpoint(trainer: Any, job: RankJob) -> None:
    """Write a checkpoint that vLLM and Transformers load; all ranks take part.

    The tokenizer's files are copied byte for byte, so that no round changes a prompt's ids.
    """
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not _is_first():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    if job.recipe.lora is not None:
        state, model = merge_lora(state, job.recipe.lora), model.get_base_model()
    model.config.use_cache = True
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


def _result(state: TrainerState, data: TrainingData) -> TrainingResult:
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    return TrainingResult(
        steps=state.global_step,
        examples=data.examples,
        dropped_too_long=data.dropped_too_long,
        first_loss=losses[0],
        last_loss=losses[-1],
    )


def _is_first() -> bool:
    return distributed.get_rank() == 0


if __name__ == "__main__":
    main()
