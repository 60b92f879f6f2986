"""What a kind of task says about its answers: how one is found, and which are equal."""

import re

from pydantic import BaseModel, ConfigDict

from east_core.answers.extraction import AnswerPolicy, extract_answer
from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.form_schema import fine_steps

_IN_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mathtt|mbox|operatorname|ce)\s*\{([^{}]*)\}"
)


class BaseGrading(BaseModel):
    """How the answers of one kind of task are read and compared.

    Equal keys of forms are equal answers. What is equal only to the gold answer (a number within a
    tolerance) is read `beside` it, once and before anything is compared, so that it joins no other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=fine_steps)

    def extract(self, text: str, policy: AnswerPolicy) -> str | None:
        """The final answer of a text (a completion behind its thinking), None where it has none."""
        return extract_answer(text, policy)

    def form(self, answer: str) -> Form:
        """What an answer is; the same text always gives the same form."""
        raise NotImplementedError

    def beside(self, gold: Form, answer: Form) -> Form:
        """The form of an answer beside the gold answer; `gold` itself where they agree."""
        return gold if gold.key == answer.key else answer

    def accepts(self, gold: str, grader: Grader) -> bool:  # noqa: ARG002
        """Whether a gold answer is understood beyond its spelling."""
        return bool(self.form(gold).key.partition(":")[2])


def keyed(key: str, answer: str) -> Form:
    """The form of an answer that is decided by its key alone."""
    return Form("text", key, answer)


def unwrapped_text(answer: str) -> str:
    r"""An answer without LaTeX's text commands, dollars and Markdown's stars around it."""
    text, before = answer.strip(), ""
    while text != before:
        before = text
        text = _IN_TEXT.sub(r"\1", text).strip()
        for mark in ("$$", "$", "**", "*", "`"):
            if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
                text = text[len(mark) : -len(mark)].strip()
    return text
