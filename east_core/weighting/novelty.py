"""Novelty among the correct: how much the right solutions of a question differ from one another.

Entropy asks how the answers spread; this asks how the ways to the right one do. DIVE (Diversified
Iterative Self-Improvement, arXiv:2501.00747) chooses what is trained on for the variety of the
solutions, against the loss of variety over rounds, and measures it by runs of words among others
(Distinct-n). Ours is a weight of the question, with the chance that two solutions differ:

    D_i = 1 - sum_g c_g (c_g - 1) / ((C_i - 1) sum_g c_g)

over the different runs g of three words in the C_i correct completions, c_g of which have g: the
share of a correct solution's runs that another one, drawn at random, does not have. It takes no
comparison of pairs, and its expectation does not depend on C_i, as Distinct-n's does.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import ConfigDict

from east_core.errors import DataError
from east_core.weighting.base import PowerWeighting, QuestionStatistics

WORDS = 3


class NoveltyWeighting(PowerWeighting):
    """r_i = D_i^a: the share of a correct solution's word triples that another one lacks (DIVE).

    A question with one correct completion, which nothing can be compared with, gets the mean raw
    weight of the others.
    """

    model_config = ConfigDict(title="Novelty among the correct (DIVE)")
    needs_novelty: ClassVar[bool] = True

    kind: Literal["novelty"] = "novelty"

    def raw_weight(self, question: QuestionStatistics) -> float:
        """D_i^a; 0 (for a > 0) where all correct completions are one text, NaN for a single one."""
        if question.novelty is None:
            raise DataError(
                "weighting 'novelty' needs the novelty of the correct completions; give it in "
                "QuestionStatistics, or choose another weighting"
            )
        if math.isnan(question.novelty):
            return math.nan
        return self.power(question.novelty, "novelty")

    def of_round(
        self,
        raw: Sequence[float],
        variances: Sequence[float],  # noqa: ARG002
    ) -> Sequence[float]:
        """The raw weights, with the mean of those that are known for those that are not."""
        known = [each for each in raw if not math.isnan(each)]
        mean = math.fsum(known) / len(known) if known else 1.0
        return [mean if math.isnan(each) else each for each in raw]


def novelty(texts: Sequence[str]) -> float:
    """D of the correct completions of a question, between 0 (one text) and 1 (nothing in common).

    White space does not count; a text of fewer than three words is one run. NaN for a single text.
    """
    if len(texts) < 2:
        return math.nan
    counts = Counter(run for text in texts for run in _runs(text.split()))
    shared = sum(count * (count - 1) for count in counts.values())
    return 1 - shared / ((len(texts) - 1) * counts.total())


def _runs(words: Sequence[str]) -> set[tuple[str, ...]]:
    """The different runs of three words."""
    starts = range(max(1, len(words) - WORDS + 1))
    return {tuple(words[start : start + WORDS]) for start in starts}
