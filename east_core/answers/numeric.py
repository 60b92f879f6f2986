r"""Do two formulas have the same value? Asked at fixed points, exactly where they are rational.

Every variable is given a fixed fraction at each of a few points: positive ones, negative ones and
whole numbers (for n!, (-1)^n and sums up to n). Rational arithmetic is exact; roots, powers and
functions are computed twice, to 50 and to 120 digits. Two values are equal where their difference
vanishes with the precision, and different where it stays, however small it is: 1/20! is no 1/19!.

Two formulas are equal where they are at every point at which both have a real value (a complex one
where a formula holds i), and different where they differ at one. None means that too few points
have a value, or that it is out of reach.
"""

import functools
import threading
import zlib
from fractions import Fraction

import mpmath

from east_core.answers.evaluation import Evaluation, TooLong, Undefined, Value, as_real, imaginary
from east_core.answers.formula import Node, read_formula, variables

DIGITS = (50, 120)
"""The two precisions, in decimal digits."""
POINTS = 11
_WHOLE_POINTS = range(7, POINTS)
_ENOUGH_POINTS = 3
# where the points that are no whole numbers lie: from, width, sign (0: either)
_RANGES = ((1, 2, 1), (3, 3, 1), (1, 3, 0), (1, 2, -1), (0, 1, 1), (0, 1, 0), (0, 1, 1))
_PLAIN_DIFFERENCE = Fraction(1, 10**20)


# mpmath's contexts are not safe between threads, and the arithmetic holds the interpreter anyway.
_LOCK = threading.Lock()
_CONTEXTS = tuple(mpmath.MPContext() for _ in DIGITS)
for _context, _digits in zip(_CONTEXTS, DIGITS, strict=True):
    _context.dps = _digits


def same_value(a: str, b: str) -> bool | None:
    """Whether two formulas are equal; None where one is not read or has too few values."""
    if read_formula(a) is None or read_formula(b) is None:
        return None
    constant = not (_names(a) | _names(b))
    seen = 0
    for number in range(1 if constant else POINTS):
        verdict = _equal(a, b, number)
        if verdict is False:
            return False
        if verdict is None and (_is_too_long(a, number) or _is_too_long(b, number)):
            return None  # and so it is at any other point
        seen += verdict is True
    return True if seen >= (1 if constant else _ENOUGH_POINTS) else None


def same_up_to_factor(a: str, b: str) -> int | None:
    """1 or -1 where a = c b with a constant c of that sign; 0 where not; None where unknown."""
    if read_formula(a) is None or read_formula(b) is None:
        return None
    if _names(a) != _names(b) or not _names(a):
        return 0
    values = {number: (_value(a, number, 1), _value(b, number, 1)) for number in range(POINTS)}
    known = [n for n, pair in values.items() if all(map(_is_real_factor, pair))]
    if len(known) < _ENOUGH_POINTS:
        return None
    signs = {1 if (values[n][0] > 0) == (values[n][1] > 0) else -1 for n in known}
    proportional = all(_same_ratio(a, b, known[0], n) for n in known[1:])
    return signs.pop() if proportional and len(signs) == 1 else 0


def approximate(latex: str) -> float | None:
    """The value of a formula without variables as a double; None where it is not real."""
    if read_formula(latex) is None or _names(latex):
        return None
    value = _value(latex, 0, 0)
    try:
        return None if value is None or imaginary(value) else float(value)
    except OverflowError:
        return None


def rational_value(latex: str) -> Fraction | None:
    """The exact value of a formula of numbers alone, None where it is none or not rational."""
    if read_formula(latex) is None or _names(latex):
        return None
    value = _value(latex, 0, 0)
    return value if isinstance(value, Fraction) else None


def rounds_to(latex: str, decimal: Fraction, places: int) -> bool:
    """Whether the value of a constant is `decimal` when rounded to so many places."""
    constant = read_formula(latex) is not None and not _names(latex)
    value = _value(latex, 0, 0) if constant else None
    if value is None or imaginary(value):
        return False
    context = _CONTEXTS[0]
    with _LOCK:
        apart = abs(as_real(context, value) - as_real(context, decimal))
        return bool(apart <= as_real(context, Fraction(1, 2 * 10**places)))


def _equal(a: str, b: str, number: int) -> bool | None:
    """Whether two formulas have the same value at a point; None where one has none there."""
    low = _value(a, number, 0), _value(b, number, 0)
    if low[0] is None or low[1] is None:
        return None
    complex_meant = _holds_i(a) or _holds_i(b)
    if not complex_meant and (imaginary(low[0]) or imaginary(low[1])):
        return None
    if isinstance(low[0], Fraction) and isinstance(low[1], Fraction):
        return low[0] == low[1]
    with _LOCK:
        apart = _apart(0, *low)
        if apart > _plain(0) and apart > _plain(0) * _size(0, *low):
            return False
    high = _value(a, number, 1), _value(b, number, 1)
    if high[0] is None or high[1] is None:
        return None  # out of reach at this precision
    with _LOCK:
        return _vanishes(apart, _apart(1, *high), _size(1, *high))


def _same_ratio(a: str, b: str, first: int, second: int) -> bool:
    """a(first) b(second) = a(second) b(first)."""
    differences: list[Value] = []
    size: Value = 0
    for level in range(2):
        x, y = _value(a, first, level), _value(b, first, level)
        u, v = _value(a, second, level), _value(b, second, level)
        if any(value is None for value in (x, y, u, v)):
            return False
        if all(isinstance(value, Fraction) for value in (x, y, u, v)):
            return bool(x * v == u * y)
        with _LOCK:
            x, y, u, v = (as_real(_CONTEXTS[level], value) for value in (x, y, u, v))
            differences.append(abs(x * v - u * y))
            size = abs(x * v)
    with _LOCK:
        return _vanishes(differences[0], differences[1], size)


def _vanishes(low: Value, high: Value, size: Value) -> bool:
    """Whether a difference is zero but for rounding: it falls with the precision."""
    if high == 0:
        return True
    tiny = _CONTEXTS[1].mpf(10) ** -(DIGITS[1] - 30)
    return bool(high <= tiny * size or (low > 0 and high < low * tiny * 10**20))


def _plain(level: int) -> Value:
    return _CONTEXTS[level].mpf(_PLAIN_DIFFERENCE.numerator) / _PLAIN_DIFFERENCE.denominator


def _apart(level: int, a: Value, b: Value) -> Value:
    context = _CONTEXTS[level]
    return abs(as_real(context, a) - as_real(context, b))


def _size(level: int, a: Value, b: Value) -> Value:
    context = _CONTEXTS[level]
    return max(abs(as_real(context, a)), abs(as_real(context, b)))


def _is_real_factor(value: Value | None) -> bool:
    return value is not None and not imaginary(value) and value != 0


@functools.lru_cache(maxsize=1 << 14)
def _names(latex: str) -> frozenset[str]:
    node = read_formula(latex)
    return frozenset() if node is None else variables(node)


@functools.lru_cache(maxsize=1 << 14)
def _holds_i(latex: str) -> bool:
    node = read_formula(latex)
    return node is not None and _has(node, "i")


def _has(node: Node, op: str) -> bool:
    return node.op == op or any(_has(child, op) for child in node.args)


def _value(latex: str, number: int, level: int) -> Value:
    """The value at point `number` with precision `level`; None where there is none."""
    value = _value_or_end(latex, number, level)
    return None if value is TooLong else value


def _is_too_long(latex: str, number: int) -> bool:
    return any(_value_or_end(latex, number, level) is TooLong for level in range(2))


@functools.lru_cache(maxsize=1 << 15)
def _value_or_end(latex: str, number: int, level: int) -> Value:
    """As `_value`; `TooLong` where the steps did not suffice."""
    node = read_formula(latex)
    if node is None:
        return None
    point = {name: _coordinate(name, number) for name in _names(latex)}
    try:
        with _LOCK:
            return Evaluation(_CONTEXTS[level], DIGITS[level], bool(point)).value(node, point)
    except TooLong:
        return TooLong
    except (Undefined, ArithmeticError, ValueError, TypeError, RecursionError):
        return None


@functools.lru_cache(maxsize=1 << 12)
def _coordinate(name: str, number: int) -> Fraction:
    """A variable's value at a point: it depends on nothing but the two."""
    draw = zlib.crc32(f"{number}:{name}".encode())
    if number in _WHOLE_POINTS:
        return Fraction(3 + draw % 23)
    low, width, sign = _RANGES[number]
    value = low + Fraction((draw >> 1) % (width * 9973) + 1, 9973)
    return -value if sign < 0 or (sign == 0 and draw & 1) else value
