"""Are the weights exact? Final parameters compared over losses, layouts and implementations.

    python -m benchmarks.exactness [--only sft] [--out docs/exactness.md]

Every run is a real one: torchrun, TRL, DeepSpeed, fp32, SGD without clipping (AdamW and clipping
hide a wrongly scaled gradient), weights 0, 0.1, 1 and 10 before their mean is brought to 1.
Exits with 1 where a bound is broken.
"""

import argparse
import math
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from benchmarks.loop import train_by_hand
from benchmarks.small_jobs import (
    ONE_RANK,
    RECIPES,
    lines_of,
    max_difference,
    on_ranks,
    small_job,
    tiny_model,
    train_quietly,
)
from east_core.config import LoraRecipe
from east_core.engines.processes import run_child
from east_core.engines.trl.job import JOB_FILE, rank_job, write_job
from east_core.engines.trl.torchrun import TorchrunTrainer, TrainingStep
from east_core.errors import EngineError
from east_core.protocols import TrainingJob

BOUND = 1e-6
SAME = 0.0
BF16_BOUND = 1e-3
RAGGED = 21  # two full batches of 8 and one of 5
Parameters = dict[str, torch.Tensor]
TWO_RANKS = {"processes": 2, "micro_batch_size": 2}


@dataclass(frozen=True)
class Row:
    """One comparison: the largest parameter difference and what it may be."""

    loss: str
    compared: str
    difference: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the difference is within its bound (NaN is not)."""
        return self.difference <= self.bound


class Bench:
    """Runs jobs of one loss in a scratch folder, each in its own processes."""

    def __init__(self, loss: str, work: Path) -> None:
        self.loss, self.recipe, self.work = loss, RECIPES[loss], work
        self.model = tiny_model(work / "model")
        self._runs = 0

    def job(self, recipe: Any = None, **options: Any) -> TrainingJob:
        """A fresh job on the tiny model."""
        return small_job(self._folder(), recipe or self.recipe, model=self.model, **options)

    def train(self, job: TrainingJob) -> Parameters:
        """Final parameters of a job."""
        return train_quietly(job, self._folder())

    def layout(self, job: TrainingJob, **resources: Any) -> Parameters:
        """Final parameters of the same job in another layout."""
        return self.train(on_ranks(job, self._folder(), **resources))

    def stock(self, job: TrainingJob) -> Parameters:
        """Final parameters by TRL's own trainer."""
        out = self._folder()
        whole = rank_job(job, out, "cpu")
        whole.work.mkdir(parents=True)
        write_job(whole, whole.work / JOB_FILE)
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        argv = [*launcher, "-m", "benchmarks.trainers", str(whole.work / JOB_FILE)]
        run_child(argv, env={"OMP_NUM_THREADS": "1"}, on_line=lambda _: None)
        return load_file(out / "model.safetensors")

    def by_hand(self, job: TrainingJob) -> Parameters:
        """Final parameters by the hand-written loop (benchmarks/loop.py)."""
        return train_by_hand(job, self._folder())

    def row(self, compared: str, one: Parameters, other: Parameters, bound: float = BOUND) -> Row:
        """Compare two runs; the names of parameters must agree too."""
        other = {name: tensor for name, tensor in other.items() if name in one}
        return Row(self.loss, compared, max_difference(one, other), bound)

    def _folder(self) -> Path:
        self._runs += 1
        folder = self.work / f"{self.loss}-{self._runs}"
        folder.mkdir()
        return folder


def comparisons(bench: Bench) -> Iterator[Row]:
    """All comparisons of one loss, one at a time."""
    yield from _against_others(bench)
    job = bench.job()
    base = bench.train(job)
    yield bench.row("weighted: hand-written loop", base, bench.by_hand(job))
    yield from _layouts(bench, job, base)
    yield from _ragged(bench)
    yield _interrupted(bench, on_ranks(job, bench.work / "resume", **TWO_RANKS, zero_stage=2))
    yield from _extras(bench)


def _against_others(bench: Bench) -> Iterator[Row]:
    """w = 1 is the stock trainer, bit for bit."""
    recipe = bench.recipe.model_copy(update={"kl": "trl"} if bench.loss == "kto" else {})
    # one micro-batch a step: TRL's DPO and KTO divide in another order with accumulation
    resources = ONE_RANK.model_copy(update={"micro_batch_size": 8})
    job = bench.job(recipe, weighted=False, resources=resources)
    apart = replace(job, scratch=bench.work / "stock")
    yield bench.row("w = 1: the stock TRL trainer", bench.train(job), bench.stock(apart), SAME)


def _layouts(bench: Bench, job: TrainingJob, base: Parameters) -> Iterator[Row]:
    """The same job cut into other micro-batches and ranks (base: 1 rank, 4 rows x 2)."""
    for rows, steps in ((8, 1), (1, 8)):
        name = f"micro-batches of {rows} x {steps}"
        yield bench.row(name, base, bench.layout(job, micro_batch_size=rows))
    for stage, name in enumerate(("DDP", "ZeRO-1", "ZeRO-2", "ZeRO-3")):
        other = bench.layout(job, **TWO_RANKS, zero_stage=stage)
        yield bench.row(f"2 ranks, {name}", base, other)
    grouped = bench.layout(job, group_by_length=True)
    yield bench.row("micro-batches grouped by length", base, grouped)
    checkpointed = bench.layout(job, gradient_checkpointing=True)
    yield bench.row("gradient checkpointing", base, checkpointed)


def _ragged(bench: Bench) -> Iterator[Row]:
    job = bench.job(examples=RAGGED)
    base = bench.train(job)
    yield bench.row("ragged last batch: hand-written loop", base, bench.by_hand(job))
    other = bench.layout(job, **TWO_RANKS, zero_stage=2)
    yield bench.row("ragged last batch: 2 ranks, ZeRO-2", base, other)


def _extras(bench: Bench) -> Iterator[Row]:
    """Options of single losses, LoRA, and bf16's first loss."""
    options: dict[str, dict[str, Any]] = {
        "sft": {"example-normalised": {"normalisation": "example"}},
        "dpo": {"ipo": {"variant": "ipo", "beta": 0.5, "learning_rate": 0.01}},
        "kto": {"side weights 1.5 and 0.5": {"desirable_weight": 1.5, "undesirable_weight": 0.5}},
    }
    for name, update in options[bench.loss].items():
        job = bench.job(bench.recipe.model_copy(update=update))
        base = bench.train(job)
        yield bench.row(f"{name}: hand-written loop", base, bench.by_hand(job))
        other = bench.layout(job, **TWO_RANKS, zero_stage=3)
        yield bench.row(f"{name}: 2 ranks, ZeRO-3", base, other)
    lora = bench.job(bench.recipe.model_copy(update={"lora": LoraRecipe(rank=4, alpha=8)}))
    merged = bench.layout(lora, **TWO_RANKS, zero_stage=3)
    yield bench.row("LoRA, merged: 2 ranks, ZeRO-3", bench.train(lora), merged)
    if bench.loss == "dpo":
        yield _first_loss(bench)


def _first_loss(bench: Bench) -> Row:
    """In bf16 under ZeRO-2 the first loss is log 2 (w = 1): policy and reference agree.

    Up to bf16's rounding in batches of other shapes; reference log-probabilities cast to bf16 are
    off by 0.01.
    """
    recipe = bench.recipe.model_copy(update={"precision": "bf16", "epochs": 1.0})
    job = bench.job(recipe, weighted=False, resources=_resources(**TWO_RANKS, zero_stage=2))
    trainer = TorchrunTrainer(on_step=lambda _: None, on_log=lambda _: None)
    result = trainer.train(job, bench.work / "bf16")
    return Row("dpo", "bf16: first loss - log 2", abs(result.first_loss - math.log(2)), BF16_BOUND)


def _resources(**update: Any) -> Any:
    return ONE_RANK.model_copy(update=update)


def _interrupted(bench: Bench, job: TrainingJob) -> Row:
    """One rank killed in mid-training, the job run again: as if nothing had happened."""
    whole = bench.train(job)
    job = on_ranks(job, bench.work / "killed", checkpoint_every_steps=2)
    out = bench.work / f"{bench.loss}-resumed"
    trainer = TorchrunTrainer(on_step=kill_a_rank(at_step=3), on_log=lambda _: None)
    try:
        trainer.train(job, out)
    except EngineError:
        resumed = train_quietly(job, out)
        return bench.row("kill -9 of a rank, then resumed: 2 ranks, ZeRO-2", whole, resumed, SAME)
    raise AssertionError("the run went on without one of its ranks")


def kill_a_rank(at_step: int) -> Callable[[TrainingStep], None]:
    """A step listener that kills one rank of this process's training when it hears `at_step`."""

    def listen(step: TrainingStep) -> None:
        if step.step == at_step:
            os.kill(_ranks()[-1].pid, signal.SIGKILL)

    return listen


def _ranks() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if _is_rank(child.cmdline())]


def _is_rank(argv: list[str]) -> bool:
    return "east_core.engines.trl.rank" in argv and "torch.distributed.run" not in argv


PREFACE = f"""# How exact the weights are

Made by `make exactness`; do not edit. Each row trains the same job twice on a random Llama
({{parameters:,}} parameters, which move by up to {{movement:.2g}}) and compares the final
parameters. fp32, SGD without clipping, global batch 8, two epochs, weights 0, 0.1, 1 and 10 before
rescaling to mean 1. Unless a row says otherwise the job runs on one rank with micro-batches of
4 x 2. The hand-written loop is benchmarks/loop.py. A row fails above its bound: {BOUND:g}, 0 where
results must be equal bit for bit, {BF16_BOUND:g} for a loss in bf16.
"""


def report(rows: list[Row], bench: Bench, movement: float) -> str:
    """The table as Markdown."""
    size = sum(t.numel() for t in load_file(bench.model.folder / "model.safetensors").values())
    head = [("loss", "compared with", "largest difference", "bound", ""), ("---",) * 5]
    body = [
        (r.loss, r.compared, f"{r.difference:.1e}", f"{r.bound:g}", "ok" if r.holds else "BROKEN")
        for r in rows
    ]
    return (
        PREFACE.format(parameters=size, movement=movement) + "\n" + lines_of([*head, *body]) + "\n"
    )


def main() -> int:
    """Run the comparisons, print them as they come, write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(RECIPES), help="one loss only")
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    options = parser.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for loss in [options.only] if options.only else RECIPES:
            work = Path(folder) / loss
            work.mkdir()
            bench = Bench(loss, work)
            for row in comparisons(bench):
                rows.append(row)
                print(f"{row.loss}  {row.compared:55} {row.difference:.1e}", flush=True)
        if options.out:
            trained = bench.train(bench.job())
            movement = max_difference(load_file(bench.model.folder / "model.safetensors"), trained)
            options.out.write_text(report(rows, bench, movement))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
