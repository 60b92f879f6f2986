"""The program that a grading worker runs: math-verify behind a socket, in a child it can lose.

Started by `east_core.answers.grading` as `python -P grading_worker.py FD SECONDS MEGABYTES`, it
imports math-verify once and then works through a child made by fork. The kernel ends that child
when one step takes more than SECONDS of CPU time (ITIMER_PROF, which no library can swallow and
which does not depend on how busy the machine is) or makes it ask for more than MEGABYTES of address
space; a job, which is one question's, has a budget of CPU time for all its steps besides. A new
child takes milliseconds, the import would take seconds. math-verify's own time-outs are off.

Answers only ever pass through the LaTeX grammar of math-verify: never through eval, sympify or
sympy's parse_expr. The file imports nothing of east_core, so that it starts fast and from anywhere.
"""

import dataclasses
import functools
import json
import logging
import os
import resource
import signal
import sys
from collections import Counter
from multiprocessing.connection import Connection, Pipe
from typing import Any

Pair = tuple[int, int]
_WARM_UP = (r"\frac{1}{2}", r"x^2+2x+1", r"(1,2)", r"3\sqrt{5}-\pi", r"1<x\le 2", "y=2x+3")
_STEPS_PER_CHILD = 20_000
_DEATHS_PER_FORM = 3
_KILLS_FORGIVEN = 2
_LETHAL_FORMS = 10_000


@functools.lru_cache(maxsize=4096)
def read(latex: str) -> Any:
    """The expressions that math-verify sees in an answer; an empty tuple where it sees none."""
    import math_verify

    return tuple(
        math_verify.parse(
            f"${latex}$", [_latex_only()], fallback_mode="no_fallback", parsing_timeout=None
        )
    )


@functools.cache
def _latex_only() -> Any:
    """math-verify's LaTeX reader; units are already gone, so "3t" does not become 3."""
    import math_verify

    config = math_verify.LatexExtractionConfig()
    normalization = dataclasses.replace(config.normalization_config, units=False)
    return dataclasses.replace(config, normalization_config=normalization)


def is_read(latex: str) -> bool:
    """Whether math-verify reads an answer; its value is computed too, while the blame is clear."""
    _magnitude(latex)
    return bool(read(latex))


def same(a: str, b: str) -> bool:
    """Whether math-verify holds two answers equal in both directions."""
    import math_verify

    left, right = read(a), read(b)
    if not left or not right or _plainly_different(a, b):
        return False
    return all(
        math_verify.verify(list(gold), list(answer), timeout_seconds=None)
        for gold, answer in ((left, right), (right, left))
    )


def _plainly_different(a: str, b: str) -> bool:
    """Two constants whose numerical values are far apart need no simplification."""
    x, y = _magnitude(a), _magnitude(b)
    return x is not None and y is not None and abs(x - y) > 1e-9 * max(abs(x), abs(y))


@functools.lru_cache(maxsize=4096)
def _magnitude(latex: str) -> complex | None:
    """The value of a constant expression to double precision; None for anything else."""
    import sympy

    try:
        (expression,) = read(latex)
        if not isinstance(expression, sympy.Expr) or expression.free_symbols:
            return None
        value = complex(expression.doit().evalf(15))
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return None
    return value if abs(value) < float("inf") else None


class Child:
    """A forked process that works through steps, one byte of verdict for each."""

    def __init__(self, seconds: float, megabytes: int, inherited: Connection) -> None:
        self.steps = 0
        self._seconds = seconds
        self._jobs, theirs = Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self._jobs.close()
            inherited.close()
            _serve_steps(theirs, seconds, megabytes)
            os._exit(0)
        theirs.close()

    def start(self, forms: list[str], steps: list[Pair]) -> None:
        """Hand over steps: (i, i) reads form i, (i, j) compares the two."""
        self._jobs.send((forms, steps))

    def verdict(self) -> tuple[bool | None, float]:
        """The outcome of the next step, None where the child died of it, and its CPU seconds."""
        self.steps += 1
        try:
            reply = self._jobs.recv_bytes()
        except (EOFError, ConnectionResetError):
            return None, self._seconds
        return reply[:1] == b"1", float(reply[1:])

    def kill(self) -> None:
        """End the child in the middle of a step."""
        os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> int:
        """Reap the child, and tell the signal of its death; one that lives ends with the pipe."""
        self._jobs.close()
        status = os.waitpid(self.pid, 0)[1]
        return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _serve_steps(jobs: Connection, seconds: float, megabytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while True:
        try:
            forms, steps = jobs.recv()
        except EOFError:
            return
        for i, j in steps:
            signal.setitimer(signal.ITIMER_PROF, seconds)
            verdict = is_read(forms[i]) if i == j else same(forms[i], forms[j])
            left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
            jobs.send_bytes(f"{int(verdict)}{seconds - left:.6f}".encode())


class PairComparer:
    """Answers jobs through a child that may die, and remembers which forms kill by themselves."""

    def __init__(self, seconds: float, megabytes: int, parent: Connection) -> None:
        self._limits = (seconds, megabytes)
        self._parent = parent
        self._child: Child | None = None
        self._lethal: set[str] = set()
        self._left = 0.0  # of the job's budget, in CPU seconds

    def compare_pairs(
        self, forms: list[str], pairs: list[Pair], budget: float
    ) -> list[bool | None]:
        """Whether each pair of forms is equal; None where that could not be decided.

        Every form is read first, so that one that can't be read costs its time once. A form whose
        comparisons have died `_DEATHS_PER_FORM` times is compared no further in this job, and
        nothing is once the job has taken `budget` seconds of CPU time. A step whose child was
        killed from outside (by hand, for want of memory) is taken again.
        """
        self._left = budget
        outcomes: dict[Pair, bool | None] = {}
        deaths: Counter[int] = Counter()
        kills = 0
        steps = [*((index, index) for index in range(len(forms))), *pairs]
        while todo := [step for step in steps if self._is_open(forms, step, outcomes, deaths)]:
            fatal = self._work(forms, todo, outcomes)
            if fatal is None:
                continue
            if self.end_child() == signal.SIGKILL and kills < _KILLS_FORGIVEN:
                kills += 1
                self._left += self._limits[0]
                del outcomes[fatal]
            else:
                self._record_death(forms, fatal, deaths)
        return [outcomes.get(pair) for pair in pairs]

    def _is_open(
        self, forms: list[str], step: Pair, outcomes: dict[Pair, bool | None], deaths: Counter[int]
    ) -> bool:
        return (
            self._left > 0
            and step not in outcomes
            and all(
                deaths[index] < _DEATHS_PER_FORM and forms[index] not in self._lethal
                for index in step
            )
        )

    def _work(
        self, forms: list[str], steps: list[Pair], outcomes: dict[Pair, bool | None]
    ) -> Pair | None:
        """Let the child work until it is done (None) or dead (the step that it died of)."""
        child = self._living_child()
        child.start(forms, steps)
        for step in steps:
            outcomes[step], spent = child.verdict()
            self._left -= spent
            if outcomes[step] is None:
                return step
            if self._left <= 0:
                child.kill()
                self._child = None
                return None
        return None

    def _record_death(self, forms: list[str], step: Pair, deaths: Counter[int]) -> None:
        deaths.update(set(step))
        if step[0] == step[1]:
            if len(self._lethal) >= _LETHAL_FORMS:
                self._lethal.clear()
            self._lethal.add(forms[step[0]])

    def _living_child(self) -> Child:
        if self._child is not None and self._child.steps > _STEPS_PER_CHILD:
            self.end_child()
        if self._child is None:
            self._child = Child(*self._limits, self._parent)
        return self._child

    def end_child(self) -> int:
        """End the child, if there is one; the signal that it had died of."""
        child, self._child = self._child, None
        return 0 if child is None else child.end()


def main() -> None:
    """Serve jobs of forms and pairs until the other end of the socket closes."""
    logging.disable(logging.CRITICAL)
    descriptor, seconds, megabytes = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    parent = Connection(descriptor)
    for latex in _WARM_UP:
        same(latex, "1")
    parent.send_bytes(b"ready")
    comparer = PairComparer(seconds, megabytes, parent)
    while True:
        try:
            job = json.loads(parent.recv_bytes())
        except EOFError:
            comparer.end_child()
            return
        pairs = [(i, j) for i, j in job["pairs"]]
        parent.send_bytes(
            json.dumps(comparer.compare_pairs(job["forms"], pairs, job["budget"])).encode()
        )


if __name__ == "__main__":
    main()
