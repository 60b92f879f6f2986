r"""Answers of several parts: tuples, intervals, sets, unions, matrices, and lists with names."""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from east_core.answers.brackets import closes_at_end, split
from east_core.answers.form import EMPTY, INFINITY, MINUS_INFINITY, UNION, Form, bracketed, solved
from east_core.answers.numbers import form_of_value
from east_core.answers.regions import intersected, united
from east_core.answers.spelling import squeeze

Read = Callable[[str], Form]

MAX_ITEMS = 64
COMMAS = r"[,;]|\\land(?![A-Za-z])|\\lor(?![A-Za-z])"
_PAIRS = {"(": ")]", "[": ")]", "{": "}"}
_MATRIX = re.compile(
    r"\\begin\{([pbv]?)matrix\}(.*)\\end\{\1matrix\}"
    r"|\\begin\{array\}\{[lcr|]*\}(?P<array>.*)\\end\{array\}",
    re.DOTALL,
)
_FACTOR = re.compile(
    r"[-+]?(?:[\d./\s]|(?<![A-Za-z])[A-Za-z](?![A-Za-z])|\\[dt]?frac|\\sqrt|\{[^{}]*\}|\([^()]*\))*"
    r"(?:\\cdot|\\times|\*)?\s*"
)
_FACTOR_END = re.compile(r"\s*(?:\\cdot|\\times|\*)?\s*$")
_NAMED = re.compile(r"(?P<name>[A-Za-z][A-Za-z ]{0,20}?)\s*:\s*(?P<item>[^:=]+)")
_RATIO = re.compile(r"\s*[0-9./]+\s*(?::\s*[0-9./]+\s*)+")
_CONDITION = re.compile(r"\||\\mid|:|,")
_REALS = re.compile(r"\\mathbb\s*\{?R\}?|\\R(?![A-Za-z])|\(-\\infty\s*,\s*\+?\\infty\)")
_SIGN = re.compile(r"\\pm(?![A-Za-z])|\\mp(?![A-Za-z])")


def reals() -> Form:
    """The interval of all real numbers."""
    return bracketed("()", (MINUS_INFINITY, INFINITY), r"(-\infty,\infty)")


def sequence_form(latex: str, read: Read) -> Form | None:
    r"""A tuple, an interval or a set; a bare list "1, 2" is a set, for it answers "find all"."""
    if _REALS.fullmatch(latex):
        return reals()
    brackets, inner = "{}", latex
    body = latex.replace(r"\{", "{").replace(r"\}", "}")
    if body[:1] in _PAIRS and body[-1:] in _PAIRS[body[0]] and closes_at_end(body):
        brackets, inner = body[0] + body[-1], body[1:-1]
    if not inner.strip():
        return EMPTY if inner != latex and brackets == "{}" else None
    parts = split(inner, COMMAS)
    if not 2 <= len(parts) <= MAX_ITEMS or r"\begin" in latex or not all(parts):
        return _singleton_form(inner, brackets, latex, read)
    items = _item_forms(parts, brackets, read)
    return bracketed(brackets, items, squeeze(latex))


def _singleton_form(inner: str, brackets: str, latex: str, read: Read) -> Form | None:
    r"""\{5\} is 5; a set with a condition, and the set of the empty set, stay themselves."""
    if brackets != "{}" or inner == latex or not inner.strip() or _CONDITION.search(inner):
        return None
    form = read(inner)
    return bracketed("{}", (form,), squeeze(latex)) if form.key == EMPTY.key else form


def _item_forms(parts: Sequence[str], brackets: str, read: Read) -> tuple[Form, ...]:
    r"""The items; \pm 1 in a set is two. Names stay where they differ, for they tell items apart.

    "x = 1, x = 2" and "x = 1, 2" are 1 and 2; "x = 1, y = 2", "A: 1, B: 2" and "3 red, 5 blue"
    keep their names.
    """
    if brackets == "{}":
        parts = list(itertools.chain.from_iterable(map(_signed, parts)))
    items = tuple(_named_item(part, read) for part in parts)
    if _share_one_name(items):
        return tuple(value_of(item) for item in items)
    units = {item.unit for item in items if item.kind == "number"}
    if len(units) > 1 and "" not in units and all(item.kind == "number" for item in items):
        return tuple(solved(item.unit, replace(item, unit=""), item.written) for item in items)
    return items


def _share_one_name(items: Sequence[Form]) -> bool:
    """ "x = 1, x = 2", and "x = 1, 2" too: the name that comes first holds for all."""
    first, *others = items
    return bool(first.label) and all(
        item.label == first.label and item.relation == "="
        if item.label
        else item.kind != "statement"
        for item in (first, *others)
    )


def value_of(item: Form) -> Form:
    """What a name is said to be; (5, 3) for "(x, y) = (5, 3)"."""
    if item.kind != "sequence" or not item.label:
        return item.items[0] if item.label else item
    return bracketed("()", [named.items[0] for named in item.items], item.latex)


def _named_item(part: str, read: Read) -> Form:
    match = _NAMED.fullmatch(part)
    if match is None:
        return read(part)
    return solved(match["name"].strip(), read(match["item"]), squeeze(part))


def plus_minus_form(latex: str, read: Read) -> Form | None:
    r"""3 \pm 2 is the set of 3 + 2 and 3 - 2."""
    if len(split(latex, COMMAS)) != 1:
        return None
    parts = _signed(latex)
    return None if len(parts) == 1 else bracketed("{}", tuple(map(read, parts)), squeeze(latex))


def _signed(latex: str) -> list[str]:
    r"""A text with \pm in all its senses: two signs are independent, \mp is the other of \pm."""
    marks = _SIGN.findall(latex)
    if not marks or len(marks) > 2 or marks == [r"\mp"]:
        return [latex]
    if r"\mp" in marks:
        return [_with_signs(latex, signs) for signs in (("+", "-"), ("-", "+"))]
    return [_with_signs(latex, signs) for signs in itertools.product("+-", repeat=len(marks))]


def _with_signs(latex: str, signs: Sequence[str]) -> str:
    remaining = iter(signs)
    signed = _SIGN.sub(lambda _: next(remaining), latex)
    return re.sub(r"^\s*\+\s*|(?<=[(\[{=,;])\s*\+\s*", "", signed)


def ratio_form(latex: str, read: Read) -> Form | None:
    """3:4 and 6:8 are one ratio, and no number: 3/4 may be a share of either."""
    if not _RATIO.fullmatch(latex):
        return None
    items = [read(part) for part in latex.split(":")]
    first = next((item.value for item in items if item.value), None)
    if first is None or any(item.value is None for item in items):
        return None
    shares = [form_of_value(item.value / first) for item in items if item.value is not None]
    return bracketed(":", shares, squeeze(latex))


def union_form(latex: str, read: Read) -> Form | None:
    r"""Intervals and sets joined by \cup; \mathbb{R} \setminus \{3\} is the union of two.

    Sets of numbers whose ends are known are one form, however they are written; others are
    compared part by part.
    """
    parts = split(latex, r"\\cup(?![A-Za-z])")
    if not 2 <= len(parts) <= MAX_ITEMS:
        return _intersection_form(latex, read) or _complement_form(latex, read)
    items = _set_forms(parts, read)
    if items is None:
        return None
    region = united(items) if _hold_numbers(parts, items) else None
    return bracketed(UNION, items, squeeze(latex)) if region is None else region


def _set_forms(parts: Sequence[str], read: Read) -> list[Form] | None:
    """The forms of parts that are all written as sets or intervals."""
    written = all(part.startswith(("(", "[", r"\{", "{")) for part in parts)
    return [read(part) for part in parts] if written else None


def _hold_numbers(parts: Sequence[str], items: Sequence[Form]) -> bool:
    r"""Whether no set holds a point: \{(1, 2)\} reads as (1, 2), and is no interval."""
    return all(
        part.startswith(("(", "[")) or item.kind != "sequence" or item.brackets in ("{}", UNION)
        for part, item in zip(parts, items, strict=True)
    )


def _intersection_form(latex: str, read: Read) -> Form | None:
    parts = split(latex, r"\\cap(?![A-Za-z])")
    items = _set_forms(parts, read) if 2 <= len(parts) <= MAX_ITEMS else None
    return intersected(items) if items and _hold_numbers(parts, items) else None


def _complement_form(latex: str, read: Read) -> Form | None:
    parts = split(latex, r"\\setminus(?![A-Za-z])|\\backslash(?![A-Za-z])")
    if len(parts) != 2 or not parts[1].startswith((r"\{", "{")):
        return None
    left_out = read(parts[1])
    line = punctured((left_out,) if left_out.kind == "number" else left_out.items, latex)
    if line is None or _REALS.fullmatch(parts[0]):
        return line
    sets = _set_forms(parts[:1], read)
    return intersected([*sets, line]) if sets and _hold_numbers(parts[:1], sets) else None


def punctured(points: Sequence[Form], latex: str) -> Form | None:
    """The real numbers without some rational ones."""
    if not points or any(point.value is None for point in points):
        return None
    ordered = sorted(points, key=lambda point: point.value or 0)
    ends = [MINUS_INFINITY, *ordered, INFINITY]
    pieces = [bracketed("()", pair, squeeze(latex)) for pair in itertools.pairwise(ends)]
    return bracketed(UNION, pieces, squeeze(latex))


def matrix_form(latex: str, read: Read) -> Form | None:
    """A matrix or column vector: its entries in order, and its shape in place of brackets.

    A sign or a factor before it belongs to every entry.
    """
    start = max(latex.find(r"\begin"), 0)
    match, factor = _MATRIX.fullmatch(latex, start), _FACTOR.fullmatch(latex, 0, start)
    body = "" if match is None else match["array"] or match[2] or ""
    if match is None or factor is None or r"\begin" in body or match[1] == "v":
        return None  # a determinant is a number
    lines = re.split(r"\\\\(?:\[[^\]]*\])?", body.strip().removesuffix("\\\\"))
    rows = [line.split("&") for line in lines]
    if len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MAX_ITEMS:
        return None
    entry_form = _entries(factor[0], read)
    items = tuple(entry_form(entry) for row in rows for entry in row)
    return bracketed(f"{len(rows)}x{len(rows[0])}", items, squeeze(latex))


def _entries(factor: str, read: Read) -> Read:
    """How an entry is read behind the sign or factor before its matrix."""
    size = _FACTOR_END.sub("", factor)
    if size in {"", "+"}:
        return read
    number = read(size + "1" if size == "-" else size).value

    def multiplied(entry: str) -> Form:
        form = read(entry)
        if number is not None and form.value is not None and not form.unit + form.brackets:
            return form_of_value(number * form.value)
        return read(f"-({entry})" if size == "-" else f"{size}({entry})")

    return multiplied
