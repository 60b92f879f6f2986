"""Kinds of answers with roots, functions, sums and integrals."""

import random
from fractions import Fraction
from math import comb
from typing import Any

from east_core.testing.answer_spelling import Row, nonzero, same

Draw = random.Random


def _spell_root(spec: Any, draw: Draw, _gold: bool) -> str:
    a, b, c = spec
    root = draw.choice(
        [
            rf"{a}\sqrt{{{b}}}",
            rf"\sqrt{{{a * a * b}}}",
            rf"\frac{{{a * b}}}{{\sqrt{{{b}}}}}",
            f"{a}sqrt({b})",
            rf"{a}\cdot {b}^{{1/2}}",
            rf"{a} \sqrt {{{b}}}",
        ]
    )
    return root if not c else draw.choice([f"{c}+{root}", rf"{root}{c:+d}"])


def _change_root(spec: Any, draw: Draw) -> Any:
    a, b, c = spec
    return draw.choice([(a + 1, b, c), (a, 2 if b != 2 else 3, c), (a, b, c + 1)])


def _spell_pi(spec: Any, draw: Draw, _gold: bool) -> str:
    p, q = spec[0].numerator, spec[0].denominator
    ways = [
        rf"\frac{{{p}\pi}}{{{q}}}",
        rf"\frac{{{p}}}{{{q}}}\pi",
        rf"{p}\pi/{q}",
        rf"\dfrac{{{2 * p}\pi}}{{{2 * q}}}",
    ]
    return draw.choice(ways if q > 1 else [rf"{p}\pi", f"{p}pi", rf"\pi\cdot {p}", rf"{p}π"])


def _spell_angle(spec: Any, draw: Draw, _gold: bool) -> str:
    a, degrees = spec
    return draw.choice(
        [
            rf"{a}\sin {degrees}^\circ",
            rf"{a}\cos {90 - degrees}^\circ",
            rf"{a}\sin({degrees}^{{\circ}})",
            rf"{a}\cos\left({90 - degrees}^\circ\right)",
            f"{a}\\sin {degrees}°",
        ]
    )


def _change_angle(spec: Any, draw: Draw) -> Any:
    a, degrees = spec
    return draw.choice(
        [(a + 1, degrees), (a, degrees + 1), (a, 90 - degrees if degrees != 45 else 44)]
    )


def _spell_wave(spec: Any, draw: Draw, _gold: bool) -> str:
    a, x, kind = spec
    ways = {
        "double": [
            rf"{a}\sin 2{x}",
            rf"{2 * a}\sin {x}\cos {x}",
            rf"{a}\sin(2{x})",
            rf"{2 * a}\cos({x})\sin({x})",
        ],
        "square": [
            rf"{a}\sin^2 {x}",
            rf"{a}{-a:+d}\cos^2 {x}",
            rf"{a}(1-\cos^{{2}}({x}))",
            rf"{a}(\sin {x})^2",
        ],
        "tangent": [
            rf"{a}\tan {x}",
            rf"\frac{{{a}\sin {x}}}{{\cos {x}}}",
            rf"{a}\operatorname{{tan}}({x})",
        ],
        "cosine": [rf"{a}\cos 2{x}", rf"{a}{-2 * a:+d}\sin^2 {x}", rf"{a}(2\cos^2 {x}-1)"],
    }
    return draw.choice(ways[kind])


_WAVES = ("double", "square", "tangent", "cosine")


def _change_wave(spec: Any, draw: Draw) -> Any:
    a, x, kind = spec
    other = draw.choice([k for k in _WAVES if k != kind])
    return draw.choice(
        [(a + 1, x, kind), (-a, x, kind), (a, "y" if x != "y" else "t", kind), (a, x, other)]
    )


def _spell_exponential(spec: Any, draw: Draw, _gold: bool) -> str:
    a, n, kind = spec
    if kind == "e":
        return draw.choice(
            [
                rf"{a}e^{{{n}}}",
                rf"{a}\exp({n})",
                rf"{a}\mathrm{{e}}^{{{n}}}",
                f"{a}exp({n})",
                rf"\frac{{{a}}}{{e^{{-{n}}}}}",
            ]
        )
    return draw.choice(
        [
            rf"{a}\ln {n}",
            rf"\ln {n}^{{{a}}}",
            rf"{a}\operatorname{{ln}}({n})",
            rf"-{a}\ln\frac{{1}}{{{n}}}",
        ]
    )


def _change_exponential(spec: Any, draw: Draw) -> Any:
    a, n, kind = spec
    return draw.choice(
        [(a + 1, n, kind), (a, n + 1 if n != 3 else 5, kind), (a, n, "ln" if kind == "e" else "e")]
    )


def _spell_complex(spec: Any, draw: Draw, _gold: bool) -> str:
    a, b = spec
    i = draw.choice(["i", "i", r"\mathrm{i}"])
    return draw.choice(
        [
            f"{a}{b:+d}{i}",
            f"{b}{i}{a:+d}",
            f"{a}.0{b:+d}.0{i}",
            f"({a}{b:+d}{i})",
            rf"{a} {'+' if b > 0 else '-'} {abs(b)}{i}",
        ]
    )


def _change_complex(spec: Any, draw: Draw) -> Any:
    a, b = spec
    return draw.choice([(a, -b), (-a, b), (b + 13, a + 13), (a + 1, b)])


def _spell_sum(spec: Any, draw: Draw, _gold: bool) -> str:
    op, low, high, power = spec
    k = draw.choice("kij")
    body = k if power == 1 else f"{k}^{power}"
    ways = [rf"\{op}_{{{k}={low}}}^{{{high}}} {body}", rf"\{op}_{{{k} = {low}}}^{{{high}}}{body}"]
    shifted = f"({k}-1)" if power == 1 else f"({k}-1)^{power}"
    if isinstance(high, int):
        ways += [rf"\{op}_{{{k}={low + 1}}}^{{{high + 1}}} {shifted}", str(_sum_value(spec))]
    elif op == "sum" and low == 1:
        closed = (
            rf"\frac{{{high}({high}+1)}}{{2}}"
            if power == 1
            else rf"\frac{{{high}({high}+1)(2{high}+1)}}{{6}}"
        )
        ways += [closed, rf"\{op}_{{{k}=2}}^{{{high}+1}} {shifted}"]
    return draw.choice(ways)


def _sum_value(spec: Any) -> Any:
    op, low, high, power = spec
    if not isinstance(high, int):
        return spec
    total = 0 if op == "sum" else 1
    for k in range(low, high + 1):
        total = total + k**power if op == "sum" else total * k**power
    return total


def _draw_sum(draw: Draw) -> Any:
    return (
        draw.choice(["sum", "sum", "prod"]),
        1,
        draw.choice([4, 6, 7, "n", "m"]),
        draw.choice([1, 2]),
    )


def _change_sum(spec: Any, draw: Draw) -> Any:
    op, low, high, power = spec
    other = high + 1 if isinstance(high, int) else "r"
    return draw.choice(
        [
            ("prod" if op == "sum" else "sum", low, high, power),
            (op, low, other, power),
            (op, low, high, 3 - power),
        ]
    )


def _spell_integral(spec: Any, draw: Draw, _gold: bool) -> str:
    c, top = spec
    x = draw.choice("xtu")
    return draw.choice(
        [
            rf"\int_0^{{{top}}} {c}{x}\,d{x}",
            rf"\int_{{0}}^{{{top}}} {c}{x} d{x}",
            rf"\frac{{{c * top * top}}}{{2}}",
        ]
    )


def _spell_count(spec: Any, draw: Draw, _gold: bool) -> str:
    n, k = spec
    return draw.choice(
        [
            rf"\binom{{{n}}}{{{k}}}",
            rf"\frac{{{n}!}}{{{k}!({n}-{k})!}}",
            rf"\dbinom{{{n}}}{{{n - k}}}",
            str(comb(n, k)),
        ]
    )


def _spell_distance(spec: Any, draw: Draw, _gold: bool) -> str:
    x, a, c = spec
    bars = draw.choice([(r"|", "|"), (r"\left|", r"\right|"), (r"\lvert ", r"\rvert")])
    inner = draw.choice([f"{x}-{a}", f"{a}-{x}"])
    value = f"{bars[0]}{inner}{bars[1]}"
    return draw.choice([f"{value}+{c}", f"{c}+{value}"])


ROWS: list[Row] = [
    (
        "root",
        lambda d: (d.randint(2, 9), d.choice([2, 3, 5, 6, 7, 10, 11]), d.choice([0, 0, 1, 4])),
        _spell_root,
        _change_root,
        same,
    ),
    (
        "multiple of pi",
        lambda d: (Fraction(d.randint(1, 30), d.randint(1, 9)),),
        _spell_pi,
        lambda s, d: (s[0] + d.choice([1, Fraction(1, s[0].denominator)]),),
        same,
    ),
    (
        "function of degrees",
        lambda d: (d.randint(2, 9), d.randint(5, 85)),
        _spell_angle,
        _change_angle,
        same,
    ),
    (
        "trigonometry",
        lambda d: (d.randint(2, 6), d.choice("xt"), d.choice(_WAVES)),
        _spell_wave,
        _change_wave,
        same,
    ),
    (
        "exponential, logarithm",
        lambda d: (d.randint(2, 7), d.choice([2, 3, 5, 7]), d.choice(["e", "ln"])),
        _spell_exponential,
        _change_exponential,
        same,
    ),
    (
        "complex number",
        lambda d: (nonzero(d, -12, 12), nonzero(d, 2, 12)),
        _spell_complex,
        _change_complex,
        same,
    ),
    ("sum, product", _draw_sum, _spell_sum, _change_sum, _sum_value),
    (
        "integral",
        lambda d: (d.randint(2, 5), d.randint(1, 3)),
        _spell_integral,
        lambda s, d: d.choice([(s[0] + 1, s[1]), (s[0], s[1] + 1)]),
        lambda s: s[0] * s[1] ** 2,
    ),
    (
        "binomial",
        lambda d: (d.randint(6, 12), d.randint(2, 3)),
        _spell_count,
        lambda s, d: d.choice([(s[0] + 1, s[1]), (s[0], s[1] - 1 or 2)]),
        lambda s: comb(*s),
    ),
    (
        "absolute value",
        lambda d: (d.choice("xy"), d.randint(2, 9), d.randint(1, 9)),
        _spell_distance,
        lambda s, d: d.choice([(s[0], s[1] + 1, s[2]), (s[0], s[1], s[2] + 1), ("t", *s[1:])]),
        same,
    ),
]
