"""Grade by the last number that a completion writes, in a box or not; "$1,200" is 1200."""

import re
from fractions import Fraction

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def extract(completion, question):
    """The last number of the text; None: no answer, which is never right."""
    numbers = NUMBER.findall(completion)
    return numbers[-1] if numbers else None


def key(answer):
    """Answers with equal keys are equal; the gold answer is asked for its key too."""
    return Fraction(answer.replace(",", ""))
