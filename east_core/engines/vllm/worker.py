"""The process around one vLLM engine: questions in on stdin, completions out on stdout.

    python -m east_core.engines.vllm.worker

The messages are those of east_core.engines.vllm.messages. A batch's questions are all in the engine
before it steps, so a question's n samples share its prompt's KV cache, and equal batches are
scheduled equally.
"""

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from vllm import LLM, SamplingParams
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind

from east_core.engines.probe import SENTENCE, Probe
from east_core.engines.processes import emit, fork_copies, read_commands
from east_core.engines.vllm.completions import completions_of, special_marks
from east_core.engines.vllm.messages import (
    Asleep,
    Build,
    GenerateBatch,
    GeneratedSamples,
    GenerationRequest,
    Load,
    Loaded,
    SetGeneration,
    Sleep,
    TokensGenerated,
    ToWorker,
    read_command,
)
from east_core.engines.vllm.options import EngineOptions
from east_core.engines.vllm.patches import inspect_models_here, tokens_by_request
from east_core.inputs.chat import prompt_token_ids
from east_core.inputs.turns import stop_ids
from east_core.protocols import GenerationSettings
from east_core.records import Completion, TokenIds
from east_core.seeds import derive_seed

TELL_SECONDS = 1.0


@dataclass
class Worker:
    """One engine with its tokenizer, and the questions that it is working on."""

    options: EngineOptions | None = None
    llm: LLM | None = None
    tokenizer: Any = None
    stop_ids: frozenset[int] = frozenset()
    thinking_ids: frozenset[int] = frozenset()
    settings: GenerationSettings | None = None
    answered_tokens: int = 0
    unfinished: dict[str, dict[str, int]] = field(default_factory=dict)
    told: float = 0.0

    def load(self, folder: str, noted: Probe | None = None) -> None:
        """Serve the checkpoint in `folder`: by a new engine first, by its weights alone later.

        `noted` is what a new engine said of a model without a probe; one that says it first tells.
        """
        assert self.options is not None
        is_new = self.llm is None
        if self.llm is None:
            if self.options.device == "cpu":
                inspect_models_here()
            self.llm = LLM(model=folder, **self.options.llm_arguments())
        else:
            self._reload(self.llm, folder)
            if self.options.device == "cpu":
                self.llm.collective_rpc("repack")
        self.tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=self.options.trust_remote_code
        )
        self.stop_ids = stop_ids(Path(folder), self.tokenizer)
        self.thinking_ids = special_marks(self.tokenizer)
        probe = Probe.read(Path(folder)) or noted
        own = self.own_probe() if probe is None and is_new else None
        drift = self.drift_from(probe)
        emit(Loaded(folder, drift if math.isfinite(drift) else None, self._is_fp32, own))

    def _reload(self, llm: LLM, folder: str) -> None:
        """Put other weights in place; of an engine that sleeps, into memory that it takes again."""
        is_asleep = llm.llm_engine.is_sleeping()
        if is_asleep:
            llm.wake_up(["weights"])
        llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        if is_asleep:
            llm.wake_up(["kv_cache"])

    def sleep(self) -> None:
        """Free the device: weights and KV cache are dropped, and the next load brings new ones."""
        assert self.llm is not None
        self.llm.sleep(level=2)
        emit(Asleep())

    def drift_from(self, probe: Probe | None) -> float:
        """How far the engine's log-probabilities are from the checkpoint's own, in nats a token."""
        return 0.0 if probe is None else probe.drift(self._logprobs_of(probe.ids))

    def own_probe(self) -> Probe | None:
        """What this engine says of the probe's sentence; None where that is no number."""
        assert self.llm is not None
        room = self.llm.llm_engine.model_config.max_model_len - 1
        ids = self.tokenizer(SENTENCE)["input_ids"][:room]
        logprobs = self._logprobs_of(ids) if len(ids) > 1 else []
        return Probe(ids, logprobs) if logprobs and all(map(math.isfinite, logprobs)) else None

    def _logprobs_of(self, ids: list[int]) -> list[float]:
        """The log-probability of each token but the first, given those before."""
        assert self.llm is not None
        asked = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        (output,) = self.llm.generate({"prompt_token_ids": ids}, asked, use_tqdm=False)
        given = zip(ids[1:], (output.prompt_logprobs or [])[1:], strict=True)
        return [entry[token].logprob for token, entry in given if entry]

    def begin(self, questions: list[GenerationRequest]) -> None:
        """Queue a batch; an idle engine forgets its cached prompts first.

        They are another checkpoint's, or an earlier batch's, of which this one must not know.
        """
        assert self.llm is not None
        if not self.is_busy:
            self.llm.reset_prefix_cache()
            self.told = float("-inf")  # the first step's tokens are told at once
        for question in questions:
            self.ask(question)

    def ask(self, asked: GenerationRequest) -> None:
        """Queue a question; one that leaves no room for an answer is truncated at once."""
        assert self.llm is not None
        assert self.settings is not None
        ids = prompt_token_ids(
            self.tokenizer,
            system_prompt=self.settings.system_prompt,
            question=asked.prompt,
            form=self.settings.prompt,
        )
        room = self._context - len(ids)
        if room < 1:
            empty = Completion(text="", finish_reason="length", ids=TokenIds())
            self._answer(asked.key, ids, [empty] * self.settings.samples_per_question)
            return
        params = sampling_params(self.settings, asked.question_id, room, self.stop_ids)
        self.llm.llm_engine.add_request(asked.key, {"prompt_token_ids": ids}, params)

    def step(self) -> None:
        """Advance the engine by one step and send what is finished."""
        assert self.llm is not None
        for output in self.llm.llm_engine.step():
            if isinstance(output, RequestOutput) and output.finished:
                completions = completions_of(output, self.tokenizer, self.thinking_ids)
                self._answer(output.request_id, output.prompt_token_ids or [], completions)
        if time.monotonic() - self.told > TELL_SECONDS:
            self.tell_tokens()

    def tell_tokens(self) -> None:
        """Send how many tokens were generated so far, finished or not."""
        assert self.llm is not None
        for request, sequence, tokens in tokens_by_request(self.llm.llm_engine):
            self.unfinished.setdefault(request, {})[sequence] = tokens
        running = sum(sum(tokens.values()) for tokens in self.unfinished.values())
        emit(TokensGenerated(self.answered_tokens + running))
        self.told = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether the engine has unfinished requests."""
        return self.llm is not None and self.llm.llm_engine.has_unfinished_requests()

    @property
    def _context(self) -> int:
        """Tokens that a prompt and its completion may have."""
        assert self.llm is not None
        assert self.settings is not None
        own: int = self.llm.llm_engine.model_config.max_model_len
        return min(own, self.settings.max_context or own)

    @property
    def _is_fp32(self) -> bool:
        return self.llm is not None and str(self.llm.llm_engine.model_config.dtype).endswith("32")

    def _answer(self, key: str, prompt: list[int], completions: list[Completion]) -> None:
        self.unfinished.pop(key, None)
        self.answered_tokens += sum(completion.token_count for completion in completions)
        emit(GeneratedSamples(key, tuple(completions), TokenIds(prompt)))


def sampling_params(
    settings: GenerationSettings,
    question_id: str,
    room: int,
    stops: Collection[int] = (),
) -> SamplingParams:
    """vLLM's parameters for one question: its own seed, so that no batch changes its samples.

    `stops` are the model's own stop ids; the settings may add some.
    """
    return SamplingParams(
        n=settings.samples_per_question,
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=min(settings.max_tokens, room),
        top_k=settings.top_k,
        min_p=settings.min_p,
        repetition_penalty=settings.repetition_penalty,
        thinking_token_budget=settings.thinking_budget,
        stop=list(settings.stop),
        stop_token_ids=sorted({*stops, *settings.stop_token_ids}),
        seed=derive_seed(settings.seed, question_id) if settings.temperature else None,
        logprobs=0 if settings.logprobs else None,  # 0: the sampled token's own
        detokenize=bool(settings.stop),  # only to find what ends a completion in its text
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def handle(worker: Worker, message: ToWorker) -> None:
    """Carry out one message from the parent."""
    match message:
        case Build(options):
            worker.options = options
        case Load(folder, probe):
            worker.load(folder, probe)
        case Sleep():
            worker.sleep()
        case SetGeneration(settings):
            worker.settings, worker.answered_tokens = settings, 0
        case GenerateBatch(questions):
            worker.begin(questions)


def main() -> None:
    """Serve until stdin ends."""
    fork_copies()
    worker = Worker()
    inbox = read_commands()
    while True:
        if worker.is_busy and inbox.empty():
            worker.step()
            continue
        line = inbox.get()  # an idle engine sleeps here and costs no CPU
        if line is None:
            return
        handle(worker, read_command(line))


if __name__ == "__main__":
    main()
