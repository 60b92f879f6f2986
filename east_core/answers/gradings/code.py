"""Programs: right where all tests pass, equal where they compute the same: docs/grading.md."""

import ast
import re
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field

from east_core.answers.code.programs import Behaviour, behaviour
from east_core.answers.code.sandbox import Limits, require_sandbox
from east_core.answers.code.tests import CodeTests, NoTests, read_tests
from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.answers.gradings.base import BaseGrading, GoldTrial, Readings, Response, keyed
from east_core.errors import ConfigError
from east_core.records import Question

_FENCE = re.compile(
    r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE
)
_PYTHON = {"", "python", "python3", "py"}
_LONGEST = 50_000


class CodeGrading(BaseGrading):
    """Programs, run in a sandbox against the question's tests, which are its gold answer."""

    model_config = ConfigDict(title="code")
    waits: ClassVar[bool] = True
    has_policies: ClassVar[bool] = False

    kind: Literal["code"] = "code"
    seconds: int = Field(5, ge=1, le=600, description="CPU seconds of a program, over all tests.")
    megabytes: int = Field(512, ge=64, description="Memory of a program (address space).")

    def prepare(self) -> None:
        """Raise ConfigError where there is no sandbox; nothing is run without one."""
        require_sandbox()

    def read(self, question: Question, responses: Sequence[Response], grader: Grader) -> Readings:
        """The programs of the responses, and what each computes on the question's tests."""
        require_sandbox()
        if question.answer is None:
            raise ConfigError(
                f"grading 'code' runs programs on tests, and question {question.id} has none; "
                "label-free training needs another grading"
            )
        tests = _tests(question)
        programs = [_program(response, question, tests) for response in responses]
        limits = Limits(self.seconds, self.megabytes)
        forms: dict[str, Form] = {}
        for program in sorted({program for program in programs if program is not None}):
            if tests is None:
                forms[program] = keyed(f"no tests: {program}", program)
                continue
            found = behaviour(program, tests, limits)
            if found.limit is not None:
                grader.leave_undecided(question.id, f"a program was stopped: {found.limit}")
            forms[program] = _form(found, program)
        read = tuple(None if program is None else forms[program] for program in programs)
        return Readings(tuple(programs), read, keyed("code: passes", question.answer))

    def try_gold(self, question: Question, grader: Grader) -> GoldTrial:  # noqa: ARG002
        """Whether a question's tests can be read."""
        try:
            return GoldTrial(True, read_tests(question.answer or "").described())
        except NoTests as error:
            return GoldTrial(False, str(error))


def _form(found: Behaviour, program: str) -> Form:
    return keyed("code: passes" if found.passes else f"code: {found.key}", program)


def _tests(question: Question) -> CodeTests | None:
    """The question's tests; None where it has none that can be read."""
    try:
        return read_tests(question.answer or "")
    except NoTests:
        return None


def _program(response: Response, question: Question, tests: CodeTests | None) -> str | None:
    """The last block of code, or all of a text without one, with what the prompt began."""
    if response.text is None or response.policy == "given":
        return response.text or None
    blocks = [
        (body, bool(end.strip()))
        for language, body, end in _FENCE.findall(response.text)
        if language.lower() in _PYTHON
    ]
    if response.is_cut_off:
        blocks = [block for block in blocks if block[1]]
    if not blocks and (response.is_cut_off or "```" in response.text):
        return None
    bodies = [body for body, _ in blocks] or [response.text]
    names = tests.names if tests else ()
    defining = [body for body in bodies if _defines(body, names)]
    program = (defining or bodies)[-1]
    whole = _with_prompt(program, question.prompt, names, bool(defining))
    return whole if whole.strip() and len(whole) <= _LONGEST else None


def _defines(program: str, names: Sequence[str]) -> bool:
    """Whether a program defines what the tests call."""
    return all(
        re.search(rf"^(?:(?:async\s+)?def|class)\s+{name}\b|^{name}\s*=", program, re.MULTILINE)
        for name in names
    )


def _with_prompt(program: str, prompt: str, names: Sequence[str], is_whole: bool) -> str:
    """Behind a prompt that is the beginning of the program (HumanEval's), as it goes on there.

    A program that defines the function anew gets what stands before it: imports, and helpers.
    """
    if not names or not _defines(prompt, names) or not _is_python(prompt):
        return program
    if not is_whole:
        return f"{prompt.rstrip()}\n{program}"
    before = re.split(rf"^(?:async\s+)?def\s+{names[0]}\b", prompt, maxsplit=1, flags=re.MULTILINE)
    return f"{before[0]}{program}"


def _is_python(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
