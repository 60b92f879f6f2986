"""Text of unknown origin, shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from east_core.errors import DataError
from east_core.text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("a\rb", r"a\x0db"),
        ("\x9b2J", r"\x9b2J"),
        ("gpj\u202eexe", r"gpj\u202eexe"),
        ("\ud800", r"\ud800"),
        ("naïve 数学\tx\n", "naïve 数学\tx\n"),
    ],
)
def test_what_steers_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert str(DataError(text)) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_every_text_can_be_printed(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert not {"\x1b", "\x07", "\x9b", "\r", "\u202e"} & set(shown)
