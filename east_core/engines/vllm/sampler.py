"""Sampling with vLLM: one supervised child process for each engine, kept across rounds.

This module never imports vLLM. It hands out batches of questions to whichever engine has room,
gathers the answers, and yields whole shards in order; the engines load new weights in place
(well under a second) where a fresh start costs tens of seconds.

Which sequences share an engine's batch decides the last bits of every log-probability. On CPU an
engine therefore gets a shard whole and alone: what comes out depends on the shard, not on what
was sampled before it, so a run that was killed in between equals one that was not. GPUs round as
they please; there the next batches are always queued, and an engine never runs dry.
"""

import json
import logging
import math
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from east_core.config import Resources
from east_core.engines.devices import device_of, engine_count, memory_in_use, visible_gpus
from east_core.engines.probe import TOLERANCE_BF16, TOLERANCE_FP32, Probe
from east_core.engines.processes import (
    ChildProcess,
    Conversation,
    engine_process,
    message_in,
    repeating,
)
from east_core.engines.vllm.batching import (
    BatchPolicy,
    ProgressCounter,
    Shard,
    batches,
    store_samples,
)
from east_core.engines.vllm.messages import (
    Asleep,
    Build,
    FromWorker,
    GenerateBatch,
    GeneratedSamples,
    GenerationRequest,
    Load,
    Loaded,
    SetGeneration,
    Sleep,
    TokensGenerated,
    read_worker_message,
)
from east_core.engines.vllm.options import EngineOptions
from east_core.errors import EngineError
from east_core.inputs.context import own_context
from east_core.protocols import GenerationSettings, ModelSource, SamplingProgress
from east_core.records import Question, SampledQuestion

# Entries of config.json that training rewrites and that vLLM does not build an engine from.
BOOKKEEPING = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache")
# The share of a GPU that a sleeping engine may keep from training: its context, its CUDA graphs.
HELD_ASLEEP = 0.1
SLEEP_SECONDS = 120.0
# vLLM 0.32 loads these models' experts past its reload, which then puts the old ones back: after a
# small step too small a difference for the probe. tests/integration/test_families.py tries them.
KEEP_OLD_EXPERTS = frozenset({"GptOssForCausalLM"})
_OWN_PROCESS = "VLLM_ENABLE_V1_MULTIPROCESSING"
_PROGRAM = ("-m", "east_core.engines.vllm.worker")
log = logging.getLogger(__name__)
Inbox = queue.SimpleQueue[tuple[int, FromWorker | EngineError]]
Reply = TypeVar("Reply", Loaded, GeneratedSamples, Asleep)


@dataclass
class Engine:
    """One child process, and the number of questions that it has not answered yet."""

    index: int
    child: Conversation
    outstanding: int = 0


class VllmSampler:
    """The `Sampler` of real runs; see `east_core.protocols.Sampler`."""

    def __init__(
        self,
        resources: Resources,
        on_progress: Callable[[SamplingProgress], None] = lambda _: None,
        on_start: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.resources = resources
        self.on_progress = on_progress
        self.on_start = on_start  # called with the seconds that the engines have taken to start
        self._processes: list[ChildProcess] = []
        self._waiting: list[Conversation] = []  # to processes that have no engine yet
        self._engines: list[Engine] = []
        self._inbox: Inbox = queue.SimpleQueue()
        self._built: ModelSource | None = None  # what the engines were built for, or hold since
        self._loaded: ModelSource | None = None  # what they serve; None while they sleep
        # what new engines said of models that have no probe of their own
        self._probes: dict[ModelSource, Probe] = {}
        self._thinking: tuple[str, str] | None = None  # the marks of thinking that has a budget
        self._context: int | None = 0  # tokens they have room for; None: all that the model has

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        """Yield the shards' completions in order; see `Sampler.sample`."""
        is_done = False
        try:
            self._make_room(context_for(model, settings))
            self._watch_thinking(settings.thinking_marks)
            self._serve(model)
            for engine in self._engines:
                engine.child.send(SetGeneration(settings))
            batching = BatchPolicy.of(self.resources, settings.samples_per_question)
            progress = ProgressCounter(total, settings, self.on_progress)
            yield from self._sample_all(shards, batching, progress)
            is_done = True
        finally:
            if not is_done:  # an engine with half-answered questions is of no use to the next call
                self.close()

    def warm_up(self) -> None:
        """Begin to import vLLM in the engines' processes, and return at once.

        They touch no device before `sample`.
        """
        if not self._processes:
            self._waiting = self._start_processes(engine_count(self.resources))

    def release(self) -> None:
        """Free the device. On CPU an idle engine costs no time, so it stays for the next round."""
        if device_of(self.resources) == "cpu":
            return
        if not (self.resources.sleeping_engines and self._sleep()):
            self.close()

    def close(self) -> None:
        """End every engine."""
        self._end_processes()
        self._engines, self._inbox = [], queue.SimpleQueue()
        self._built = self._loaded = None

    def _end_engines(self) -> None:
        """End every engine; processes that have none yet go on importing for the next ones."""
        if self._engines:
            self.close()

    def _sleep(self) -> bool:
        """Let every engine drop its weights and its cache; whether the memory is free then."""
        self._loaded = None
        try:
            for engine in self._engines:
                engine.child.send(Sleep())
            for _ in self._engines:
                self._await(Asleep, SLEEP_SECONDS)
            held = max((self._memory_held(engine) for engine in self._engines), default=0.0)
        except EngineError as error:
            log.warning("the engines end, because they could not be put to sleep: %s", error)
            return False
        if held > HELD_ASLEEP:
            log.warning("the engines end: asleep, they still held %.0f%% of a GPU", 100 * held)
        return held <= HELD_ASLEEP

    def _memory_held(self, engine: Engine) -> float:
        return memory_in_use(visible_gpus(engine.index, self.resources.tensor_parallel))

    def _make_room(self, context: int | None) -> None:
        """End engines that have too little room: the next ones have enough for all that came."""
        if self._context is not None and (context is None or context > self._context):
            self._end_engines()
            self._context = context

    def _watch_thinking(self, marks: tuple[str, str] | None) -> None:
        """End engines that know no end of the thinking, where it is to be ended."""
        if marks is not None and marks != self._thinking:
            self._end_engines()
            self._thinking = marks

    def _serve(self, model: ModelSource) -> None:
        """Make sure that every engine serves `model`.

        It is loaded in place where it fits and there is a probe of it; an engine that does not
        speak like the checkpoint then is started anew.
        """
        if self._loaded == model:
            return
        self._loaded = None
        fits = self._built is not None and fits_in_place(self._built, model)
        if not (fits and self._has_probe(model) and self._load(model)):
            self._end_engines()
            with repeating(self.on_start):
                self._start(model)
                self._load(model)
        self._built = self._loaded = model

    def _has_probe(self, model: ModelSource) -> bool:
        return model in self._probes or Probe.read(model.folder) is not None

    def _load(self, model: ModelSource) -> bool:
        """Load `model` into every engine; whether all of them speak like it."""
        for engine in self._engines:
            engine.child.send(Load(str(model.folder), self._probes.get(model)))
        answers = [self._has_loaded(model) for _ in self._engines]  # all of them, not the first
        return all(answers)

    def _has_loaded(self, model: ModelSource) -> bool:
        loaded = self._await(Loaded, self._longest)
        if loaded.folder != str(model.folder):
            raise EngineError(f"the engine serves {loaded.folder}, not {model.folder}")
        if loaded.probe is not None:
            self._probes.setdefault(model, loaded.probe)
        drift = math.inf if loaded.drift is None else loaded.drift
        limit = TOLERANCE_FP32 if loaded.is_fp32 else TOLERANCE_BF16
        if drift > limit:
            log.warning(
                "an engine's log-probabilities are %.2g nats a token from the model's own, "
                "where rounding explains %g",
                drift,
                limit,
            )
        return drift <= limit

    def _start(self, model: ModelSource) -> None:
        count = engine_count(self.resources, weight_bytes(model.folder))
        options = EngineOptions.from_resources(
            self.resources, model.trust_remote_code, self._context, self._thinking
        )
        for index, child in enumerate(self._talks(count)):
            engine = Engine(index, child)
            self._engines.append(engine)
            threading.Thread(target=_read, args=(engine, self._inbox), daemon=True).start()
            child.send(Build(options))

    def _talks(self, count: int) -> list[Conversation]:
        """The processes of so many engines: those that wait, or new ones."""
        if len(self._waiting) != count:
            self._end_processes()
            self._waiting = self._start_processes(count)
        talks, self._waiting = self._waiting, []
        return talks

    def _start_processes(self, count: int) -> list[Conversation]:
        """Processes that import vLLM. On CPUs one does it for all: they are copies of it."""
        if device_of(self.resources) == "cpu":
            variables = engine_environment(0, count, self.resources)
            child = engine_process(_PROGRAM, variables, count - 1)
            self._processes = [child]
            return [child, *child.copies]
        self._processes = [
            engine_process(_PROGRAM, engine_environment(index, count, self.resources))
            for index in range(count)
        ]
        return [*self._processes]

    def _end_processes(self) -> None:
        for process in self._processes:
            process.end()
        self._processes, self._waiting = [], []

    @property
    def _longest(self) -> float:
        """The stage's time limit in seconds."""
        return self.resources.stage_timeout_hours * 3600

    def _await(self, kind: type[Reply], seconds: float) -> Reply:
        """The next message of this kind; others are dropped. Raises as `_next_message` does."""
        while not isinstance(message := self._next_message(seconds)[1], kind):
            continue
        return message

    def _next_message(self, seconds: float) -> tuple[int, FromWorker]:
        """The next message of any engine.

        Raises EngineError where an engine ended or can't be understood, or where none spoke for so
        many seconds.
        """
        try:
            index, message = self._inbox.get(timeout=seconds)
        except queue.Empty:
            raise EngineError(f"the sampling engine said nothing for {seconds:.0f} s") from None
        if isinstance(message, EngineError):
            raise message
        return index, message

    def _sample_all(
        self,
        shards: Iterable[Sequence[Question]],
        batching: BatchPolicy,
        progress: ProgressCounter,
    ) -> Iterator[list[SampledQuestion]]:
        """Keep the engines busy, and yield each shard as soon as it is whole."""
        waiting: dict[int, Shard] = {}
        coming = batches(shards, batching, waiting)
        following = 0
        self._send_batches(coming, batching.room)
        while any(engine.outstanding for engine in self._engines):
            index, message = self._next_message(self._longest)
            if isinstance(message, TokensGenerated):
                progress.generated(index, message.tokens)
            if not isinstance(message, GeneratedSamples):
                continue
            progress.count(1, sum(completion.token_count for completion in message.completions))
            store_samples(waiting, message)
            self._engines[index].outstanding -= 1
            self._send_batches(coming, batching.room)
            while following in waiting and waiting[following].is_complete:
                yield waiting.pop(following).sampled()
                following += 1
        progress.emit()

    def _send_batches(self, coming: Iterator[list[GenerationRequest]], room: int) -> None:
        """Give each engine batches while it has fewer than `room` questions."""
        while (engine := min(self._engines, key=lambda e: e.outstanding)).outstanding < room:
            batch = next(coming, None)
            if batch is None:
                return
            engine.child.send(GenerateBatch(batch))
            engine.outstanding += len(batch)


def _read(engine: Engine, inbox: Inbox) -> None:
    """Pass an engine's messages on, and how it ended: by itself, or in words not understood."""
    index, child = engine.index, engine.child
    try:
        for line in child.lines():
            message = message_in(line, read_worker_message)
            if message is not None:
                inbox.put((index, message))
    except EngineError as error:
        inbox.put((index, error))
        return
    ended = f"sampling engine {index} {child.ending()}; {child.last_output()}"
    inbox.put((index, EngineError(ended)))


def context_for(model: ModelSource, settings: GenerationSettings) -> int | None:
    """The tokens of prompt and completion that an engine needs room for.

    None: all that the model has, where nothing less is asked for.
    """
    asked = settings.max_context or settings.needed_context
    own = own_context(model.folder)
    return None if asked is None or (own is not None and asked >= own) else asked


def fits_in_place(one: ModelSource, other: ModelSource) -> bool:
    """Whether an engine that was built for `one` can take the weights of `other`."""
    texts = [json.loads((m.folder / "config.json").read_text()) for m in (one, other)]
    for text in texts:
        for entry in BOOKKEEPING:
            text.pop(entry, None)
    keeps_experts = any(name in KEEP_OLD_EXPERTS for name in texts[1].get("architectures") or ())
    is_same = one.trust_remote_code == other.trust_remote_code and bool(texts[0] == texts[1])
    return is_same and not keeps_experts


def weight_bytes(folder: Path) -> int:
    """Bytes that a checkpoint's weights take at most in an engine on a CPU, in fp32."""
    return 2 * sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def engine_environment(index: int, count: int, resources: Resources) -> dict[str, str]:
    """Environment of one engine's process, of so many."""
    if device_of(resources) == "cuda":
        return {"CUDA_VISIBLE_DEVICES": visible_gpus(index, resources.tensor_parallel)}
    threads = len(os.sched_getaffinity(0)) // (count * resources.tensor_parallel)
    in_a_process = "0" if resources.tensor_parallel == 1 else "1"
    return {
        "OMP_NUM_THREADS": str(max(1, threads)),
        "OMP_WAIT_POLICY": "PASSIVE",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # two engines would both take the first core
        # "1": the engine in a process of its own, as on GPUs; costs half a minute at the start
        _OWN_PROCESS: os.environ.get(_OWN_PROCESS, in_a_process),
        "TORCHDYNAMO_DISABLE": "1",  # vLLM compiles small functions even when eager: needs g++
    }
