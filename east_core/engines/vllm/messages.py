"""What the sampler and the process around one vLLM engine tell each other."""

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from east_core.engines.messages import Message, reader
from east_core.engines.probe import Probe
from east_core.engines.vllm.options import EngineOptions
from east_core.protocols import GenerationSettings
from east_core.records import Completion, TokenIds


class Build(Message, frozen=True):
    """How the engine is built that the next `Load` starts."""

    options: EngineOptions


class Load(Message, frozen=True):
    """Serve the checkpoint in a folder; answered by `Loaded`.

    `probe` is what a new engine once said of a model that has none of its own.
    """

    folder: str
    probe: Probe | None = None


class SetGeneration(Message, frozen=True):
    """How the completions of all questions to come are generated."""

    settings: GenerationSettings


class GenerationRequest(msgspec.Struct, frozen=True):
    """A question; `key` "shard:position" comes back with its answer."""

    key: str
    question_id: str
    prompt: str


class GenerateBatch(Message, frozen=True):
    """A batch of questions; each is answered by `GeneratedSamples`."""

    questions: list[GenerationRequest]


class Sleep(Message, frozen=True):
    """Drop weights and KV cache; answered by `Asleep`."""


class Loaded(Message, frozen=True):
    """The checkpoint is served.

    `drift` is how far the engine's log-probabilities are from the checkpoint's own, in nats a token
    (see east_core.engines.probe); None where they are no numbers. `probe` is what a new engine
    says, where the model has none of its own.
    """

    folder: str
    drift: float | None
    is_fp32: bool
    probe: Probe | None = None


class GeneratedSamples(Message, frozen=True):
    """A question's completions, in sampling order, and the prompt that they go on from."""

    key: str
    completions: tuple[Completion, ...]
    prompt_ids: TokenIds


class TokensGenerated(Message, frozen=True):
    """How many tokens were generated since `SetGeneration`, about once a second."""

    tokens: int


class Asleep(Message, frozen=True):
    """The device's memory is free."""


ToWorker: TypeAlias = Build | Load | SetGeneration | GenerateBatch | Sleep
FromWorker: TypeAlias = Loaded | GeneratedSamples | TokensGenerated | Asleep
read_command: Callable[[str], ToWorker] = reader(ToWorker)
read_worker_message: Callable[[str], FromWorker] = reader(FromWorker)
