"""The gradings of a mixture: each question is read as its own set says."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ConfigDict

from east_core.answers.grading import Grader
from east_core.answers.gradings.base import BaseGrading, GoldTrial, Readings, Response
from east_core.records import Question, set_of


class GradingOfSets(BaseGrading):
    """The gradings of several sets by the sets' names. No setting: a mixture makes it."""

    model_config = ConfigDict(title="sets")

    kind: Literal["sets"] = "sets"
    sets: dict[str, BaseGrading]

    def identity(self) -> dict[str, Any]:
        """What each set's grading is."""
        return {"sets": {name: each.identity() for name, each in self.sets.items()}}

    def of(self, question_id: str) -> BaseGrading:
        """The grading of the set that the question is of."""
        return self.sets[set_of(question_id)]

    def prepare(self) -> None:
        """Raise ConfigError where one of the gradings can't be used here."""
        for each in self.sets.values():
            each.prepare()

    def read(self, question: Question, responses: Sequence[Response], grader: Grader) -> Readings:
        """What the set's grading makes of the responses."""
        return self.of(question.id).read(question, responses, grader)

    def try_gold(self, question: Question, grader: Grader) -> GoldTrial:
        """Whether the set's grading understands a gold answer."""
        return self.of(question.id).try_gold(question, grader)
