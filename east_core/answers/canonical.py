r"""Canonical forms: the cheap, exact reading of a final answer, without a computer algebra system.

A form says what an answer plainly is: a number, a numeral in a stated base, words, a sequence of
forms (tuple, interval, set), a statement about an unknown, or another expression.

    72  72.0  \$72  72 dollars  \frac{144}{2}     number 72
    50\%  0.5  1/2                                number 1/2 (50\% remembers its sign)
    (1, 2)    1, 2    [1, 2)                      sequence "()", sequence "{}", sequence "[)"
    \text{Sunday}  Sunday                         text "sunday"
    x = 5    1 < x < 2    x + y = 7               statement
    x^2 + 1                                       expression

docs/answers.md lists every choice made here; `beside.py` reads an answer beside the gold answer.
"""

import functools

from east_core.answers.brackets import deepest
from east_core.answers.form import EMPTY, INFINITY, MINUS_INFINITY, Form
from east_core.answers.numbers import computed_form, number_form, numeral_form
from east_core.answers.sequences import (
    matrix_form,
    plus_minus_form,
    ratio_form,
    sequence_form,
    union_form,
)
from east_core.answers.spelling import plain_characters, squeeze, tidy, unwrapped
from east_core.answers.statements import statement_form
from east_core.answers.units import possible_unit, without_unit
from east_core.answers.words import date_or_time_form, text_form

MAX_CHARS = 1000
"""An answer longer than this is compared as text only: no parser is given 100 kB of digits."""
MAX_DEPTH = 20
_SYMBOLS = {
    r"\emptyset": EMPTY, r"\infty": INFINITY, r"+\infty": INFINITY, r"-\infty": MINUS_INFINITY,
}  # fmt: skip


@functools.lru_cache(maxsize=1 << 16)
def canonical_form(answer: str) -> Form:
    """The form of an answer; the same text always gives the same form.

    An answer of over `MAX_CHARS` characters, or with brackets nested deeper than `MAX_DEPTH`, is
    text: it equals only its own repetition.
    """
    text = answer.strip()
    if len(text) > MAX_CHARS or deepest(text) > MAX_DEPTH:
        return Form("text", f"long:{' '.join(text.split())}", text)
    plain = plain_characters(text)
    return text_form(plain) or _form(tidy(plain))


def _form(latex: str) -> Form:
    """The form of a tidied text: structure first, then numbers, then what is left."""
    latex = unwrapped(latex)
    return (
        _SYMBOLS.get(squeeze(latex))
        or date_or_time_form(latex)
        or number_form(latex)
        or numeral_form(latex)
        or text_form(latex)
        or matrix_form(latex, _form)
        or statement_form(latex, _form)
        or plus_minus_form(latex, _form)
        or ratio_form(latex, _form)
        or union_form(latex, _form)
        or sequence_form(latex, _form)
        or computed_form(latex)
        or expression_form(latex)
    )


def expression_form(latex: str) -> Form:
    """A formula, or whatever else it is."""
    _, letter = possible_unit(latex)
    bare, unit = without_unit(latex)
    bare = squeeze(bare)
    return Form(
        "expression", f"expression:{bare}", bare, unit=unit or letter, written=squeeze(latex)
    )


def product_form(letters: str) -> Form:
    """A formula whose last letters are factors: 12pt beside 12tp holds no pints."""
    bare = squeeze(letters)
    return Form("expression", f"expression:{bare}", bare, written=bare)
