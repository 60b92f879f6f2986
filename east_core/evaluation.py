"""Scores of a checkpoint: accuracy with an interval, from graded greedy completions."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from east_core.answers import AnswerPolicy, extract_answer
from east_core.grading import Grader
from east_core.records import Prediction, SampledQuestion


@dataclass(frozen=True)
class Proportion:
    """A share of n questions, with the bounds of its confidence interval."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Scores:
    """One checkpoint on one benchmark. Shares are of all questions; tokens are per completion."""

    accuracy: Proportion
    no_answer_share: float
    truncated_share: float
    mean_tokens: float


def proportion(successes: int, n: int, confidence: float = 0.95) -> Proportion:
    """The share successes / n with its Wilson score interval (Wilson 1927).

    Wilson's interval stays inside [0, 1] and keeps its coverage near 0 and 1, where accuracies of
    weak and strong models lie. n = 0 raises ValueError.
    """
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Proportion(successes / n, float(interval.low), float(interval.high), n)


def grade(
    sampled: Iterable[SampledQuestion], grader: Grader, policy: AnswerPolicy
) -> Iterator[Prediction]:
    """The first completion of each question with its extracted answer and its grade."""
    for item in sampled:
        question, completion = item.question, item.completions[0]
        gold = question.answer or ""
        answer = extract_answer(completion.text, policy)
        yield Prediction(
            question_id=question.id,
            completion=completion.text,
            answer=answer,
            gold=gold,
            is_correct=answer is not None and grader.equal(answer, gold),
            finish_reason=completion.finish_reason,
            token_count=completion.token_count,
            level=question.level,
            subject=question.subject,
        )


class Tally:
    """Counts predictions as they pass by, so that they need not be held."""

    def __init__(self) -> None:
        self._n = self._correct = self._no_answer = self._truncated = self._tokens = 0

    def counting(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass the predictions through, counting each."""
        for prediction in predictions:
            self._n += 1
            self._correct += prediction.is_correct
            self._no_answer += prediction.answer is None
            self._truncated += prediction.finish_reason == "length"
            self._tokens += prediction.token_count
            yield prediction

    def scores(self, confidence: float) -> Scores:
        """The scores of what has passed by."""
        n = self._n
        return Scores(
            accuracy=proportion(self._correct, n, confidence),
            no_answer_share=self._no_answer / n,
            truncated_share=self._truncated / n,
            mean_tokens=self._tokens / n,
        )


def scores_as_facts(scores: Scores) -> dict[str, object]:
    """The scores as plain JSON values, for an artifact's record."""
    return asdict(scores)
