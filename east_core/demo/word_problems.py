r"""Grade-school word problems of two to four steps, and how they are solved.

A problem is a start amount, some events that change it, and sometimes a closing comparison. Each
kind of event knows the sound way to reckon it; the harder kinds also know misreadings, such as
reading "5 bags of 18" as 5+18. A text in which misconceptions are frequent teaches a model bad
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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from east_core.demo.events import (
    RULES,
    START_MISREADINGS,
    Event,
    Kind,
    Reckoning,
    Step,
    start_in_packs,
)

SMALLEST_BOUND: Final = 20
"""Below it hardly an event has operands."""

MAX_DRAWS: Final = 30
"""Tries at drawing operands for one event before its kind is given up."""

NAMES: Final = ("Mia", "Tom", "Ana", "Ben", "Eva", "Sam", "Ida", "Leo", "Zoe", "Max", "Amy", "Jack")
ITEMS: Final = (
    "pens", "books", "cards", "coins", "shells", "apples", "eggs", "stamps",
    "beads", "cakes", "toys", "balls", "stones", "nuts", "plums", "kites",
)  # fmt: skip

MIDDLE_KINDS: Final = (
    Kind.MORE, Kind.FEWER, Kind.PACKS, Kind.FRIENDS, Kind.HALF, Kind.SHARE, Kind.DOUBLE,
)  # fmt: skip
CLOSING_KINDS: Final = (Kind.PRICE, Kind.TIMES, Kind.MORE_THAN, Kind.FEWER_THAN)
START: Final = -1
"""The position of the start amount among a problem's parts."""

TWO_STEP_KINDS: Final = (Kind.PACKS, Kind.FRIENDS)
CLOSING_SHARE: Final = 0.5
START_PACKS_SHARE: Final = 0.35
MOST_STEPS: Final = 8
"""Longer stories than this find no operands within any bound."""


@dataclass(frozen=True)
class Difficulty:
    """How long problems are and how large their numbers get; the demo's is the default.

    `step_counts` are numbers of steps to draw from, `largest` is the largest amount that occurs in
    a right solution. Raises ValueError where no problem could be drawn.
    """

    step_counts: tuple[int, ...] = (2, 2, 2, 3, 3, 3, 4, 4)
    largest: int = 150

    def __post_init__(self) -> None:
        if not self.step_counts or not all(1 <= each <= MOST_STEPS for each in self.step_counts):
            raise ValueError(f"step_counts must be one or more of 1 to {MOST_STEPS}")
        if self.largest < SMALLEST_BOUND:
            raise ValueError(f"largest must be at least {SMALLEST_BOUND}")


DEMO_DIFFICULTY: Final = Difficulty()
"""Numbers that a tiny model can learn all the arithmetic of; the middle length is favoured."""


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
        """Positions of what can be misread; START is the start amount."""
        start = (START,) if self.start_groups > 1 else ()
        return start + tuple(
            i for i, each in enumerate(self.events) if RULES[each.kind].misreadings
        )

    def kind(self, part: int) -> Kind:
        """The kind of a part; a start in bags is like any other bags."""
        return Kind.PACKS if part == START else self.events[part].kind

    def misreadings(self, part: int) -> tuple[Reckoning, ...]:
        """The ways in which a hard part can be misread, the demo's first."""
        return START_MISREADINGS if part == START else RULES[self.kind(part)].misreadings

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

    def steps(self, misread: Mapping[int, Reckoning] = {}) -> list[Step]:
        """The solution's steps, the parts in `misread` reckoned as that says.

        Every step's own arithmetic is right; only the choice of operation is not.
        """
        steps: list[Step] = []
        amount = self.start
        if self.start_groups > 1:
            reckoned = misread.get(START, start_in_packs)
            steps.extend(reckoned(amount, self.start, self.start_groups))
            amount = steps[-1].result
        for position, event in enumerate(self.events):
            reckoned = misread.get(position, RULES[event.kind].sound)
            steps.extend(reckoned(amount, event.size, event.count))
            amount = steps[-1].result
        return steps

    @property
    def answer(self) -> int:
        """The right final amount."""
        return self.steps()[-1].result

    def solution(self, misread: Mapping[int, Reckoning] = {}) -> str:
        r"""The worked steps, one a line, then `\boxed{N}`."""
        steps = self.steps(misread)
        return "\n".join([*map(str, steps), f"\\boxed{{{steps[-1].result}}}"])


def draw_problem(rng: Random, difficulty: Difficulty = DEMO_DIFFICULTY) -> Problem:
    """Draw a problem whose amounts are all whole and within the difficulty's bounds."""
    while True:
        name, friend = rng.sample(NAMES, 2)
        in_packs = rng.random() < START_PACKS_SHARE
        sizes = RULES[Kind.PACKS].sizes if in_packs else range(8, 90)
        groups = rng.choice(RULES[Kind.PACKS].counts) if in_packs else 1
        problem = Problem(name, friend, rng.choice(ITEMS), rng.choice(sizes), groups, ())
        if problem.start * groups <= difficulty.largest:
            grown = _grow(problem, rng.choice(difficulty.step_counts), difficulty.largest, rng)
            if grown is not None:
                return grown


def _grow(problem: Problem, step_count: int, largest: int, rng: Random) -> Problem | None:
    """Add events until the solution has `step_count` steps; None if the operands run out."""
    closes = rng.random() < CLOSING_SHARE
    while (missing := step_count - len(problem.steps())) > 0:
        if closes and missing == 1:
            kinds: tuple[Kind, ...] = CLOSING_KINDS
        else:
            room = missing - closes
            kinds = tuple(k for k in MIDDLE_KINDS if room >= 2 or k not in TWO_STEP_KINDS)
        extended = _extend(problem, rng.choice(kinds), largest, rng)
        if extended is None:
            return None
        problem = extended
    return problem


def _extend(problem: Problem, kind: Kind, largest: int, rng: Random) -> Problem | None:
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
        if all(step.is_sound(largest) for step in extended.steps()):
            return extended
    return None


def distinct_problems(
    rng: Random, taken: set[str] | None = None, difficulty: Difficulty = DEMO_DIFFICULTY
) -> Iterator[Problem]:
    """Problems without end, no two with the same arithmetic, none whose `key` is in `taken`.

    `taken` holds `repr(problem.key)` and grows as problems are drawn, so that passing the same
    set to several calls keeps their problems disjoint.
    """
    seen = set() if taken is None else taken
    while True:
        problem = draw_problem(rng, difficulty)
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
