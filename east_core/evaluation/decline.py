"""Whether a share of questions fell between two checkpoints by more than chance explains."""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decline:
    """A share of the same `questions`, earlier and now, and how often chance alone lowers it so.

    `p_value` is of the exact one-sided McNemar test: of the questions that changed, how many got
    worse.
    """

    before: float
    now: float
    p_value: float
    questions: int


def decline(before: Mapping[str, bool], now: Mapping[str, bool]) -> Decline:
    """What became of a share, by the questions (ids) that both sides have.

    Without a question in common nothing fell.
    """
    pairs = [(before[name], now[name]) for name in before.keys() & now.keys()]
    lost = sum(first and not second for first, second in pairs)
    won = sum(second and not first for first, second in pairs)
    questions = max(1, len(pairs))
    return Decline(
        before=sum(first for first, _ in pairs) / questions,
        now=sum(second for _, second in pairs) / questions,
        p_value=_at_least(lost, lost + won),
        questions=len(pairs),
    )


def _at_least(heads: int, flips: int) -> float:
    """The chance of so many heads or more in flips of a fair coin."""
    from scipy.stats import binom

    return float(binom.sf(heads - 1, flips, 0.5)) if flips else 1.0


def comparisons(rounds: int, checks: int) -> int:
    """How many pairs of checkpoints a run can compare: each round with all before it.

    Dividing the significance by it bounds the chance of any false alarm in the run (Bonferroni),
    whichever earlier round each is held against. At least 1.
    """
    return max(1, checks * math.comb(rounds + 1, 2))
