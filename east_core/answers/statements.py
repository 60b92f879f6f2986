r"""Equations and inequalities: "x = 5", "x + y = 7", "5 + 3 = 8", "1 < x < 2", "x < -1 or x > 3".

A solved one has the name of its unknown and what that is: a value or a set of numbers. Any other
says that a difference is zero or positive. "5 + 4 = 9" has no unknown: it is the number 9, since it
is true; "5 + 4 = 8" is nothing but its own spelling.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from east_core.answers.brackets import split, split_with_marks
from east_core.answers.form import INFINITY, MINUS_INFINITY, Form, bracketed, solved
from east_core.answers.formula import read_formula, variables
from east_core.answers.numeric import same_value
from east_core.answers.regions import intersected, united
from east_core.answers.sequences import punctured, reals
from east_core.answers.spelling import squeeze
from east_core.answers.words import has_words

Read = Callable[[str], Form]

RELATION = r"\\(?:le|ge|neq|approx|in)(?![A-Za-z])|[<>]|:?="
_INEQUALITY = re.compile(r"\\(?:le|ge|neq|in)(?![A-Za-z])|[<>]")
_OR, _AND = r"\\lor(?![A-Za-z])", r"\\land(?![A-Za-z])"
UNKNOWN = r"(?:\\[A-Za-z]+|[A-Za-z])(?:_(?:\{[^{}]*\}|\w))?'?"
_FUNCTION_VALUE = r"(?:[fghpqFGHPQRST](?:_\{?\w\}?)?'?|\\(?:gcd|max|min)\s*|lcm)\s*\([^()=]*\)"
_SIDE = r"(?:[A-Z]{2,4}|[A-Z]_(?:\{[^{}]*\}|\w))"
_MEASURED = (
    rf"\|[A-Z]{{2}}\||\[[A-Z]{{3,6}}\]|{_SIDE}\s*/\s*{_SIDE}|\\frac\{{\s*{_SIDE}\s*\}}\{{\s*{_SIDE}\s*\}}"
    rf"|(?:{_SIDE}|[A-Z])(?:\s*:\s*(?:{_SIDE}|[A-Z]))+"
)
"""A length, an area, a quotient or a ratio of such, named by points: |AB|, [ABC], AB:CD."""
_LABEL = re.compile(
    rf"\s*(?:{UNKNOWN}|{_FUNCTION_VALUE}|\\text\s*\{{[^{{}}]*\}}|[A-Z]{{2,4}}"
    r"|\|?(?:\\overline|\\vec|m?\s*\\angle|\\triangle)\s*\{?[A-Z]{1,3}\}?\|?|[A-Za-z]{3,}(?:\s[A-Za-z]+)*"
    rf"|{_MEASURED})\s*"
)
_TUPLE_OF_NAMES = re.compile(rf"\s*\(\s*({UNKNOWN}(?:\s*,\s*{UNKNOWN})+)\s*\)\s*")
_CONSTANTS = re.compile(r"\s*(?:\\pi|e|i|\\infty)\s*")
_SET_BUILDER = re.compile(
    rf"\\?\{{\s*(?P<name>{UNKNOWN})\s*(?:\\in\s*(?:\\mathbb\{{?R\}}?|\\R)\s*)?"
    r"(?:\\mid(?![A-Za-z])|\||:)\s*(?P<condition>.+?)\s*\\?\}",
    re.DOTALL,
)
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\neq": r"\neq"}


def statement_form(latex: str, read: Read) -> Form | None:
    """The form of a statement, None where this is none or is beyond what is read here."""
    builder = _SET_BUILDER.fullmatch(latex)
    if builder:
        found = statement_form(builder["condition"], read)
        return found.items[0] if found and found.label == squeeze(builder["name"]) else None
    if len(split(latex)) > 1 and not _opens_with_membership(latex):
        return None
    alternatives = split(latex, _OR)
    pieces = [split(part, _AND) for part in alternatives]
    if len(pieces) == 1 and len(pieces[0]) == 1:
        return _simple(latex, read)
    if not _INEQUALITY.search(latex):
        return None
    regions = [[_simple(part, read) for part in conditions] for conditions in pieces]
    return _combined(regions, squeeze(latex))


def _opens_with_membership(latex: str) -> bool:
    return re.match(rf"\s*{UNKNOWN}\s*\\in(?![A-Za-z])", latex) is not None


def _combined(pieces: list[list[Form | None]], latex: str) -> Form | None:
    """Conditions about one unknown, joined by "and" within the pieces and "or" between them."""
    labels = {None if part is None else part.label for piece in pieces for part in piece}
    if len(labels) != 1 or None in labels or "" in labels:
        return None
    regions = []
    for piece in pieces:
        region = intersected([part.items[0] for part in piece if part is not None])
        if region is None:
            return None
        regions.append(region)
    region = united(regions)
    return None if region is None else solved(labels.pop() or "", region, latex, relation="in")


def _simple(latex: str, read: Read) -> Form | None:
    parts, relations = split_with_marks(latex, RELATION)
    if not relations or not all(parts):
        return None
    named = _TUPLE_OF_NAMES.fullmatch(parts[0])
    if named:
        return _named_tuple(named[1].split(","), parts[1:], relations, latex, read)
    if all(relation in ("=", ":=", r"\approx") for relation in relations):
        return _equation(parts, relations, latex, read)
    if relations == [r"\in"]:
        return solved(squeeze(parts[0]), read(parts[1]), squeeze(latex), relation="in")
    if all(relation in _FLIPPED for relation in relations):
        return _inequality(parts, relations, latex, read)
    return None


# ---------------------------------------------------------------- equations


def _equation(parts: list[str], relations: list[str], latex: str, read: Read) -> Form | None:
    if _is_label(parts[-1]) and len(parts) == 2 and not _is_label(parts[0]):
        parts = parts[::-1]  # 5 = x
    if _is_label(parts[0]):
        return _solved_equation(parts, relations, latex, read)
    if relations[0] == r"\approx":
        return read(parts[0])  # the exact value stands before its approximation
    if not _agree(parts, relations, read):
        return Form("text", f"untrue:{squeeze(latex)}", squeeze(latex))
    if not any(_has_unknowns(part, read) for part in parts):
        return read(parts[-1] if relations[-1] != r"\approx" else parts[0])
    return _unsolved(parts, latex, "=") if len(parts) == 2 else None


def _solved_equation(parts: list[str], relations: list[str], latex: str, read: Read) -> Form | None:
    """ "x = 4/2 = 2" says that x is 2, and 4/2 must be."""
    rights, between = parts[1:], relations[1:]
    if not _agree(rights, between, read):
        return Form("text", f"untrue:{squeeze(latex)}", squeeze(latex))
    right = rights[-1]
    if r"\approx" in between:
        right = rights[between.index(r"\approx")]
    label = re.sub(r"\\frac\{(\w+)\}\{(\w+)\}", r"\1/\2", squeeze(parts[0]))
    return solved(label, read(right), squeeze(latex))


def _named_tuple(
    names: list[str], rights: list[str], relations: list[str], latex: str, read: Read
) -> Form | None:
    """ "(x, y) = (5, 3)" says what "x = 5, y = 3" says, and in which order."""
    if relations == [r"\in"]:
        return solved(
            squeeze(f"({','.join(names)})"), read(rights[0]), squeeze(latex), relation="in"
        )
    value = read(rights[0]) if relations == ["="] else None
    if value is None or value.brackets != "()" or len(value.items) != len(names):
        return None
    items = [
        solved(squeeze(name), item, squeeze(f"{name}={item.latex}"))
        for name, item in zip(names, value.items, strict=True)
    ]
    label = squeeze(f"({','.join(names)})")
    return replace(bracketed("{}", items, squeeze(latex)), label=label, relation="=")


def _is_label(part: str) -> bool:
    return bool(_LABEL.fullmatch(part)) and not _CONSTANTS.fullmatch(part)


def _agree(parts: list[str], relations: list[str], read: Read) -> bool:
    """Whether no two neighbours, said to be equal, are told apart."""
    for a, b, relation in zip(parts, parts[1:], relations, strict=False):
        known = not (_has_unknowns(a, read) or _has_unknowns(b, read))
        if relation != r"\approx" and known and same_value(read(a).latex, read(b).latex) is False:
            return False
    return True


def _has_unknowns(part: str, read: Read) -> bool:
    node = read_formula(read(part).latex)
    return node is None or bool(variables(node))


def _difference(left: str, right: str) -> str:
    difference = f"({squeeze(left)})-({squeeze(right)})"
    return difference if read_formula(difference) is not None else ""


def _unsolved(parts: list[str], latex: str, relation: str) -> Form | None:
    difference = "" if has_words(latex) else _difference(*parts)
    if not difference:
        return None
    bare = squeeze(latex)
    return Form("statement", f"statement:{bare}", bare, difference=difference, relation=relation)


# ---------------------------------------------------------------- inequalities


def _inequality(parts: list[str], relations: list[str], latex: str, read: Read) -> Form | None:
    if len(parts) == 3:
        return _between(parts, relations, latex, read)
    if len(parts) != 2:
        return None
    if _is_label(parts[1]) and not _is_label(parts[0]):
        parts, relations = parts[::-1], [_FLIPPED[relations[0]]]
    relation = relations[0]
    unsolved = _oriented(parts, relation, latex)
    if not _is_label(parts[0]):
        return unsolved
    region = _half_line(relation, read(parts[1]), latex)
    if region is None:
        return unsolved
    found = solved(squeeze(parts[0]), region, squeeze(latex), relation="in")
    return (
        found
        if unsolved is None
        else replace(found, difference=unsolved.difference, relation=unsolved.relation)
    )


def _oriented(parts: list[str], relation: str, latex: str) -> Form | None:
    """a < b as b - a > 0."""
    if relation in ("<", r"\le"):
        parts, relation = parts[::-1], _FLIPPED[relation]
    return _unsolved(parts, latex, relation)


def _half_line(relation: str, end: Form, latex: str) -> Form | None:
    bare = squeeze(latex)
    if end.kind not in ("number", "expression"):
        return None
    if relation == r"\neq":
        return punctured((end,), latex)
    if relation in (">", r"\ge"):
        return bracketed(("(" if relation == ">" else "[") + ")", (end, INFINITY), bare)
    return bracketed("(" + (")" if relation == "<" else "]"), (MINUS_INFINITY, end), bare)


def _between(parts: list[str], relations: list[str], latex: str, read: Read) -> Form | None:
    r"""1 < x \le 2 as the interval (1, 2]."""
    if set(relations) <= {">", r"\ge"}:
        parts, relations = parts[::-1], [_FLIPPED[relation] for relation in reversed(relations)]
    if not set(relations) <= {"<", r"\le"} or not _is_label(parts[1]):
        return None
    brackets = ("(" if relations[0] == "<" else "[") + (")" if relations[1] == "<" else "]")
    region = bracketed(brackets, (read(parts[0]), read(parts[2])), squeeze(latex))
    if region.items[0].key == MINUS_INFINITY.key and region.items[1].key == INFINITY.key:
        region = reals()
    return solved(squeeze(parts[1]), region, squeeze(latex), relation="in")
