"""How questions reach the engines in batches, come back as shards, and are counted on the way."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from east_core.config import Resources
from east_core.engines.devices import AUTO_ENGINES, device_of, most_sequences
from east_core.engines.vllm.messages import GeneratedSamples, GenerationRequest
from east_core.protocols import GenerationSettings, SamplingProgress
from east_core.records import Question, SampledQuestion


@dataclass
class Shard:
    """A shard on its way: its questions, and the answers that have come so far."""

    questions: Sequence[Question]
    answers: dict[int, GeneratedSamples] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every question is answered."""
        return len(self.answers) == len(self.questions)

    def sampled(self) -> list[SampledQuestion]:
        """The questions with their completions, in the shard's order."""
        answers = (self.answers[position] for position in range(len(self.questions)))
        return [
            SampledQuestion(question, answer.completions, answer.prompt_ids)
            for question, answer in zip(self.questions, answers, strict=True)
        ]


class ProgressCounter:
    """Counts questions answered and tokens, and reports them about once a second."""

    def __init__(
        self,
        total: int,
        settings: GenerationSettings,
        on_progress: Callable[[SamplingProgress], None],
    ) -> None:
        self._total, self._on_progress = total, on_progress
        self._longest = settings.samples_per_question * settings.max_tokens
        self._start, self._reported = time.monotonic(), float("-inf")
        self._questions = self._tokens = 0
        self._told: dict[int, int] = {}

    def count(self, questions: int, tokens: int) -> None:
        """Add what was just answered."""
        self._questions += questions
        self._tokens += tokens
        self._emit_if_due()

    def generated(self, engine: int, tokens: int) -> None:
        """Take in what an engine has generated in all, of unanswered questions too."""
        self._told[engine] = tokens
        self._emit_if_due()

    def _emit_if_due(self) -> None:
        if time.monotonic() - self._reported > 1:
            self.emit()

    def emit(self) -> None:
        """Pass on how far it has come."""
        self._reported = time.monotonic()
        self._on_progress(
            SamplingProgress(
                questions=self._questions,
                total=self._total,
                tokens=max(self._tokens, sum(self._told.values())),
                seconds=self._reported - self._start,
                answered_tokens=self._tokens,
                longest=self._longest,
            )
        )


@dataclass(frozen=True)
class BatchPolicy:
    """How questions reach an engine: `parts` batches a shard, or batches of at most `size`.

    An engine is given its next batch when it has fewer than `room` questions left. A batch of
    `parts` is sampled alone, so one engine samples the same batches as two.
    """

    parts: int = 1
    size: int | None = None
    room: int = 1

    @classmethod
    def of(cls, resources: Resources, samples_per_question: int) -> Self:
        """On CPU parts of a shard, each alone; on a GPU two full batches at any time."""
        if device_of(resources) == "cpu":
            asked = 1 if resources.engines == "auto" else resources.engines
            return cls(parts=max(AUTO_ENGINES, asked))
        size = math.ceil(most_sequences(resources) / samples_per_question)
        return cls(size=size, room=2 * size)

    def slices(self, questions: int) -> Iterator[range]:
        """The positions of each batch in a shard of so many questions."""
        size = self.size or math.ceil(questions / self.parts)
        return (range(at, min(at + size, questions)) for at in range(0, questions, size))


def batches(
    shards: Iterable[Sequence[Question]], batching: BatchPolicy, waiting: dict[int, Shard]
) -> Iterator[list[GenerationRequest]]:
    """Each shard's batches, the shard noted in `waiting` beforehand."""
    for number, questions in enumerate(shards):
        waiting[number] = Shard(questions)
        for positions in batching.slices(len(questions)):
            yield [
                GenerationRequest(
                    f"{number}:{position}", questions[position].id, questions[position].prompt
                )
                for position in positions
            ]


def store_samples(waiting: dict[int, Shard], message: GeneratedSamples) -> None:
    """Put a question's samples into its shard."""
    number, position = map(int, message.key.split(":"))
    waiting[number].answers[position] = message
