"""Pieces from which the spellings of answers are put together."""

import random
from collections.abc import Callable, Hashable, Sequence
from fractions import Fraction
from typing import Any

Draw = random.Random
Row = tuple[
    str,
    Callable[[Draw], Any],
    Callable[[Any, Draw, bool], str],
    Callable[[Any, Draw], Any],
    Callable[[Any], Hashable],
]
"""A kind's name, and how its values are drawn, spelled, changed, and told apart."""


def same(spec: Any) -> Hashable:
    """Values that are told apart by what they are."""
    return spec  # type: ignore[no-any-return]


def nonzero(draw: Draw, low: int, high: int) -> int:
    """A whole number but 0."""
    return draw.choice([value for value in range(low, high + 1) if value])


def number(value: Fraction) -> str:
    """A fraction as LaTeX, in lowest terms."""
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def fraction(value: Fraction, draw: random.Random) -> str:
    """One of the spellings of a fraction."""
    p, q, k = value.numerator, value.denominator, draw.randint(2, 7)
    sign = "-" if p < 0 else ""
    ways = [
        number(value),
        f"{p}/{q}",
        rf"{sign}\dfrac{{{abs(p)}}}{{{q}}}",
        rf"{sign}\frac{{{abs(p) * k}}}{{{q * k}}}",
        rf"\frac{{{p}}}{{{q}}}",
    ]
    if 10**4 % q == 0:
        ways += [f"{float(value)}", f"{float(value)}0"]
    whole, rest = divmod(abs(p), q)
    if whole and rest:
        ways.append(rf"{sign}{whole}\frac{{{rest}}}{{{q}}}")
    return draw.choice(ways)


def polynomial(terms: Sequence[tuple[int, str]], draw: random.Random) -> str:
    """A sum of (coefficient, letters) in any order."""
    shown = [(c, name) for c, name in terms if c] or [(0, "")]
    order = list(shown)
    draw.shuffle(order)
    space = draw.choice(["", " "])
    text = ""
    for c, name in order:
        size = str(abs(c)) if abs(c) != 1 or not name else ""
        sign = "-" if c < 0 else "+" if text else ""
        text += f"{space if text else ''}{sign}{space if text else ''}{size}{name}"
    return text


def product(factors: Sequence[str], draw: random.Random) -> str:
    """Factors with or without a sign between them."""
    times = draw.choice(["", "", " ", r"\cdot ", r" \times ", "*"])
    return factors[0] + "".join(times + factor for factor in factors[1:])


def joined(items: Sequence[str], draw: random.Random) -> str:
    """A list with commas."""
    return draw.choice([", ", ",", r",\ "]).join(items)


def some_value(draw: Draw) -> Fraction:
    """A small fraction."""
    return Fraction(draw.randint(-20, 20), draw.choice([1, 1, 2, 3, 4]))


def some_values(draw: Draw, count: int) -> tuple[Fraction, ...]:
    """So many different small fractions."""
    found: list[Fraction] = []
    while len(found) < count:
        value = some_value(draw)
        if value not in found:
            found.append(value)
    return tuple(found)


def changed_items(items: tuple[Fraction, ...], draw: Draw) -> tuple[Fraction, ...]:
    """The same items but for one."""
    place = draw.randrange(len(items))
    change = draw.choice([Fraction(1), Fraction(-1), Fraction(1, 2), Fraction(17)])
    return (*items[:place], items[place] + change, *items[place + 1 :])
