"""Kinds of answers that are equations, inequalities, words, times and ratios."""

import random
from fractions import Fraction
from math import gcd
from typing import Any

from east_core.testing.answer_spelling import (
    Row,
    changed_items,
    fraction,
    joined,
    nonzero,
    number,
    polynomial,
    same,
    some_value,
    some_values,
)

Draw = random.Random


def _spell_line(spec: Any, draw: Draw, gold: bool) -> str:
    a, b, c = spec
    k = draw.choice([1, 1, 2, -1, 3])
    left = polynomial([(k * a, "x"), (k * b, "y")], draw)
    ways = [
        f"{left}={k * c}",
        f"{k * c} = {left}",
        f"{polynomial([(k * a, 'x'), (k * b, 'y'), (-k * c, '')], draw)}=0",
    ]
    ways.append(
        f"{polynomial([(k * a, 'x')], draw)} = {polynomial([(-k * b, 'y'), (k * c, '')], draw)}"
    )
    if not gold:
        ways.append(
            rf"y = {number(Fraction(-a, b))}x + {number(Fraction(c, b))}".replace("+ -", "- ")
        )
    return draw.choice(ways)


def _line(spec: Any) -> Any:
    a, b, c = spec
    return Fraction(b, a), Fraction(c, a)


def _draw_line(draw: Draw) -> Any:
    return draw.choice([1, 2, 3, 5]), draw.choice([-7, -4, -3, -1, 2, 3, 4, 7]), draw.randint(1, 20)


def _change_line(spec: Any, draw: Draw) -> Any:
    a, b, c = spec
    return draw.choice([(a, -b, c), (a, b, c + 1), (a, b, -c), (a + 10, b, c), (a, b + 20, c)])


def _spell_circle(spec: Any, draw: Draw, _gold: bool) -> str:
    a, b, r = spec
    ways = [f"(x{-a:+d})^2+(y{-b:+d})^2={r}", f"(y{-b:+d})^{{2}} + (x{-a:+d})^{{2}} = {r}"]
    flat = [(1, "x^2"), (1, "y^2"), (-2 * a, "x"), (-2 * b, "y")]
    ways.append(f"{polynomial([*flat, (a * a + b * b - r, '')], draw)}=0")
    ways.append(f"{polynomial(flat, draw)}={r - a * a - b * b}")
    return draw.choice(ways)


def _change_circle(spec: Any, draw: Draw) -> Any:
    a, b, r = spec
    return draw.choice([(-a, b, r), (a, b + 13, r), (a, b, r + 1), (b + 20, a, r)])


def _spell_function(spec: Any, draw: Draw, gold: bool) -> str:
    _, a, b = spec
    right = draw.choice(
        [polynomial([(a, "x"), (b, "")], draw), polynomial([(b, ""), (a, "x")], draw)]
    )
    return draw.choice(
        [f"y={right}", f"y = {right}"]
        if gold
        else [f"y={right}", right, f"f(x) = {right}", f"{right} = y"]
    )


def _spell_named(spec: Any, draw: Draw, gold: bool) -> str:
    pairs = list(zip("abc", spec, strict=False))
    if not gold:
        draw.shuffle(pairs)
    items = [f"{name}={fraction(value, draw)}" for name, value in pairs]
    plain = joined([number(value) for value in spec], draw)
    return draw.choice([joined(items, draw), *([] if gold else [plain, f"({plain})"])])


_COLORS = ("red", "blue", "green", "cats", "dogs")


def _spell_counted(spec: Any, draw: Draw, _gold: bool) -> str:
    items = [f"{count} {name}" for name, count in spec]
    draw.shuffle(items)
    return draw.choice([", ", " and "]).join(items)


def _draw_counted(draw: Draw) -> Any:
    names = draw.sample(_COLORS, 2)
    return tuple(sorted(zip(names, draw.sample(range(2, 30), 2), strict=True)))


def _change_counted(spec: Any, draw: Draw) -> Any:
    (a, m), (b, n) = spec
    return draw.choice([((a, n), (b, m)), ((a, m + 31), (b, n))])


def _spell_inequality(spec: Any, draw: Draw, gold: bool) -> str:
    sign, a = spec
    value = fraction(a, draw)
    sign = draw.choice(
        {"<": ["<"], ">": [">"], "<=": [r"\le ", r"\leq ", "≤"], ">=": [r"\ge ", r"\geq ", ">="]}[
            sign
        ]
    )
    back = {"<": ">", ">": "<"}.get(sign) or (
        r"\ge " if sign in (r"\le ", r"\leq ", "≤") else r"\le "
    )
    ends = {"<": "(-\\infty,{})", ">": "({},\\infty)"}.get(sign) or (
        "(-\\infty,{}]" if back == r"\ge " else "[{},\\infty)"
    )
    ways = [f"x{sign}{value}", f"{value}{back}x", f"x {sign} {value}"]
    return draw.choice(ways if gold else [*ways, ends.format(value), rf"x\in {ends.format(value)}"])


def _change_inequality(spec: Any, draw: Draw) -> Any:
    sign, a = spec
    other = draw.choice([s for s in ("<", ">", "<=", ">=") if s != sign])
    return draw.choice([(other, a), (sign, a + 1), (sign, a - Fraction(1, 2))])


# ---------------------------------------------------------------- words, numerals, times


_WORDS = (
    "Monday",
    "east",
    "Tom",
    "Evelyn",
    "ATG",
    "IV",
    "parallelogram",
    "yes",
    "odd",
    "no solution",
    "the cat sat on the mat",
    "two of the three",
    "ACGT",
    "XII",
    "Ann",
    "hyperbola",
)


def _spell_word(spec: Any, draw: Draw, _gold: bool) -> str:
    word = str(spec[0])
    return draw.choice(
        [
            word,
            rf"\text{{{word}}}",
            rf"\textbf{{{word}}}",
            f"{word}.",
            rf"\mathrm{{{word}}}",
            word.lower() if len(word) > 3 else word,
        ]
    )


def _change_word(spec: Any, draw: Draw) -> Any:
    word = spec[0]
    parts = word.split()
    if len(parts) > 2 and draw.random() < 0.5:
        return (" ".join(parts[::-1]),)
    if word.isupper() and word != word[::-1] and draw.random() < 0.7:
        return (word[::-1],)
    return (draw.choice([w for w in _WORDS if w != word]),)


def _spell_choice(spec: Any, draw: Draw, _gold: bool) -> str:
    letter = str(spec[0])
    return draw.choice(
        [
            letter,
            f"({letter})",
            rf"\text{{{letter}}}",
            f"{letter}.",
            rf"\text{{({letter})}}",
            f"({letter}) twelve",
            rf"\textbf{{{letter}}}",
        ]
    )


def _change_choice(spec: Any, draw: Draw) -> Any:
    return (draw.choice([letter for letter in "ABCDE" if letter != spec[0]]),)


def _spell_numeral(spec: Any, draw: Draw, _gold: bool) -> str:
    digits, base = spec
    return draw.choice(
        [
            f"{digits}_{base}",
            f"{digits}_{{{base}}}",
            rf"{digits}_{{\text{{{base}}}}}",
            f"{digits} _ {base}",
        ]
    )


def _change_numeral(spec: Any, draw: Draw) -> Any:
    digits, base = spec
    return draw.choice([(digits[::-1] + "1", base), (digits, base + 1), (digits + "0", base)])


def _spell_time(spec: Any, draw: Draw, _gold: bool) -> str:
    hour, minute, half = spec
    return draw.choice(
        [
            f"{hour}:{minute:02d} {half}.m.",
            rf"{hour}:{minute:02d}\text{{ {half}.m.}}",
            f"{hour:02d}:{minute:02d} {half.upper()}M",
            rf"{hour}\!:\!{minute:02d}\text{{ {half}.m.}}",
        ]
    )


def _change_time(spec: Any, draw: Draw) -> Any:
    hour, minute, half = spec
    return draw.choice(
        [
            (hour % 12 + 1, minute, half),
            (hour, (minute + 7) % 60, half),
            (hour, minute, "p" if half == "a" else "a"),
        ]
    )


def _spell_date(spec: Any, draw: Draw, _gold: bool) -> str:
    text = f"{spec[0]}-{spec[1]:02d}-{spec[2]:02d}"
    return draw.choice([text, rf"\text{{{text}}}", f"${text}$"])


def _change_date(spec: Any, draw: Draw) -> Any:
    year, month, day = spec
    swapped = (year, day, month) if day != month else (year + 1, month, day)
    return draw.choice([swapped, (year + 1, month, day), (year, month, day % 12 + 1)])


def _spell_ratio(spec: Any, draw: Draw, _gold: bool) -> str:
    a, b = spec
    k = draw.randint(1, 5)
    return draw.choice([f"{a}:{b}", f"{k * a}:{k * b}", f"{a} : {b}"])


def _draw_ratio(draw: Draw) -> Any:
    a, b = draw.sample(range(1, 12), 2)
    return a // gcd(a, b), b // gcd(a, b)


def _spell_assignment(spec: Any, draw: Draw, gold: bool) -> str:
    value = fraction(spec[0], draw)
    ways = [f"x={value}", f"x = {value}", f"{value} = x"]
    return draw.choice(
        ways if gold else [*ways, value, f"x={spec[0] * 2}/2={value}", f"2x={number(2 * spec[0])}"]
    )


def _change_named(spec: Any, draw: Draw) -> Any:
    return draw.choice([spec[1:] + spec[:1], spec[::-1], changed_items(spec, draw)])


ROWS: list[Row] = [
    ("line's equation", _draw_line, _spell_line, _change_line, _line),
    (
        "circle's equation",
        lambda d: (nonzero(d, -6, 6), nonzero(d, -6, 6), d.randint(1, 30)),
        _spell_circle,
        _change_circle,
        same,
    ),
    (
        "function",
        lambda d: ("y", nonzero(d, -6, 6), nonzero(d, -6, 6)),
        _spell_function,
        lambda s, d: d.choice([(s[0], s[1] + 13, s[2]), (s[0], s[1], s[2] + 13)]),
        same,
    ),
    (
        "assignment",
        lambda d: (some_value(d),),
        _spell_assignment,
        lambda s, d: (s[0] + d.choice([1, -2, 7]),),
        same,
    ),
    ("list with names", lambda d: some_values(d, 2), _spell_named, _change_named, same),
    ("counted things", _draw_counted, _spell_counted, _change_counted, same),
    (
        "inequality",
        lambda d: (d.choice(["<", ">", "<=", ">="]), some_value(d)),
        _spell_inequality,
        _change_inequality,
        same,
    ),
    ("words", lambda d: (d.choice(_WORDS),), _spell_word, _change_word, lambda s: s[0].lower()),
    ("choice", lambda d: (d.choice("ABCDE"),), _spell_choice, _change_choice, same),
    (
        "numeral in a base",
        lambda d: (str(d.randint(10, 9999)), d.randint(2, 9)),
        _spell_numeral,
        _change_numeral,
        same,
    ),
    (
        "time of day",
        lambda d: (d.randint(1, 12), d.randint(0, 59), d.choice("ap")),
        _spell_time,
        _change_time,
        same,
    ),
    (
        "date",
        lambda d: (d.randint(1990, 2030), d.randint(1, 12), d.randint(1, 12)),
        _spell_date,
        _change_date,
        same,
    ),
    (
        "ratio",
        _draw_ratio,
        _spell_ratio,
        lambda s, d: d.choice([(s[1], s[0]), (s[0] + s[1], s[1])]),
        lambda s: Fraction(*s),
    ),
]
