"""What a sampler and a trainer are: the interfaces of the engines, and of the tests' fakes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from east_core.config import DpoRecipe, KtoRecipe, Resources, SftRecipe
from east_core.records import (
    LabelledExample,
    PreferencePair,
    Question,
    SampledQuestion,
    TrainingExample,
)

Example: TypeAlias = TrainingExample | PreferencePair | LabelledExample
Recipe: TypeAlias = SftRecipe | DpoRecipe | KtoRecipe


@dataclass(frozen=True)
class GenerationSettings:
    """How completions are generated. `temperature` 0 means greedy, with samples_per_question 1."""

    samples_per_question: int
    temperature: float
    top_p: float
    max_tokens: int
    system_prompt: str | None
    stop: tuple[str, ...]
    seed: int


@dataclass(frozen=True)
class ModelSource:
    """A local folder with safetensors and tokenizer, and the fingerprint of what is in it."""

    folder: Path
    fingerprint: str
    trust_remote_code: bool = False


@dataclass(frozen=True)
class SamplingProgress:
    """How far a sampling stage has come: questions answered of `total`, tokens, seconds."""

    questions: int
    total: int
    tokens: int
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Generated tokens a second since the stage began."""
        return self.tokens / self.seconds if self.seconds else 0.0


class Sampler(Protocol):
    """Generates completions with one checkpoint at a time.

    A sampler owns processes and memory: use it as a context manager, and call `release` before
    training so that the device is free.
    """

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        """Yield each shard's completions, in the order of `shards`, questions in their order.

        `shards` may be a lazy stream; `total` is the number of its questions, for progress.

        A question's completions depend on the model, the settings, and its id and prompt alone;
        the last bits of their log-probabilities depend on its shard too (docs/reproducibility.md).
        Raises EngineError when the engine fails.
        """
        ...

    def release(self) -> None:
        """Free the device: its memory is free when this returns. The next `sample` takes it."""
        ...

    def close(self) -> None:
        """End every process of the sampler."""
        ...


def example_type(recipe: Recipe) -> type[Example]:
    """The record that a recipe's trainer reads: the row type of its Parquet files."""
    match recipe:
        case SftRecipe():
            return TrainingExample
        case DpoRecipe():
            return PreferencePair
        case KtoRecipe():
            return LabelledExample


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
