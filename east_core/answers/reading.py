"""What of a completion its task's grading reads, and how strictly."""

from east_core.answers.extraction import AnswerPolicy
from east_core.answers.gradings import MATH, BaseGrading
from east_core.answers.gradings.base import Response
from east_core.answers.thinking import MARKS_ALONE, Thinking, answering_part
from east_core.records import Completion


def response_of(completion: Completion, policy: AnswerPolicy, thinking: Thinking) -> Response:
    """A completion behind its thinking; one cut off at max_tokens is read strictly.

    One that never ends its thinking has no answer. "#### 7" at the end of a truncated text may have
    been on its way to "#### 72"; a closed box can no longer grow, so it counts among the clusters
    (it is never a training target). What is given as an answer is one.
    """
    text = answering_part(completion.text, thinking)
    is_cut_off = completion.finish_reason == "length"
    is_strict = is_cut_off and policy != "given"
    return Response(text, "boxed" if is_strict else policy, is_strict)


def completion_answer(
    completion: Completion,
    policy: AnswerPolicy,
    thinking: Thinking = MARKS_ALONE,
    grading: BaseGrading = MATH,
) -> str | None:
    """The answer of one completion, as a grading finds it that asks no process."""
    response = response_of(completion, policy, thinking)
    return None if response.text is None else grading.extract(response.text, response.policy)
