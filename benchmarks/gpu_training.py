"""One measurement of `benchmarks.gpu`, in a process of its own.

    python -m benchmarks.gpu_training NAME SETUP(JSON) DEVICE FOLDER OUT(JSON)

Ours goes the whole way of a rank: its process group (DeepSpeed's for ZeRO), its rows as ids from
Parquet, its trainer. TRL's trainer gets the same rows, ready tokenised, and the same arguments.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from transformers import AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from benchmarks.gpu_check import check
from benchmarks.gpu_setups import Setup
from east_core.config import Resources, RunConfig
from east_core.engines.trl import packing
from east_core.engines.trl import rank as ours
from east_core.engines.trl.attention import ROWS
from east_core.engines.trl.job import RankJob, rank_job
from east_core.planning.assumptions import GPUS, Assumptions, Workload
from east_core.planning.basis import Basis
from east_core.planning.model_shape import parse_shape
from east_core.planning.plan import make_plan
from east_core.protocols import ModelSource, TrainingJob
from east_core.testing.small_jobs import RECIPES
from east_core.testing.stock_trainers import stock_trainer

WARM_UP = 3  # steps
LONGEST = 2048


class Clock(TrainerCallback):
    """When each optimizer step ended."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Mark the time, all kernels finished."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.marks.append(time.perf_counter())


class Tokens:
    """Tokens that a step's rows hold, and those that the model's layers compute."""

    def __init__(self, trainer: Any) -> None:
        self.real: list[int] = []
        self.computed: list[int] = []
        self.inner = trainer.data_collator
        trainer.data_collator = self
        self._has_begun = False
        embedding = trainer.model.get_input_embeddings()
        embedding.register_forward_pre_hook(self._embed)

    def __call__(self, rows: Any) -> Any:
        """A micro-batch of the trainer's own collator, counted."""
        batch = self.inner(rows)
        mask = batch.get("attention_mask")
        self.real.append(int(batch["input_ids"].numel() if mask is None else mask.sum()))
        return batch

    def _embed(self, _: Any, given: tuple[Any, ...]) -> None:
        self.computed.append(given[0].numel())


def main() -> None:
    """Measure, and write what was found."""
    name, setup, device, folder, out = sys.argv[1:]
    options = json.loads(setup)
    batch, micro = options.pop("batch"), options.pop("micro")
    asked = Setup(**options)
    if name == "check":
        Path(out).write_text(json.dumps({"title": asked.title, **check(device)}))
        return
    _alone()
    job = _job(asked, Path(folder), device, batch, micro)
    what = {
        "title": asked.title,
        "loss": asked.loss,
        "zero": asked.zero,
        "precision": asked.precision,
    }
    found = _train(asked, job)
    Path(out).write_text(json.dumps({**what, **found}))
    sys.stdout.flush()
    os._exit(0)  # tearing the engines down takes seconds for nothing


def _alone() -> None:
    """Make this process the one rank of a job."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
    os.environ.update({**alone, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())})


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _job(setup: Setup, folder: Path, device: str, batch: int, micro: int) -> RankJob:
    work = folder / "work" / f"{time.time_ns()}"
    work.mkdir(parents=True)
    packed = "off" if setup.rows in ("padded", "padding_free") else "on"
    resources = Resources.model_validate(
        {
            "device": device,
            "micro_batch_size": micro,
            "zero_stage": setup.zero,
            "group_by_length": setup.grouped and setup.trainer == "ours",
            "gradient_checkpointing": setup.checkpointing,
            "packing": packed,
        }
    )
    update = {
        "epochs": setup.share,
        "schedule": "constant",  # so that fewer steps are the first of more
        "warmup_ratio": 0.0,
        "optimizer": "adamw",
        "learning_rate": 1e-5,
        "global_batch_size": batch,
        "precision": setup.precision,
        "max_length": LONGEST,
        "max_grad_norm": 1.0,
        "beta": 0.1,
    }
    recipe = RECIPES[setup.loss]
    known = {key: value for key, value in update.items() if key in type(recipe).model_fields}
    source = ModelSource(folder / "model", "benchmark")
    job = TrainingJob(
        model=source,
        reference=None if setup.loss == "sft" else source,
        examples=[folder / f"{setup.loss}.parquet"],
        recipe=recipe.model_copy(update=known),
        system_prompt="Think.",
        seed=3,
        resources=resources,
        scratch=work,
    )
    whole = rank_job(job, work / "out", "cuda" if device == "cuda" else "cpu")
    whole.work.mkdir(parents=True)
    return whole


def _trainer(setup: Setup, job: RankJob) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(job.model.folder)
    data = ours.prepared_data(job, tokenizer)
    if forced := {"rows": ROWS, "mask": packing.MASK}.get(setup.rows):
        mock.patch.object(packing, "_attention", return_value=forced).start()
    if setup.trainer == "ours":
        return ours.build_trainer(job, tokenizer, data)
    trainer = stock_trainer(job, tokenizer, data, logging_steps=1, report_to=[])
    if setup.rows == "padding_free":  # what TRL makes of the option where it tokenises itself
        pad = tokenizer.pad_token_id
        trainer.data_collator = DataCollatorForLanguageModeling(pad_token_id=pad, padding_free=True)
    return trainer


def _train(setup: Setup, job: RankJob) -> dict[str, Any]:
    ours.start_process_group(job)
    if setup.trainer == "trl":  # as its manual has it: ours turns this off
        torch.backends.cuda.enable_cudnn_sdp(True)
    begun = time.perf_counter()
    trainer = _trainer(setup, job)
    prepared = time.perf_counter() - begun
    attention = trainer.model.config._attn_implementation
    clock, tokens = Clock(), Tokens(trainer)
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    trainer.train()
    steps = job.accumulation_steps
    seconds = [
        b - a for a, b in zip(clock.marks[WARM_UP - 1 :], clock.marks[WARM_UP:], strict=False)
    ]
    forwards = len(tokens.computed) // (len(clock.marks) * steps)
    real = _per_step(tokens.real, steps)
    computed = _per_step(tokens.computed, steps * forwards)
    rates = [count / taken for count, taken in zip(real[WARM_UP:], seconds, strict=False)]
    history = trainer.state.log_history
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    return {
        "device_name": gpu,
        "attention": attention,
        "prepared_s": prepared,
        "step_s": statistics.median(seconds),
        "tokens_per_s": statistics.median(rates),
        "low": min(rates),
        "high": max(rates),
        "steps": len(seconds),
        "computed_per_real": sum(computed) / forwards / max(sum(real), 1),
        "losses": [entry["loss"] for entry in history if "loss" in entry],
        "unweighted": [e["unweighted_loss"] for e in history if "unweighted_loss" in e],
        **_memory(job, max(tokens.computed)),
    }


def _per_step(counts: list[int], each: int) -> list[int]:
    return [sum(counts[at : at + each]) for at in range(0, len(counts), each)]


def _memory(job: RankJob, largest: int) -> dict[str, float]:
    """Peaks in bytes, and what `east plan` says for micro-batches of `largest` tokens."""
    found = {"planned": _planned(job, largest), "largest_micro_batch": float(largest)}
    if torch.cuda.is_available():
        found["peak_allocated"] = float(torch.cuda.max_memory_allocated())
        found["peak_reserved"] = float(torch.cuda.max_memory_reserved())
        free, total = torch.cuda.mem_get_info()
        found["in_use"] = float(total - free)
    return found


def _planned(job: RankJob, largest: int) -> float:
    sequences = 2 if job.recipe.loss == "dpo" else 1
    longest = -(-largest // (job.resources.micro_batch_size * sequences))
    recipe = job.recipe.model_copy(update={"max_length": longest})
    config = RunConfig(training=recipe, resources=job.resources)
    shape = parse_shape(json.loads((job.model.folder / "config.json").read_text()), "random")
    assumed = Assumptions(gpu=GPUS["h100"])
    basis = Basis(config, shape, Workload(100, 100, 1024), assumed, job.device)
    return make_plan(basis).value("training rank", "peak")


if __name__ == "__main__":
    main()
