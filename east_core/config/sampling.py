"""Settings of sampling and of evaluation."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from east_core.config.base import Frozen

SYSTEM_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."


class AdaptiveRecipe(Frozen):
    """Sampling in steps, until the entropy of a question is known (docs/weighting.md)."""

    model_config = ConfigDict(title="Adaptive sampling")

    first: int = Field(16, ge=2, le=4096, description="Completions in a question's first step.")
    step: int = Field(8, ge=1, le=4096, description="Completions in each further step.")
    tolerance_bits: float = Field(
        0.2,
        gt=0,
        description="A question is sampled on while its entropy is expected to change by more than "
        "this (root mean square, in bits) on the way to samples_per_question.",
    )
    unanimous_after: int = Field(
        16, ge=2, description="Completions after which a question with one answer only is decided."
    )
    all_wrong_after: int | None = Field(
        None,
        ge=2,
        description="Completions after which a question without a correct one is given up; None: "
        "never, since the questions that are hardest to solve have the largest weights.",
    )


class SamplingRecipe(Frozen):
    """How completions are drawn from the current checkpoint for each training question."""

    model_config = ConfigDict(title="Sampling")
    later: ClassVar[frozenset[str]] = frozenset(
        {
            "top_k",
            "min_p",
            "repetition_penalty",
            "stop_token_ids",
            "assistant_prefix",
            "max_context",
            "thinking_end",
            "thinking_budget",
            "logprobs",
        }
    )

    samples_per_question: int = Field(
        8, ge=2, le=4096, description="Completions for each question, n (the paper's data: 128)."
    )
    temperature: float = Field(1.0, gt=0, le=5, description="Softmax temperature; above 0.")
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus sampling's probability mass.")
    top_k: int = Field(0, ge=0, description="Only the k most likely tokens are drawn; 0: all.")
    min_p: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Only tokens with at least this share of the most likely one's probability "
        "are drawn; 0: all.",
    )
    repetition_penalty: float = Field(
        1.0, gt=0, le=2, description="Above 1: tokens that were there already get less likely."
    )
    max_tokens: int = Field(
        1024, ge=1, description="Longest completion in tokens; longer ones count as truncated."
    )
    system_prompt: str | None = Field(
        SYSTEM_PROMPT,
        description="System message of every prompt, in sampling, training and evaluation alike.",
    )
    stop: tuple[str, ...] = Field((), description="Strings that end a completion, besides EOS.")
    stop_token_ids: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        description="Token ids that end a completion, besides EOS and those of the model's "
        "generation_config.json.",
    )
    assistant_prefix: str | None = Field(
        None,
        min_length=1,
        description="Text that every answer begins with (<think>\\n, ...), part of the prompt in "
        "sampling, training and evaluation alike.",
    )
    max_context: int | None = Field(
        None,
        ge=2,
        description="Longest prompt plus completion in tokens, for which the engine keeps room. "
        "None: what the longest prompt and max_tokens need.",
    )
    thinking_end: str = Field(
        "auto",
        min_length=1,
        description="What ends a model's thinking; only what follows is an answer, and a "
        "completion that is cut off before has none. auto: the marks of the known families "
        "(</think>, [/THINK], ...), where a completion has them or the chat template begins the "
        "thinking. Any other text is the one mark; a completion without it has no answer.",
    )
    thinking_budget: int | None = Field(
        None,
        ge=1,
        description="Tokens of thinking after which the engine ends it, with thinking_end "
        "(auto: </think>), and the model answers; in sampling and evaluation alike. None: thinking "
        "takes as long as it likes, within max_tokens.",
    )
    logprobs: bool = Field(
        False,
        description="Keep each completion's mean log-probability, at a tenth to three tenths of "
        "the sampling's speed. The weighting 'perplexity' needs it, and always has it.",
    )
    adaptive: AdaptiveRecipe | None = Field(
        None,
        description="Sample in steps until a question's entropy is known well enough, "
        "samples_per_question at most. None: every question gets samples_per_question.",
    )

    @model_validator(mode="after")
    def _thinking_can_be_ended(self) -> "SamplingRecipe":
        if self.thinking_budget and self.thinking_end != "auto" and "/" not in self.thinking_end:
            raise ValueError(
                f"thinking_budget finds the start of the thinking by the slash in its end, as in "
                f"<think> and </think>; thinking_end {self.thinking_end!r} has none: leave the "
                "budget out"
            )
        return self

    @model_validator(mode="after")
    def _leaves_steps(self) -> "SamplingRecipe":
        if self.adaptive is not None and self.adaptive.first >= self.samples_per_question:
            raise ValueError(
                f"adaptive.first {self.adaptive.first} leaves nothing to adapt in "
                f"samples_per_question {self.samples_per_question}; raise the latter, or leave "
                "adaptive out"
            )
        return self


class EvaluationRecipe(Frozen):
    """How every checkpoint is scored on the benchmarks."""

    model_config = ConfigDict(title="Evaluation")
    later: ClassVar[frozenset[str]] = frozenset({"mode"})

    mode: Literal["greedy", "sampled"] = Field(
        "greedy",
        description="What the accuracy is of: one greedy completion a question, or the mean over "
        "samples_per_question samples, as for reasoning models, whose greedy completions are not "
        "what they are made for. Tests, promotion, stopping and the best round go by it.",
    )
    max_tokens: int = Field(1024, ge=1, description="Longest completion in tokens.")
    samples_per_question: int = Field(
        0,
        ge=0,
        le=4096,
        description="Samples a question for maj@k and pass@k; 0: greedy accuracy only.",
    )
    temperature: float = Field(0.7, gt=0, le=5, description="Temperature of those samples.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    answer_policy: Literal["boxed", "lenient"] = Field(
        "lenient",
        description="Which final answers count: boxed only, or also 'The answer is 42' and the "
        "like (docs/answers.md).",
    )

    @model_validator(mode="after")
    def _has_samples(self) -> "EvaluationRecipe":
        if self.mode == "sampled" and not self.samples_per_question:
            raise ValueError(
                "mode 'sampled' scores by the mean over samples, and samples_per_question is 0; "
                "set it, to 8 or so"
            )
        return self
