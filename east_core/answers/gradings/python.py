"""A user's own functions, found by a dotted path: docs/grading.md."""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from east_core.answers.form import Form
from east_core.answers.grading import Grader
from east_core.answers.gradings.base import BaseGrading, GoldTrial, Readings, Response, keyed
from east_core.errors import ConfigError
from east_core.records import Question

_PROGRAM = Path(__file__).parents[1] / "function_worker.py"
_LOST = "grading functions crashed, or took too long"


class PythonGrading(BaseGrading):
    """Your own `extract(completion, question)`, and `key(answer)` or `same(a, b)`."""

    model_config = ConfigDict(title="python")
    waits: ClassVar[bool] = True
    has_policies: ClassVar[bool] = False

    kind: Literal["python"] = "python"
    functions: str = Field(
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*)?$",
        description="Module of extract, and key or same; 'module:name' for an object that has them "
        "(my_grader:Grader).",
    )
    folder: str | None = Field(
        None,
        description="Where the module is looked for before the installed packages. None: the run "
        "file's folder, or the current one.",
    )

    def identity(self) -> dict[str, Any]:
        """The functions and a hash of their module's source, wherever it lies."""
        digest = hashlib.sha256(self._source().read_bytes()).hexdigest()
        return {"kind": self.kind, "functions": self.functions, "source": digest}

    def prepare(self) -> None:
        """Raise ConfigError where the functions can't be imported, or take other arguments."""
        self._source()
        with Grader(processes=1) as grader:
            self._ask(Question("", "", ""), [], grader)

    def read(self, question: Question, responses: Sequence[Response], grader: Grader) -> Readings:
        """What the functions make of the responses; one that was cut off has no answer."""
        texts = [None if response.is_cut_off else response.text for response in responses]
        distinct = sorted({text for text in texts if text is not None})
        given = any(response.policy == "given" for response in responses)
        said = self._ask(question, distinct, grader, given=given)
        for failure in said["failures"]:
            grader.leave_undecided(question.id, failure)
        found = dict(zip(distinct, said["answers"], strict=True))
        read = [None if text is None else found[text] for text in texts]
        gold = None if question.answer is None else _form(said["gold"], question.answer)
        return Readings(
            tuple(None if each is None else each[0] for each in read),
            tuple(None if each is None else _form(each[1], each[0]) for each in read),
            gold,
        )

    def try_gold(self, question: Question, grader: Grader) -> GoldTrial:
        """Whether the functions accept a gold answer: it has a key, or is the same as itself."""
        gold = question.answer or ""
        said = self._ask(question, [gold], grader, accepts=True)
        if (reason := said.get("rejected", _LOST)) is not None:
            return GoldTrial(False, reason)
        (read,) = said["answers"]
        key = "" if said["gold"] == "gold" else f"key {said['gold']}; "
        alone = "nothing" if read is None else repr(read[0])
        return GoldTrial(True, f"{key}extract finds {alone} in it")

    def _ask(
        self, question: Question, texts: list[str], grader: Grader, **asked: bool
    ) -> dict[str, Any]:
        """A worker's reply. Raises ConfigError where the functions can't be used."""
        settings = {"functions": self.functions, "path": self._path()}
        job = {"accepts": False, "given": False, **asked, "texts": texts}
        job["question"] = dataclasses.asdict(question)
        try:
            said = grader.ask(_PROGRAM, (json.dumps(settings),), job)
        except EOFError:
            return {"answers": [None] * len(texts), "gold": None, "failures": [_LOST]}
        if "refused" in said:
            raise ConfigError(f"grading: {said['refused']}")
        return dict(said)

    def _path(self) -> list[str]:
        """Where modules are looked for: ours, for what the functions import of us, last."""
        return [str(Path(self.folder or ".").resolve()), *filter(None, sys.path)]

    def _source(self) -> Path:
        """The file of the module, found without importing it. Raises ConfigError without one."""
        path: Sequence[str] | None = self._path()
        module, spec = self.functions.partition(":")[0], None
        for name in module.split("."):
            spec = path and PathFinder.find_spec(name, path)
            path = spec.submodule_search_locations if spec else None
        if not spec or not spec.origin or not Path(spec.origin).is_file():
            raise ConfigError(
                f"grading: there is no module {module!r} in {Path(self.folder or '.').resolve()} "
                "or among the installed packages; check functions, or give its folder"
            )
        self._require_free_name(module.partition(".")[0])
        return Path(spec.origin)

    def _require_free_name(self, name: str) -> None:
        """Raise ConfigError where the module would be taken for one of Python's or another's."""
        folder, *others = self._path()
        own, other = (PathFinder.find_spec(name, path) for path in ([folder], others))
        if own and (name in sys.stdlib_module_names or (other and other.origin != own.origin)):
            raise ConfigError(
                f"grading: {name} in {folder} has the name of a module that others import; "
                "rename it"
            )


def _form(key: str | None, answer: str) -> Form:
    """Answers of one key are equal; without a key (it failed) those that are written alike."""
    return keyed(f"no key: {answer}" if key is None else f"python:{key}", answer)
