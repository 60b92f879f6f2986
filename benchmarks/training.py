"""Tokens a second of the weighted trainers against TRL's own, in one run.

    python -m benchmarks.training [--device cuda --hidden 2048 --layers 16] [--runs 5] [--json FILE]

Each run trains the same job twice in this process, weighted then stock, or stock then weighted in
turn. On CPU the clock is this process's CPU time, which a busy machine disturbs little; on a GPU it
is the wall's. Ours runs as shipped, with a log line a step; TRL's with its own default of a line
every ten. Neither groups rows by length. A row tells weighted / stock.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import distributed
from torch.distributed import HashStore  # type: ignore[attr-defined]
from transformers import AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from benchmarks.pairs import BenchmarkRow, alternate, median_row, write_result
from east_core.engines.trl import rank as ours
from east_core.engines.trl.job import RankJob, rank_job
from east_core.testing.small_jobs import ONE_RANK, RECIPES, small_job, tiny_model
from east_core.testing.stock_trainers import stock_trainer

GOAL = 0.98
WARM_UP_STEPS = 2
EXAMPLES = 240  # seconds of work behind the clock: with fewer, noise decides


class StepClock(TrainerCallback):
    """Seconds of the steps behind the warm-up."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.marks: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Mark the time."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.marks.append(time.process_time() if self.device == "cpu" else time.perf_counter())

    @property
    def seconds(self) -> float:
        """From the end of the last warm-up step to the end of the last step."""
        return self.marks[-1] - self.marks[WARM_UP_STEPS - 1]


def measure(job: RankJob, is_weighted: bool) -> float:
    """Seconds that a trainer takes for the job's steps behind the warm-up."""
    tokenizer = AutoTokenizer.from_pretrained(job.model.folder)
    with contextlib.redirect_stdout(io.StringIO()):
        data = ours.prepared_data(job, tokenizer)
    if is_weighted:
        trainer = ours.build_trainer(job, tokenizer, data)
    else:
        trainer = stock_trainer(job, tokenizer, data, logging_steps=10, report_to=[])
    clock = StepClock(job.device)
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    with contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    return clock.seconds


def benchmark(loss: str, options: argparse.Namespace, work: Path) -> BenchmarkRow:
    """One loss's row."""
    sizes = {"hidden_size": options.hidden, "num_hidden_layers": options.layers}
    model = tiny_model(
        work / "model",
        intermediate_size=4 * options.hidden,
        num_attention_heads=max(options.hidden // 64, 1),
        **sizes,
    )
    update = {"epochs": 1.0, "optimizer": "adamw", "precision": "auto", "learning_rate": 1e-5}
    recipe = RECIPES[loss].model_copy(update=update)
    resources = ONE_RANK.model_copy(update={"device": options.device})
    small = small_job(work, recipe, model=model, examples=EXAMPLES, resources=resources)
    job = rank_job(small, work / "out", options.device)
    job.work.mkdir(parents=True)
    pairs = alternate(lambda: measure(job, True), lambda: measure(job, False), options.runs)
    name = f"training: {loss}, weighted / stock TRL, tokens a second ({options.device})"
    return median_row(name, [stock / ours for ours, stock in pairs], GOAL)


def _alone(device: str) -> None:
    """Make this process a process group of one."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "TQDM_DISABLE": "1"}
    os.environ.update(alone)
    distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=HashStore(),
        rank=0,
        world_size=1,
    )


def main() -> int:
    """Measure all losses and print the rows as JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--hidden", type=int, default=256, help="hidden size of the random model")
    parser.add_argument("--layers", type=int, default=4, help="its layers")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the rows here")
    options = parser.parse_args()
    _alone(options.device)
    rows: list[BenchmarkRow] = []
    with tempfile.TemporaryDirectory() as folder:
        for loss in RECIPES:
            work = Path(folder) / loss
            work.mkdir()
            rows.append(benchmark(loss, options, work))
            print(json.dumps(asdict(rows[-1])), flush=True)
    if options.json:
        write_result(options.json, rows)
    return 0 if all(row.ratio >= GOAL for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
