"""What a sampler is: the interface of vLLM, and of the tests' scripted sampler."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from east_core.records import Question, SampledQuestion


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
