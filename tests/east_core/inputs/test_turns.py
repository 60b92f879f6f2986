"""Where a turn ends is found from the model's files, and never assumed."""

import json
from pathlib import Path
from typing import Any

import pytest

from east_core.inputs.turns import end_of_turn, is_kept_by_encoding, stop_ids

EOS, TURN = 1, 2


class Tokenizer:
    """One id a character; an assistant's turn is followed by `after`."""

    chat_template = "<>"
    bos_token_id = None
    eos_token_id = EOS

    def __init__(self, after: str = "") -> None:
        self.after = after

    def apply_chat_template(self, conversation: list[dict[str, str]], **_: Any) -> str:
        said = conversation[-1]["content"]
        return f"{said}{self.after}" if conversation[-1]["role"] == "assistant" else said

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [ord(letter) for letter in text]

    def decode(self, token_ids: Any, **_: Any) -> str:
        return "".join(map(chr, token_ids))


@pytest.mark.parametrize(
    ("files", "stops"),
    [
        ({}, {EOS}),
        ({"generation_config.json": [EOS, TURN]}, {EOS, TURN}),
        ({"generation_config.json": 7, "config.json": 8}, {EOS, 7}),
        ({"generation_config.json": None, "config.json": 8}, {EOS, 8}),
        ({"config.json": [8, 9]}, {EOS, 8, 9}),
    ],
)
def test_a_model_stops_where_its_makers_say(
    tmp_path: Path, files: dict[str, Any], stops: set[int]
) -> None:
    for name, told in files.items():
        (tmp_path / name).write_text(json.dumps({"eos_token_id": told}))
    assert stop_ids(tmp_path, Tokenizer()) == stops


@pytest.mark.parametrize(
    ("after", "end"),
    [
        (chr(TURN) + "\n", TURN),  # Gemma, Phi-3
        (chr(EOS), EOS),
        ("\n\n" + chr(TURN) + chr(EOS), TURN),
        ("", EOS),  # a base model's template
        ("\n", EOS),
    ],
)
def test_a_turn_ends_as_the_template_says(after: str, end: int) -> None:
    assert end_of_turn(Tokenizer(after), frozenset({EOS, TURN})) == end


def test_encoding_that_loses_something_is_seen() -> None:
    tokenizer = Tokenizer()
    assert is_kept_by_encoding(tokenizer, "ok", tokenizer.encode("ok", add_special_tokens=False))
    assert not is_kept_by_encoding(tokenizer, "ok", tokenizer.encode("o", add_special_tokens=False))
