"""Kinds of answers that are numbers."""

import random
from fractions import Fraction
from math import factorial
from typing import Any

from east_core.testing.answer_spelling import Row, fraction, nonzero, same

Draw = random.Random


def _spell_integer(spec: Any, draw: Draw, gold: bool) -> str:
    n = spec[0]
    ways = [str(n), f"{n}.0", f"${n}$", f"{n:,}", f"{n:,}".replace(",", "{,}"), rf"\boxed{{{n}}}"]
    k = draw.randint(2, 9)
    ways += [
        rf"\frac{{{n * k}}}{{{k}}}",
        rf"\textbf{{{n}}}",
        f"({n})",
        rf"\textcolor{{red}}{{{n}}}",
    ]
    if not gold:
        ways += [f"x = {n}", f"{n - k}+{k}={n}", f"{n} (exactly)", rf"\underline{{{n}}}"]
    return draw.choice(ways)


def _change_integer(spec: Any, draw: Draw) -> Any:
    n = spec[0]
    return (draw.choice([n + 1, n - 1, n + 10, 10 * n + 3, -n if n else 7]),)


def _spell_fraction(spec: Any, draw: Draw, _gold: bool) -> str:
    return fraction(spec[0], draw)


def _change_fraction(spec: Any, draw: Draw) -> Any:
    value = spec[0]
    return (
        draw.choice(
            [
                value + 1,
                -value,
                1 / value if abs(value) != 1 else value + 2,
                value * 2,
                value + Fraction(1, value.denominator),
            ]
        ),
    )


def _spell_percent(spec: Any, draw: Draw, _gold: bool) -> str:
    n = spec[0]
    return draw.choice([rf"{n}\%", f"{n}%", f"{n} percent", rf"${n}\%$", f"{n}.0%"])


def _spell_tiny(spec: Any, draw: Draw, _gold: bool) -> str:
    kind, a, n = spec
    if kind == "power":
        return draw.choice(
            [
                rf"\frac{{{a}}}{{2^{{{n}}}}}",
                rf"{a}\cdot 2^{{-{n}}}",
                rf"{a}/2^{{{n}}}",
                rf"\frac{{{2 * a}}}{{2^{{{n + 1}}}}}",
            ]
        )
    if kind == "factorial":
        return draw.choice(
            [
                rf"\frac{{{a}}}{{{n}!}}",
                rf"\frac{{{a}}}{{{n}\cdot {n - 1}!}}",
                rf"{a}/{n}!",
                rf"\frac{{{a * n}}}{{{n}\cdot {n}!}}",
            ]
        )
    return draw.choice(
        [
            rf"{a} \times 10^{{-{n}}}",
            f"{a}e-{n}",
            rf"{a}\cdot10^{{-{n}}}",
            rf"\frac{{{a}}}{{10^{{{n}}}}}",
            rf"{10 * a}\times 10^{{-{n + 1}}}",
        ]
    )


def _draw_tiny(draw: Draw) -> Any:
    return draw.choice(["power", "factorial", "ten"]), draw.randint(1, 9), draw.randint(12, 30)


def _tiny_value(spec: Any) -> Any:
    kind, a, n = spec
    under = {"power": 2**n, "factorial": factorial(n), "ten": 10**n}[kind]
    return Fraction(a, under)


_UNITS = ("cm", "km", "kg", "dollars", "apples", "meters", "hours", "square units", "m/s", "mph")


def _spell_unit(spec: Any, draw: Draw, _gold: bool) -> str:
    n, unit = spec[0], draw.choice(_UNITS)
    ways = [str(n), rf"{n}\text{{ {unit}}}", f"{n} {unit}", rf"{n}\ \mathrm{{{unit}}}"]
    return draw.choice([*ways, rf"\${n}", rf"{n}^\circ", f"{n}.0 {unit}", rf"{n}\,\text{{{unit}}}"])


def _more(spec: Any, draw: Draw) -> Any:
    return (spec[0] + draw.choice([1, 2, 5, 9]), *spec[1:])


ROWS: list[Row] = [
    ("integer", lambda d: (d.randint(-9999, 99999),), _spell_integer, _change_integer, same),
    (
        "fraction, decimal",
        lambda d: (Fraction(nonzero(d, -60, 60), d.randint(2, 24)),),
        _spell_fraction,
        _change_fraction,
        same,
    ),
    ("percent", lambda d: (d.randint(2, 99),), _spell_percent, _more, same),
    (
        "tiny number",
        _draw_tiny,
        _spell_tiny,
        lambda s, d: d.choice([(s[0], s[1] + 1, s[2]), (s[0], s[1], s[2] + 1)]),
        _tiny_value,
    ),
    ("number with a unit", lambda d: (d.randint(2, 999),), _spell_unit, _more, same),
]
