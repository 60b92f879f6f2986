"""The answer of a completion: behind its thinking, as its task's grading finds it."""

from east_core.answers.extraction import AnswerPolicy
from east_core.answers.gradings import MATH, Grading
from east_core.answers.thinking import MARKS_ALONE, Thinking, answering_part
from east_core.records import Completion


def completion_answer(
    completion: Completion,
    policy: AnswerPolicy,
    thinking: Thinking = MARKS_ALONE,
    grading: Grading = MATH,
) -> str | None:
    """The answer of a completion, behind its thinking; one cut off at max_tokens is read strictly.

    One that never ends its thinking has none. "#### 7" at the end of a truncated text may have been
    on its way to "#### 72"; a closed box can no longer grow, so it counts among the clusters (it is
    never a training target).
    """
    text = answering_part(completion.text, thinking)
    if text is None:
        return None
    return grading.extract(text, "boxed" if completion.finish_reason == "length" else policy)
