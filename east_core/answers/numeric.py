r"""The value of a simple LaTeX expression at one fixed point, to tell different answers apart.

Most wrong answers are plainly wrong: 3\sqrt{2} is not 4\sqrt{2}, x + 1 is not x + 2. Evaluating
both where each variable has a fixed value tells them apart in microseconds, where a computer
algebra system needs milliseconds to parse them. Only "different" is ever concluded: expressions
whose values are close go to math-verify, and so does all that this grammar does not know.

    sum     = [+-] product { [+-] product }
    product = factor { [* / \cdot \times] factor }        also without a sign: 2x, (x+1)(x-1)
    factor  = atom [ ^ exponent ]
    atom    = number | letter | \pi | (sum) | {sum} | \frac{sum}{sum} | \sqrt[sum]{sum}
"""

import cmath
import functools
import math
import re

TOLERANCE = 1e-5
"""Values closer than this, relative to the larger or to 1, may be equal."""
_LARGEST = 1e9  # beyond it, rounding errors of double precision could pass the tolerance
_DEPTH = 30
_TOKEN = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+|\\[A-Za-z]+|[A-Za-z]|[-+*/^(){}\[\]]")
_CONSTANTS: dict[str, complex] = {"i": 1j, "e": math.e, r"\pi": math.pi}
_VARIABLES = {
    name: complex(0.6 + (0.7548776662466927 * (index + 1)) % 1.7)
    for index, name in enumerate(
        [*"abcdfghjklmnopqrstuvwxyzABCDFGHIJKLMNOPQRSTUVWXYZ", r"\theta", r"\alpha", r"\beta"]
    )
}


class _Unknown(Exception):
    """The expression is beyond the grammar, or its value beyond what doubles can tell."""


@functools.lru_cache(maxsize=1 << 16)
def value_at_point(latex: str) -> complex | None:
    """The value of `latex` at the fixed point, None where it is not this simple."""
    tokens = _TOKEN.findall(latex)
    if sum(map(len, tokens)) != len(latex.replace(" ", "")):
        return None
    reader = _Reader(tokens)
    try:
        value = reader.sum()
    except (_Unknown, ArithmeticError, ValueError):
        return None
    return value if reader.is_done else None


def plainly_different(a: complex | None, b: complex | None) -> bool:
    """Whether two values are certainly those of different expressions."""
    if a is None or b is None:
        return False
    return abs(a - b) > TOLERANCE * max(1.0, abs(a), abs(b))


class _Reader:
    """Recursive descent over the tokens, evaluating on the way."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._next = 0
        self._depth = 0

    @property
    def is_done(self) -> bool:
        """Whether every token is read."""
        return self._tokens[self._next] == ""

    def _peek(self) -> str:
        return self._tokens[self._next]

    def _take(self, *expected: str) -> str:
        symbol = self._peek()
        if expected and symbol not in expected:
            raise _Unknown
        self._next += 1
        return symbol

    def sum(self) -> complex:
        """A sum of products; the depth of nesting is bounded."""
        self._depth += 1
        if self._depth > _DEPTH:
            raise _Unknown
        negative = self._take() == "-" if self._peek() in ("+", "-") else False
        total = -self._product() if negative else self._product()
        while self._peek() in ("+", "-"):
            total += self._product() if self._take() == "+" else -self._product()
        self._depth -= 1
        return _bounded(total)

    def _product(self) -> complex:
        value = self._factor()
        while True:
            symbol = self._peek()
            if symbol in ("*", r"\cdot", r"\times"):
                self._take()
                value *= self._factor()
            elif symbol == "/":
                self._take()
                value /= self._factor()
                self._refuse_implicit_factor()
            elif _opens_atom(symbol):
                value *= self._factor()
            else:
                return _bounded(value)

    def _refuse_implicit_factor(self) -> None:
        """1/2x may be half of x, or 1 over 2x."""
        if _opens_atom(self._peek()):
            raise _Unknown

    def _factor(self) -> complex:
        value = self._atom()
        if self._peek() != "^":
            return value
        self._take()
        exponent = self._exponent()
        if value == 0 or abs(exponent) > 1000:
            raise _Unknown
        return _bounded(value**exponent)

    def _exponent(self) -> complex:
        """{sum}, a letter or a single digit: x^12 is no more than a slip."""
        if self._peek() == "{":
            return self._group("{", "}")
        if self._peek().isdigit() and len(self._peek()) > 1:
            raise _Unknown
        return self._atom()

    def _group(self, opening: str, closing: str) -> complex:
        self._take(opening)
        value = self.sum()
        self._take(closing)
        return value

    def _atom(self) -> complex:
        symbol = self._peek()
        if symbol == "(":
            return self._group("(", ")")
        if symbol == "{":
            return self._group("{", "}")
        self._take()
        if symbol[:1].isdigit() or symbol[:1] == ".":
            return self._number(symbol)
        if symbol == r"\frac":
            return self._group("{", "}") / self._group("{", "}")
        if symbol == r"\sqrt":
            return self._root()
        value = _CONSTANTS.get(symbol, _VARIABLES.get(symbol))
        if value is None:
            raise _Unknown
        return value

    def _number(self, token: str) -> complex:
        r"""A decimal; 1\frac{1}{2} may be a mixed number, and 2 3 anything."""
        if self._peek() == r"\frac" or self._peek()[:1].isdigit():
            raise _Unknown
        return _bounded(complex(float(token)))

    def _root(self) -> complex:
        degree = self._group("[", "]") if self._peek() == "[" else complex(2)
        radicand = self._group("{", "}")
        if radicand == 0 or (radicand.imag == 0 and radicand.real < 0):
            raise _Unknown  # which of the roots is meant is not for us to say
        return cmath.exp(cmath.log(radicand) / degree)


def _bounded(value: complex) -> complex:
    if abs(value) < _LARGEST:
        return value
    raise _Unknown


def _opens_atom(token: str) -> bool:
    return token[:1].isalnum() or token in ("(", "{") or (token[:1] == "\\" and token not in _SIGNS)


_SIGNS = (r"\cdot", r"\times")
