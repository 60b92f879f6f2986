r"""LaTeX -> a formula, read whole or not at all.

The grammar is the part of LaTeX in which final answers are written and that has one reading. What
it does not know, or what could be read in two ways (1/2x, 2 3, x'), raises `Unread`: no symbol is
ever skipped.

    sum      = [+-] product { [+-] product }
    product  = factor { [* / \cdot \times \div] factor }    also without a sign: 2x, (x+1)(x-1)
    factor   = atom { ! | ^\circ } [ ^ exponent ]
    atom     = number | symbol | (sum) | |sum| | \frac{sum}{sum} | \sqrt[sum]{sum} | function
             | \binom{sum}{sum} | \sum_{k=sum}^{sum} product | \prod_{k=sum}^{sum} product
             | \int_{sum}^{sum} sum dx
    function = \sin^{2} x | \log_{2} (x) | \gcd(sum, sum) | f(sum) ...
"""

import functools
import re
from dataclasses import dataclass
from fractions import Fraction

MAX_DEPTH = 30
_NAMES = (
    "arcsin|arccos|arctan|arccot|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|sqrt|exp|log|ln|gcd|lcm"
    "|max|min"
)
_TOKEN = re.compile(
    rf"[0-9]+(?:\.[0-9]+)?|\.[0-9]+|\\[A-Za-z]+|(?<![A-Za-z])(?:{_NAMES}|pi)(?![a-z])"
    r"|[A-Za-z]|[-+*/^_(){}\[\]|!,=]"
)
FUNCTIONS = frozenset(
    ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "arccot", "sinh",
     "cosh", "tanh", "ln", "log", "lg", "exp")
)  # fmt: skip
LISTS = frozenset(("gcd", "lcm", "max", "min"))
_ANGLES = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_GREEK = frozenset(
    (r"\alpha", r"\beta", r"\gamma", r"\delta", r"\epsilon", r"\varepsilon", r"\zeta", r"\eta",
     r"\theta", r"\vartheta", r"\iota", r"\kappa", r"\lambda", r"\mu", r"\nu", r"\xi", r"\rho",
     r"\sigma", r"\tau", r"\phi", r"\varphi", r"\chi", r"\psi", r"\omega", r"\Gamma", r"\Delta",
     r"\Theta", r"\Lambda", r"\Xi", r"\Sigma", r"\Phi", r"\Psi", r"\Omega", r"\ell")
)  # fmt: skip
_BRACKETS = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}
_BARS = {r"\lvert": r"\rvert", "|": "|", r"\vert": r"\vert"}
_INTEGRAL = r"\int"
_BIG = {r"\sum": "sum", r"\prod": "prod", _INTEGRAL: "int"}
_TIMES = ("*", r"\cdot", r"\times")
_OVER = ("/", r"\div")
_UNKNOWN_FUNCTIONS = frozenset("fg")


class Unread(Exception):
    """The text is beyond the grammar, or has more than one reading."""


@dataclass(frozen=True, slots=True)
class Node:
    """An operation on formulas; `name` is that of a variable, or of a sum's index."""

    op: str
    args: "tuple[Node, ...]" = ()
    name: str = ""
    value: Fraction = Fraction(0)


@functools.lru_cache(maxsize=1 << 14)
def read_formula(latex: str) -> Node | None:
    """The formula that `latex` says, None where it is not wholly read."""
    tokens = _TOKEN.findall(latex)
    if sum(map(len, tokens)) != len(re.sub(r"\s", "", latex)):
        return None
    reader = _Reader(tokens)
    try:
        node = reader.sum()
    except Unread:
        return None
    return node if reader.is_done else None


def variables(node: Node) -> frozenset[str]:
    """The names that the value of a formula depends on."""
    if node.op == "variable":
        return frozenset((node.name,))
    below = list(map(variables, node.args))
    if node.op in _BIG.values():
        below[-1] -= {node.name}  # only the body is bound: \int_0^x x dx depends on x
    return frozenset[str]().union(*below)


class _Reader:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._next = 0
        self._depth = 0
        self._closing_bars: list[str] = []
        self._angle = False
        self._bound: list[str] = []

    @property
    def is_done(self) -> bool:
        """Whether every token is read."""
        return self._tokens[self._next] == ""

    def _peek(self) -> str:
        return self._tokens[self._next]

    def _take(self, *expected: str) -> str:
        symbol = self._peek()
        if symbol == "" or (expected and symbol not in expected):
            raise Unread
        self._next += 1
        return symbol

    def _took(self, *symbols: str) -> bool:
        found = self._peek() in symbols
        self._next += found
        return found

    def sum(self) -> Node:
        """A sum of products; the depth of nesting is bounded."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unread
        terms = [self._signed_product()]
        while self._peek() in ("+", "-"):
            terms.append(self._signed_product())
        self._depth -= 1
        return terms[0] if len(terms) == 1 else Node("+", tuple(terms))

    def _signed_product(self) -> Node:
        sign = self._take() if self._peek() in ("+", "-") else "+"
        product = self._product()
        return Node("-", (product,)) if sign == "-" else product

    def _product(self) -> Node:
        value = self._factor()
        while True:
            symbol = self._peek()
            if self._took(*_TIMES):
                value = Node("*", (value, self._signed_factor()))
            elif self._took(*_OVER):
                value = Node("/", (value, self._signed_factor()))
                self._refuse_implicit_factor()
            elif self._opens_atom(symbol):
                self._refuse_mixed_number(symbol)
                value = Node("*", (value, self._factor()))
            else:
                return value

    def _signed_factor(self) -> Node:
        return Node("-", (self._factor(),)) if self._took("-") else self._factor()

    def _refuse_implicit_factor(self) -> None:
        """1/2x may be half of x, or 1 over 2x."""
        if self._opens_atom(self._peek()):
            raise Unread

    def _refuse_mixed_number(self, symbol: str) -> None:
        r"""1\frac{1}{2} may be a mixed number, and 2 3 anything."""
        before = self._tokens[self._next - 1]
        if _is_number(symbol) or (symbol == r"\frac" and _is_number(before)):
            raise Unread

    def _factor(self) -> Node:
        value = self._atom()
        while self._peek() == "!":
            self._take()
            if self._peek() == "!":
                raise Unread  # a double factorial
            value = Node("!", (value,))
        while self._peek() == "^":
            self._take()
            if self._took_degrees():
                value = Node("degrees", (value,)) if self._angle else value
                continue
            value = Node("^", (value, self._exponent()))
            if self._peek() == "^":
                if self._tokens[self._next + 1] not in (r"\circ", "{"):
                    raise Unread
                continue
        return value

    def _took_degrees(self) -> bool:
        if self._peek() == r"\circ":
            return self._took(r"\circ")
        if self._tokens[self._next : self._next + 3] == ["{", r"\circ", "}"]:
            self._next += 3
            return True
        return False

    def _exponent(self) -> Node:
        """{sum}, a letter or a single digit: x^12 is no more than a slip."""
        if self._took("-"):
            return Node("-", (self._exponent(),))
        if self._peek() == "{":
            return self._group("{")
        if _is_number(self._peek()) and len(self._peek()) > 1:
            raise Unread
        return self._atom()

    def _group(self, opening: str) -> Node:
        self._take(opening)
        bars, self._closing_bars = self._closing_bars, []
        value = self.sum()
        self._closing_bars = bars
        self._take(_BRACKETS[opening])
        return value

    def _atom(self) -> Node:
        symbol = self._peek()
        if symbol in ("(", "{", "["):
            return self._group(symbol)
        if symbol in (r"\lfloor", r"\lceil"):
            return Node(symbol[2:], (self._group(symbol),))
        self._take()
        if _is_number(symbol):
            return Node("number", value=Fraction(symbol))
        if symbol in _BARS:
            return self._bars(_BARS[symbol])
        if symbol in (r"\frac", r"\binom"):
            op = "/" if symbol == r"\frac" else "binom"
            return Node(op, (self._part(), self._part()))
        if symbol in _BIG:
            return self._integral() if symbol == _INTEGRAL else self._big(_BIG[symbol])
        name = symbol.removeprefix("\\")
        if name == "sqrt":
            return self._root()
        if name in FUNCTIONS:
            return self._function(name)
        if name in LISTS:
            return Node(name, tuple(self._arguments()))
        return self._symbol(symbol)

    def _part(self) -> Node:
        r"""{sum}, or one digit or letter: \frac{a}3."""
        symbol = self._peek()
        if symbol != "{" and (len(symbol) != 1 or not symbol.isalnum()):
            raise Unread
        return self._group("{") if symbol == "{" else self._atom()

    def _bars(self, closing: str) -> Node:
        self._closing_bars.append(closing)
        value = self.sum()
        self._take(closing)
        self._closing_bars.pop()
        return Node("abs", (value,))

    def _root(self) -> Node:
        degree = self._group("[") if self._peek() == "[" else Node("number", value=Fraction(2))
        opening = self._peek()
        if opening not in ("{", "("):
            raise Unread
        return Node("root", (self._group(opening), degree))

    def _symbol(self, symbol: str) -> Node:
        r"""A constant, a variable such as x_1 or \theta, or an unknown function's value f(x)."""
        if symbol in (r"\pi", "pi"):
            return Node("pi")
        if not (symbol in _GREEK or (len(symbol) == 1 and symbol.isalpha())):
            raise Unread
        name = symbol
        if self._took("_"):
            name += "_" + self._subscript()
        if name in ("e", "i") and name not in self._bound:
            return Node(name)
        if name in _UNKNOWN_FUNCTIONS and self._peek() == "(":
            return Node("unknown", tuple(self._arguments()), name=name)
        return Node("variable", name=name)

    def _subscript(self) -> str:
        if self._peek() != "{":
            symbol = self._take()
            if not symbol.isalnum():
                raise Unread
            return symbol
        start, depth = self._next, 0
        while True:
            depth += {"{": 1, "}": -1}.get(self._take(), 0)
            if depth == 0:
                return "".join(self._tokens[start + 1 : self._next - 1])

    def _arguments(self) -> list[Node]:
        self._take("(")
        bars, self._closing_bars = self._closing_bars, []
        values = [self.sum()]
        while self._took(","):
            values.append(self.sum())
        self._closing_bars = bars
        self._take(")")
        return values

    def _function(self, name: str) -> Node:
        r"""\sin^2 x, \log_2 8, \sin 2x: an argument without brackets is a product of atoms."""
        base = power = None
        if self._took("_"):
            if name != "log":
                raise Unread
            base = self._group("{") if self._peek() == "{" else self._atom()
        if self._took("^"):
            power = self._exponent()
        if power == Node("-", (Node("number", value=Fraction(1)),)) and name in _INVERSES:
            name, power = _INVERSES[name], None
        angle, self._angle = self._angle, name in _ANGLES
        argument = self._argument()
        self._angle = angle
        value = Node(name, (argument,) if base is None else (argument, base))
        return value if power is None else Node("^", (value, power))

    def _argument(self) -> Node:
        if self._peek() in ("(", "{", "["):
            value = self._group(self._peek())
            if self._peek() == "^":
                raise Unread  # \sin(x)^2 may be the square of either
            return value
        value = self._factor()
        while self._opens_atom(self._peek()) and not self._opens_function(self._peek()):
            if self._peek() in ("(", "[", r"\frac"):
                raise Unread  # \sin x(y+1) may end at x
            value = Node("*", (value, self._factor()))
        if self._peek() in ("/", r"\div"):
            raise Unread  # \sin x/2 may be the half of either
        return value

    def _big(self, op: str) -> Node:
        r"""\sum_{k=1}^{n} k^2: its body is the product that follows."""
        self._take("_")
        self._take("{")
        index = self._take()
        if not (len(index) == 1 and index.isalpha()):
            raise Unread
        self._take("=")
        low = self.sum()
        self._take("}")
        self._take("^")
        high = self._exponent()
        self._bound.append(index)
        body = self._product()
        self._bound.pop()
        return Node(op, (low, high, body), name=index)

    def _integral(self) -> Node:
        r"""\int_{0}^{1} x^2 dx: its body ends at the one "dx"; a double integral is not read."""
        self._take("_")
        low = self._exponent()
        self._take("^")
        high = self._exponent()
        start = self._next
        ends = self._differentials(start)
        if len(ends) != 1:
            raise Unread
        name = self._tokens[ends[0] + 1]
        reader = _Reader(self._tokens[start : ends[0]] or ["1"])
        reader._depth, reader._bound = self._depth, [*self._bound, name]
        body = reader.sum()
        self._next = ends[0] + 2
        follows = self._peek()
        if not reader.is_done or follows in ("!", "^", "_", *_TIMES, *_OVER):
            raise Unread
        if self._opens_atom(follows):
            raise Unread
        return Node("int", (low, high, body), name=name)

    def _differentials(self, start: int) -> list[int]:
        """Where "dx" stands behind `start`, outside of brackets."""
        depth, found = 0, []
        for index in range(start, len(self._tokens) - 1):
            symbol, following = self._tokens[index : index + 2]
            depth += (symbol in _BRACKETS) - (symbol in _BRACKETS.values())
            if depth < 0:
                break
            is_name = following in _GREEK or (len(following) == 1 and following.isalpha())
            if depth == 0 and symbol == "d" and is_name:
                found.append(index)
        return found

    def _opens_function(self, token: str) -> bool:
        return token.removeprefix("\\") in FUNCTIONS | LISTS or token in _BIG

    def _opens_atom(self, token: str) -> bool:
        if self._closing_bars and token == self._closing_bars[-1]:
            return False
        if token in ("(", "{", "[") or token in _BARS or token[:1].isalnum() or token[:1] == ".":
            return True
        return token[:1] == "\\" and token not in _NOT_ATOMS


_NOT_ATOMS = frozenset((r"\cdot", r"\times", r"\div", r"\rfloor", r"\rceil", r"\rvert"))


def _is_number(token: str) -> bool:
    return token[:1].isdigit() or (token[:1] == "." and len(token) > 1)
