"""What a sampler and a trainer are: the interfaces of the engines, and of the tests' fakes."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from east_core.config import DpoRecipe, HarnessTask, KtoRecipe, Resources, SftRecipe
from east_core.records import (
    LabelledExample,
    Prediction,
    PreferencePair,
    Question,
    SampledQuestion,
    TrainingExample,
)
from east_core.store.manifest import LOGS

# A trainer may leave its log here in a checkpoint: one JSON object with "loss" a line.
TRAINING_LOG = f"{LOGS}training.jsonl"
# And here what the new model says of a sentence (engines.probe): a log, for the last digits of its
# log-probabilities depend on the layout of training.
PROBE_FILE = f"{LOGS}probe.json"

Example: TypeAlias = TrainingExample | PreferencePair | LabelledExample
Recipe: TypeAlias = SftRecipe | DpoRecipe | KtoRecipe


@dataclass(frozen=True)
class PromptFormat:
    """How a system prompt and a question become a prompt (`east_core.inputs.chat`).

    `chat_template` is the text of a template, None for the tokenizer's own; `options` are passed to
    it (enable_thinking ...). `date` ("2026-11-25") is today's date for templates that write one.
    `system_prompt_in` is the role that the system prompt stands in; `assistant_prefix` is what
    the answer begins with.
    """

    chat_template: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    date: str | None = None
    system_prompt_in: Literal["system", "user"] = "system"
    assistant_prefix: str | None = None

    def identity(self) -> dict[str, Any]:
        """What differs from a bare prompt; nothing for most models."""
        plain, bare = dataclasses.asdict(self), dataclasses.asdict(PromptFormat())
        return {name: value for name, value in plain.items() if value != bare[name]}


@dataclass(frozen=True)
class GenerationSettings:
    """How completions are generated. `temperature` 0 means greedy, with samples_per_question 1.

    `top_k` 0 and `min_p` 0 take all tokens. `max_context` is the user's limit of prompt and
    completion in tokens; `needed_context` is what the engine should have room for where there is
    none (None: the model's own). Thinking of `thinking_budget` tokens is ended with `thinking_end`.
    With `logprobs` each completion has its mean log-probability.
    """

    samples_per_question: int
    temperature: float
    top_p: float
    max_tokens: int
    system_prompt: str | None
    stop: tuple[str, ...]
    seed: int
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop_token_ids: tuple[int, ...] = ()
    max_context: int | None = None
    needed_context: int | None = None
    prompt: PromptFormat = PromptFormat()
    thinking_budget: int | None = None
    thinking_end: str = "</think>"
    logprobs: bool = False

    @property
    def thinking_marks(self) -> tuple[str, str] | None:
        """What begins and what ends the thinking that is budgeted; None where none is."""
        if self.thinking_budget is None:
            return None
        return self.thinking_end.replace("/", "", 1), self.thinking_end

    def identity(self) -> dict[str, Any]:
        """What decides the completions: a recipe's entries.

        Fields with a default came later, and are left out while they have it. The room that an
        engine has, and what is kept beside the tokens, decide nothing.
        """
        plain = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}
        kept = {
            spec.name
            for spec in dataclasses.fields(self)
            if spec.default is dataclasses.MISSING or plain[spec.name] != spec.default
        }
        plain["prompt"] = self.prompt.identity()
        return {name: plain[name] for name in kept - {"needed_context", "logprobs"}}


@dataclass(frozen=True)
class ModelSource:
    """A local folder with safetensors and tokenizer, and the fingerprint of what is in it."""

    folder: Path
    fingerprint: str
    trust_remote_code: bool = False


@dataclass(frozen=True)
class SamplingProgress:
    """How far a sampling stage has come: questions answered of `total`, tokens, seconds.

    `tokens` are all that were generated, those of questions that are not answered yet included;
    `answered_tokens` are without these. `longest` is how many tokens one question takes at most.
    """

    questions: int
    total: int
    tokens: int
    seconds: float
    answered_tokens: int = 0
    longest: int = 0

    @property
    def share(self) -> float:
        """The part of the work that is certainly done, between 0 and 1."""
        most = self.longest * self.total
        return max(self.questions / max(1, self.total), self.tokens / most if most else 0.0)

    @property
    def seconds_left(self) -> float | None:
        """An estimate from the questions that are answered; None while there are none.

        The mean of two. What is answered first is short, and by its mean length alone nothing would
        be left long before the end. With the tokens of all questions, spread over those answered
        (the maximum likelihood of censored lengths with a constant chance to end), it is too much.
        """
        if not self.questions or not self.tokens:
            return None
        little = max(0.0, self.answered_tokens / self.questions * self.total - self.tokens)
        much = (self.total - self.questions) * self.tokens / self.questions
        if self.longest:
            much = min(much, self._most_tokens_left)
        return (little + much) / 2 / self.tokens_per_second

    @property
    def most_seconds_left(self) -> float | None:
        """If every completion were as long as it may be; None while no token is generated."""
        if not self.tokens:
            return None
        return self._most_tokens_left / self.tokens_per_second

    @property
    def _most_tokens_left(self) -> int:
        return max(0, self.longest * self.total - self.tokens)

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
    `stop_token_ids` ended completions besides the model's own stop ids. The examples' weights have
    mean 1, unless `has_mean_one` says that they need not: they are then taken as they are.
    """

    model: ModelSource
    reference: ModelSource | None
    examples: Sequence[Path]
    recipe: SftRecipe | DpoRecipe | KtoRecipe
    system_prompt: str | None
    seed: int
    resources: Resources
    scratch: Path
    prompt: PromptFormat = PromptFormat()
    stop_token_ids: tuple[int, ...] = ()
    has_mean_one: bool = True


@dataclass(frozen=True)
class IdSources:
    """Where the ids of the completions that were trained on came from; counts of completions.

    `sampled` are the engine's own, end of turn included; `ended` are the engine's own up to a stop
    string, with the template's end of turn; `encoded` were made of text, because the samples hold
    no ids, and `drifted` of these do not decode to their text again.
    """

    sampled: int = 0
    ended: int = 0
    encoded: int = 0
    drifted: int = 0


NO_IDS = IdSources()


@dataclass(frozen=True)
class TrainingResult:
    """What a training run tells of itself.

    `first_loss` and `last_loss` are means over an optimizer step, weighted as trained.
    `dropped_too_long` counts examples longer than the recipe's max_length. `ids` tells where the
    ids of the completions trained on came from.
    """

    steps: int
    examples: int
    dropped_too_long: int
    first_loss: float
    last_loss: float
    ids: IdSources = NO_IDS


class Trainer(Protocol):
    """Trains a checkpoint into a new one, in processes of its own."""

    def warm_up(self, resources: Resources) -> None:
        """Get ready for a job with these resources in the background, without touching a device.

        Only a hint: returns at once, and `train` works without it.
        """
        ...

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """Write a complete checkpoint (safetensors, tokenizer, template) into the folder `out`.

        Raises TrainingDiverged for a NaN or infinite loss, EngineError when a process fails,
        NothingToLearn for fewer examples than one global batch.
        """
        ...


@dataclass(frozen=True)
class HarnessJob:
    """A checkpoint that is to be scored on a task: `metric` is METRIC,FILTER."""

    task: HarnessTask
    metric: str
    model: ModelSource
    prompt: PromptFormat
    resources: Resources
    max_context: int | None = None


@dataclass(frozen=True)
class HarnessResult:
    """What a harness asked, and what became of it, in the order of the task's documents.

    A question's id is made of the task's name, the document's number and its hash. `task` is what
    the task is (plain JSON: the harness's version, the task's own, and all of its settings but
    places); `setup` is how it was run (generator, its version, examples a question).
    """

    metric: str
    questions: Sequence[Question]
    predictions: Sequence[Prediction]
    task: Mapping[str, Any]
    setup: Mapping[str, Any]


class Harness(Protocol):
    """Somebody else's benchmarks: asks and grades in processes of its own."""

    def survey(self, task: HarnessTask) -> HarnessResult:
        """The task without a model: its questions as they are asked without examples, its metric.

        Predictions are a stand-in's and mean nothing. Raises ConfigError where the harness, the
        task, its data or its metric can't be had.
        """
        ...

    def score(self, job: HarnessJob) -> HarnessResult:
        """Ask a checkpoint. The device must be free.

        Raises EngineError where the harness fails, DataError for results that can't be believed.
        """
        ...
