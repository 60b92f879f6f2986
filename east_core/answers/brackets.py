"""Brackets in a LaTeX text: how deep, where they close, and what lies between top-level marks."""

import itertools
import re

_DEPTH = re.compile(r"\\begin\b|\\end\b|\\[{}]|[()\[\]{}]")


def deepest(text: str) -> int:
    """How deep the brackets nest."""
    return max(itertools.accumulate(_step(token[0]) for token in _DEPTH.finditer(text)), default=0)


def closes_at_end(text: str) -> bool:
    """Whether the bracket that opens the text is closed by its last character."""
    depth = 0
    for token in _DEPTH.finditer(text):
        depth += _step(token[0])
        if depth == 0:
            return token.end() == len(text)
    return False


def split(text: str, mark: str = "[,;]") -> list[str]:
    """The parts between top-level marks; `mark` is a regular expression."""
    return split_with_marks(text, mark)[0]


def split_with_marks(text: str, mark: str) -> tuple[list[str], list[str]]:
    """The parts between top-level marks, and the marks."""
    parts, marks, depth, start = [], [], 0, 0
    for token in re.finditer(rf"(?P<mark>{mark})|{_DEPTH.pattern}", text):
        if token["mark"] is None:
            depth += _step(token[0])
        elif depth == 0:
            parts.append(text[start : token.start()].strip())
            marks.append(token[0])
            start = token.end()
    return [*parts, text[start:].strip()], marks


def _step(token: str) -> int:
    if token in ("(", "[", "{", r"\{", r"\begin"):
        return 1
    return -1 if token in (")", "]", "}", r"\}", r"\end") else 0
