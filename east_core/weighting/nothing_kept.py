"""Why a round kept no question, and the one setting that would change most."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SampleCounts:
    """What became of a round's completions; each count is of completions.

    `truncated` were cut off at max_tokens, with or without an answer. `no_answer` have no answer
    that counts; of those `unboxed` name one outside of a box, where only a box counts, and
    `unboxed_correct` the right one. `correct` have the right answer, in a way that counts.
    `undecided` is of answers that could not be told: a grader took too long, or failed.
    """

    completions: int
    truncated: int
    no_answer: int
    unboxed: int
    unboxed_correct: int
    correct: int
    undecided: int = 0

    @property
    def wrong(self) -> int:
        """Completions with an answer that counts and is not right."""
        return self.completions - self.no_answer - self.correct

    @property
    def without_answer(self) -> int:
        """Completions that name no answer at all."""
        return self.no_answer - self.unboxed

    def shares(self) -> str:
        """The counts in words, in percent of all completions."""
        right = f", {self._percent(self.unboxed_correct)} right" if self.unboxed else ""
        return (
            f"{self._percent(self.truncated)} truncated, "
            f"{self._percent(self.without_answer)} without an answer, "
            f"{self._percent(self.unboxed)} with an answer but no box{right}, "
            f"{self._percent(self.wrong)} wrong, {self._percent(self.correct)} correct"
        )

    def _percent(self, count: int) -> str:
        return f"{count / max(1, self.completions):.1%}"


def nothing_kept(questions: int, dropped: Mapping[str, int], counts: SampleCounts) -> str:
    """One line: how many questions, why they were dropped, what was sampled, what to change."""
    if not questions:
        return "there are no questions to weigh; check questions.path and questions.limit"
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items()))
    return (
        f"none of {questions} questions is kept ({reasons}); of {counts.completions} completions: "
        f"{counts.shares()}. {_advice(questions, dropped, counts)}"
    )


def _advice(questions: int, dropped: Mapping[str, int], counts: SampleCounts) -> str:
    if 2 * dropped.get("unanimous", 0) >= questions:
        return (
            "Most questions are answered alike every time: raise sampling.temperature, use harder "
            "questions, or keep them with weighting.drop_unanimous = false"
        )
    if 2 * dropped.get("filtered", 0) >= questions:
        return "Most questions are outside of the filter: widen weighting.lowest and .highest"
    if 2 * counts.undecided >= questions:
        return _UNDECIDED.format(count=counts.undecided)
    losses = {
        _TRUNCATED: counts.truncated,
        _UNBOXED: counts.unboxed,
        _SILENT: counts.without_answer - counts.truncated,
        _NO_MAJORITY if "no_majority" in dropped else _WRONG: counts.wrong,
    }
    return max(losses, key=lambda reason: losses[reason])


_UNDECIDED = (
    "{count} answers could not be told, as warned: correct the grading's functions, or raise their "
    "limits"
)
_TRUNCATED = "Most completions are cut off before they end: raise sampling.max_tokens"
_UNBOXED = (
    "Answers stand outside of \\boxed{}, where they do not count: set training.targets = 'any', or "
    "ask for a box in sampling.system_prompt"
)
_SILENT = (
    "Most completions end without naming an answer: change sampling.system_prompt, or "
    "sampling.thinking_end where the model thinks in marks of its own"
)
_WRONG = (
    "The answers are wrong: use easier questions or a stronger model.name, or raise "
    "sampling.samples_per_question"
)
_NO_MAJORITY = "The answers do not agree: lower label_free.min_majority, or sampling.temperature"
