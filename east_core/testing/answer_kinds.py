r"""Answers whose equality is known by construction.

An answer is drawn as an exact value (`Spec`); every spelling is a rewriting of that value (by
algebra, by order, by notation, by units), and a change gives another value. So two spellings of
one value are equal, and spellings of two values are different, whatever a grader says.
"""

import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from east_core.testing import (
    answer_algebra,
    answer_functions,
    answer_numbers,
    answer_sequences,
    answer_statements,
)

Spec = Any
Draw = random.Random


@dataclass(frozen=True, slots=True)
class AnswerKind:
    """A kind of answer: `draw` a value, `spell` it in one of its ways, `change` it to another.

    `spell(spec, draw, gold)` is told whether it spells the gold answer: some notations are read
    only beside one. Values are equal exactly where `identity` is.
    """

    name: str
    draw: Callable[[Draw], Spec]
    spell: Callable[[Spec, Draw, bool], str]
    change: Callable[[Spec, Draw], Spec]
    identity: Callable[[Spec], Hashable]


_ROOMS = (answer_numbers, answer_algebra, answer_functions, answer_sequences, answer_statements)
KINDS = [AnswerKind(*row) for room in _ROOMS for row in room.ROWS]
