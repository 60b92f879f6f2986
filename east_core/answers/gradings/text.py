"""Short texts: names, places, yes and no."""

import re
import unicodedata
from collections import Counter
from typing import Literal

from pydantic import ConfigDict, Field

from east_core.answers.form import Form
from east_core.answers.gradings.base import BaseGrading, keyed, unwrapped_text

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_APART = re.compile(r"[^\w]+")


class TextGrading(BaseGrading):
    """Words without case, articles and punctuation, as in SQuAD's evaluation."""

    model_config = ConfigDict(title="text")

    kind: Literal["text"] = "text"
    aliases: str | None = Field(
        None,
        min_length=1,
        description="What stands between the right answers where a gold answer lists several "
        "('|'). None: it is one answer.",
    )
    min_f1: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Also right: a text whose words overlap with the gold answer's by so much "
        "(F1). 1: the same words in the same order.",
    )

    def form(self, answer: str) -> Form:
        """The normalised words; those of a gold answer with aliases are no answer themselves."""
        words = normalised(unwrapped_text(answer))
        if self.aliases and self.aliases in answer:
            return keyed(f"text: any of {words}", answer)
        return keyed(f"text:{words}", answer)

    def beside(self, gold: Form, answer: Form) -> Form:
        """One of the right answers, or close enough to one."""
        given = answer.key.removeprefix("text:")
        names = gold.latex.split(self.aliases) if self.aliases else [gold.latex]
        wanted = [normalised(unwrapped_text(name)) for name in names]
        near = given in wanted or (
            self.min_f1 < 1 and any(f1(given, name) >= self.min_f1 for name in wanted)
        )
        return gold if near else answer


def normalised(text: str) -> str:
    """Words in lower case, without accents' spelling variants, articles and punctuation."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("'", "").replace("’", "")
    return " ".join(_ARTICLES.sub(" ", _APART.sub(" ", plain)).split()) or plain.strip()


def f1(given: str, wanted: str) -> float:
    """The harmonic mean of precision and recall over words (SQuAD, arXiv:1606.05250)."""
    ours, theirs = given.split(), wanted.split()
    common = (Counter(ours) & Counter(theirs)).total()
    return 2 * common / (len(ours) + len(theirs)) if common else 0.0
