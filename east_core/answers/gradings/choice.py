"""Multiple choice: the letter, the text of the option, or both."""

import re
from dataclasses import replace
from typing import Literal

from pydantic import ConfigDict

from east_core.answers.extraction import AnswerPolicy, extract_answer
from east_core.answers.form import Form
from east_core.answers.gradings.base import BaseGrading, keyed, unwrapped_text
from east_core.answers.gradings.text import normalised

_OPTION = re.compile(
    r"(?:(?i:option|choice|answer)\s+)?(?:\((?P<a>[A-Za-z])\)\s*(?P<x>.*)|(?P<b>[A-Za-z])(?:[.):]\s*(?P<y>.*))?"
    r"|(?P<c>[B-HJ-Z])\s+(?P<z>.+))",
    re.DOTALL,
)
_ANY_CASE = re.compile(
    r"(?i:\banswer|\b(?:option|choice))\s*(?i:is|:)\s*\(?([A-Za-z])\)?(?=[\s.,;:]*(?:$|\n|[A-Z]))"
)


class ChoiceGrading(BaseGrading):
    """Multiple choice: "(B)", "b", "B. mitochondria" and, beside a gold text, "mitochondria"."""

    model_config = ConfigDict(title="choice")

    kind: Literal["choice"] = "choice"

    def extract(self, text: str, policy: AnswerPolicy) -> str | None:
        """As for mathematics, and letters of either case."""
        found = extract_answer(text, policy)
        if found is not None or policy != "lenient":
            return found
        letters = _ANY_CASE.findall(text)
        return str(letters[-1]) if letters else None

    def form(self, answer: str) -> Form:
        """The letter as label, the text of the option as what is written."""
        option = unwrapped_text(answer).rstrip(".,; ")
        match = _OPTION.fullmatch(option)
        if match is None:
            words = normalised(option)
            return replace(keyed(f"choice text:{words}", answer), written=words)
        letter = (match["a"] or match["b"] or match["c"]).upper()
        words = normalised(match["x"] or match["y"] or match["z"] or "")
        return replace(keyed(f"choice:{letter}", answer), label=letter, written=words)

    def beside(self, gold: Form, answer: Form) -> Form:
        """The same letter, or where one has none the same text."""
        if gold.label and answer.label:
            return gold if gold.label == answer.label else answer
        same = bool(gold.written) and gold.written == answer.written
        return gold if same else answer
