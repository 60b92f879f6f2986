r"""Numbers as people write them: decimals, fractions, mixed numbers, percents, scales, numerals."""

import re
from fractions import Fraction

from east_core.answers.form import Form
from east_core.answers.numeric import rational_value
from east_core.answers.spelling import squeeze
from east_core.answers.units import without_unit
from east_core.answers.words import TEXT_COMMAND

ROUNDED = 6
"""A decimal of so many places and digits may stand for what rounds to it."""
_MAX_DIGITS = 400
_DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[0-9]+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
_SIGNED = rf"[+-]?\s*{_DECIMAL}"
_SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12,
    "dozen": 12,
}  # fmt: skip
NUMBER = re.compile(
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
_NUMERAL = re.compile(r"(-?[0-9A-Fa-f.]+)\s*_\s*\{?\s*(?:\\text\s*\{)?([0-9]{1,2}|[a-z]+)\}?\}?")


def number_form(latex: str) -> Form | None:
    """The form of a written number, with or without a unit."""
    match, unit = NUMBER.fullmatch(latex), ""
    if match is None:
        bare, unit = without_unit(latex)
        match = NUMBER.fullmatch(bare)
    if match is None or sum(map(str.isdigit, latex)) > _MAX_DIGITS:
        return None
    value = _value(match)
    if value is None:
        return None
    suffix = (match["suffix"] or "").strip()
    percent = suffix == "%"
    value *= _scale(suffix) * (-1 if match["sign"] == "-" else 1)
    return form_of_value(value, 0 if percent else _places(match), percent, unit, squeeze(latex))


def form_of_value(
    value: Fraction, places: int = 0, percent: bool = False, unit: str = "", written: str = ""
) -> Form:
    """The form of an exact value."""
    latex = (
        str(value)
        if value.denominator == 1
        else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
    )
    return Form("number", f"number:{value}", latex, value, places, percent, unit, written=written)


def computed_form(latex: str) -> Form | None:
    r"""The number that a formula without variables comes to exactly: 2^{10}, \frac{1}{20!}."""
    bare, unit = without_unit(latex)
    value = rational_value(squeeze(bare))
    return None if value is None else form_of_value(value, 0, False, unit, squeeze(latex))


def numeral_form(latex: str) -> Form | None:
    """ "1011_2" keeps its base: it is neither 1011 nor 11 in the base-ten sense of the question."""
    match = _NUMERAL.fullmatch(TEXT_COMMAND.sub(r"\1", latex))
    if match is None or not any(map(str.isdigit, match[1])):
        return None
    return Form("numeral", f"numeral:{match[1].lower()}_{match[2]}", latex)


def digits(form: Form) -> str:
    """What is written before the base of a numeral, or the number itself."""
    return form.key.partition(":")[2].partition("_")[0]


def _scale(suffix: str) -> Fraction:
    if suffix == "%":
        return Fraction(1, 100)
    return Fraction(next((size for word, size in _SCALES.items() if word in suffix), 1))


def _places(match: re.Match[str]) -> int:
    """The decimal places of a number that may be rounded, else 0: 3.61e-10 has too few digits."""
    mantissa = match["mantissa"] or ""
    significant = len(mantissa.replace(".", "").replace(",", "").lstrip("0"))
    places = len(mantissa.partition(".")[2]) - int(match["power"] or match["power2"] or 0)
    return places if places >= ROUNDED and significant >= ROUNDED else 0


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
