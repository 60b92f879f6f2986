"""Kinds of answers that are formulas of letters."""

import random
from typing import Any

from east_core.testing.answer_spelling import Row, nonzero, polynomial, product, same

Draw = random.Random


def _spell_monomial(spec: Any, draw: Draw, _gold: bool) -> str:
    coefficient, letters = spec
    order = list(letters)
    draw.shuffle(order)
    return product([str(coefficient), *order], draw)


def _change_monomial(spec: Any, draw: Draw) -> Any:
    coefficient, letters = spec
    other = draw.choice([x for x in "abcmnpqrstuvwxyz" if x not in letters])
    return draw.choice(
        [
            (coefficient + 1, letters),
            (coefficient, letters[:-1]),
            (coefficient, "".join(sorted(letters[1:] + other))),
        ]
    )


def _spell_quadratic(spec: Any, draw: Draw, _gold: bool) -> str:
    """k (x + a)(x + b), in factors or multiplied out."""
    x, k, a, b = spec
    factors = [f"({x}{a:+d})", f"({x}{b:+d})"]
    draw.shuffle(factors)
    terms = [(k, f"{x}^2"), (k * (a + b), x), (k * a * b, "")]
    lead = "" if k == 1 else str(k)
    return draw.choice(
        [
            lead + "".join(factors),
            polynomial(terms, draw),
            polynomial(terms, draw),
            rf"{k}\cdot{factors[0]}\cdot{factors[1]}",
            f"{k}({polynomial([(1, f'{x}^2'), (a + b, x), (a * b, '')], draw)})",
        ]
    )


def _quadratic_value(spec: Any) -> Any:
    x, k, a, b = spec
    return x, k, k * (a + b), k * a * b


def _change_quadratic(spec: Any, draw: Draw) -> Any:
    x, k, a, b = spec
    y = "t" if x != "t" else "x"
    return draw.choice([(x, k + 1, a, b), (x, k, a + 1, b), (y, k, a, b), (x, k, -a - 13, b)])


def _spell_two(spec: Any, draw: Draw, _gold: bool) -> str:
    x, y, terms = spec
    names = {
        (2, 0): f"{x}^2",
        (1, 1): draw.choice([f"{x}{y}", f"{y}{x}"]),
        (0, 2): f"{y}^{{2}}",
        (1, 0): x,
        (0, 1): y,
        (0, 0): "",
    }
    return polynomial([(c, names[power]) for power, c in terms], draw)


_POWERS = ((2, 0), (1, 1), (0, 2), (1, 0), (0, 1), (0, 0))


def _draw_two(draw: Draw) -> Any:
    x, y = draw.choice([("x", "y"), ("a", "b"), ("m", "n"), ("p", "q"), ("s", "t")])
    powers = sorted(draw.sample(_POWERS[:5], 3))
    return x, y, tuple((power, nonzero(draw, -9, 9)) for power in powers)


def _change_two(spec: Any, draw: Draw) -> Any:
    x, y, terms = spec
    place = draw.randrange(len(terms))
    (power, c), rest = terms[place], terms[:place] + terms[place + 1 :]
    c_new = draw.choice([-c, c + 20])
    unused = next(p for p in _POWERS if p not in dict(terms))
    return x, y, tuple(sorted((*rest, draw.choice([(power, c_new), (unused, c)]))))


def _spell_rational(spec: Any, draw: Draw, _gold: bool) -> str:
    x, a, b, c = spec
    k = draw.choice([1, 2, 3, -1])
    top = polynomial([(k * a, x), (k * b, "")], draw)
    bottom = polynomial([(k, x), (k * c, "")], draw)
    return draw.choice(
        [rf"\frac{{{top}}}{{{bottom}}}", f"({top})/({bottom})", rf"\dfrac{{{top}}}{{{bottom}}}"]
    )


def _draw_rational(draw: Draw) -> Any:
    a, c = nonzero(draw, -6, 6), nonzero(draw, -6, 6)
    return "x", a, draw.choice([b for b in range(-9, 10) if b not in (0, a * c)]), c


def _change_rational(spec: Any, draw: Draw) -> Any:
    x, a, b, c = spec
    return draw.choice(
        [("t", a, b, c), (x, a + 11, b, c), (x, a, b + 23 + abs(a * c), c), (x, a, b, c + 17)]
    )


ROWS: list[Row] = [
    (
        "product of letters",
        lambda d: (d.randint(2, 30), "".join(sorted(d.sample("abcmnpqrstuvwxyz", 2)))),
        _spell_monomial,
        _change_monomial,
        same,
    ),
    (
        "quadratic",
        lambda d: (d.choice("xtz"), d.randint(1, 4), nonzero(d, -9, 9), nonzero(d, -9, 9)),
        _spell_quadratic,
        _change_quadratic,
        _quadratic_value,
    ),
    ("polynomial in two letters", _draw_two, _spell_two, _change_two, same),
    ("rational function", _draw_rational, _spell_rational, _change_rational, same),
]
