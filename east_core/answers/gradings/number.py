"""Numbers with a stated tolerance."""

from typing import Literal

from pydantic import ConfigDict, Field

from east_core.answers.canonical import canonical_form
from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.answers.gradings.base import BaseGrading, keyed
from east_core.answers.numeric import approximate


class NumberGrading(BaseGrading):
    """Numbers, right within a tolerance of the gold answer; wrong ones are told apart exactly."""

    model_config = ConfigDict(title="number")

    kind: Literal["number"] = "number"
    relative: float = Field(
        0.0, ge=0, lt=1, description="Right within this share of the gold answer (0.01: 1%)."
    )
    absolute: float = Field(0.0, ge=0, description="Or within this distance of it.")

    def form(self, answer: str) -> Form:
        """The number, in any of mathematics' spellings; what is none is a text of its own."""
        read = canonical_form(answer)
        if read.kind == "statement" and read.label:
            read = read.items[0]
        if read.kind == "number" or approximate(read.latex) is None:
            return read if read.kind == "number" else keyed(f"no number:{read.key}", answer)
        return read

    def beside(self, gold: Form, answer: Form) -> Form:
        """Whether an answer is within the tolerance."""
        wanted, given = approximate(gold.latex), approximate(answer.latex)
        if wanted is None or given is None:
            return gold if gold.key == answer.key else answer
        near = abs(given - wanted) <= max(self.absolute, self.relative * abs(wanted))
        return gold if near or gold.key == answer.key else answer

    def accepts(self, gold: str, grader: Grader) -> bool:  # noqa: ARG002
        """Whether it is a number."""
        return approximate(self.form(gold).latex) is not None
