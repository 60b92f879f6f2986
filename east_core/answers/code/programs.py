"""What a model's program computes on a question's tests, and whether that is right.

The program runs in one sandbox and the tests in another; this process passes plain values between
them, and decides. What is right never stands where the program runs, so that it can't be forged:
a program that sends a false message has only computed something else.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

from east_core.answers.code.plain_values import encode, is_plain
from east_core.answers.code.sandbox import Limits, Lost, Sandbox
from east_core.answers.code.tests import CodeTests

_MOST_CALLS = 5_000
_DIGITS = 10
_REMEMBERED = 50_000


@dataclass(frozen=True)
class Behaviour:
    """What a program did: whether all tests pass, a key of all outcomes, and the limit it reached.

    Programs of one key gave the same outputs, and the same exceptions, on the same inputs.
    """

    passes: bool
    key: str
    limit: str | None = None


class _Program:
    """A program in its sandbox; the outcome of each call is noted."""

    def __init__(self, sandbox: Sandbox, source: str, prints: bool) -> None:
        self._sandbox = sandbox
        self.outcomes: list[Any] = []
        self.limit: str | None = None
        self.loaded = self._ask({"program": source, "prints": prints})

    def call(self, job: dict[str, Any]) -> dict[str, Any]:
        """What a call gives, or raises; one that is lost raises, and so do all behind it."""
        reply = self._ask(job)
        if len(self.outcomes) < _MOST_CALLS:
            self.outcomes.append(reply)
        return reply

    def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        if self.limit is None:
            try:
                return _checked(self._sandbox.ask(job))
            except Lost as error:
                self.limit = str(error)
        return {"raises": self.limit}


def _checked(reply: Any) -> dict[str, Any]:
    """A reply that holds nothing but plain values, whoever wrote it."""
    if isinstance(reply, dict) and set(reply) == {"gives"} and is_plain(reply["gives"]):
        return reply
    if isinstance(reply, dict) and set(reply) == {"raises"} and isinstance(reply["raises"], str):
        if reply["raises"] == "MemoryError":
            raise Lost("out of memory")
        return {"raises": reply["raises"][:100]}
    raise Lost("no message")


_known: OrderedDict[tuple[str, CodeTests, Limits], Behaviour] = OrderedDict()
_lock = threading.Lock()


def behaviour(source: str, tests: CodeTests, limits: Limits) -> Behaviour:
    """What a program does on the tests; remembered, for rounds ask more than once.

    Where a sandbox is killed (by a machine short of memory, say), that is the program's doing only
    if it happens again.
    """
    key = (hashlib.sha256(source.encode(errors="replace")).hexdigest(), tests, limits)
    with _lock:
        if key in _known:
            return _known[key]
    found, was_killed = _behaviour(source, tests, limits)
    if was_killed:
        found, _ = _behaviour(source, tests, limits)
    with _lock:
        _known[key] = found
        if len(_known) > _REMEMBERED:
            _known.popitem(last=False)
    return found


def _behaviour(source: str, tests: CodeTests, limits: Limits) -> tuple[Behaviour, bool]:
    """What it does, and whether one of its sandboxes was killed."""
    with ExitStack() as stack:
        inside = stack.enter_context(closing(Sandbox("program_side", limits)))
        beside = None
        if tests.source:  # started beside it, for starting is most of the time
            beside = stack.enter_context(closing(Sandbox("test_side", limits)))
        program = _Program(inside, source, tests.prints)
        found = _summed(program, _results(program, tests, beside))
        return found, inside.was_killed or (beside is not None and beside.was_killed)


def _results(program: _Program, tests: CodeTests, beside: Sandbox | None) -> list[str]:
    if "raises" in program.loaded:
        return ["not loaded"]
    if beside is not None:
        return _asserted(program, tests, beside)
    return list(_compared(program, tests))


def _asserted(program: _Program, tests: CodeTests, sandbox: Sandbox) -> list[str]:
    """The result of each assert, from the tests' own sandbox."""
    try:
        message = sandbox.ask({"tests": tests.source, "names": list(tests.names)})
        for _ in range(_MOST_CALLS):
            if not isinstance(message, dict):
                break
            if isinstance(message.get("results"), list):
                return [str(result) for result in message["results"]]
            message = sandbox.ask(program.call(message))
    except Lost as error:
        return [f"tests: {error}"]
    return ["tests: too many calls"]


def _compared(program: _Program, tests: CodeTests) -> Iterator[str]:
    """Whether each case gives what is expected."""
    for given, expected in ((json.loads(a), json.loads(b)) for a, b in tests.cases):
        if tests.prints:
            reply = program.call({"text": given})
            right = _lines(reply.get("gives")) == _lines(expected)
        else:
            arguments = encode([given, {}])
            reply = program.call({"name": tests.names[0], "arguments": arguments})
            right = "gives" in reply and _loosely(reply["gives"]) == _loosely(encode(expected))
        yield "passed" if right else "failed"


def _lines(text: Any) -> list[str] | None:
    """What is printed, but for spaces at the ends of lines and of the whole."""
    if not isinstance(text, str):
        return None
    return [line.rstrip() for line in text.strip().splitlines()]


def _loosely(plain: Any) -> Any:
    """A plain value as JSON has it: no tuples, and one kind of number. Not made into a value."""
    if isinstance(plain, bool):
        return ["number", hex(plain)]
    if not isinstance(plain, list):
        return plain
    name, *parts = plain
    if name in ("list", "tuple"):
        return ["list", *map(_loosely, parts)]
    if name == "dict":
        return ["dict", *sorted(([k, _loosely(v)] for k, v in parts), key=json.dumps)]
    if name != "float":
        return ["number", parts[0]] if name == "int" else plain
    number = float(parts[0])
    whole = number.is_integer()
    return ["number", hex(int(number)) if whole else f"{number:.{_DIGITS}g}"]


def _summed(program: _Program, results: list[str]) -> Behaviour:
    whole = [program.loaded.get("raises"), list(map(_canonical, program.outcomes)), results]
    digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    passes = bool(results) and set(results) == {"passed"}
    return Behaviour(passes and program.limit is None, digest[:32], program.limit)


def _canonical(plain: Any) -> Any:
    """One spelling for equal values: no order in sets and dicts, and floats to ten digits."""
    if isinstance(plain, dict):
        return {name: _canonical(value) for name, value in plain.items()}
    if not isinstance(plain, list):
        return plain
    name, *parts = plain
    if name == "float":
        return [name, f"{float(parts[0]):.{_DIGITS}g}"]
    inner = [[_canonical(k), _canonical(v)] for k, v in parts] if name == "dict" else None
    if name in ("list", "tuple", "set", "frozenset"):
        inner = list(map(_canonical, parts))
    if inner is None:
        return plain
    return [name, *(inner if name in ("list", "tuple") else sorted(inner, key=json.dumps))]
