"""What a kind of task says about its answers: how one is found, and which are equal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from east_core.answers.extraction import AnswerPolicy, extract_answer
from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.form_schema import fine_steps
from east_core.records import Question

_IN_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|texttt|mathrm|mathbf|mathtt|mbox|operatorname|ce)\s*\{([^{}]*)\}"
)


@dataclass(frozen=True, slots=True)
class Response:
    """What stands behind a completion's thinking (None: it never ended), and how to read it."""

    text: str | None
    policy: AnswerPolicy
    is_cut_off: bool = False


@dataclass(frozen=True, slots=True)
class Readings:
    """The answers of a question's responses with their forms, None where one has no answer."""

    answers: tuple[str | None, ...]
    forms: tuple[Form | None, ...]
    gold: Form | None


@dataclass(frozen=True, slots=True)
class GoldTrial:
    """Whether a gold answer is understood; `said` is what a grading of a user's own makes of it."""

    is_accepted: bool
    said: str = ""


class BaseGrading(BaseModel):
    """How the answers of one kind of task are read and compared.

    `read` is all that others ask of it. Most kinds say what an answer is one at a time, by
    `extract`, `form` and `beside`. One that asks processes of its own overrides `read`, and says so
    by `waits`; where no policy says what counts as an answer, `has_policies` is False.

    Equal keys of forms are equal answers. What is equal only to the gold answer (a number within a
    tolerance) is read `beside` it, once and before anything is compared, so that it joins no other.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=fine_steps)

    waits: ClassVar[bool] = False
    has_policies: ClassVar[bool] = True

    def identity(self) -> dict[str, Any]:
        """What decides which answers are equal, as it enters a recipe."""
        return self.model_dump(mode="json")

    def of(self, question_id: str) -> "BaseGrading":  # noqa: ARG002
        """The grading of one question: this one, unless it stands for those of several sets."""
        return self

    def read(self, question: Question, responses: Sequence[Response], grader: Grader) -> Readings:  # noqa: ARG002
        """The answers of a question's responses, read beside its gold answer."""
        answers = tuple(
            None if response.text is None else self.extract(response.text, response.policy)
            for response in responses
        )
        gold = None if question.answer is None else self.form(question.answer)
        form_of: dict[str, Form] = {}
        for answer in {answer for answer in answers if answer is not None}:
            form = self.form(answer)
            form_of[answer] = form if gold is None else self.beside(gold, form)
        forms = tuple(None if answer is None else form_of[answer] for answer in answers)
        return Readings(answers, forms, gold)

    def prepare(self) -> None:
        """Raise ConfigError where the grading can't be used here; most always can."""

    def try_gold(self, question: Question, grader: Grader) -> GoldTrial:
        """Whether a question's gold answer is understood."""
        return GoldTrial(self.accepts(question.answer or "", grader))

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
