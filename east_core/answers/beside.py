r"""The reading of an answer that the gold answer suggests.

Some notations mean different things beside different gold answers. What is read here is read once
for a question, before anything is compared, so that it can join no two other answers:
- "50\%" beside the gold answer 50, or 50 beside "50\%": the question asks for percents;
- 0.333333 beside 1/3, 3.14159265 beside \pi: a decimal of six places or more that rounds to it;
- "1, 2" beside (1, 2), "y = 3, x = 5" beside (5, 3), "1, 2" beside "a = 1, b = 2";
- "1011" beside 1011_2: a numeral whose base was left out (or given);
- "x = 5" beside 5, "x > 3" beside (3, \infty), and the other way round;
- "72 m" beside 72: a letter is a unit beside a number; and "5cm" beside 5cx is a product;
- "xy" beside a formula is a product, beside words it is a word.
"""

import re
from collections.abc import Sequence

from east_core.answers.canonical import canonical_form, product_form
from east_core.answers.form import Form, bracketed, relabelled, solved
from east_core.answers.formula import read_formula, variables
from east_core.answers.numbers import digits
from east_core.answers.numeric import rounds_to, same_value
from east_core.answers.words import word_form


def read_beside(gold: Form, answer: Form) -> Form:
    """The form of `answer` beside `gold`; `gold` itself where they agree."""
    if gold.key == answer.key:
        return gold
    if gold.kind == "statement":
        return _beside_statement(gold, answer)
    if answer.kind == "statement" and answer.label:
        free = gold.kind != "expression" or answer.label not in _letters(gold)
        return read_beside(gold, answer.items[0]) if free else answer
    if gold.kind == "sequence":
        return _beside_sequence(gold, answer)
    if {gold.kind, answer.kind} == {"number", "numeral"}:
        return gold if digits(gold) == digits(answer) else answer
    if gold.kind == "text":
        bare = answer.latex if answer.kind == "expression" else ""
        return word_form(bare) if bare.isalpha() else answer
    if gold.kind == "expression":
        return _beside_expression(gold, answer)
    return _beside_number(gold, answer)


def _beside_number(gold: Form, answer: Form) -> Form:
    if answer.kind == "expression":
        bare, letter = possible_unit_of(answer)
        if letter and not _is_part(letter, gold.unit):
            return read_beside(gold, canonical_form(bare))
        if gold.unit and same_value(gold.written, answer.latex):
            return gold  # 12pt is what 12tp is
        return gold if gold.places and _rounds(gold, answer) else answer
    if answer.value is None or gold.value is None:
        return answer
    if gold.is_percent != answer.is_percent:
        plain, percent = (answer, gold) if gold.is_percent else (gold, answer)
        return gold if percent.value == plain.value / 100 else answer  # type: ignore[operator]
    return gold if _rounds(gold, answer) or _rounds(answer, gold) else answer


def _is_part(letter: str, unit: str) -> bool:
    """9 m beside 9nm is another unit, or another product."""
    return letter != unit and letter in unit and len(unit) <= 3


def possible_unit_of(answer: Form) -> tuple[str, str]:
    """The number before a letter that may be its unit, and the letter; "" where there is none."""
    is_letter = re.fullmatch(r"[A-Za-z](?:\^.*)?", answer.unit)
    if not is_letter or not answer.latex.endswith(answer.unit):
        return answer.latex, ""
    return answer.latex.removesuffix(answer.unit), answer.unit


def _rounds(decimal: Form, other: Form) -> bool:
    return (
        decimal.places > 0
        and decimal.value is not None
        and rounds_to(other.latex, decimal.value, decimal.places)
    )


def _beside_expression(gold: Form, answer: Form) -> Form:
    if answer.kind == "text":
        letters = answer.latex
        known = letters.isalpha() and not letters.isupper() and set(letters) <= _letters(gold)
        return product_form(letters) if known else answer
    if answer.kind == "number":
        if answer.unit and set(answer.unit) <= _letters(gold):
            return product_form(answer.written)
        return gold if _rounds(answer, gold) else answer
    return answer


def _letters(gold: Form) -> frozenset[str]:
    node = read_formula(gold.latex)
    return frozenset() if node is None else variables(node)


# ---------------------------------------------------------------- statements


def _beside_statement(gold: Form, answer: Form) -> Form:
    """An answer takes the gold answer's name where it has none, or another name for a value."""
    if not gold.label:
        return answer
    if answer.kind != "statement":
        item = read_beside(gold.items[0], answer)
        return solved(gold.label, item, answer.latex) if _may_take(gold.label, item) else answer
    if answer.label == gold.label:
        item = read_beside(gold.items[0], answer.items[0])
        return gold if item.key == gold.items[0].key else answer
    if answer.label and _interchangeable(gold, answer):
        return relabelled(answer, gold.label)
    return answer


def _may_take(label: str, item: Form) -> bool:
    return item.kind != "statement" and label not in _letters(item)


def _interchangeable(gold: Form, answer: Form) -> bool:
    """Names of values (y and f(x), S and A) stand for each other; unknowns such as x do not."""
    names = gold.label, answer.label
    if names[0] in _letters(answer.items[0]) or names[1] in _letters(gold.items[0]):
        return False
    arguments = {name.partition("(")[2] for name in names}
    if len(arguments) > 1 and "" not in arguments:
        return False  # f(2) is not f(3)
    if any(map(_POINTS.search, names)):
        return False  # AB is not CD
    return not any(_is_unknown(name) for name in names) or _is_function(gold, answer)


_POINTS = re.compile(r"[A-Z]{2}|[:/|\[]|angle|triangle")


def _is_unknown(name: str) -> bool:
    return name[:1].islower() and len(name.partition("_")[0]) == 1


def _is_function(gold: Form, answer: Form) -> bool:
    """y = 2x + 3 beside f(x) = 2x + 3."""
    return any(name == "y" for name in (gold.label, answer.label)) and any(
        "(" in name for name in (gold.label, answer.label)
    )


# ---------------------------------------------------------------- sequences


def _beside_sequence(gold: Form, answer: Form) -> Form:
    named = _names(answer.items)
    if _names(gold.items) and not named and answer.brackets in ("{}", "()"):
        return _with_names(gold, answer)
    if answer.kind != "sequence" or answer.brackets != "{}":
        return answer if answer.brackets != gold.brackets else _itemwise(gold, answer)
    if gold.brackets == "{}":
        return _itemwise(gold, answer)
    items = _in_order(answer) if named else answer.items
    return _itemwise(gold, bracketed(gold.brackets, items, answer.latex)) if items else answer


def _itemwise(gold: Form, answer: Form) -> Form:
    """Ordered items are each read beside theirs."""
    if gold.brackets in ("{}", "∪") or len(gold.items) != len(answer.items):
        return answer
    items = [read_beside(g, a) for g, a in zip(gold.items, answer.items, strict=True)]
    return bracketed(gold.brackets, items, answer.latex)


def _names(items: Sequence[Form]) -> list[str]:
    """The names of items that all have one of their own, else none."""
    names = [item.label for item in items if item.label and item.relation == "="]
    return names if len(set(names)) == len(items) else []


def _in_order(answer: Form) -> list[Form]:
    """The values of named items in the order of a tuple of the names; none where it is not known.

    Coordinates have an order, "y = 3, x = 5" is (5, 3). Other names have it where it is written,
    "(m, b) = (2, 3)", or where the alphabet has it too: "m = 2, b = 3" may be either.
    """
    names = [item.label for item in answer.items]
    ordered = sorted(names, key=lambda name: (name.startswith("\\"), name))
    if not set(names) <= set("xyz"):
        ordered = names if answer.label or names == ordered else []
    values = {item.label: item.items[0] for item in answer.items}
    return [values[name] for name in ordered]


def _with_names(gold: Form, answer: Form) -> Form:
    """ "1, 2" or (1, 2) beside "a = 1, b = 2": the names are the gold answer's, in its order."""
    if len(gold.items) != len(answer.items):
        return answer
    items = [
        solved(named.label, item, item.latex)
        for named, item in zip(gold.items, answer.items, strict=True)
    ]
    return bracketed("{}", items, answer.latex)
