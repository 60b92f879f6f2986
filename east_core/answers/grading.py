"""Are two answers equal? Canonical forms decide what they can, math-verify the rest, in workers.

A `Grader` owns worker processes that can be killed: a comparison that takes too long or too much
memory ends its worker, never the run; it counts as "different" and is reported as undecided.
Nothing here uses signals or forks the calling process, so it works in threads, in Prefect tasks
and under any start method. No worker is started before the first comparison that needs one: on
grade-school numbers sympy is never imported.
"""

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from east_core.answers.beside import read_beside
from east_core.answers.canonical import canonical_form
from east_core.answers.equality import Ask, LatexPair, classes, open_pairs
from east_core.answers.form import Form
from east_core.answers.formula import read_formula
from east_core.answers.workers import Worker, WorkerPool

SECONDS = 3.0
"""CPU time for reading one answer or comparing one pair."""
QUESTION_SECONDS = 10.0
"""CPU time for all readings and comparisons of one question; what is left then is undecided.

Not a setting: it can change what counts as equal, and ordinary questions take milliseconds.
"""
MEGABYTES = 2048
"""Address space of a worker's child."""

_WALL_FACTOR = 10.0
_TOLD = 5
_MEMO_SIZE = 200_000
_LOOK_AHEAD = 32
_PROGRAM = Path(__file__).with_name("grading_worker.py")

Verdicts = dict[LatexPair, bool | None]
T = TypeVar("T")
log = logging.getLogger(__name__)


class Grader:
    """Decides which answers are equal; a context manager over its worker processes.

    `processes` workers at most are started, when needed. `undecided` counts the comparisons that
    no worker could finish within `seconds` of CPU time and `megabytes` of address space, or that
    were left when their question had taken `question_seconds`; each counts as "different". Safe to
    share between threads. Verdicts are kept for the whole run.

    Raises EngineError where a worker can't be started at all (math-verify is not installed).
    """

    def __init__(
        self,
        processes: int = 2,
        seconds: float = SECONDS,
        megabytes: int = MEGABYTES,
        question_seconds: float = QUESTION_SECONDS,
    ) -> None:
        self.undecided = 0
        self._processes = processes
        self._limits = (str(seconds), str(megabytes))
        self._budget = question_seconds
        self._wall = _WALL_FACTOR * (question_seconds + seconds)
        self._pools: dict[tuple[str, ...], WorkerPool] = {}
        self._told = 0
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="grader")
        self._memo: Verdicts = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers; the grader can't be used afterwards."""
        self._threads.shutdown(cancel_futures=True)
        for pool in self._pools.values():
            pool.close()

    def equal(self, answer: str, gold: str) -> bool:
        """Whether an answer is the gold answer, read as the gold answer suggests."""
        form = canonical_form(gold)
        return len(set(self.partition([form, read_beside(form, canonical_form(answer))]))) == 1

    def equal_many(self, pairs: Iterable[tuple[str, str]]) -> Iterator[bool]:
        """`equal` for many (answer, gold) pairs in order, spread over the workers."""
        for labels in self.partitions(map(_forms_of_pair, pairs)):
            yield labels[0] == labels[1]

    def accepts(self, gold: str) -> bool:
        """Whether `gold` is understood beyond its spelling: as a number, words, or mathematics.

        An answer that is not understood equals only answers that are spelled the same.
        """
        form = canonical_form(gold)
        return all(item.kind != "expression" or self._is_read(item) for item in _leaves(form))

    def partition(self, forms: Sequence[Form]) -> list[int]:
        """A label for each form; equal labels are equal answers, whatever the forms' order."""
        return classes(forms, _answers(self._verdicts(forms)))

    def partitions(self, jobs: Iterable[Sequence[Form]]) -> Iterator[list[int]]:
        """`partition` for a stream of questions, in order, with a few questions in flight."""
        return self.in_order(
            (functools.partial(self.partition, forms), bool(open_pairs(forms))) for forms in jobs
        )

    def in_order(self, jobs: Iterable[tuple[Callable[[], T], bool]]) -> Iterator[T]:
        """What each job gives, in order; those that wait for workers, marked True, in threads."""
        waiting: deque[Future[T]] = deque()
        for job, waits in jobs:
            waiting.append(self._threads.submit(job) if waits else _done(job))
            while waiting and (waiting[0].done() or len(waiting) > _LOOK_AHEAD * self._processes):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def ask(self, program: Path, arguments: Sequence[str], job: dict[str, Any]) -> Any:
        """What a worker of `program` replies to a job of one question; EOFError where it is lost.

        The program is given the limits of a step and `arguments`, the job a question's `budget`.
        """
        with self._lock:
            key = (str(program), *arguments)
            if key not in self._pools:
                given = [*self._limits, *arguments]
                start = functools.partial(Worker, program, given, self._wall)
                self._pools[key] = WorkerPool(self._processes, start)
        return self._pools[key].ask({**job, "budget": self._budget})

    def leave_undecided(self, question: str, reason: str) -> None:
        """Count what no worker could finish for a question, and tell of the first few."""
        with self._lock:
            self.undecided += 1
            self._told += 1
            told = self._told
        if told <= _TOLD:
            more = "; further ones are only counted" if told == _TOLD else ""
            log.warning("question %s: %s%s", question, reason, more)

    def _verdicts(self, forms: Sequence[Form]) -> Verdicts:
        """What math-verify says of the expressions that the forms leave open."""
        pairs = open_pairs(forms)
        with self._lock:
            known = {pair: self._memo[pair] for pair in pairs if pair in self._memo}
        unknown = sorted(set(pairs) - known.keys())
        asked = self._ask(unknown) if unknown else {}
        with self._lock:
            if len(self._memo) > _MEMO_SIZE:
                self._memo.clear()
            # what one question had no time for, another may have
            self._memo.update({pair: said for pair, said in asked.items() if said is not None})
            verdicts = known | asked
            self.undecided += sum(verdict is None for verdict in verdicts.values())
        return verdicts

    def _is_read(self, form: Form) -> bool:
        """Whether an expression is read here, or by math-verify, where it then equals itself."""
        if read_formula(form.latex) is not None:
            return True
        pair = (form.latex, form.latex)
        return self._ask([pair])[pair] is True

    def _ask(self, pairs: Sequence[LatexPair]) -> Verdicts:
        forms = sorted({latex for pair in pairs for latex in pair})
        number = {latex: index for index, latex in enumerate(forms)}
        job = {"forms": forms, "pairs": [(number[a], number[b]) for a, b in pairs]}
        try:
            return dict(zip(pairs, self.ask(_PROGRAM, (), job), strict=True))
        except EOFError:
            return dict.fromkeys(pairs)


def _done(job: Callable[[], T]) -> "Future[T]":
    future: Future[T] = Future()
    future.set_result(job())
    return future


def _forms_of_pair(pair: tuple[str, str]) -> list[Form]:
    gold = canonical_form(pair[1])
    return [gold, read_beside(gold, canonical_form(pair[0]))]


def _leaves(form: Form) -> Iterator[Form]:
    if form.items:
        for item in form.items:
            yield from _leaves(item)
    else:
        yield form


def _answers(verdicts: Verdicts) -> Ask:
    return lambda a, b: bool(verdicts.get((a, b)))
