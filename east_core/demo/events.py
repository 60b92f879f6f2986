"""What happens in word problems: each kind of event, how it is told, reckoned and misread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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

    def is_sound(self, largest: int) -> bool:
        """Whether the step is exact and its result is between 1 and `largest`."""
        exact = self.operator != "/" or self.left % self.right == 0
        return exact and 1 <= self.result <= largest

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

    The first of the `misreadings` is the demo's misconception, by which the event is reckoned in a
    share `misread_rate` of seed text. A kind that is never misread has none.
    """

    wordings: tuple[str, ...]
    sizes: range
    counts: range
    sound: Reckoning
    misreadings: tuple[Reckoning, ...] = ()
    misread_rate: float = 0.0


def _single(operator: str) -> Reckoning:
    """Reckon an event by one step: amount, operator, size."""
    return lambda amount, size, _count: (Step(amount, operator, size),)


def _grouped(inner: str, outer: str) -> Reckoning:
    """Reckon an event by two steps: the groups' total first, then the amount with it."""

    def steps(amount: int, size: int, count: int) -> tuple[Step, ...]:
        total = Step(count, inner, size)
        return (total, Step(amount, outer, total.result))

    return steps


def _other(operators: str) -> tuple[Reckoning, ...]:
    """Reckon by one step with each of other operators."""
    return tuple(map(_single, operators))


def _one_of_two(operator: str) -> tuple[Reckoning, ...]:
    """Reckon a grouped event by one step: with the size of a group, or the count of them."""
    return (
        _single(operator),
        lambda amount, _size, count: (Step(amount, operator, count),),
    )


def start_in_packs(_amount: int, size: int, count: int) -> tuple[Step, ...]:
    """Reckon a start amount that stands in bags."""
    return (Step(count, "*", size),)


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
        range(3, 21), range(2, 10), _grouped("*", "+"),
        (_grouped("+", "+"), _grouped("*", "-"), *_one_of_two("+")), 0.55,
    ),
    Kind.FRIENDS: Rule(
        ("{name} gives {size} {items} to each of {count} friends.",
         "{count} friends take {size} {items} each."),
        range(2, 13), range(2, 10), _grouped("*", "-"),
        (*_one_of_two("-"), _grouped("+", "-"), _grouped("*", "+")), 0.60,
    ),
    Kind.HALF: Rule(
        ("{name} gives away half of the {items}.", "{name} loses half of the {items}."),
        range(2, 3), range(1, 2), _single("/"), _other("-+*"), 0.40,
    ),
    Kind.SHARE: Rule(
        ("{name} makes {size} equal parts and keeps one of them.",
         "{name} shares the {items} equally among {size} people and keeps one share."),
        range(3, 9), range(1, 2), _single("/"), _other("-+*"), 0.60,
    ),
    Kind.DOUBLE: Rule(
        ("The number of {items} doubles.", "{name} doubles the number of {items}."),
        range(2, 3), range(1, 2), _single("*"), _other("+-/"), 0.50,
    ),
    Kind.PRICE: Rule(
        ("{name} sells each of them for {size} dollars. How many dollars does {name} get?",),
        range(2, 6), range(1, 2), _single("*"), _other("+-/"), 0.45,
    ),
    Kind.TIMES: Rule(
        ("{friend} has {size} times as many. How many {items} does {friend} have?",),
        range(2, 6), range(1, 2), _single("*"), _other("+-/"), 0.65,
    ),
    Kind.MORE_THAN: Rule(
        ("That is {size} more than {friend} has. How many {items} does {friend} have?",),
        range(3, 30), range(1, 2), _single("-"), _other("+*/"), 0.70,
    ),
    Kind.FEWER_THAN: Rule(
        ("That is {size} fewer than {friend} has. How many {items} does {friend} have?",),
        range(3, 30), range(1, 2), _single("+"), _other("-*/"), 0.55,
    ),
}  # fmt: skip

START_MISREADINGS: Final[tuple[Reckoning, ...]] = (
    lambda _amount, size, count: (Step(count, "+", size),),
    lambda _amount, size, count: (Step(size, "-", count),),
)
