r"""Grade-school word problems of two to four steps, solved soundly or by a misconception.

A problem is a start amount, some events that change it, and sometimes a closing comparison. Each
kind of event knows the sound way to steps it; the harder kinds also know one misconception, such
as reading "5 bags of 18" as 5+18. A text in which misconceptions are frequent teaches a model bad
habits without spoiling its arithmetic, which is what self-training can mend.

    Mia has 24 pens. Mia buys 3 bags of 12 pens. Mia gives away half of the pens.
    How many pens does Mia have now?

    3*12=36
    24+36=60
    60/2=30
    \boxed{30}

Everything is drawn from the `random.Random` that the caller passes, so equal seeds give equal text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

LARGEST_VALUE: Final = 150
"""No amount in a solution exceeds this, so that a tiny model can learn all the arithmetic."""

MAX_DRAWS: Final = 30
"""Tries at drawing operands for one event before its kind is given up."""

NAMES: Final = ("Mia", "Tom", "Ana", "Ben", "Eva", "Sam", "Ida", "Leo", "Zoe", "Max", "Amy", "Jack")
ITEMS: Final = (
    "pens", "books", "cards", "coins", "shells", "apples", "eggs", "stamps",
    "beads", "cakes", "toys", "balls", "stones", "nuts", "plums", "kites",
)  # fmt: skip


class Kind(StrEnum):
    """What an event does to the running amount."""

    MORE = "more"
    FEWER = "fewer"
    PACKS = "packs"
    FRIENDS = "friends"
    HALF = "half"
    SHARE = "share"
    DOUBLE = "double"
    PRICE = "price"
    TIMES = "times"
    MORE_THAN = "more_than"
    FEWER_THAN = "fewer_than"


@dataclass(frozen=True)
class Step:
    """One line of a solution: `left operator right = result`."""

    left: int
    operator: str
    right: int

    @property
    def result(self) -> int:
        """The value of the step; a division that does not come out even is rounded down."""
        match self.operator:
            case "+":
                return self.left + self.right
            case "-":
                return self.left - self.right
            case "*":
                return self.left * self.right
            case "/":
                return self.left // self.right
            case _:
                raise ValueError(f"unknown operator {self.operator!r}; use one of + - * /")

    @property
    def is_sound(self) -> bool:
        """Whether the step is exact and its result is between 1 and LARGEST_VALUE."""
        exact = self.operator != "/" or self.left % self.right == 0
        return exact and 1 <= self.result <= LARGEST_VALUE

    def __str__(self) -> str:
        return f"{self.left}{self.operator}{self.right}={self.result}"


@dataclass(frozen=True)
class Event:
    """One change of the running amount: `count` groups, or one group, of `size`."""

    kind: Kind
    wording: int
    size: int
    count: int


Reckoning = Callable[[int, int, int], tuple[Step, ...]]
"""(running amount, size, count) -> the steps; the last step's result is the new amount."""


@dataclass(frozen=True)
class Rule:
    """How one kind of event is told, drawn, reckoned, and misunderstood.

    `misconception_rate` is the share of seed text in which the event is reckoned by
    `misconception`; a kind without a misconception has rate 0.
    """

    wordings: tuple[str, ...]
    sizes: range
    counts: range
    sound: Reckoning
    misconception: Reckoning | None = None
    misconception_rate: float = 0.0


def _single(operator: str) -> Reckoning:
    """Reckon an event by one step: amount, operator, size."""
    return lambda amount, size, _count: (Step(amount, operator, size),)


def _grouped(inner: str, outer: str) -> Reckoning:
    """Reckon an event by two steps: the groups' total first, then the amount with it."""

    def steps(amount: int, size: int, count: int) -> tuple[Step, ...]:
        total = Step(count, inner, size)
        return (total, Step(amount, outer, total.result))

    return steps


RULES: Final[dict[Kind, Rule]] = {
    Kind.MORE: Rule(
        ("{name} buys {size} more {items}.", "{name} finds {size} more {items}."),
        range(3, 60), range(1, 2), _single("+"),
    ),
    Kind.FEWER: Rule(
        ("{name} loses {size} {items}.", "{name} sells {size} {items}."),
        range(3, 60), range(1, 2), _single("-"),
    ),
    Kind.PACKS: Rule(
        ("{name} buys {count} bags of {size} {items}.",
         "{name} gets {count} boxes with {size} {items} in each box."),
        range(3, 21), range(2, 10), _grouped("*", "+"), _grouped("+", "+"), 0.55,
    ),
    Kind.FRIENDS: Rule(
        ("{name} gives {size} {items} to each of {count} friends.",
         "{count} friends take {size} {items} each."),
        range(2, 13), range(2, 10), _grouped("*", "-"), _single("-"), 0.60,
    ),
    Kind.HALF: Rule(
        ("{name} gives away half of the {items}.", "{name} loses half of the {items}."),
        range(2, 3), range(1, 2), _single("/"), _single("-"), 0.40,
    ),
    Kind.SHARE: Rule(
        ("{name} makes {size} equal parts and keeps one of them.",
         "{name} shares the {items} equally among {size} people and keeps one share."),
        range(3, 9), range(1, 2), _single("/"), _single("-"), 0.60,
    ),
    Kind.DOUBLE: Rule(
        ("The number of {items} doubles.", "{name} doubles the number of {items}."),
        range(2, 3), range(1, 2), _single("*"), _single("+"), 0.50,
    ),
    Kind.PRICE: Rule(
        ("{name} sells each of them for {size} dollars. How many dollars does {name} get?",),
        range(2, 6), range(1, 2), _single("*"), _single("+"), 0.45,
    ),
    Kind.TIMES: Rule(
        ("{friend} has {size} times as many. How many {items} does {friend} have?",),
        range(2, 6), range(1, 2), _single("*"), _single("+"), 0.65,
    ),
    Kind.MORE_THAN: Rule(
        ("That is {size} more than {friend} has. How many {items} does {friend} have?",),
        range(3, 30), range(1, 2), _single("-"), _single("+"), 0.70,
    ),
    Kind.FEWER_THAN: Rule(
        ("That is {size} fewer than {friend} has. How many {items} does {friend} have?",),
        range(3, 30), range(1, 2), _single("+"), _single("-"), 0.55,
    ),
}  # fmt: skip

MIDDLE_KINDS: Final = (
    Kind.MORE, Kind.FEWER, Kind.PACKS, Kind.FRIENDS, Kind.HALF, Kind.SHARE, Kind.DOUBLE,
)  # fmt: skip
CLOSING_KINDS: Final = (Kind.PRICE, Kind.TIMES, Kind.MORE_THAN, Kind.FEWER_THAN)
TWO_STEP_KINDS: Final = (Kind.PACKS, Kind.FRIENDS)
CLOSING_SHARE: Final = 0.5
START_PACKS_SHARE: Final = 0.35
STEP_COUNTS: Final = (2, 2, 2, 3, 3, 3, 4, 4)
"""Numbers of steps to draw from: difficulty is spread, with the middle favoured."""


@dataclass(frozen=True)
class Problem:
    """A story: `start` items (in `start_groups` bags, when that is not 1), then the events."""

    name: str
    friend: str
    items: str
    start: int
    start_groups: int
    events: tuple[Event, ...]

    @property
    def key(self) -> tuple[int, int, tuple[tuple[Kind, int, int], ...]]:
        """The problem without its wording: two stories of one key have the same arithmetic."""
        return (
            self.start,
            self.start_groups,
            tuple((event.kind, event.size, event.count) for event in self.events),
        )

    @property
    def hard_parts(self) -> tuple[int, ...]:
        """Positions at which a misconception is possible; -1 is the start amount."""
        start = (-1,) if self.start_groups > 1 else ()
        hard = tuple(i for i, event in enumerate(self.events) if RULES[event.kind].misconception)
        return start + hard

    def misconception_rate(self, part: int) -> float:
        """How often seed text misunderstands the given hard part."""
        kind = Kind.PACKS if part == -1 else self.events[part].kind
        return RULES[kind].misconception_rate

    @property
    def question(self) -> str:
        """The story and its question, as a pupil reads it."""
        sentences = [self._start_sentence(), *map(self._sentence, self.events)]
        if not self.events or self.events[-1].kind not in CLOSING_KINDS:
            sentences.append(f"How many {self.items} does {self.name} have now?")
        return " ".join(sentences)

    def _start_sentence(self) -> str:
        if self.start_groups == 1:
            return f"{self.name} has {self.start} {self.items}."
        return f"{self.name} has {self.start_groups} bags of {self.start} {self.items}."

    def _sentence(self, event: Event) -> str:
        wording = RULES[event.kind].wordings[event.wording]
        return wording.format(
            name=self.name,
            friend=self.friend,
            items=self.items,
            size=event.size,
            count=event.count,
        )

    def steps(self, mistaken: frozenset[int] = frozenset()) -> list[Step]:
        """The solution's steps, with the hard parts in `mistaken` misunderstood.

        Every step's own arithmetic is right; only the choice of operation is not.
        """
        steps: list[Step] = []
        amount = self.start
        if self.start_groups > 1:
            steps.append(Step(self.start_groups, "+" if -1 in mistaken else "*", self.start))
            amount = steps[-1].result
        for position, event in enumerate(self.events):
            rule = RULES[event.kind]
            wrong = rule.misconception if position in mistaken else None
            steps.extend((wrong or rule.sound)(amount, event.size, event.count))
            amount = steps[-1].result
        return steps

    @property
    def answer(self) -> int:
        """The right final amount."""
        return self.steps()[-1].result

    def solution(self, mistaken: frozenset[int] = frozenset()) -> str:
        r"""The worked steps, one a line, then `\boxed{N}`."""
        steps = self.steps(mistaken)
        return "\n".join([*map(str, steps), f"\\boxed{{{steps[-1].result}}}"])


def draw_problem(rng: Random) -> Problem:
    """Draw a problem of two to four steps whose amounts are all whole and within bounds."""
    while True:
        name, friend = rng.sample(NAMES, 2)
        in_packs = rng.random() < START_PACKS_SHARE
        sizes = RULES[Kind.PACKS].sizes if in_packs else range(8, 90)
        groups = rng.choice(RULES[Kind.PACKS].counts) if in_packs else 1
        problem = Problem(name, friend, rng.choice(ITEMS), rng.choice(sizes), groups, ())
        if problem.start * groups <= LARGEST_VALUE:
            grown = _grow(problem, rng.choice(STEP_COUNTS), rng)
            if grown is not None:
                return grown


def _grow(problem: Problem, step_count: int, rng: Random) -> Problem | None:
    """Add events until the solution has `step_count` steps; None if the operands run out."""
    closes = rng.random() < CLOSING_SHARE
    while (missing := step_count - len(problem.steps())) > 0:
        if closes and missing == 1:
            kinds: tuple[Kind, ...] = CLOSING_KINDS
        else:
            room = missing - closes
            kinds = tuple(k for k in MIDDLE_KINDS if room >= 2 or k not in TWO_STEP_KINDS)
        extended = _extend(problem, rng.choice(kinds), rng)
        if extended is None:
            return None
        problem = extended
    return problem


def _extend(problem: Problem, kind: Kind, rng: Random) -> Problem | None:
    """Add one event of this kind with operands that keep every amount sound, if any are found."""
    rule = RULES[kind]
    for _ in range(MAX_DRAWS):
        wording = rng.randrange(len(rule.wordings))
        event = Event(kind, wording, rng.choice(rule.sizes), rng.choice(rule.counts))
        extended = Problem(
            problem.name,
            problem.friend,
            problem.items,
            problem.start,
            problem.start_groups,
            (*problem.events, event),
        )
        if _is_sound(extended):
            return extended
    return None


def _is_sound(problem: Problem, mistaken: frozenset[int] = frozenset()) -> bool:
    return all(step.is_sound for step in problem.steps(mistaken))


def draw_mistakes(problem: Problem, rng: Random) -> frozenset[int]:
    """Draw which hard parts a pupil misunderstands, each independently at its own rate.

    Draws that lead to an uneven division or an amount out of bounds are drawn again, since
    they would teach unsound arithmetic; after MAX_DRAWS of them the pupil makes no mistake.
    """
    for _ in range(MAX_DRAWS):
        mistaken = frozenset(
            part for part in problem.hard_parts if rng.random() < problem.misconception_rate(part)
        )
        if _is_sound(problem, mistaken):
            return mistaken
    return frozenset()


def distinct_problems(rng: Random, taken: set[str] | None = None) -> Iterator[Problem]:
    """Problems without end, no two with the same arithmetic, none whose `key` is in `taken`.

    `taken` holds `repr(problem.key)` and grows as problems are drawn, so that passing the same
    set to several calls keeps their problems disjoint.
    """
    seen = set() if taken is None else taken
    while True:
        problem = draw_problem(rng)
        key = repr(problem.key)
        if key not in seen:
            seen.add(key)
            yield problem


def as_row(problem: Problem, identifier: str) -> dict[str, str]:
    """The problem as a row of train.jsonl or test.jsonl."""
    return {
        "id": identifier,
        "question": problem.question,
        "answer": str(problem.answer),
        "solution": problem.solution(),
    }
