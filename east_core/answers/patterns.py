"""Answers found by a user's regular expression, in workers that can be killed."""

import dataclasses
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from east_core.answers.grading import Grader
from east_core.records import Question

_PROGRAM = Path(__file__).with_name("pattern_worker.py")
_TOO_LONG = "the regular expression takes too long on a response"


@dataclass(frozen=True)
class AnswerPattern:
    """Finds a text's answer: the first group of the last match, or all of it without groups.

    A text on which matching takes more than a call's time, and what is left of a question when its
    time is up, has no answer, and is counted as undecided (`grading.SECONDS`, `QUESTION_SECONDS`).
    """

    pattern: re.Pattern[str]
    grader: Grader

    def answers(self, question_id: str, texts: Sequence[str]) -> list[str | None]:
        """The answers in the texts of a question, None where there is none."""
        distinct = sorted(set(texts))
        settings = {"pattern": self.pattern.pattern, "flags": self.pattern.flags}
        settings |= {"path": [*filter(None, sys.path)]}
        asked = dataclasses.asdict(Question(question_id, ""))
        job = {"question": asked, "texts": distinct, "given": False, "accepts": False}
        try:
            said = self.grader.ask(_PROGRAM, (json.dumps(settings),), job)
        except EOFError:
            said = {"answers": [None] * len(distinct), "failures": [_TOO_LONG]}
        for _ in said["failures"]:
            self.grader.leave_undecided(question_id, _TOO_LONG)
        found = dict(zip(distinct, said["answers"], strict=True))
        return [None if (each := found[text]) is None else str(each[0]) for text in texts]
