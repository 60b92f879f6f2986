r"""Canonical forms: the cheap, exact reading of a final answer, without a computer algebra system.

A form says what an answer plainly is: a number, a numeral in a stated base, words, a sequence of
forms (tuple, interval, set), or an expression that only algebra can judge. `compare` decides what
can be decided from the forms alone; None means that math-verify must be asked about the two.

    72  72.0  \$72  72 dollars  \frac{144}{2}     number 72
    50\%  0.5  1/2                                number 1/2 (50\% remembers its sign)
    (1, 2)    1, 2    [1, 2)                      sequence "()", sequence "{}", sequence "[)"
    \text{Sunday}  Sunday                         text "sunday"
    x^2 + 1                                       expression

docs/answers.md lists every choice made here.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from east_core.answers.numeric import plainly_different, value_at_point

FormKind = Literal["number", "numeral", "text", "sequence", "expression"]
Judge = Callable[[str, str], bool | None]

MAX_CHARS = 1000
"""An answer longer than this is compared as text only: no parser is given 100 kB of digits."""
MAX_DEPTH = 20
_MAX_DIGITS = 400
_MAX_ITEMS = 64
_ROUNDED_PLACES = 6
_LARGEST_VALUE = 10**12


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer is. Equal keys are equal answers; different keys may still be equal.

    `value` is the exact value of a number; `places` its written decimal places (0 for a fraction);
    `is_percent` that it was written with a percent sign (`value` is then already divided by 100).
    A sequence has its two `brackets` and its `items`; "{}" is a set and has no order, "2x1" a
    matrix of 2 rows and 1 column.
    `latex` is the tidied text, given to math-verify where it comes to that; of an answer such as
    "y = 3 - x" it is the right side, and `equation` the whole.
    """

    kind: FormKind
    key: str
    latex: str
    value: Fraction | None = None
    places: int = 0
    is_percent: bool = False
    brackets: str = ""
    items: tuple["Form", ...] = ()
    equation: str = ""

    @property
    def is_mathematical(self) -> bool:
        """Whether this reads as mathematics rather than as words."""
        if self.kind == "sequence":
            return all(item.is_mathematical for item in self.items)
        if self.kind == "expression":
            return bool(_MATHEMATICS.search(self.latex)) and not _has_words(self.latex)
        return self.kind in ("number", "numeral")

    @property
    def is_settled(self) -> bool:
        """Whether comparing it with any other form never needs math-verify."""
        return self.kind in ("text", "numeral") or (
            self.kind == "number" and self.places < _ROUNDED_PLACES
        )


def compare(a: Form, b: Form, judge: Judge) -> bool | None:
    """Whether two forms are equal; `judge` answers for two expressions, None where it can't."""
    if a.key == b.key:
        return True
    kinds = {a.kind, b.kind}
    if kinds == {"number"}:
        return _numbers_equal(a, b)
    if kinds & {"text", "numeral"} or kinds == {"sequence", "number"}:
        return False
    if kinds == {"sequence"}:
        return _sequences_equal(a, b, judge)
    values = _value_at_point(a), _value_at_point(b)
    if "sequence" in kinds and values != (None, None):
        return False  # a number is no tuple, interval or matrix
    if plainly_different(*values):
        return False
    return judge(*sorted((_beside(a, b), _beside(b, a))))


def _value_at_point(form: Form) -> complex | None:
    if form.kind == "number":
        return (
            None if form.value is None or abs(form.value) > _LARGEST_VALUE else complex(form.value)
        )
    return value_at_point(form.latex) if form.kind == "expression" else None


def _beside(form: Form, other: Form) -> str:
    """What math-verify is given: "y = 3 - x" beside the equation "x + y = 3", else "3 - x"."""
    return form.equation if form.equation and "=" in other.latex else form.latex


def read_beside(gold: Form, answer: Form) -> Form:
    r"""The reading of `answer` that the gold answer suggests; `gold` itself where they agree.

    Three notations mean different things beside different gold answers:
    - "50\%" beside the gold answer 50, or 50 beside "50\%": the question asks for percents;
    - "1, 2" beside the gold answer (1, 2): a tuple whose parentheses were left out;
    - "1011" beside the gold answer 1011_2: a numeral whose base was left out (or given).
    """
    if {gold.kind, answer.kind} == {"number", "numeral"}:
        return gold if _digits(gold) == _digits(answer) else answer
    if gold.is_percent != answer.is_percent and gold.value is not None and answer.value is not None:
        plain, percent = (answer, gold) if gold.is_percent else (gold, answer)
        return gold if percent.value == plain.value / 100 else answer  # type: ignore[operator]
    if gold.kind == answer.kind == "sequence" and answer.brackets == "{}" != gold.brackets:
        return _bracketed(gold.brackets, answer.items, answer.latex)
    return answer


@functools.lru_cache(maxsize=1 << 16)
def canonical_form(answer: str) -> Form:
    """The form of an answer; the same text always gives the same form.

    An answer of over `MAX_CHARS` characters, or with brackets nested deeper than `MAX_DEPTH`, is
    text: it equals only its own repetition.
    """
    text = answer.strip()
    if len(text) > MAX_CHARS or _deepest(text) > MAX_DEPTH:
        return Form("text", f"long:{' '.join(text.split())}", text)
    plain = _plain_characters(text)
    return _text_form(plain) or _form(_tidy(plain))


def _form(latex: str) -> Form:
    """The form of a tidied text: structure first, then numbers, then what is left."""
    whole = _without_outer_brackets(_unwrapped(latex))
    latex = _without_assignment(whole)
    return (
        _number_form(latex)
        or _time_form(latex)
        or _numeral_form(latex)
        or _text_form(latex)
        or _plus_minus_form(latex)
        or _matrix_form(latex)
        or _sequence_form(latex)
        or _expression_form(latex, "" if latex == whole else _squeeze(whole))
    )


def _expression_form(latex: str, equation: str = "") -> Form:
    bare = _squeeze(_without_units(latex))
    return Form("expression", f"expression:{bare}", bare, equation=equation)


# ---------------------------------------------------------------- characters and LaTeX spelling


def _ordinals(spellings: Mapping[str, str]) -> dict[int, str]:
    return {ord(character): spelling for character, spelling in spellings.items()}


# soft hyphen, zero-width and bidirectional marks, word joiners, the byte-order mark
_INVISIBLE = (0xAD, 0x61C, *range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070))
_SPACES = (0xA0, *range(0x2002, 0x200B), 0x202F, 0x205F, 0x3000)
_CHARACTERS: dict[int, str | None] = {
    **dict.fromkeys((*_INVISIBLE, 0xFEFF)),
    **dict.fromkeys(_SPACES, " "),
    **{ord(c): "-" for c in "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"},
    **{ord(c): "" for c in "€£¥₹₩₽"},
    **{0x0660 + digit: str(digit) for digit in range(10)},
    **{0x06F0 + digit: str(digit) for digit in range(10)},
    **{0xFF10 + digit: str(digit) for digit in range(10)},
    **_ordinals(
        {
            "％": "%", "，": ",", "．": ".", "（": "(", "）": ")", "×": r"\times ",
            "·": r"\cdot ", "⋅": r"\cdot ", "÷": "/", "⁄": "/", "π": r"\pi ", "∞": r"\infty ",
            "√": r"\sqrt ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\neq ", "±": r"\pm ",
            "∪": r"\cup ", "∩": r"\cap ", "∅": r"\emptyset ", "∈": r"\in ", "°": r"^\circ",
            "²": "^{2}", "³": "^{3}", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}",
            "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "≈": r"\approx ",
            "’": "'", "“": '"', "”": '"',
        }
    ),
}  # fmt: skip

_ESTIMATE = r"(?i:about|approximately|around|nearly|exactly|roughly)\b"
_SPELLING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\\$|\$|\\\(|\\\)|(?<!\\)\\\[|(?<!\\)\\\]|\*\*", ""),
        (r"\\(?:left|right|[bB]igg?[lr]?)(?![A-Za-z])\s*\.?", ""),
        (r"\\(?:displaystyle|textstyle|limits|phantom\{[^{}]*\})(?![A-Za-z])|\\!\s*", ""),
        (r"(?<=[0-9])(?:\\,|\\ |~)(?=[0-9]{3}(?![0-9]))", ""),
        (r"(?<!\\)\\[,;:> ]|\\q?quad(?![A-Za-z])|~|\\hspace\{[^{}]*\}", " "),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\{\s*,\s*\}", ","),
        (r"\\%|\s*\bper\s?cent\b", "%"),
        (r",?\s*(?:\\(?:text|mbox|textrm)\s*\{\s*,?\s*(?:and|or)\s*\}|\b(?:and|or)\b)", ","),
        (r"\^\s*\{?\s*\\circ\s*\}?\s*$|\\degrees?\s*$", ""),
        (r"\\(?:mathrm|textrm|mbox|textit|textnormal|operatorname\*?)\s*\{", r"\\text{"),
        (r"\\(?:textbf|mathbf|boldsymbol|bm|emph)\s*\{([^{}]*)\}", r"\1"),
        (r"\\(?:leq|le|leqslant)(?![A-Za-z])|<=", r"\\le "),
        (r"\\(?:geq|ge|geqslant)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\sqrt\s*([0-9A-Za-z])", r"\\sqrt{\1}"),
        (r"\\frac\s*([0-9A-Za-z])\s*([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*([0-9A-Za-z])\s*\{", r"\\frac{\1}{"),
        (r"\\frac\s*\{([^{}]*)\}\s*([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\\[A-Za-z]+)\s*([0-9A-Za-z])", r"\\frac{\1}{\2}"),
        (r"(?<![A-Za-z\\])(?:infinity|infty|inf|oo)(?![A-Za-z])", r"\\infty "),
        (rf"^(?:\\approx(?![a-z])|\\simeq?(?![a-z])|{_ESTIMATE})\s*", ""),
        (r"(?<=\S)\s*\\(?:approx|simeq)(?![A-Za-z]).*$", ""),
        (r"^0+(?=[0-9]+:[0-9])", ""),
    )
)  # fmt: skip


def _plain_characters(text: str) -> str:
    return text.translate(_CHARACTERS).strip()


def _tidy(text: str) -> str:
    for pattern, replacement in _SPELLING:
        text = pattern.sub(replacement, text)
    return text.strip().rstrip(".,;:").strip()


_SPACE = re.compile(r"(\\[A-Za-z]+(?=\s+[A-Za-z])|[0-9](?=\s+[0-9]))\s+|\s+")


def _squeeze(latex: str) -> str:
    r"""Without spaces, but for one that ends a command ("\pi r") or parts two numbers."""
    joined = _SPACE.sub(lambda match: f"{match[1]} " if match[1] else "", latex)
    return re.sub(r"([_^])\{([0-9A-Za-z])\}", r"\1\2", joined)


def _without_outer_brackets(latex: str) -> str:
    """(5), [5] and {5} are 5; {x | x > 0} stays."""
    while len(latex) > 2 and latex[0] in "([{" and _closes_at_end(latex):
        inner = latex[1:-1].strip()
        if not inner or len(_split(inner)) > 1:
            break
        latex = inner
    return latex


_RELATION = re.compile(r"\\(?:le|ge|neq|ne|lt|gt|approx|equiv|in)(?![A-Za-z])|[<>]")
_LEFT_SIDE = re.compile(
    r"\s*(?:\\?[A-Za-z]+(?:_\{?\w\}?)?'?|[A-Za-z]\([A-Za-z](?:,\s*[A-Za-z])*\)"
    r"|\\text\s*\{[^{}]*\}|[A-Za-z]{3,}(?:\s[A-Za-z]+)*)\s*=(?P<right>.+)",
    re.DOTALL,
)
_MEMBERSHIP = re.compile(r"\s*[A-Za-z]\s*\\in\s*(?=[(\[\\])(?!\\mathbb)")


def _without_assignment(latex: str) -> str:
    """ "x = 4/2 = 2" is 2 and "x in (1, 2)" is (1, 2); an equation or a list stays."""
    latex = _MEMBERSHIP.sub("", latex, count=1)
    match = _LEFT_SIDE.fullmatch(latex)
    if match is None or _RELATION.search(latex) or re.match(r"\s*[A-Za-z]{2}\s*=", latex):
        return latex  # "xy = 12" is an equation
    right = match["right"].strip()
    if len(_split(right)) > 1 and not _NUMBER.fullmatch(right):
        return latex
    return right.rsplit("=", maxsplit=1)[-1].strip()


# ---------------------------------------------------------------- numbers

_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_SIGNED = rf"[+-]?\s*{_DECIMAL}"
_SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12,
}  # fmt: skip
_NUMBER = re.compile(
    rf"(?P<sign>[+-]?)\s*(?:"
    rf"(?P<whole>[0-9]+)\s*\\frac\s*\{{\s*(?P<mixed_top>[0-9]+)\s*\}}\s*\{{\s*(?P<mixed_bottom>[0-9]+)\s*\}}"
    rf"|(?P<whole2>[0-9]+)\s+(?P<mixed_top2>[0-9]+)\s*/\s*(?P<mixed_bottom2>[0-9]+)"
    rf"|\\frac\s*\{{\s*(?P<top>{_SIGNED})\s*\}}\s*\{{\s*(?P<bottom>{_SIGNED})\s*\}}"
    rf"|\(?(?P<top2>{_DECIMAL})\s*/\s*(?P<bottom2>{_SIGNED})\)?"
    rf"|(?P<lead>[0-9]*)\.(?P<fixed>[0-9]*)\\overline\s*\{{(?P<repeating>[0-9]+)\}}"
    rf"|(?P<mantissa>{_DECIMAL})(?:(?:\s*(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*\{{?\s*"
    rf"(?P<power>[+-]?[0-9]{{1,3}})\s*\}}?)|[eE](?P<power2>[+-]?[0-9]{{1,3}}))?"
    rf")(?P<suffix>\s*%|\s*(?:\\text\s*\{{)?\s*(?:{'|'.join(_SCALES)})\b.*)?\s*"
)
_UNIT_WORDS = re.compile(
    r"(?<=[0-9)}%])\s*(?:[-]?\s*[A-Za-z]{2,}\.?(?:\s*\^\s*\{?[23]\}?)?(?:\s*/\s*[A-Za-z]+\.?)?(?:\s+|$))+$"
)
_UNIT_TEXT = re.compile(
    r"(?<=\S)\s*\\text\s*\{[^{}]*\}(?:\s*\^\s*\{?\s*[0-9]\s*\}?)?(?:\s*/\s*\\text\s*\{[^{}]*\})?$"
)


def _number_form(latex: str) -> Form | None:
    match = _NUMBER.fullmatch(latex) or _NUMBER.fullmatch(_without_units(latex))
    if match is None or sum(map(str.isdigit, latex)) > _MAX_DIGITS:
        return None
    value = _value(match)
    if value is None:
        return None
    if match["sign"] == "-":
        value = -value
    suffix = (match["suffix"] or "").strip()
    percent = suffix == "%"
    value *= _scale(suffix)
    places = 0 if percent else _places(match)
    return Form("number", f"number:{value}", _number_latex(value, places), value, places, percent)


def _number_latex(value: Fraction, places: int) -> str:
    """As math-verify should see it: a rounded decimal stays one, all else is exact."""
    if places >= _ROUNDED_PLACES:
        return f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return (
        str(value)
        if value.denominator == 1
        else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    )


def _scale(suffix: str) -> Fraction:
    if suffix == "%":
        return Fraction(1, 100)
    return Fraction(next((size for word, size in _SCALES.items() if word in suffix), 1))


def _places(match: re.Match[str]) -> int:
    mantissa = match["mantissa"] or ""
    return len(mantissa.partition(".")[2]) - int(match["power"] or match["power2"] or 0)


def _value(match: re.Match[str]) -> Fraction | None:
    """The unsigned value of a number; None for a fraction over zero."""
    part = match.groupdict()
    if part["mantissa"]:
        power = int(part["power"] or part["power2"] or 0)
        return _decimal(part["mantissa"]) * Fraction(10) ** power
    if part["repeating"]:
        return _repeating(part["lead"], part["fixed"], part["repeating"])
    whole = part["whole"] or part["whole2"] or "0"
    top = part["top"] or part["top2"] or part["mixed_top"] or part["mixed_top2"]
    bottom = part["bottom"] or part["bottom2"] or part["mixed_bottom"] or part["mixed_bottom2"]
    denominator = _decimal(bottom)
    return int(whole) + _decimal(top) / denominator if denominator else None


def _decimal(written: str) -> Fraction:
    return Fraction(re.sub(r"[\s,+]", "", written).rstrip(".") or "0")


def _repeating(lead: str, fixed: str, repeating: str) -> Fraction:
    r"""0.1\overline{6} is 1/10 + 6/90."""
    start = Fraction(int(lead + fixed or "0"), 10 ** len(fixed))
    return start + Fraction(int(repeating), 10 ** len(fixed) * (10 ** len(repeating) - 1))


def _without_units(latex: str) -> str:
    """ "5 cm^2" and "5\\text{ square units}" are 5: units are not compared."""
    bare = _UNIT_TEXT.sub("", latex)
    words = _UNIT_WORDS.search(bare)
    if words and not _MATH_NAMES.search(words[0]):
        bare = bare[: words.start()]
    return bare.strip().removesuffix("^\\circ").strip() or latex


def _numbers_equal(a: Form, b: Form) -> bool:
    """Exact values, but a decimal of six places or more stands for what rounds to it.

    So 0.333333 is 1/3 (as in math-verify), and 0.33 is not.
    """
    if a.value is None or b.value is None or a.value == b.value:
        return a.value == b.value
    rounded = [form.places for form in (a, b) if form.places >= _ROUNDED_PLACES]
    return bool(rounded) and abs(a.value - b.value) <= Fraction(1, 2 * 10 ** min(rounded))


_TIME = re.compile(r"([0-9]{1,2}):([0-5][0-9])([ap])\.?m\.?", re.IGNORECASE)


def _time_form(latex: str) -> Form | None:
    """ "8:34 p.m." is a time of day; without a.m. or p.m. it may be a ratio."""
    match = _TIME.fullmatch(_TEXT_COMMAND.sub(r"\1", latex).replace(" ", ""))
    if match is None:
        return None
    return Form("text", f"time:{int(match[1])}:{match[2]}{match[3].lower()}", latex)


_NUMERAL = re.compile(r"(-?[0-9A-Fa-f.]+)\s*_\s*\{?\s*(?:\\text\s*\{)?([0-9]{1,2}|[a-z]+)\}?\}?")


def _numeral_form(latex: str) -> Form | None:
    """ "1011_2" keeps its base: it is neither 1011 nor 11 in the base-ten sense of the question."""
    match = _NUMERAL.fullmatch(_TEXT_COMMAND.sub(r"\1", latex))
    if match is None or not any(map(str.isdigit, match[1])):
        return None
    return Form("numeral", f"numeral:{match[1].lower()}_{match[2]}", latex)


def _digits(form: Form) -> str:
    return form.key.partition(":")[2].partition("_")[0]


# ---------------------------------------------------------------- words

_MATH_NAMES = re.compile(
    r"(?<![A-Za-z])(?:sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan|log|ln|exp|sqrt|pi|infinity"
    r"|infty|mod|max|min|gcd|lcm|deg|frac|cdot|times|pm)(?![A-Za-z])"
)
_MATHEMATICS = re.compile(r"[0-9\\]|(?<![A-Za-z])[A-Za-z](?![A-Za-z])")
_SHORT_WORDS = {"yes", "no", "odd", "even", "true", "none", "all", "sum"}
_PHRASE = re.compile(r"[^\W\d_]+(?:[ '\-]+(?:[^\W\d_]+|[0-9]+))*")
_CHOICE = re.compile(r"\(?([A-J])\)(?:\s+\S.*)?|([A-J])[.:]\s+\S.*|\(?([A-J])\)?", re.DOTALL)
_TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox|textnormal|emph)\s*\{([^{}]*)\}"
)


_WRAPPED = re.compile(r"\\(?:text|boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")


def _unwrapped(latex: str) -> str:
    match = _WRAPPED.fullmatch(latex.strip())
    return (match[1] if match else latex).strip()


def _text_form(text: str) -> Form | None:
    r"""Words, in or out of \text{...}, without case; "(C)", "C." and "C) 12" are the choice C."""
    in_text = _TEXT_COMMAND.sub(r"\1", text)
    words = " ".join(in_text.replace("$", "").replace("**", "").strip(" .,!\"'").split())
    choice = _CHOICE.fullmatch(words)
    if choice:
        letter = choice[1] or choice[2] or choice[3]
        return Form("text", f"text:{letter.lower()}", words)
    bare = words.strip("()[]{} ")
    if not _PHRASE.fullmatch(bare) or (in_text == text and not _are_plain_words(bare)):
        return None
    return Form("text", f"text:{bare.casefold()}", bare)


def _are_plain_words(phrase: str) -> bool:
    """Words rather than a product of variables: "no solution" and "even", but not "xy"."""
    parts = phrase.split()
    if re.match(_ESTIMATE, phrase):
        return False
    has_word = any(len(part) >= 4 or part.lower() in _SHORT_WORDS for part in parts)
    return has_word and not _MATH_NAMES.search(phrase)


def _has_words(latex: str) -> bool:
    """Whether prose stands between the formulas."""
    words = re.findall(r"(?<![A-Za-z\\])[A-Za-z]{2,}", re.sub(r"\\[A-Za-z]+", " ", latex))
    return any(len(word) > 3 and not _MATH_NAMES.fullmatch(word) for word in words)


# ---------------------------------------------------------------- sequences

_PAIRS = {"(": ")]", "[": ")]", "{": "}"}
_DEPTH = re.compile(r"\\begin\b|\\end\b|\\[{}]|[()\[\]{}]|[,;]")


def _plus_minus_form(latex: str) -> Form | None:
    r"""3 \pm 2 is the set of 3 + 2 and 3 - 2."""
    if latex.count(r"\pm") != 1 or r"\mp" in latex or len(_split(latex)) != 1:
        return None
    return _bracketed("{}", tuple(_form(latex.replace(r"\pm", sign)) for sign in "+-"), latex)


def _sequence_form(latex: str) -> Form | None:
    r"""A tuple, an interval or a set; a bare list "1, 2" is a set, for it answers "find all"."""
    brackets, inner = "{}", latex
    body = latex.replace(r"\{", "{").replace(r"\}", "}")
    if body[:1] in _PAIRS and body[-1:] in _PAIRS[body[0]] and _closes_at_end(body):
        brackets, inner = body[0] + body[-1], body[1:-1]
    parts = _split(inner)
    if not 2 <= len(parts) <= _MAX_ITEMS or r"\begin" in latex or not all(parts):
        return _singleton_form(inner, brackets, latex)
    return _bracketed(brackets, _item_forms(parts), latex)


_MATRIX = re.compile(r"\\begin\{([pb]?)matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)


def _matrix_form(latex: str) -> Form | None:
    """A matrix or column vector: its entries in order, and its shape in place of brackets."""
    match = _MATRIX.fullmatch(latex)
    if match is None or r"\begin" in match[2]:
        return None
    lines = re.split(r"\\\\(?:\[[^\]]*\])?", match[2].strip().removesuffix("\\\\"))
    rows = [line.split("&") for line in lines]
    if len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > _MAX_ITEMS:
        return None
    items = tuple(_form(entry) for row in rows for entry in row)
    return _bracketed(f"{len(rows)}x{len(rows[0])}", items, latex)


def _singleton_form(inner: str, brackets: str, latex: str) -> Form | None:
    r"""\{5\} is 5; a set described by a condition stays an expression."""
    is_set = brackets == "{}" and inner != latex and inner.strip()
    return _form(inner) if is_set and not re.search(r"\||\\mid|:|,", inner) else None


def _item_forms(parts: Sequence[str]) -> tuple[Form, ...]:
    """Items "x = 1", "x = 2" are 1 and 2; "x = 1", "y = 2" keep their names."""
    names = [part.partition("=")[0].strip() for part in parts if "=" in part]
    if len(set(names)) < 2:
        return tuple(map(_form, parts))
    return tuple(map(_expression_form, parts))


def _bracketed(brackets: str, items: tuple[Form, ...], latex: str) -> Form:
    keys = [item.key for item in items]
    if brackets == "{}":
        keys = sorted(set(keys))
        if len(keys) == 1:
            return items[0]
    key = f"sequence:{brackets} {' ; '.join(keys)}"
    return Form("sequence", key, _squeeze(latex), brackets=brackets, items=items)


def _split(text: str) -> list[str]:
    """The parts between top-level commas or semicolons."""
    parts, depth, start = [], 0, 0
    for token in _DEPTH.finditer(text):
        depth += _step(token[0])
        if token[0] in ",;" and depth == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
    return [*parts, text[start:].strip()]


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that opens the text is closed by its last character."""
    depth = 0
    for token in _DEPTH.finditer(text):
        depth += _step(token[0])
        if depth == 0 and token[0] not in ",;":
            return token.end() == len(text)
    return False


def _deepest(text: str) -> int:
    steps = itertools.accumulate(_step(token[0]) for token in _DEPTH.finditer(text))
    return max(steps, default=0)


def _step(token: str) -> int:
    if token in ("(", "[", "{", r"\{", r"\begin"):
        return 1
    return -1 if token in (")", "]", "}", r"\}", r"\end") else 0


def _sequences_equal(a: Form, b: Form, judge: Judge) -> bool | None:
    if a.brackets != b.brackets:
        return False
    if a.brackets != "{}":
        return _ordered_equal(a.items, b.items, judge)
    return _conjunction(
        _disjunction(compare(item, other, judge) for other in there)
        for here, there in ((a.items, b.items), (b.items, a.items))
        for item in here
    )


def _ordered_equal(a: Sequence[Form], b: Sequence[Form], judge: Judge) -> bool | None:
    if len(a) != len(b):
        return False
    return _conjunction(compare(x, y, judge) for x, y in zip(a, b, strict=True))


def _conjunction(verdicts: Iterator[bool | None]) -> bool | None:
    """True if all are, False if one is, None while open."""
    known = list(verdicts)
    if False in known:
        return False
    return None if None in known else True


def _disjunction(verdicts: Iterator[bool | None]) -> bool | None:
    known = list(verdicts)
    if True in known:
        return True
    return None if None in known else False
