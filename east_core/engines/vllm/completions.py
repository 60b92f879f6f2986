"""What vLLM returns as completions: ids as they were sampled, and the text that people read.

Imports no engine; vLLM's outputs are arguments.
"""

from typing import TYPE_CHECKING, Any

from east_core.answers.thinking import is_mark
from east_core.inputs.chat import ChatTokenizer
from east_core.records import Completion, FinishReason, TokenIds

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, RequestOutput

FINISH_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


def special_marks(tokenizer: Any) -> frozenset[int]:
    """The ids of special tokens that begin or end the thinking (Magistral's [/THINK])."""
    ids = tokenizer.all_special_ids
    named = zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True)
    return frozenset(each for each, token in named if is_mark(token))


def completions_of(
    output: "RequestOutput", tokenizer: ChatTokenizer, thinking_ids: frozenset[int] = frozenset()
) -> list[Completion]:
    """A request's completions in sampling order."""
    samples = sorted(output.outputs, key=lambda sample: sample.index)
    return [
        Completion(
            text=text_of(sample, tokenizer, thinking_ids),
            finish_reason=FINISH_REASONS.get(sample.finish_reason or "", "unknown"),
            token_count=len(sample.token_ids),
            mean_logprob=mean_logprob(sample),
            ids=trainable_ids(sample, tokenizer),
        )
        for sample in samples
    ]


def mean_logprob(sample: "CompletionOutput") -> float | None:
    """The mean over the completion's tokens; None where it was not asked for."""
    if sample.cumulative_logprob is None:
        return None
    return float(sample.cumulative_logprob) / max(1, len(sample.token_ids))


def text_of(
    sample: "CompletionOutput", tokenizer: ChatTokenizer, thinking_ids: frozenset[int]
) -> str:
    """A completion's text; with its special tokens where some of them are the thinking's marks.

    Without them an answer could not be told from the thinking before it. vLLM has a text where it
    looked for what ends a completion, and none elsewhere.
    """
    ids = [*sample.token_ids]
    has_marks = not thinking_ids.isdisjoint(ids)
    ended_in_text = isinstance(sample.stop_reason, str)
    if sample.text and not has_marks:
        return sample.text
    if sample.finish_reason == "stop" and not ended_in_text:
        ids.pop()  # what ended it is no part of what was said
    text = str(
        tokenizer.decode(ids, skip_special_tokens=not has_marks, clean_up_tokenization_spaces=False)
    )
    return text[: text.rfind(str(sample.stop_reason))] if ended_in_text else text


def trainable_ids(sample: "CompletionOutput", tokenizer: ChatTokenizer) -> TokenIds | None:
    """The tokens of a completion, without those of a stop string that ended it.

    None where the stop string began within a token.
    """
    ids = [*sample.token_ids]
    if not isinstance(sample.stop_reason, str):
        return TokenIds(ids)
    for count in range(len(ids) - 1, max(-1, len(ids) - 2 - len(sample.stop_reason)), -1):
        # SentencePiece: vLLM's text begins with the space that decoding leaves out
        if tokenizer.decode(ids[:count], skip_special_tokens=True) in (
            sample.text,
            sample.text.removeprefix(" "),
        ):
            return TokenIds(ids[:count])
    return None
