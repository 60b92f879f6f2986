r"""What an answer is, once read: the form that all comparing works on."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

FormKind = Literal["number", "numeral", "text", "sequence", "statement", "expression"]
UNION = "∪"


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer is. Equal keys are equal answers; different keys may still be equal.

    `value` is the exact value of a number; `places` its written decimal places where at least six
    digits are written (0 otherwise); `is_percent` that it has a percent sign (`value` is then
    already divided by 100). `unit` is what stood beside the number and was left out, or, of an
    expression, its last letter where that may be a unit ("72 m").
    A sequence has its two `brackets` and its `items`; "{}" is a set and "∪" a union, which have no
    order, "2x1" a matrix of 2 rows and 1 column.
    A statement says something about an unknown: solved ("x = 5", "x > 3") it has the unknown's name
    as `label` and what it is as its one item, else neither; either way `difference` `relation` 0
    says the same. `latex` is the tidied text, `written` the text with its unit.
    """

    kind: FormKind
    key: str
    latex: str
    value: Fraction | None = None
    places: int = 0
    is_percent: bool = False
    unit: str = ""
    brackets: str = ""
    items: tuple["Form", ...] = ()
    label: str = ""
    difference: str = ""
    relation: str = ""
    written: str = ""

    @property
    def is_mathematical(self) -> bool:
        """Whether this reads as mathematics rather than as words."""
        if self.kind in ("sequence", "statement") and self.items:
            return all(item.is_mathematical for item in self.items)
        if self.kind == "expression":
            from east_core.answers.words import looks_mathematical

            return looks_mathematical(self.latex)
        return self.kind in ("number", "numeral", "statement")

    @property
    def is_settled(self) -> bool:
        """Whether comparing it with any other settled form is comparing keys."""
        return self.kind in ("text", "numeral", "number")


def bracketed(brackets: str, items: Sequence[Form], latex: str) -> Form:
    """A sequence; a set or union of one item is that item."""
    keys = [item.key for item in items]
    if brackets in ("{}", UNION):
        keys = sorted(set(keys))
        if len(keys) == 1 and items[0].key != EMPTY.key:
            return items[0]
    key = f"sequence:{brackets} {' ; '.join(keys)}"
    return Form("sequence", key, latex, brackets=brackets, items=tuple(items))


def solved(label: str, item: Form, latex: str, difference: str = "", relation: str = "=") -> Form:
    """The statement that `label` is `item`."""
    if relation == "=" and item.kind in ("number", "expression"):
        difference = f"({label})-({item.latex})"
    return Form(
        "statement",
        f"statement:{label}:{item.key}",
        latex,
        items=(item,),
        label=label,
        difference=difference,
        relation=relation,
    )


def relabelled(form: Form, label: str) -> Form:
    """The same statement of another name."""
    return solved(label, form.items[0], form.latex, relation=form.relation)


EMPTY = Form("text", "text:empty set", r"\emptyset")
INFINITY = Form("text", r"text:\infty", r"\infty")
MINUS_INFINITY = Form("text", r"text:-\infty", r"-\infty")
