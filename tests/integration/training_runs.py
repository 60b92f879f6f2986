"""Training through the front door, in any layout, undisturbed or with a rank that is killed."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file

from east_core.engines.trl.messages import TrainingStep
from east_core.engines.trl.torchrun import TorchrunTrainer
from east_core.protocols import TrainingJob


def train_quietly(job: TrainingJob, out: Path) -> dict[str, torch.Tensor]:
    """Train through the front door and return the checkpoint's parameters."""
    TorchrunTrainer(on_step=_nothing, on_log=_nothing).train(job, out)
    return load_file(out / "model.safetensors")


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


def _nothing(_: object) -> None:
    pass


def kill_a_rank(at_step: int) -> Callable[[TrainingStep], None]:
    """A step listener that kills one rank of this process's training at a step."""

    def listen(step: TrainingStep) -> None:
        if step.step == at_step:
            os.kill(_ranks()[-1].pid, signal.SIGKILL)

    return listen


def _ranks() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if _is_rank(child.cmdline())]


def _is_rank(argv: list[str]) -> bool:
    return "east_core.engines.trl.rank" in argv and "torch.distributed.run" not in argv
