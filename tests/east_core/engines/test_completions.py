"""A completion's text and ids, of what vLLM returns."""

from types import SimpleNamespace
from typing import Any

import pytest

from east_core.engines.vllm.completions import special_marks, text_of, trainable_ids
from east_core.records import TokenIds

VOCABULARY = ["</s>", "[THINK]", "[/THINK]", "so ", "5", "\n\nQ", ": "]
SPECIAL = [0, 1, 2]


class Tokenizer:
    """Magistral's kind: the marks of the thinking are special tokens."""

    all_special_ids = SPECIAL
    chat_template = None
    bos_token_id = None
    eos_token_id = 0

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        return [VOCABULARY[each] for each in ids]

    def decode(self, token_ids: list[int], *, skip_special_tokens: bool, **_: Any) -> str:
        shown = [each for each in token_ids if not (skip_special_tokens and each in SPECIAL)]
        return "".join(VOCABULARY[each] for each in shown)

    def apply_chat_template(self, *_: Any, **__: Any) -> Any:
        raise AssertionError

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        raise AssertionError


def said(ids: list[int], text: str, finish: str, stop: int | str | None = None) -> Any:
    return SimpleNamespace(token_ids=ids, text=text, finish_reason=finish, stop_reason=stop)


THOUGHT = "[THINK]so [/THINK]5"


@pytest.mark.parametrize(
    ("sample", "text"),
    [
        (said([1, 3, 2, 4, 0], "so 5", "stop"), THOUGHT),
        (said([1, 3, 2, 4, 0], "so 5", "stop", 0), THOUGHT),
        (said([1, 3, 2, 4], "so 5", "length"), THOUGHT),
        (said([1, 3], "so ", "length"), "[THINK]so "),
        (said([1, 3, 2, 4, 5, 6], "so 5\n\n", "stop", "Q: "), THOUGHT + "\n\n"),
        (said([3, 4, 0], "as vLLM has it", "stop"), "as vLLM has it"),
    ],
)
def test_the_marks_of_the_thinking_stay_in_the_text(sample: Any, text: str) -> None:
    tokenizer = Tokenizer()
    marks = special_marks(tokenizer)
    assert marks == {1, 2}
    assert text_of(sample, tokenizer, marks) == text


def test_what_a_stop_string_ended_is_trained_on_up_to_it() -> None:
    tokenizer = Tokenizer()
    sample = said([3, 4, 5, 6], "so 5\n\n", "stop", "Q: ")
    assert trainable_ids(sample, tokenizer) is None  # it began within a token
    whole = said([3, 4, 5, 6], "so 5", "stop", "\n\nQ: ")
    assert trainable_ids(whole, tokenizer) == TokenIds([3, 4])
