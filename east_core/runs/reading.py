"""How a run reads its completions' answers."""

import dataclasses
from typing import Any

from east_core.answers.gradings import MATH
from east_core.answers.thinking import MARKS_ALONE, Thinking
from east_core.config import QuestionSource, SamplingRecipe
from east_core.inputs import base_models
from east_core.inputs.thinking import template_opens_thinking
from east_core.runs.prompts import prompt_format
from east_core.runs.run import Run

AUTO = "auto"


def thinking_of(run: Run) -> Thinking:
    """How thinking is told from answers: as set, or as the run's own prompts begin it."""
    sampling = run.config.sampling
    if sampling.thinking_end != AUTO:
        return Thinking(end=sampling.thinking_end)
    folder = base_models.locate_model(run.config.model, run.store.cache)
    is_open = template_opens_thinking(folder, sampling.system_prompt, prompt_format(run))
    return Thinking(is_open=is_open)


def thinking_limits(sampling: SamplingRecipe) -> dict[str, Any]:
    """What an engine is told of the thinking: nothing where it may take as long as it likes."""
    if sampling.thinking_budget is None:
        return {}
    limits: dict[str, Any] = {"thinking_budget": sampling.thinking_budget}
    if sampling.thinking_end != AUTO:
        limits["thinking_end"] = sampling.thinking_end
    return limits


def thinking_identity(run: Run) -> dict[str, Any]:
    """What the thinking adds to a recipe; nothing where marks in the completions tell all."""
    thinking = thinking_of(run)
    return {} if thinking == MARKS_ALONE else {"thinking": dataclasses.asdict(thinking)}


def reading_identity(run: Run) -> dict[str, Any]:
    """What the reading of answers adds to a recipe; nothing where it is the default."""
    targets = run.config.training.targets
    named = {} if targets == "boxed" else {"targets": targets}
    return named | thinking_identity(run) | grading_identity(run.config.questions)


def grading_identity(questions: QuestionSource) -> dict[str, Any]:
    """What a data set's grading adds to a recipe; nothing where it is mathematics."""
    return {} if questions.grading == MATH else {"grading": questions.grading.identity()}
