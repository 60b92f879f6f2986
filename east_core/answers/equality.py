"""Are two forms equal, and which classes of equal answers do a question's forms make?

`compare` decides what can be decided from the forms and their values; what it can't it asks of
`ask`, which is math-verify behind a process that can be killed. Both sides must be certain: what
can't be decided is different.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from east_core.answers.form import UNION, Form
from east_core.answers.formula import read_formula
from east_core.answers.numeric import same_up_to_factor, same_value

Ask = Callable[[str, str], bool | None]
LatexPair = tuple[str, str]
Pairs = set[tuple[int, int]]

_ASKED = re.compile(
    r"(?:[0-9A-Za-z+*/^_(){}\[\]|!.=&-]|\\(?:frac|sqrt|int|iint|lim|to|infty|cdot|times|sin|cos|tan"
    r"|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan|pi|alpha|beta|theta|sum|prod|binom|begin|end"
    r"|quad|,|bmod)(?![A-Za-z])|\\\\| )*"
)
_BEYOND = re.compile(r"\\(?:int|iint|lim|sum|prod|begin)(?![A-Za-z])")
_TWO_READINGS = re.compile(r"/\s*(?:[0-9]+|[A-Za-z])\s*(?:[A-Za-z(]|\\(?!cdot|times))")
_PROSE = re.compile(r"(?<![A-Za-z\\])(?!matrix|pmatrix|bmatrix)[A-Za-z]{4,}")


def compare(a: Form, b: Form, ask: Ask) -> bool | None:
    """Whether two forms are equal; `ask` answers for two expressions, None where it can't."""
    if a.key == b.key:
        return True
    kinds = {a.kind, b.kind}
    if kinds == {"statement"}:
        return _statements_equal(a, b, ask)
    if kinds == {"sequence"}:
        return _sequences_equal(a, b, ask)
    if "expression" not in kinds or not kinds <= {"expression", "number"}:
        return False
    verdict = same_value(a.latex, b.latex)
    if verdict is not None:
        return verdict
    if not all(_may_be_asked(form.latex) for form in (a, b)):
        return False
    return ask(*sorted((a.latex, b.latex)))


def _may_be_asked(latex: str) -> bool:
    """Whether math-verify reads all of it, in the one way there is: it skips some."""
    if read_formula(latex) is not None:
        return True
    whole = _ASKED.fullmatch(latex) and _BEYOND.search(latex) and not _PROSE.search(latex)
    return bool(whole) and not _TWO_READINGS.search(latex)


def _statements_equal(a: Form, b: Form, ask: Ask) -> bool | None:
    """The same about the same unknowns: equal values of one name, or the same up to a factor."""
    if a.label and a.label == b.label:
        verdict = compare(a.items[0], b.items[0], ask)
        if verdict is not False:
            return verdict
    if not a.difference or not b.difference or a.relation != b.relation:
        return False
    factor = same_up_to_factor(a.difference, b.difference)
    return factor == 1 or (factor == -1 and a.relation in ("=", r"\neq"))


def _sequences_equal(a: Form, b: Form, ask: Ask) -> bool | None:
    if a.brackets != b.brackets:
        return False
    if a.brackets not in ("{}", UNION):
        return _ordered_equal(a.items, b.items, ask)
    return _conjunction(
        _disjunction(compare(item, other, ask) for other in there)
        for here, there in ((a.items, b.items), (b.items, a.items))
        for item in here
    )


def _ordered_equal(a: Sequence[Form], b: Sequence[Form], ask: Ask) -> bool | None:
    if len(a) != len(b):
        return False
    return _conjunction(compare(x, y, ask) for x, y in zip(a, b, strict=True))


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


# ---------------------------------------------------------------- classes


def open_pairs(forms: Sequence[Form]) -> list[LatexPair]:
    """The pairs of expressions, each in sorted order, that math-verify must be asked about."""
    opened: dict[LatexPair, None] = {}

    def note(a: str, b: str) -> bool | None:
        opened[a, b] = None
        return None

    for i, j in _doubtful_pairs(forms):
        compare(forms[i], forms[j], note)
    return list(opened)


def classes(forms: Sequence[Form], ask: Ask) -> list[int]:
    """A label for each form; equal labels are equal answers, whatever the forms' order.

    One wrong "equal" must not join two clusters: where a class would hold two answers that are
    known to differ, what math-verify said counts for nothing in it, and where even values join
    what values part, only equal keys do.
    """
    certain: Pairs = set()
    asked: Pairs = set()
    apart: Pairs = set()
    for i, j in _doubtful_pairs(forms):
        known = compare(forms[i], forms[j], lambda *_: None)
        if known is None and compare(forms[i], forms[j], ask):
            asked.add((i, j))
        elif known is not None:
            (certain if known else apart).add((i, j))
    labels = _joined(_labels_by_key(forms), certain, apart, forms)
    return _joined(labels, asked, apart, forms)


def _joined(
    labels: list[int],
    edges: Pairs,
    apart: Pairs,
    forms: Sequence[Form],
) -> list[int]:
    """The classes under the edges, but for those that would hold two answers told apart."""
    joined = _closed(labels, edges)
    torn = {joined[i] for i, j in apart if joined[i] == joined[j]}
    torn |= _classes_of_several_numbers(joined, forms)
    return _closed(labels, {(i, j) for i, j in edges if joined[i] not in torn})


def _classes_of_several_numbers(labels: Sequence[int], forms: Sequence[Form]) -> set[int]:
    """Classes that hold two settled forms of different keys, which are never compared."""
    keys: dict[int, str] = {}
    return {
        label
        for label, form in zip(labels, forms, strict=True)
        if form.is_settled and keys.setdefault(label, form.key) != form.key
    }


def _closed(labels: Sequence[int], edges: Iterable[tuple[int, int]]) -> list[int]:
    """The transitive closure; the least label stands for its class."""
    parent = list(range(len(labels)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    for i, j in [*((index, label) for index, label in enumerate(labels)), *edges]:
        low, high = sorted((root(i), root(j)))
        parent[high] = low
    return [root(index) for index in range(len(labels))]


def _labels_by_key(forms: Sequence[Form]) -> list[int]:
    first: dict[str, int] = {}
    return [first.setdefault(form.key, index) for index, form in enumerate(forms)]


def _doubtful_pairs(forms: Sequence[Form]) -> Iterator[tuple[int, int]]:
    """The pairs of different keys that may yet be equal; settled forms are compared with none."""
    distinct = sorted({form.key: index for index, form in enumerate(forms)}.values())
    doubtful = [index for index in distinct if not forms[index].is_settled]
    numbers = [index for index in distinct if forms[index].kind == "number"]
    yield from itertools.combinations(doubtful, 2)
    for i in doubtful:
        if forms[i].kind == "expression":
            yield from ((i, j) for j in numbers)
