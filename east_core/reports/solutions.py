"""Questions with what the base model and a later checkpoint answered, by what became of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from east_core.records import Prediction, Question
from east_core.runs.addresses import QUESTIONS_FILE, RunAddresses
from east_core.runs.predictions import read_predictions
from east_core.seeds import derive_seed
from east_core.store import Store
from east_core.tables import read_table

SHOWN_SOLUTIONS = 3
Solutions = Mapping[str, Sequence["Solution"]]


@dataclass(frozen=True)
class Solution:
    """A question with the base model's solution and a later checkpoint's."""

    question: Question
    before: Prediction
    after: Prediction


def read_solutions(store: Store, run_name: str, benchmark: str, first: int, last: int) -> Solutions:
    """A few solutions of each kind, of checkpoints `first` and `last` on a benchmark."""
    at = RunAddresses(run_name)
    before, after = (
        read_predictions(store, store.require(at.scores(number, benchmark)))
        for number in (first, last)
    )
    questions = store.fetch(store.require(at.benchmark(benchmark))) / QUESTIONS_FILE
    return choose_solutions(read_table(questions, Question), before, after)


def choose_solutions(
    questions: Iterable[Question], before: Sequence[Prediction], after: Sequence[Prediction]
) -> dict[str, list[Solution]]:
    """A few solutions of each kind, drawn by a hash of the question's id: nobody picked them."""
    then = {prediction.question_id: prediction for prediction in before}
    now = {prediction.question_id: prediction for prediction in after}
    chosen: dict[str, list[Solution]] = {"learnt": [], "unlearnt": [], "never solved": []}
    asked = {question.id: question for question in questions if question.id in now}
    for name in sorted(asked, key=lambda name: (derive_seed(0, name), name)):
        kind = _kind(then[name].is_correct, now[name].is_correct)
        if kind and len(chosen[kind]) < SHOWN_SOLUTIONS:
            chosen[kind].append(Solution(asked[name], then[name], now[name]))
    return chosen


def _kind(before: bool, after: bool) -> str | None:
    if before:
        return None if after else "unlearnt"
    return "learnt" if after else "never solved"
