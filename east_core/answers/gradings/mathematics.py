"""Mathematics, words and letters: docs/answers.md says what is equal."""

from typing import Literal

from pydantic import ConfigDict

from east_core.answers.beside import read_beside
from east_core.answers.canonical import canonical_form
from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.answers.gradings.base import BaseGrading


class MathGrading(BaseGrading):
    """Numbers, formulas, sets, equations and words, compared as mathematics."""

    model_config = ConfigDict(title="math")

    kind: Literal["math"] = "math"

    def form(self, answer: str) -> Form:
        """The canonical form."""
        return canonical_form(answer)

    def beside(self, gold: Form, answer: Form) -> Form:
        """The reading that the gold answer suggests."""
        return read_beside(gold, answer)

    def accepts(self, gold: str, grader: Grader) -> bool:
        """Whether it is a number, words, a sequence, or an expression that is read whole."""
        return grader.accepts(gold)
