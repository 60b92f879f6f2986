"""Kinds of answers of several parts: tuples, intervals, sets, matrices."""

import random
from fractions import Fraction
from typing import Any

from east_core.testing.answer_spelling import (
    Row,
    changed_items,
    fraction,
    joined,
    number,
    same,
    some_values,
)

Draw = random.Random


def _spell_tuple(spec: Any, draw: Draw, gold: bool) -> str:
    inner = joined([fraction(value, draw) for value in spec], draw)
    ways = [f"({inner})", rf"\left({inner}\right)", f"( {inner} )"]
    if not gold:
        names = list(zip("xyz", [number(value) for value in spec], strict=False))
        draw.shuffle(names)
        ways += [inner, joined([f"{name}={value}" for name, value in names], draw)]
        ways.append(f"({','.join(n for n, _ in names)}) = ({','.join(v for _, v in names)})")
    return draw.choice(ways)


def _change_tuple(spec: Any, draw: Draw) -> Any:
    return draw.choice([spec[1:] + spec[:1], spec[::-1], changed_items(spec, draw)])


def _spell_interval(spec: Any, draw: Draw, gold: bool) -> str:
    low, high, brackets = spec
    a, b = fraction(low, draw), fraction(high, draw)
    signs = ["<" if brackets[0] == "(" else r"\le ", "<" if brackets[1] == ")" else r"\leq "]
    back = [{"<": ">"}.get(sign, r"\ge ") for sign in signs]
    ways = [f"{brackets[0]}{a},{b}{brackets[1]}", rf"\left{brackets[0]}{a}, {b}\right{brackets[1]}"]
    if not gold:
        ways += [
            f"{a}{signs[0]}x{signs[1]}{b}",
            f"{b}{back[1]}x{back[0]}{a}",
            rf"x \in {brackets[0]}{a},{b}{brackets[1]}",
        ]
    return draw.choice(ways)


def _draw_interval(draw: Draw) -> Any:
    low, high = sorted(some_values(draw, 2))
    return low, high, draw.choice(["()", "[)", "(]", "[]"])


def _change_interval(spec: Any, draw: Draw) -> Any:
    low, high, brackets = spec
    other = draw.choice([b for b in ("()", "[)", "(]", "[]") if b != brackets])
    return draw.choice([(low, high + 1, brackets), (low - 1, high, brackets), (low, high, other)])


def _spell_set(spec: Any, draw: Draw, gold: bool) -> str:
    values = list(spec)
    draw.shuffle(values)
    items = [fraction(value, draw) for value in values]
    inner = joined(items, draw)
    ways = [rf"\{{{inner}\}}", inner, rf"\left\{{{inner}\right\}}"]
    ways += [" and ".join(items), r" \text{ or } ".join(items), r" \text{ and } ".join(items)]
    if not gold:
        ways += [" or ".join(f"x={item}" for item in items), ", ".join(f"x = {i}" for i in items)]
        ways.append(f"x = {inner}")
    return draw.choice(ways)


def _change_set(spec: Any, draw: Draw) -> Any:
    changed = changed_items(spec, draw)
    fewer = spec[1:] or changed
    return draw.choice([fewer, changed if len(set(changed)) == len(spec) else fewer])


def _spell_signs(spec: Any, draw: Draw, _gold: bool) -> str:
    parts = []
    for a in spec:
        parts += draw.choice([[rf"\pm {a}"], [str(a), str(-a)], [rf"\pm{a}"], [str(-a), str(a)]])
    draw.shuffle(parts)
    return joined(parts, draw)


def _change_signs(spec: Any, draw: Draw) -> Any:
    return draw.choice([(spec[0] + 10, *spec[1:]), spec[:1], (spec[0], spec[-1] + 10)])


def _spell_matrix(spec: Any, draw: Draw, _gold: bool) -> str:
    factor: Fraction | int
    factor, written = draw.choice([(1, ""), (1, ""), (-1, "-"), (2, r"2\cdot "), (4, "4")])
    if draw.random() < 0.2:
        factor, written = Fraction(1, 3), r"\frac{1}{3}"
    rows = [" & ".join(fraction(value / factor, draw) for value in row) for row in spec]
    name = draw.choice(["pmatrix", "bmatrix", "pmatrix"])
    body = r" \\ ".join(rows)
    return rf"{written}\begin{{{name}}} {body} \end{{{name}}}"


def _change_matrix(spec: Any, draw: Draw) -> Any:
    if len(spec) == 1:
        return (changed_items(spec[0], draw),)
    (a, b), (c, d) = spec
    return draw.choice(
        [((a + 1, b), (c, d)), ((a, b), (c, d - 5)), ((b, a - 30), (c, d)), ((a, b, c, d),)]
    )


def _spell_union(spec: Any, draw: Draw, gold: bool) -> str:
    low, high, closed = spec
    a, b = fraction(low, draw), fraction(high, draw)
    left, right = ("]", "[") if closed else (")", "(")
    parts = [rf"(-\infty,{a}{left}", rf"{right}{b},\infty)"]
    draw.shuffle(parts)
    less, more = (r"\le ", r"\ge ") if closed else ("<", ">")
    ways = [
        r"\cup".join(parts),
        r" \cup ".join(parts).replace("(", r"\left(", 1).replace(")", r"\right)", 1)
        if not closed
        else r"\cup ".join(parts),
    ]
    ways.append(rf"x{less}{a} \text{{ or }} x{more}{b}")
    ways.append(rf"x{more}{b} \text{{ or }} {a}{'>' if less == '<' else more}x")
    return draw.choice(ways[:2] if gold else ways)


def _draw_union(draw: Draw) -> Any:
    low, high = sorted(some_values(draw, 2))
    return low, high, draw.choice([True, False])


def _change_union(spec: Any, draw: Draw) -> Any:
    low, high, closed = spec
    return draw.choice([(low, high, not closed), (low - 1, high, closed), (low, high + 1, closed)])


ROWS: list[Row] = [
    ("tuple", lambda d: some_values(d, d.choice([2, 3])), _spell_tuple, _change_tuple, same),
    ("interval", _draw_interval, _spell_interval, _change_interval, same),
    ("set, list", lambda d: some_values(d, d.choice([2, 3])), _spell_set, _change_set, frozenset),
    (
        "plus or minus",
        lambda d: tuple(d.sample(range(1, 10), 2)),
        _spell_signs,
        _change_signs,
        frozenset,
    ),
    (
        "matrix",
        lambda d: (some_values(d, 2), some_values(d, 2)),
        _spell_matrix,
        _change_matrix,
        same,
    ),
    ("union of intervals", _draw_union, _spell_union, _change_union, same),
]
