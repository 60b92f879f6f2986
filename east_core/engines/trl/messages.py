"""What the trainer, the process that forks its ranks, and the ranks tell each other."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import msgspec

from east_core import errors
from east_core.engines.messages import Message, reader
from east_core.engines.trl.data import TrainingData
from east_core.errors import EastError, EngineError
from east_core.protocols import TrainingResult


@dataclass(frozen=True)
class TrainingStep:
    """One optimizer step, as the ranks tell it.

    `loss` is weighted as trained, `unweighted_loss` the same mean with w = 1; both are means over
    the whole global batch. `weight_mean` and `weight_std` describe that batch's weights.
    """

    step: int
    steps: int
    loss: float
    unweighted_loss: float
    weight_mean: float
    weight_std: float
    learning_rate: float
    grad_norm: float
    tokens_per_second: float

    def __str__(self) -> str:
        return (
            f"step {self.step}/{self.steps}  loss {self.loss:.4f} "
            f"(unweighted {self.unweighted_loss:.4f})  weights {self.weight_mean:.2f} "
            f"±{self.weight_std:.2f}  lr {self.learning_rate:.2e}  grad {self.grad_norm:.2f}  "
            f"{self.tokens_per_second:,.0f} tokens/s"
        )


class Prepared(Message, frozen=True):
    """The rows to train on are on disk."""

    data: TrainingData

    def __str__(self) -> str:
        data, ids = self.data, self.data.ids
        text = f"training on {data.examples} examples, {data.dropped_too_long} dropped as too long"
        if ids.ended:
            text += f"; {ids.ended} completions were given the template's end of turn"
        if ids.encoded:
            text += f"; {ids.encoded} completions have no sampled ids and were encoded, "
            text += f"{ids.drifted} of them with a loss"
        return text


class Resumed(Message, frozen=True):
    """Training goes on from a checkpoint."""

    checkpoint: str

    def __str__(self) -> str:
        return f"training resumes from {self.checkpoint}"


class SkippedCheckpoint(Message, frozen=True):
    """A checkpoint can't be used, and why."""

    checkpoint: str
    fault: str

    def __str__(self) -> str:
        return f"training skips {self.checkpoint}: {self.fault}"


class SavedCheckpoint(Message, frozen=True):
    """A training checkpoint is whole."""

    checkpoint: str

    def __str__(self) -> str:
        return f"training saved {self.checkpoint}"


class StoredWhole(Message, frozen=True):
    """A LoRA round is stored as a whole model, and why."""

    why: str

    def __str__(self) -> str:
        return f"the checkpoint is stored merged, not as its adapter: {self.why}"


class StepDone(Message, frozen=True):
    """An optimizer step is done."""

    step: TrainingStep


class Finished(Message, frozen=True):
    """The trained checkpoint is written."""

    result: TrainingResult


class Failed(Message, frozen=True):
    """A rank ends with an error of the tree in east_core.errors."""

    kind: str
    text: str

    def error(self) -> EastError:
        """The error that the rank met."""
        kind: type[EastError] = getattr(errors, self.kind, EngineError)
        return kind(self.text)


class Fork(Message, frozen=True):
    """Run a job with so many ranks; `job` is the path of its file. Answered by `Ended`."""

    job: str
    processes: int


class RankEnd(msgspec.Struct, frozen=True):
    """A rank that failed, and its exit status: minus the signal's number where one killed it."""

    rank: int
    status: int

    @property
    def killed_by(self) -> signal.Signals | None:
        """The signal that ended the rank; None where it left by itself."""
        return signal.Signals(-self.status) if self.status < 0 else None


class Ended(Message, frozen=True):
    """The job's ranks are gone; `failed` is empty where all of them ended well."""

    failed: list[RankEnd]


FromRank: TypeAlias = (
    Prepared
    | Resumed
    | SkippedCheckpoint
    | SavedCheckpoint
    | StoredWhole
    | StepDone
    | Finished
    | Failed
    | Ended
)
read_command: Callable[[str], Fork] = reader(Fork)
read_rank_message: Callable[[str], FromRank] = reader(FromRank)
