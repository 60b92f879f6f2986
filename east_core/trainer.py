"""What a trainer is: the interface of TRL with DeepSpeed, and of the tests' instant trainer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from east_core.config import DpoRecipe, KtoRecipe, Resources, SftRecipe
from east_core.sampler import ModelSource


@dataclass(frozen=True)
class TrainingJob:
    """One round's training, as files.

    `examples` are Parquet files of TrainingExample (SFT), PreferencePair (DPO) or LabelledExample
    (KTO) rows. `reference` is the reference model of DPO and KTO, None for SFT. `scratch` is local
    disk for training checkpoints: it survives a crash, and a rerun resumes from what is in it.
    """

    model: ModelSource
    reference: ModelSource | None
    examples: Sequence[Path]
    recipe: SftRecipe | DpoRecipe | KtoRecipe
    system_prompt: str | None
    seed: int
    resources: Resources
    scratch: Path


@dataclass(frozen=True)
class TrainingResult:
    """What a training run tells of itself.

    `first_loss` and `last_loss` are means over an optimizer step, weighted as trained.
    `dropped_too_long` counts examples longer than the recipe's max_length.
    """

    steps: int
    examples: int
    dropped_too_long: int
    first_loss: float
    last_loss: float


class Trainer(Protocol):
    """Trains a checkpoint into a new one, in processes of its own."""

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """Write a complete checkpoint (safetensors, tokenizer, template) into the folder `out`.

        Raises TrainingDiverged for a NaN or infinite loss, EngineError when a process fails,
        NothingToLearn for fewer examples than one global batch.
        """
        ...
