"""Gold answers are tried before anything is computed with them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from east_core.answers.grading import Grader
from east_core.answers.gradings.base import BaseGrading, GoldTrial
from east_core.errors import DataError
from east_core.records import Question

T = TypeVar("T")
_LONGEST = 60


@dataclass(frozen=True)
class GoldTrials:
    """Tries gold answers of the questions in `source` (a path, for messages).

    Both methods raise DataError for one that a user's functions, or the form of a program's tests,
    reject. What mathematics can't read is compared by its spelling, and no error.
    """

    source: str
    grading: BaseGrading
    grader: Grader

    def of(self, questions: Iterable[Question]) -> Iterator[tuple[Question, GoldTrial]]:
        """Each question, and what its grading makes of its gold answer; label-free ones pass."""

        def job(question: Question) -> tuple[Callable[[], tuple[Question, GoldTrial]], bool]:
            return lambda: (question, self._try(question)), self.grading.of(question.id).waits

        yield from self.grader.in_order(map(job, questions))

    def usable(self, items: Iterable[T], question_of: Callable[[T], Question]) -> Iterator[T]:
        """Pass items on, those that functions or tests will read behind a trial."""

        def job(item: T) -> tuple[Callable[[], T], bool]:
            question = question_of(item)
            if not self.grading.of(question.id).waits:
                return lambda: item, False
            return lambda: (self._try(question), item)[1], True

        yield from self.grader.in_order(map(job, items))

    def _try(self, question: Question) -> GoldTrial:
        if question.answer is None:
            return GoldTrial(True)
        trial = self.grading.try_gold(question, self.grader)
        if trial.said and not trial.is_accepted:
            told = described(question, trial)
            raise DataError(
                f"{self.source}: the grading rejects the gold answer of {told}; correct the answer "
                "or the functions"
            )
        return trial


def described(question: Question, trial: GoldTrial) -> str:
    """A question's id, its gold answer and what its grading said of it, in one line."""
    gold = question.answer or ""
    gold = gold if len(gold) <= _LONGEST else f"{gold[:_LONGEST]}..."
    return f"{question.id}: {gold!r}: {trial.said}"
