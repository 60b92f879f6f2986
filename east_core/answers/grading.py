"""Are two answers equal? Canonical forms decide what they can, math-verify the rest, in workers.

A `Grader` owns worker processes that can be killed: a comparison that takes too long or too much
memory ends its worker, never the run; it counts as "different" and is reported as undecided.
Nothing here uses signals or forks the calling process, so it works in threads, in Prefect tasks
and under any start method. No worker is started before the first comparison that needs one: on
grade-school numbers sympy is never imported.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from east_core.answers.beside import read_beside
from east_core.answers.canonical import canonical_form
from east_core.answers.equality import Ask, LatexPair, classes, open_pairs
from east_core.answers.form import Form
from east_core.answers.formula import read_formula
from east_core.errors import EngineError

SECONDS = 3.0
"""CPU time for reading one answer or comparing one pair."""
QUESTION_SECONDS = 10.0
"""CPU time for all readings and comparisons of one question; what is left then is undecided.

Not a setting: it can change what counts as equal, and ordinary questions take milliseconds.
"""
MEGABYTES = 2048
"""Address space of a worker's child."""

_START_SECONDS = 300.0
_WALL_FACTOR = 10.0
_END_SECONDS = 2.0
_MEMO_SIZE = 200_000
_LOOK_AHEAD = 32
_PROGRAM = Path(__file__).with_name("grading_worker.py")

Verdicts = dict[LatexPair, bool | None]


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
        self._limits = (seconds, megabytes, question_seconds)
        self._workers: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(processes):
            self._workers.put(None)  # a place for a worker that is started when it is needed
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
        for _ in range(self._processes):
            worker = self._workers.get()
            if worker is not None:
                worker.end()

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
        waiting: deque[Future[list[int]]] = deque()
        for forms in jobs:
            waiting.append(self._submit(forms))
            while waiting and (waiting[0].done() or len(waiting) > _LOOK_AHEAD * self._processes):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _submit(self, forms: Sequence[Form]) -> "Future[list[int]]":
        """A future of the labels: at once where no worker is needed."""
        if open_pairs(forms):
            return self._threads.submit(self.partition, forms)
        future: Future[list[int]] = Future()
        future.set_result(classes(forms, _answers({})))
        return future

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
        worker = self._workers.get()
        try:
            if worker is None:
                worker = _Worker(*self._limits)
            verdicts = worker.ask(pairs)
        except EOFError:
            # the whole worker is gone, by a wall-clock limit or the system's memory killer
            worker, verdicts = None, dict.fromkeys(pairs)
        finally:
            self._workers.put(worker)
        return verdicts


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


class _Worker:
    """One worker process, in a process group of its own so that nothing of it outlives a kill."""

    def __init__(self, seconds: float, megabytes: int, question_seconds: float) -> None:
        self._budget = question_seconds
        self._wall = _WALL_FACTOR * (question_seconds + seconds)
        self._connection, theirs = Pipe()
        descriptor = theirs.fileno()
        arguments = [str(descriptor), str(seconds), str(megabytes)]
        with tempfile.TemporaryFile() as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(_PROGRAM), *arguments],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            theirs.close()
            self._await_ready(self._connection, errors)

    def _await_ready(self, connection: Connection, errors: IO[bytes]) -> None:
        try:
            if not connection.poll(_START_SECONDS):
                raise EOFError
            connection.recv_bytes()
        except (EOFError, OSError):
            self.kill()
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise EngineError(
                f"a grading worker did not start ({''.join(last) or 'no message'}); "
                "check that math-verify is installed"
            ) from None

    def ask(self, pairs: Sequence[LatexPair]) -> Verdicts:
        """The verdict on each pair; EOFError where the process is lost."""
        forms = sorted({latex for pair in pairs for latex in pair})
        number = {latex: index for index, latex in enumerate(forms)}
        job = {
            "forms": forms,
            "pairs": [(number[a], number[b]) for a, b in pairs],
            "budget": self._budget,
        }
        try:
            self._connection.send_bytes(json.dumps(job).encode())
            if not self._connection.poll(self._wall):
                raise EOFError
            answers = json.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            self.kill()
            raise EOFError from None
        return dict(zip(pairs, answers, strict=True))

    def end(self) -> None:
        """Let the process and its idle child end; kill them where they don't."""
        self._connection.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End the process and its child at once."""
        self._connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
