"""Training through the front door, in any layout, undisturbed or with a rank that is killed."""

import atexit
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from east_core.engines.trl.launcher import RankLauncher
from east_core.engines.trl.messages import TrainingStep
from east_core.engines.trl.training import TrlTrainer
from east_core.inputs.adapters import is_adapter, read_adapter, write_merged
from east_core.protocols import TrainingJob
from east_core.store.manifest import LOGS

LAUNCHER = RankLauncher()  # of all tests in this process: it imports the engines once
LAUNCHER.__enter__()
atexit.register(LAUNCHER.close)


def trainer(
    on_step: Callable[[TrainingStep], None] = lambda _: None,
    on_log: Callable[[str], None] = lambda _: None,
) -> TrlTrainer:
    """The trainer of real runs, with one launcher for all tests."""
    return TrlTrainer(on_step, on_log, launcher=LAUNCHER)


def train_quietly(job: TrainingJob, out: Path) -> dict[str, torch.Tensor]:
    """Train through the front door and return the checkpoint's parameters."""
    trainer().train(job, out)
    return load_file(whole_checkpoint(job, out) / "model.safetensors")


def whole_checkpoint(job: TrainingJob, out: Path) -> Path:
    """The folder of the trained model: `out`, or one beside it where that holds an adapter."""
    if not is_adapter(out):
        return out
    whole = out.with_name(f"{out.name}-whole")
    shutil.copytree(out / LOGS, whole / LOGS, dirs_exist_ok=True)
    write_merged(job.model.folder, [read_adapter(out)], whole)
    return whole


def on_ranks(job: TrainingJob, scratch: Path, **resources: Any) -> TrainingJob:
    """The same job in another layout of processes and micro-batches."""
    layout = job.resources.model_copy(update=resources)
    return replace(job, resources=layout, scratch=scratch)


def max_difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest absolute difference between two sets of parameters."""
    assert one.keys() == other.keys()
    return max(_difference(one[name], other[name]) for name in one)


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    return (one.double() - other.double()).abs().max().item()


def kill_a_rank(at_step: int) -> Callable[[TrainingStep], None]:
    """A step listener that kills one rank of this process's training at a step."""

    def listen(step: TrainingStep) -> None:
        if step.step == at_step:
            os.kill(_ranks()[-1].pid, signal.SIGKILL)

    return listen


def _ranks() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith("east-rank-")]
