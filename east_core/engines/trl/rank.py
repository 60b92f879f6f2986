"""One rank of a training run: TRL's trainers under DeepSpeed (ZeRO 1-3) or plain DDP (stage 0).

    torchrun --nproc-per-node N -m east_core.engines.trl.rank JOB.json

On one machine the ranks are forked by east_core.engines.trl.fork_server instead, which saves their
imports. Reads the job that east_core.engines.trl.training wrote, trains, and leaves a complete
checkpoint (safetensors, tokenizer, template) with its training log. Talks to its parent in the
messages of east_core.engines.trl.messages.
"""

import errno
import math
import os
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import torch
from datasets import Dataset
from torch import distributed
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

from east_core.config import DpoRecipe, KtoRecipe, SftRecipe
from east_core.engines.processes import emit
from east_core.engines.trl.arguments import (
    collator,
    is_bf16,
    peft_config,
    training_arguments,
)
from east_core.engines.trl.checkpoints import (
    bind_to_rows,
    copy_from_store,
    copy_to_store,
    discard_damaged,
    identity_with_rows,
    latest_checkpoint,
    mark_complete,
)
from east_core.engines.trl.data import (
    TrainingData,
    prepare_data,
    read_summary,
    row_lengths,
    rows_digest,
)
from east_core.engines.trl.job import MEMORY_KNOBS, RankJob, read_job
from east_core.engines.trl.messages import (
    Failed,
    Finished,
    Prepared,
    Resumed,
    SavedCheckpoint,
    StepDone,
    TrainingStep,
)
from east_core.engines.trl.output import save_checkpoint
from east_core.engines.trl.packing import padded_rows, rows_for
from east_core.engines.trl.patches import import_muon, use_plain_collectives
from east_core.engines.trl.trainers import (
    GlobalBatchSampler,
    WeightedCollator,
    WeightedDPOTrainer,
    WeightedKTOTrainer,
    WeightedSFTTrainer,
)
from east_core.errors import ConfigError, EastError, EngineError, StoreError, TrainingDiverged
from east_core.protocols import TrainingResult


def main() -> None:
    """Run the rank that torchrun started."""
    run(Path(sys.argv[1]))


def run(job: Path) -> NoReturn:
    """Run one rank and leave at once, well or not.

    No orderly shutdown: after a failure the peers wait in a collective that never comes, and after
    a success tearing the engines down takes seconds for nothing.
    """
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    status = 1
    try:
        train(read_job(job))
        status = 0
    except Exception as error:
        failure = as_east_error(error)
        emit(Failed(type(failure).__name__, str(failure)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def as_east_error(error: Exception) -> EastError:
    """The error itself where it is ours, a cure where there is one, else its traceback's end."""
    if isinstance(error, EastError):
        return error
    if _is_out_of_memory(error):
        return EngineError(f"training ran out of memory; {MEMORY_KNOBS}")
    if _is_full_disk(error):
        return StoreError(
            "a training checkpoint can't be written: no space is left on the local disk; free "
            "some, or point EAST_SCRATCH at a larger one, and run again: finished work is kept"
        )
    traceback.print_exc()
    lines = str(error).splitlines() or [""]
    return EngineError(f"a training rank failed: {type(error).__name__}: {lines[0]}")


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _is_full_disk(error: Exception) -> bool:
    """Whether a file could not be written; torch and safetensors wrap the system's error."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    signs = ("unexpected pos", "PytorchStreamWriter failed", os.strerror(errno.ENOSPC))
    return any(sign in str(error) for sign in signs)


def train(job: RankJob) -> None:
    """Train `job` and write its checkpoint; every rank calls this."""
    start_process_group(job)
    tokenizer = AutoTokenizer.from_pretrained(
        job.model.folder, trust_remote_code=job.model.trust_remote_code
    )
    data = prepared_data(job, tokenizer)
    trainer = build_trainer(job, tokenizer, data)
    checkpoint = _resume_point(job, identity_with_rows(job.identity, data.digest))
    trainer.train(resume_from_checkpoint=checkpoint and str(checkpoint))
    save_checkpoint(trainer, tokenizer, job)
    if _is_first():
        emit(Finished(_result(trainer.state, data)))
    distributed.barrier()


def start_process_group(job: RankJob) -> None:
    """Join the ranks before any model is made: ZeRO-3 shards it while it is loaded."""
    patience = timedelta(hours=job.resources.stage_timeout_hours)  # a dead rank ends all sooner
    backend = "nccl" if job.device == "cuda" else "gloo"
    if job.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        # cuDNN plans anew for each length of a row or batch: 11 times slower, padded 1.6 times
        torch.backends.cuda.enable_cudnn_sdp(False)
    if job.resources.zero_stage == 0:
        distributed.init_process_group(backend, timeout=patience)
        return
    import deepspeed

    import_muon()
    if job.device == "cpu":
        use_plain_collectives()
    deepspeed.init_distributed(
        dist_backend=backend, auto_mpi_discovery=False, verbose=False, timeout=patience
    )


def prepared_data(job: RankJob, tokenizer: PreTrainedTokenizerBase) -> TrainingData:
    """The rows as ids on disk, written by the first rank."""
    if _is_first():
        bind_checkpoints_to_rows(job)
        data = prepare_data(job, tokenizer, job.data_file)
        emit(Prepared(data))
    distributed.barrier()
    return read_summary(job.data_file)


def bind_checkpoints_to_rows(job: RankJob) -> None:
    """Bind them to the rows of the attempt that left them, before these are written anew."""
    try:
        rows = rows_digest(job.data_file)
    except (OSError, pa.ArrowInvalid):  # no attempt before, or one that was killed as it wrote
        return
    bind_to_rows(job.checkpoints, job.identity, rows)


def build_trainer(job: RankJob, tokenizer: PreTrainedTokenizerBase, data: TrainingData) -> Any:
    """The weighted trainer of the job's loss, ready to train."""
    recipe = job.recipe
    in_order = isinstance(recipe, KtoRecipe) and recipe.kl == "trl"
    is_grouped = job.resources.group_by_length and not in_order
    sampler = GlobalBatchSampler(
        data.examples,
        recipe.global_batch_size,
        recipe.epochs,
        None if in_order else job.seed,
        row_lengths(job.data_file) if is_grouped else None,
    )
    arguments = training_arguments(job, sampler.steps)  # before the model: ZeRO-3 reads them
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    model = with_router(job, load_model(job, job.model.folder))
    rows = rows_for(job, model)
    if rows is not padded_rows:
        sampler.micro_batches = recipe.global_batch_size // job.resources.micro_batch_size
    options: dict[str, Any] = {
        "model": model,
        "rows": rows,
        "args": arguments,
        "sampler": sampler,
        "recipe": recipe,
        "train_dataset": Dataset.from_file(str(job.data_file)),
        "processing_class": tokenizer,
        "callbacks": [ProgressCallback(job, identity_with_rows(job.identity, data.digest))],
        "peft_config": peft_config(job),
        "data_collator": WeightedCollator(collator(job, int(pad)), data.weight_scale),
    }
    if isinstance(recipe, SftRecipe):
        trainer: Any = WeightedSFTTrainer(**options)
    else:
        assert job.reference is not None
        options["reference_fingerprint"] = job.reference.fingerprint
        if job.reference.fingerprint != job.model.fingerprint:
            reference = load_model(job, job.reference.folder)
            reference.set_attn_implementation(model.config._attn_implementation)
            options["ref_model"] = reference
        kind = WeightedDPOTrainer if isinstance(recipe, DpoRecipe) else WeightedKTOTrainer
        trainer = kind(**options)
    trainer.remove_callback(PrinterCallback)
    return trainer


def load_model(job: RankJob, folder: Path) -> PreTrainedModel:
    """A causal language model; bf16 under DeepSpeed's bf16, which keeps fp32 master weights."""
    half = is_bf16(job) and job.resources.zero_stage > 0
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.bfloat16 if half else torch.float32,
        trust_remote_code=job.model.trust_remote_code,
    )
    return model


def with_router(job: RankJob, model: PreTrainedModel) -> PreTrainedModel:
    """The model; raises ConfigError where the recipe asks for the loss of a router it has not."""
    has_router = hasattr(model.config.get_text_config(), "output_router_logits")
    if job.recipe.router_loss and not has_router:
        raise ConfigError(
            f"training.router_loss is {job.recipe.router_loss}, but {type(model).__name__} has no "
            "router whose loss Transformers knows; leave it at 0"
        )
    return model


def _resume_point(job: RankJob, identity: str) -> Path | None:
    """The checkpoint to go on from, the same on every rank."""
    if _is_first():
        discard_damaged(job.checkpoints, identity)
        store = job.resources.checkpoint_store
        if store and latest_checkpoint(job.checkpoints) is None:
            copy_from_store(job.checkpoints, store, identity)
    distributed.barrier()
    checkpoint = latest_checkpoint(job.checkpoints)
    if checkpoint and _is_first():
        emit(Resumed(checkpoint.name))
    return checkpoint


class ProgressCallback(TrainerCallback):
    """Tells every step to the parent, stops at a broken loss, seals checkpoints."""

    def __init__(self, job: RankJob, identity: str) -> None:
        self.job, self.identity = job, identity
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
            emit(StepDone(_step(state, logs, seconds)))

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
            mark_complete(checkpoint, self.identity)
            if store := self.job.resources.checkpoint_store:
                copy_to_store(checkpoint, store, self.identity)
            emit(SavedCheckpoint(checkpoint.name))


def _step(state: TrainerState, logs: dict[str, float], seconds: float) -> TrainingStep:
    return TrainingStep(
        step=state.global_step,
        steps=state.max_steps,
        loss=logs["loss"],
        unweighted_loss=logs["unweighted_loss"],
        weight_mean=logs["weight_mean"],
        weight_std=logs["weight_std"],
        learning_rate=logs["learning_rate"],
        grad_norm=logs.get("grad_norm", 0.0),
        tokens_per_second=logs["tokens"] / seconds,
    )


def _result(state: TrainerState, data: TrainingData) -> TrainingResult:
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    return TrainingResult(
        steps=state.global_step,
        examples=data.examples,
        dropped_too_long=data.dropped_too_long,
        first_loss=losses[0],
        last_loss=losses[-1],
        ids=data.ids,
    )


def _is_first() -> bool:
    return distributed.get_rank() == 0


if __name__ == "__main__":
    main()
