"""Whether a share of questions fell between two checkpoints by more than chance explains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from east_core.evaluation.sign_flips import chance_of_as_much, in_steps


@dataclass(frozen=True, slots=True)
class Decline:
    """A share of the same `questions`, earlier and now, and how often chance alone lowers it so.

    `p_value` is one-sided and exact (`sign_flips`; McNemar's test of right and wrong): of the
    questions that changed, how many got worse, and by how much.
    """

    before: float
    now: float
    p_value: float
    questions: int


def decline(before: Mapping[str, float], now: Mapping[str, float]) -> Decline:
    """What became of a share, by the questions (ids) that both sides have.

    A question counts as right or wrong, or with the share of its samples that are right. Without a
    question in common nothing fell.
    """
    names = sorted(before.keys() & now.keys())
    whole, steps = in_steps([*(before[name] for name in names), *(now[name] for name in names)])
    first, second = whole[: len(names)], whole[len(names) :]
    questions = max(1, len(names))
    return Decline(
        before=sum(first) / steps / questions,
        now=sum(second) / steps / questions,
        p_value=chance_of_as_much([a - b for a, b in zip(first, second, strict=True)]),
        questions=len(names),
    )


def comparisons(rounds: int, checks: int) -> int:
    """How many pairs of checkpoints a run can compare: each round with all before it.

    Dividing the significance by it bounds the chance of any false alarm in the run (Bonferroni),
    whichever earlier round each is held against. At least 1.
    """
    return max(1, checks * math.comb(rounds + 1, 2))
