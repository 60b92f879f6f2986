"""Exact texts: JSON by its value, code and strings as they are written."""

import ast
import json
import re
from typing import Any, Literal

from pydantic import ConfigDict

from east_core.answers.brackets import deepest
from east_core.answers.extraction import AnswerPolicy, extract_answer, last_box
from east_core.answers.form import Form
from east_core.answers.gradings.base import BaseGrading, keyed, unwrapped_text

_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)\n?[ \t]*```|```([^\n`]+)```", re.DOTALL)
_LONGEST_VALUE = 10_000
_DEEPEST_VALUE = 50
_NUMBERED = re.compile(r"(?:\(?[A-Z][a-z]?(?:_?\{?[0-9]+\}?)?\)?(?:_?\{?[0-9]+\}?)?)+")
_LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


class ExactGrading(BaseGrading):
    """The same text; JSON and Python literals by value, code fences and quotes taken off."""

    model_config = ConfigDict(title="exact")

    kind: Literal["exact"] = "exact"

    def extract(self, text: str, policy: AnswerPolicy) -> str | None:
        """A box, else the last code block, else as for mathematics, else a response of one line."""
        if policy != "lenient" or last_box(text):
            return extract_answer(text, policy)
        blocks = [first or second for first, second in _FENCE.findall(text)]
        if blocks:
            return blocks[-1].strip() or None
        stripped = text.strip()
        if is_value(stripped):
            return stripped
        found = extract_answer(text, policy)
        return found or (stripped if stripped and "\n" not in stripped else None)

    def form(self, answer: str) -> Form:
        """The value as JSON, or the text with its spaces made one."""
        text = unwrapped_text(answer)
        value = _value(text)
        if value is not _NO_VALUE and not isinstance(value, str):
            return keyed(f"value:{json.dumps(value, sort_keys=True)}", answer)
        text = value if isinstance(value, str) else text.rstrip(".")
        if _NUMBERED.fullmatch(text.translate(_LOWERED)):  # H_2O
            text = re.sub("[_{}]", "", text.translate(_LOWERED))
        return keyed(f"exact:{' '.join(text.split())}", answer)


_NO_VALUE = object()


def is_value(text: str) -> bool:
    """Whether a text is JSON or a Python literal."""
    return _value(text) is not _NO_VALUE


def _value(text: str) -> Any:
    """The value of JSON or of a Python literal, which can hold no code; else _NO_VALUE."""
    if len(text) > _LONGEST_VALUE or deepest(text) > _DEEPEST_VALUE:
        return _NO_VALUE
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
            json.dumps(value, sort_keys=True)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value
    return _NO_VALUE
