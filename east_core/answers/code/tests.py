"""A question's tests, as they stand in data sets, and what they call of a program."""

import ast
import builtins
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LONGEST = 200_000


class NoTests(ValueError):
    """A text that holds no tests; the message says why."""


@dataclass(frozen=True)
class CodeTests:
    """What a program is held to.

    Either `source`, Python with asserts, of which `names` are the program's to define; or cases:
    arguments of `names[0]` with the expected result, or without a name what the program reads and
    should print, both as JSON.
    """

    source: str = ""
    names: tuple[str, ...] = ()
    cases: tuple[tuple[str, str], ...] = ()

    @property
    def prints(self) -> bool:
        """Whether the program is one that reads and prints."""
        return not self.source and not self.names

    def described(self) -> str:
        """How many tests of what, for people."""
        of = "what it prints" if self.prints else ", ".join(self.names)
        count = self.source.count("assert ") if self.source else len(self.cases)
        return f"{count} tests of {of}"


def tests_text(value: Any) -> str | None:
    """The tests of a data set's cell as one text: asserts in a list, or inputs with outputs.

    A text is what it is; None where there is nothing.
    """
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, Mapping):
        return json.dumps(dict(value))
    if isinstance(value, Sequence) and value:
        return "\n".join(map(str, value))
    return None


@functools.lru_cache(maxsize=4096)
def read_tests(text: str) -> CodeTests:
    """The tests of a gold answer's text. Raises NoTests."""
    if len(text) > _LONGEST:
        raise NoTests(f"the tests are longer than {_LONGEST} characters")
    if text.lstrip().startswith("{"):
        return _cases(text)
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoTests(f"the tests are not Python: {error}") from None
    if not any(isinstance(node, ast.Assert) for node in ast.walk(tree)):
        raise NoTests("the tests hold no assert")
    names = _free_names(tree)
    if not names:
        raise NoTests("the tests call nothing that a program could define")
    return CodeTests(text, names)


def _cases(text: str) -> CodeTests:
    """Inputs and outputs, with `entry_point` (or `fn_name`) for calls of a function."""
    try:
        given = json.loads(text)
        inputs, outputs = given["inputs"], given["outputs"]
    except (ValueError, KeyError, RecursionError) as error:
        raise NoTests(f"the tests need inputs and outputs: {error}") from None
    name = given.get("entry_point") or given.get("fn_name")
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise NoTests("inputs and outputs must be lists of one length")
    if not inputs:
        raise NoTests("there is no input")
    if name is None and not all(isinstance(each, str) for each in (*inputs, *outputs)):
        raise NoTests("without entry_point, inputs and outputs are texts")
    if name is not None and not all(isinstance(each, list) for each in inputs):
        raise NoTests("with entry_point, each of inputs is the list of the arguments")
    names = () if name is None else (str(name),)
    cases = (
        (json.dumps(given), json.dumps(wanted))
        for given, wanted in zip(inputs, outputs, strict=True)
    )
    return CodeTests("", names, tuple(cases))


def _free_names(tree: ast.Module) -> tuple[str, ...]:
    """Names that are used and never given a value, in the order of the text."""
    used: dict[str, None] = {}
    given = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                used[node.id] = None
            else:
                given.add(node.id)
        elif isinstance(node, ast.arg):
            given.add(node.arg)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            given.add(node.name)
        elif isinstance(node, ast.alias):
            given.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            given.add(node.name)
    return tuple(name for name in used if name not in given)
