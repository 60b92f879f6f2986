r"""Units beside a number. They are not compared ("5 cm" is 5), so what is one is told narrowly.

A unit is in \text{}, or a word apart from the number ("5 apples"), or a spelling that can hardly be
a product ("5cm", "5 m/s"). Letters without either are variables: 5xy is no 5.
"""

import re

from east_core.answers.spelling import squeeze
from east_core.answers.words import MATH_NAMES

_KNOWN = (
    "millimeters?|centimeters?|kilometers?|meters?|miles?|inch(?:es)?|feet|foot|yards?|seconds?"
    "|minutes?|hours?|days?|weeks?|months?|years?|grams?|kilograms?|pounds?|ounces?|dollars?|cents?"
    "|degrees?|radians?|units?|cm|mm|km|dm|nm|kg|mg|ml|mL|kW|Hz|kHz|MHz|mph|kmh|kph|ft|yd|lbs?|oz"
    "|hrs?|min|mins|secs?|USD|EUR|GBP|CNY|RMB|INR|rad|mol|kJ|kPa|Pa|bits?|bytes?|GB|MB|KB|kB|gal"
    "|qt|pt|in"
)
_LETTER = "[msghLlNJWVAKFCt]"
_POWER = r"(?:\s*\^\s*\{?\s*-?[1-3]\s*\}?)?"
_ONE = rf"(?:(?:{_KNOWN})(?![A-Za-z])|{_LETTER}(?![A-Za-z])){_POWER}"
_COMPOUND = re.compile(rf"(?<=[0-9)}}])\s*(?:{_ONE})(?:\s*(?:/|\bper\b)\s*(?:{_ONE}))+$")
_BARE = re.compile(rf"(?<=[0-9)}}])\s*(?:{_KNOWN})(?![A-Za-z]){_POWER}$")
_BARE_LETTER = re.compile(rf"(?<=[0-9])\s+(?P<letter>{_LETTER}{_POWER})$")
_VARIABLE = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])|[A-Za-z][_^]")
_WORDS = re.compile(
    r"(?<=[0-9)}%])(?:\s+|-)(?P<words>[A-Za-z]{3,}\.?(?:[ -]+[A-Za-z]+\.?)*)"
    rf"{_POWER}(?:\s*/\s*[A-Za-z]+\.?)?$"
)
_TEXT = re.compile(
    rf"(?<=\S)\s*\\text\s*\{{(?P<text>(?:[^{{}}]|\{{-?[1-9]\}})*)\}}{_POWER}"
    rf"(?:\s*/\s*\\text\s*\{{[^{{}}]*\}}{_POWER})?$"
)
_UNIT_TEXT = re.compile(r"[\sA-Za-z.°/(){}$^0-9-]*[A-Za-z%°$][\sA-Za-z.°/(){}$^0-9-]*")
_CLAUSE = re.compile(r"(?<![A-Za-z])(?:if|for|when|where|mod|base|remainder|times|plus|minus)\b")
_ANGLE_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_VOWEL = re.compile("[aeiouy]", re.IGNORECASE)
_SHORT_NOUNS = frozenset(
    ("cup", "day", "egg", "cow", "men", "dog", "cat", "car", "pen", "box", "bag", "toy", "pie",
     "man", "boy", "bus", "row", "red")
)  # fmt: skip


def without_unit(latex: str) -> tuple[str, str]:
    r"""The text without the unit beside its number, and the unit; "" where there is none."""
    bare = latex
    for pattern in (_TEXT, _COMPOUND, _BARE, _WORDS):
        match = pattern.search(bare)
        if match and _is_unit(match) and (pattern is _TEXT or not _has_variable(bare, match)):
            rest, _ = without_unit(bare[: match.start()].rstrip(" -"))
            return rest or latex, _squeezed(match[0])
    if not _ANGLE_FUNCTION.search(bare):
        bare = re.sub(r"\s*\^\s*\{?\s*\\circ\s*\}?$", "", bare)
    return bare.strip() or latex, ""


def possible_unit(latex: str) -> tuple[str, str]:
    """As `without_unit` for one letter apart from its number: "72 m" may be 72 or a product."""
    match = _BARE_LETTER.search(latex)
    if match is None or _has_variable(latex, match):
        return latex, ""
    return latex[: match.start()], squeeze(match["letter"])


def _has_variable(latex: str, match: re.Match[str]) -> bool:
    """Whether a letter stands before a bare unit: x + 2cm is a sum of products."""
    before = re.sub(r"\\[A-Za-z]+|(?<=[0-9.])[eE](?=[+-]?[0-9])", "", latex[: match.start()])
    return _VARIABLE.search(before) is not None


def _is_unit(match: re.Match[str]) -> bool:
    groups = match.groupdict()
    if groups.get("text") is not None:
        text = groups["text"]
        one_letter = len(text.strip()) == 1 and not re.fullmatch(_LETTER, text.strip())
        return bool(_UNIT_TEXT.fullmatch(text)) and not one_letter and not _CLAUSE.search(text)
    words = groups.get("words")
    return words is None or (_are_nouns(words) and not _CLAUSE.search(words))


def _are_nouns(words: str) -> bool:
    first = re.split("[ .-]", words)[0]
    known = len(first) >= 4 or first.lower() in _SHORT_NOUNS or len(words) > 6
    return known and bool(_VOWEL.search(first)) and not MATH_NAMES.search(words)


def _squeezed(unit: str) -> str:
    return re.sub(r"\\text|[\s{}()^.-]", "", unit).lower()
