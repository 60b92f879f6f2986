"""The program of a worker that runs a user's grading functions, in a child that it can lose.

Started as `python -P function_worker.py FD SECONDS MEGABYTES SETTINGS`. It imports the functions
once, and works through a child made by fork. The kernel ends that child when one call takes more
than SECONDS of CPU time or makes it ask for more than MEGABYTES of address space; this process ends
it when a call takes ten times as long by the clock. Another child goes on with the next call.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from east_core.records import Question

GOLD = -1
"""The gold answer's number among a question's answers."""
_WALL_FACTOR = 10.0
_SHOWN = 40
_QUESTIONS_PER_CHILD = 500
_KILLS_FORGIVEN = 2


class Callables(Protocol):
    """Grading functions, of a user's module or of our own; None where one is not there."""

    key: Any
    same: Any
    accepts: Any

    @property
    def extract(self) -> Any:
        """Finds the answer of a completion."""


Step = tuple[str, tuple[int, ...]]
Job = tuple["Question", list[str], bool]
"""A question, the texts of its responses, and whether these are answers already."""


@dataclass
class Answers:
    """The answers to one question's texts, held in the child that extracted them."""

    functions: Callables
    question: "Question"
    texts: list[str]
    given: bool = False
    known: dict[int, Any] = field(default_factory=dict)

    def take(self, step: Step) -> Any:
        """What one step gives: ("read", (i,)), ("same", (i, j)), or ("accepts", (GOLD,))."""
        from east_core.answers.functions import LONGEST, key_text

        kind, numbers = step
        answers = [self._answer(number) for number in numbers]
        if kind != "read":
            return bool(getattr(self.functions, kind)(*answers))
        (answer,) = answers
        if answer is None:
            return None
        key = None
        if self.functions.key is not None:
            key = self.functions.key(answer)
            if key is None:
                return None
            key = key_text(key)
        shown = answer if isinstance(answer, str) else repr(answer)
        return shown.encode(errors="replace").decode()[:LONGEST], key

    def _answer(self, number: int) -> Any:
        """An answer, extracted again where a former child died with it."""
        if number == GOLD:
            return self.question.answer
        if self.given:
            return self.texts[number]
        if number not in self.known:
            self.known[number] = self.functions.extract(self.texts[number], self.question)
        return self.known[number]


class Child:
    """A forked process that takes the steps of one question after another."""

    def __init__(self, functions: Callables, seconds: float, megabytes: int) -> None:
        self.questions = 0
        self.is_late = False
        self._seconds = seconds
        self._steps, theirs = Pipe()
        self._pid = os.fork()
        if self._pid == 0:
            self._steps.close()
            try:
                _serve_steps(theirs, functions, seconds, megabytes)
            finally:
                os._exit(0)
        theirs.close()

    def start(self, job: Job) -> None:
        """Hand over the next question."""
        self.questions += 1
        self._steps.send(job)

    def take(self, step: Step) -> tuple[Any, float]:
        """A step's outcome and its CPU seconds. Raises EOFError where the child died of it."""
        try:
            self._steps.send(step)
            if self._steps.poll(_WALL_FACTOR * self._seconds):
                outcome, spent = json.loads(self._steps.recv_bytes())
                return outcome, spent
            self.is_late = True
        except OSError:
            pass
        raise EOFError

    def end(self) -> int:
        """Kill the child and reap it; its wait status, which is its own if it had ended before."""
        self._steps.close()
        os.kill(self._pid, signal.SIGKILL)
        return os.waitpid(self._pid, 0)[1]


def _serve_steps(steps: Connection, functions: Callables, seconds: float, megabytes: int) -> None:
    from east_core.answers.functions import told

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while True:
        step = steps.recv()
        if len(step) == 3:
            answers = Answers(functions, *step)
            continue
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            outcome = {"gives": answers.take(step)}
        except BaseException as error:  # also SystemExit: the functions are somebody else's
            outcome = {"fails": told(error)}
        left, _ = signal.setitimer(signal.ITIMER_PROF, 0)
        steps.send_bytes(json.dumps([outcome, seconds - left]).encode())


class Session:
    """The steps of questions, over as many children as die of them.

    A question has a budget of CPU time; `failures` are those of the present question. A step whose
    child was killed from outside (by hand, for want of memory) is taken again.
    """

    def __init__(self, functions: Callables, limits: tuple[float, int]) -> None:
        self.failures: list[str] = []
        self._functions, self._limits, self._left = functions, limits, 0.0
        self._kills = 0
        self._child: Child | None = None
        self._job: Job | None = None

    def start(self, job: Job, budget: float) -> None:
        """Begin with the next question."""
        self.failures, self._job, self._left, self._kills = [], job, budget, 0
        if self._child is not None and self._child.questions >= _QUESTIONS_PER_CHILD:
            self.close()
        if self._child is not None:
            try:
                self._child.start(job)
            except OSError:  # it died behind its last reply
                self.close()

    def take(self, kind: str, *numbers: int) -> Any:
        """What a step gives; None, and a reason among the failures, where it can't be told."""
        outcome = self._outcome((kind, numbers))
        if "fails" in outcome:
            what = next(map(self._named, filter(GOLD.__ne__, numbers)), "the gold answer")
            self.failures.append(f"{_CALLED[kind]} of {what}: {outcome['fails']}")
        return outcome.get("gives")

    def _named(self, number: int) -> str:
        assert self._job is not None
        text = self._job[1][number]
        return f"the completion {text if len(text) <= _SHOWN else text[:_SHOWN] + '...'!r}"

    def _outcome(self, step: Step) -> dict[str, Any]:
        seconds, megabytes = self._limits
        if self._left <= 0:
            return {"fails": "no time is left for this question"}
        if self._child is None:
            assert self._job is not None
            self._child = Child(self._functions, seconds, megabytes)
            self._child.start(self._job)
        try:
            outcome, spent = self._child.take(step)
        except EOFError:
            reason = self._ending()
            if reason is None:
                return self._outcome(step)
            self._left -= seconds
            return {"fails": reason}
        self._left -= spent
        return dict(outcome)

    def _ending(self) -> str | None:
        """End a child that a step was too much for; how it came to that, None: by nothing here."""
        assert self._child is not None
        is_late = self._child.is_late
        status, self._child = self._child.end(), None
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if was_killed and not is_late and self._kills < _KILLS_FORGIVEN:
            self._kills += 1
            return None
        if os.WIFEXITED(status):
            return "the functions ended their process"
        if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGKILL):
            return f"took more than {self._limits[0]:g} s"
        return f"crashed: {signal.strsignal(os.WTERMSIG(status))}"

    def close(self) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            self._child.end()
            self._child = None


_CALLED = {"read": "extract or key", "same": "same", "accepts": "accepts"}


def reply(session: Session, functions: Callables, count: int, has_gold: bool) -> dict[str, Any]:
    """The answers to a question's texts, each shown and with its class; the gold answer's class.

    Answers of one class are equal. One that can't be told apart is alone in its class, and equal
    only to answers that are written alike.
    """
    gold = session.take("read", GOLD) if functions.key is not None else None
    read = [session.take("read", number) for number in range(count)]
    if functions.key is not None:
        return {"answers": read, "gold": gold[1] if gold else None}
    classes = dict(_classes(session, read, {"gold": GOLD} if has_gold else {}))
    answers = [None if each is None else (each[0], classes[each[0]]) for each in read]
    return {"answers": answers, "gold": "gold"}


def rejected(session: Session, functions: Callables) -> str | None:
    """Which of the functions rejects the gold answer, and how; None where they accept it."""
    asked: dict[str, Step] = {
        "key": ("read", (GOLD,)),
        "same": ("same", (GOLD, GOLD)),
        "accepts": ("accepts", (GOLD,)),
    }
    for name, (kind, numbers) in asked.items():
        before = len(session.failures)
        if getattr(functions, name) is None or session.take(kind, *numbers):
            continue
        if session.failures[before:]:
            return session.failures[-1]
        given = "None" if name == "key" else "False"
        return f"{name}({', '.join(['gold'] * len(numbers))}) returned {given}"
    return None


def _classes(
    session: Session, read: list[Any], leaders: dict[str, int]
) -> Iterator[tuple[str, str]]:
    """The class of each answer as it is shown: the gold answer's, an earlier one's, or its own."""
    first = {each[0]: number for number, each in reversed(list(enumerate(read))) if each}
    for shown in sorted(first):
        number = first[shown]
        name = f"like {shown}"
        for known, leader in leaders.items():
            if session.take("same", number, leader):
                name = known
                break
        leaders.setdefault(name, number)
        yield shown, name


def serve(parent: Connection, functions: Callables, limits: tuple[float, int]) -> None:
    """Reply to jobs until the other end of the connection closes."""
    from east_core.records import Question

    session = Session(functions, limits)
    while True:
        try:
            job = json.loads(parent.recv_bytes())
        except EOFError:
            session.close()
            return
        question = Question(**job["question"])
        session.start((question, job["texts"], job["given"]), job["budget"])
        said = reply(session, functions, len(job["texts"]), question.answer is not None)
        if job["accepts"]:
            said["rejected"] = rejected(session, functions)
        parent.send_bytes(json.dumps({**said, "failures": session.failures}).encode())


def main() -> None:
    """Import the functions and serve; a reply of `refused` where they can't be used."""
    descriptor, seconds, megabytes = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    settings = json.loads(sys.argv[4])
    sys.path[:] = settings["path"][1:]  # a folder of theirs comes before, but not for our modules
    from east_core.answers.functions import Functions, Refused
    from east_core.records import Question  # noqa: F401 a request needs it

    sys.path.insert(0, settings["path"][0])

    parent = Connection(descriptor)
    refused, functions = None, None
    try:
        functions = Functions(settings["functions"])
    except Refused as error:
        refused = str(error)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what the functions print goes nowhere
    parent.send_bytes(b"ready")
    if functions is not None:
        serve(parent, functions, (seconds, megabytes))
        return
    while True:
        parent.recv_bytes()
        parent.send_bytes(json.dumps({"refused": refused}).encode())


if __name__ == "__main__":
    main()
