"""A user's own grading functions: found by a dotted path, and held to the arguments they take."""

import hashlib
import importlib
import inspect
import traceback
from collections.abc import Callable
from fractions import Fraction
from numbers import Number
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LONGEST = 10_000
"""Characters of an answer that are passed on; a longer key is told by its hash."""

_ARGUMENTS = {
    "extract": ("completion", "question"),
    "key": ("answer",),
    "same": ("a", "b"),
    "accepts": ("gold",),
}


class Refused(Exception):
    """The functions can't be used; the message says why, in one line."""


class Functions:
    """A user's functions: a module, an object of one, or a function that is `extract` alone."""

    def __init__(self, path: str) -> None:
        found = _found(path)
        if inspect.isclass(found):
            found = _called(path, found)
        if inspect.isroutine(found):
            found = SimpleNamespace(extract=found, key=_itself)
        self.extract: Any = getattr(found, "extract", None)
        self.key: Any = getattr(found, "key", None)
        self.same: Any = getattr(found, "same", None)
        self.accepts: Any = getattr(found, "accepts", None)
        self._require_one_comparison(path)
        for name in _ARGUMENTS:
            _require_arguments(path, name, getattr(self, name))

    def _require_one_comparison(self, path: str) -> None:
        if not callable(self.extract) or not (callable(self.key) or callable(self.same)):
            raise Refused(
                f"{path} needs extract(completion, question), and key(answer) or same(a, b)"
            )
        if callable(self.key) and callable(self.same):
            raise Refused(f"{path} has both key(answer) and same(a, b); leave one of them out")


def told(error: BaseException) -> str:
    """An exception in one line, and where it was raised."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:300].removesuffix(":")
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if Path(frame.filename).parent != Path(__file__).parent]
    where = theirs[-1] if theirs and not isinstance(error, SyntaxError) else None
    return f"{said} ({Path(where.filename).name}, line {where.lineno})" if where else said


def _itself(answer: Any) -> Any:
    return answer


def _found(path: str) -> Any:
    """What a dotted path names, "module" or "module:name"."""
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in filter(None, name.split(".")):
            found = getattr(found, part)
    except BaseException as error:
        raise Refused(f"{path} can't be imported: {told(error)}") from None
    return found


def _called(path: str, kind: Callable[[], Any]) -> Any:
    try:
        return kind()
    except BaseException as error:
        raise Refused(f"{path}() can't be made without arguments: {told(error)}") from None


def _require_arguments(path: str, name: str, function: Any) -> None:
    if not callable(function):
        return
    names = _ARGUMENTS[name]
    try:
        signature = inspect.signature(function)
        signature.bind(*names)
    except ValueError:
        return  # a builtin without a signature
    except TypeError:
        raise Refused(f"{path}: {name}{signature} must take ({', '.join(names)})") from None


def key_text(key: Any) -> str:
    """`plain_key`, or its hash where that is long."""
    text = plain_key(key)
    return text if len(text) <= LONGEST else hashlib.sha256(text.encode()).hexdigest()


def plain_key(key: Any) -> str:
    """A text for a key; equal keys of plain values have equal texts (1 and 1.0, say)."""
    if key is None or isinstance(key, str | bytes):
        return repr(key)
    if isinstance(key, Number):
        hash(key)
        return f"number {_exact(key)}"
    if isinstance(key, tuple):
        return f"({', '.join(map(plain_key, key))})"
    if isinstance(key, frozenset):
        return f"{{{', '.join(sorted(map(plain_key, key)))}}}"
    raise TypeError(
        f"key returned a {type(key).__name__}; return a text, a number, None, or a tuple or "
        "frozenset of them"
    )


def _exact(key: Any) -> str:
    """Equal numbers of any kind have one spelling."""
    try:
        return str(Fraction(key))
    except (TypeError, ValueError, OverflowError):
        return repr(complex(key)) if isinstance(key, complex) else str(key)
