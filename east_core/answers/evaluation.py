r"""The value of a formula at a point: exact where it is rational, else to a given precision.

Time and memory are bounded: a value that would need more steps or longer numbers is `Undefined`,
like one that does not exist.
"""

import functools
import itertools
import math
import zlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from east_core.answers.formula import Node

Value = Any  # Fraction | a real or complex number of mpmath
Point = Mapping[str, Fraction]

_MOST_BITS = 20_000
_MOST_STEPS = 20_000
_MOST_STEPS_AT_A_POINT = 5_000
"""For a formula with variables, which is evaluated at many points."""
_FUNCTION_STEPS = 3
_BITS_PER_STEP = 500
_LARGEST_FACTORIAL = 2000
_LARGEST_ARGUMENT_BITS = 200
_EDGE = 1e-20
_MOST_TERMS = 64
_QUADRATURE_LOSS = 15
"""The digits that quadrature may lose: far from what parts two values (`numeric.py`)."""
_NO_BASE = Fraction(7919, 1000)


class Undefined(Exception):
    """The formula has no value at this point, or none within reach."""


class TooLong(Undefined):
    """The value would need more steps than there are."""


def as_real(context: Any, value: Value) -> Value:
    """A fraction or number as one of the context's numbers."""
    if isinstance(value, Fraction):
        return context.mpf(value.numerator) / value.denominator
    return context.convert(value)


def imaginary(value: Value) -> bool:
    """Whether a value is not real."""
    return not isinstance(value, Fraction) and getattr(value, "imag", 0) != 0


class Evaluation:
    """One evaluation of a formula, with a bound on its steps and on the size of its numbers.

    Steps are counted and not timed, so that the outcome is the same on any machine: a function, and
    arithmetic with long numbers, are several.
    """

    def __init__(self, context: Any, digits: int, at_many_points: bool) -> None:
        self._context = context
        self._digits = digits
        self._left = _MOST_STEPS_AT_A_POINT if at_many_points else _MOST_STEPS

    def _charge(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise TooLong

    def value(self, node: Node, point: Point) -> Value:
        """The value of a formula, bounded in size."""
        self._charge(1)
        if node.op == "variable":
            return point[node.name]
        if node.op in ("sum", "prod"):
            return self._big(node, point)
        if node.op == "int":
            return self._bounded(self._integral(node, point))
        values = [self.value(child, point) for child in node.args]
        operation = _OPERATIONS.get(node.op)
        if operation is None:
            return self._bounded(self._named(node, values))
        return self._bounded(getattr(self, operation)(*values))

    def _named(self, node: Node, values: list[Value]) -> Value:
        """A constant, a list's value, an unknown function's, or a function's."""
        if node.op == "number":
            return node.value
        if node.op in ("pi", "e", "i"):
            return self._constant(node.op)
        if node.op in ("gcd", "lcm", "max", "min"):
            return self._list(node.op, values)
        if node.op == "unknown":
            return self._unknown(node.name, values)
        return self._function(node.op, *values)

    def _bounded(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            bits = max(value.numerator.bit_length(), value.denominator.bit_length())
            if bits > _MOST_BITS:
                raise Undefined
            self._charge(bits // _BITS_PER_STEP)
            return value
        value = self._context.convert(value)
        if not self._context.isfinite(value) or (
            value != 0 and abs(self._context.mag(value)) > _MOST_BITS
        ):
            raise Undefined
        if isinstance(value, self._context.mpc) and value.imag == 0:
            return value.real
        return value

    def _real(self, value: Value) -> Value:
        return as_real(self._context, value)

    def _both(self, a: Value, b: Value) -> tuple[Value, Value]:
        if isinstance(a, Fraction) and isinstance(b, Fraction):
            return a, b
        return self._real(a), self._real(b)

    def _constant(self, name: str) -> Value:
        context = self._context
        return context.mpc(0, 1) if name == "i" else +getattr(context, name)

    def _sum(self, *terms: Value) -> Value:
        total: Value = Fraction(0)
        for term in terms:
            x, y = self._both(total, term)
            total = x + y
        return total

    def _negative(self, value: Value) -> Value:
        return -value

    def _product(self, a: Value, b: Value) -> Value:
        x, y = self._both(a, b)
        return x * y

    def _quotient(self, a: Value, b: Value) -> Value:
        x, y = self._both(a, b)
        if y == 0:
            raise Undefined
        return x / y

    def _power(self, base: Value, exponent: Value) -> Value:
        if isinstance(exponent, Fraction) and isinstance(base, Fraction):
            if exponent.denominator == 1:
                return self._whole_power(base, int(exponent))
            if base >= 0 and exponent > 0:
                root = _exact_root(base, exponent.denominator)
                if root is not None:
                    return self._whole_power(root, exponent.numerator)
        if base == 0:
            raise Undefined
        size = self._context.mag(self._real(base)) or 1
        if abs(size * self._real(exponent)) > _MOST_BITS:
            raise Undefined
        return self._real(base) ** self._real(exponent)

    def _whole_power(self, base: Fraction, exponent: int) -> Fraction:
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if bits * abs(exponent) > _MOST_BITS or (base == 0 and exponent <= 0):
            raise Undefined
        return base**exponent

    def _root(self, radicand: Value, degree: Value) -> Value:
        if not isinstance(degree, Fraction) or degree.denominator != 1 or not 1 < degree < 100:
            raise Undefined
        index = int(degree)
        if imaginary(radicand):
            return self._real(radicand) ** (self._context.mpf(1) / index)
        if radicand < 0:
            if index % 2:
                return -self._root(-radicand, degree)
            if index != 2:
                raise Undefined  # which of the roots is meant is not for us to say
            return self._context.mpc(0, self._real(self._root(-radicand, degree)))
        exact = _exact_root(radicand, index) if isinstance(radicand, Fraction) else None
        return self._context.root(self._real(radicand), index) if exact is None else exact

    def _absolute(self, value: Value) -> Value:
        return abs(value)

    def _floor(self, value: Value) -> Value:
        if isinstance(value, Fraction):
            return Fraction(math.floor(value))
        if imaginary(value) or abs(value - self._context.nint(value)) < _EDGE:
            raise Undefined  # on the edge, rounding decides
        return Fraction(int(self._context.floor(value)))

    def _ceil(self, value: Value) -> Value:
        return -self._floor(-value)

    def _factorial(self, value: Value) -> Value:
        number = _whole(value)
        if not 0 <= number <= _LARGEST_FACTORIAL:
            raise Undefined
        return Fraction(math.factorial(number))

    def _binomial(self, n: Value, k: Value) -> Value:
        top, bottom = _whole(n), _whole(k)
        if not 0 <= top <= _LARGEST_FACTORIAL or bottom < 0:
            raise Undefined
        return Fraction(math.comb(top, bottom))

    def _degrees(self, value: Value) -> Value:
        return self._real(value) * self._context.pi / 180

    def _list(self, name: str, values: list[Value]) -> Value:
        if name in ("gcd", "lcm"):
            whole = map(_whole, values)
            return Fraction(math.gcd(*whole) if name == "gcd" else math.lcm(*whole))
        if any(map(imaginary, values)):
            raise Undefined
        return (max if name == "max" else min)(values, key=self._real)

    def _unknown(self, name: str, values: list[Value]) -> Value:
        """f(x) has a value that depends on f and x, and on nothing else."""
        seed = zlib.crc32(name.encode()) % 97 + 3
        total: Value = self._context.mpf(seed)
        for place, value in enumerate(values, start=2):
            total = total * place + self._context.cos(self._real(value) * seed + place)
        return total

    def _function(self, name: str, value: Value, base: Value = None) -> Value:
        self._charge(_FUNCTION_STEPS)
        context, x = self._context, self._real(value)
        if x != 0 and context.mag(x) > _LARGEST_ARGUMENT_BITS:
            raise Undefined
        if name == "log":
            return self._logarithm(x, base)
        if name in ("ln", "lg"):
            if x == 0:
                raise Undefined
            return context.ln(x) if name == "ln" else context.ln(x) / context.ln(10)
        if name == "exp" and abs(x) > _MOST_BITS / 2:
            raise Undefined
        return getattr(context, _MPMATH.get(name, name))(x)

    def _logarithm(self, x: Value, base: Value) -> Value:
        r"""Without a base \log may have 10 or e: a base that is neither keeps all its laws."""
        context = self._context
        unit = (
            context.mpf(base.numerator) / base.denominator if isinstance(base, Fraction) else base
        )
        below = context.ln(context.mpf(7919) / 1000 if unit is None else unit)
        if x == 0 or below == 0:
            raise Undefined
        return context.ln(x) / below

    def _big(self, node: Node, point: Point) -> Value:
        low, high = (_whole(self.value(bound, point)) for bound in node.args[:2])
        if high - low > _MOST_STEPS:
            raise Undefined
        total: Value = Fraction(0 if node.op == "sum" else 1)
        for index in range(low, high + 1):
            term = self.value(node.args[2], {**point, node.name: Fraction(index)})
            x, y = self._both(total, term)
            total = self._bounded(x + y if node.op == "sum" else x * y)
        return total

    def _integral(self, node: Node, point: Point) -> Value:
        """Exact for a polynomial, else by quadrature, where that reaches the precision."""
        low, high = (self.value(bound, point) for bound in node.args[:2])
        if imaginary(low) or imaginary(high):
            raise Undefined
        terms = polynomial(node.args[2], node.name, point)
        if terms is not None:
            x, y = self._both(low, high)
            parts = [(y ** (n + 1) - x ** (n + 1)) * t / (n + 1) for n, t in enumerate(terms)]
            return self._sum(*parts)
        ends = [self._real(low), self._real(high)]

        def integrand(x: Value) -> Value:
            return self._real(self.value(node.args[2], {**point, node.name: x}))

        for end in ends:
            integrand(end)  # where it has no value at an end, digits are lost unseen
        value, error = self._context.quad(integrand, ends, error=True)
        if error > self._context.mpf(10) ** -(self._digits - _QUADRATURE_LOSS):
            raise Undefined
        return value


def polynomial(node: Node, name: str, point: Point) -> list[Fraction] | None:
    """The coefficients of a polynomial in `name`, from the constant; None for anything else."""
    if node.op == "number":
        return [node.value]
    if node.op == "variable":
        return [Fraction(0), Fraction(1)] if node.name == name else [point[node.name]]
    if node.op not in ("+", "-", "*", "/", "^"):
        return None
    parts = [polynomial(child, name, point) for child in node.args]
    if any(part is None or len(part) > _MOST_TERMS for part in parts):
        return None
    known = [part for part in parts if part is not None]
    if node.op == "-":
        return [-term for term in known[0]]
    if node.op == "+":
        columns = itertools.zip_longest(*known, fillvalue=Fraction(0))
        return [sum(terms, Fraction(0)) for terms in columns]
    if node.op == "*":
        return _multiplied(*known)
    return _divided_or_raised(node.op, *known)


def _divided_or_raised(op: str, base: list[Fraction], by: list[Fraction]) -> list[Fraction] | None:
    if len(by) != 1:
        return None
    if op == "/":
        return [term / by[0] for term in base] if by[0] else None
    if by[0].denominator != 1 or not 0 < by[0] * len(base) <= _MOST_TERMS:
        return None
    return functools.reduce(_multiplied, [base] * int(by[0]))


def _multiplied(a: list[Fraction], b: list[Fraction]) -> list[Fraction]:
    product = [Fraction(0)] * (len(a) + len(b) - 1)
    for (i, x), (j, y) in itertools.product(enumerate(a), enumerate(b)):
        product[i + j] += x * y
    return product


_MPMATH = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "arccot": "acot"}
_OPERATIONS = {
    "+": "_sum", "-": "_negative", "*": "_product", "/": "_quotient", "^": "_power",
    "root": "_root", "abs": "_absolute", "floor": "_floor", "ceil": "_ceil", "!": "_factorial",
    "binom": "_binomial", "degrees": "_degrees",
}  # fmt: skip


def _whole(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1:
        raise Undefined
    return int(value)


def _exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The rational root of a fraction that is not negative, None where there is none."""
    parts = [_whole_root(part, degree) for part in (value.numerator, value.denominator)]
    return None if None in parts else Fraction(*parts)  # type: ignore[arg-type]


def _whole_root(number: int, degree: int) -> int | None:
    root = math.isqrt(number) if degree == 2 else _nearest_root(number, degree)
    return root if root**degree == number else None


def _nearest_root(number: int, degree: int) -> int:
    """The whole part of a root, by Newton's method from above."""
    if number == 0:
        return 0
    root = 1 << -(-number.bit_length() // degree)
    while (closer := ((degree - 1) * root + number // root ** (degree - 1)) // degree) < root:
        root = closer
    return root
