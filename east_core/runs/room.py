"""The room that a run's prompts and answers need in an engine, and prompts that have too little.

Without a tokenizer, which the flow's environment may not have, a byte counts as a token: a bound
that holds. Where it is more than there is, the prompts that may be too long are counted to the
token, if transformers is installed.
"""

import dataclasses
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from east_core.config import DatasetConfig, RunConfig
from east_core.errors import ConfigError
from east_core.inputs import base_models as base_model
from east_core.inputs.context import bytes_around, context_bound, own_context
from east_core.protocols import GenerationSettings
from east_core.records import Question
from east_core.runs.addresses import QUESTIONS_FILE
from east_core.runs.prompts import prompt_format
from east_core.runs.run import Run
from east_core.store import ArtifactRecord
from east_core.tables import read_table


def needed_context(run: Run) -> int | None:
    """The context that surely holds every prompt of the run and its answer, in tokens.

    None where the questions were frozen before their lengths were noted.
    """
    longest = _longest_question(run)
    return None if longest is None else room_for(run, longest)


def room_for(run: Run, longest_question: int) -> int:
    """The same where the longest question has so many bytes: what the run asks its engines for."""
    return context_bound(longest_question, _around(run), longest_answer(run.config))


def with_room(run: Run, settings: GenerationSettings) -> GenerationSettings:
    """The settings with the context that the engine should have room for."""
    return dataclasses.replace(settings, needed_context=needed_context(run))


def longest_answer(config: RunConfig) -> int:
    """Most tokens of a completion, in sampling and evaluation."""
    return max(config.sampling.max_tokens, config.evaluation.max_tokens)


def prompts_without_room(run: Run) -> str | None:
    """A line on the frozen questions that leave no room for a full answer; None: there are none.

    Raises ConfigError where all of them do.
    """
    limits = [run.config.sampling.max_context, own_context(_folder(run))]
    limit = min((each for each in limits if each is not None), default=None)
    if limit is None:
        return None
    answer, around = longest_answer(run.config), _around(run)
    longest = _longest_question(run)
    if longest is not None and longest + around + answer <= limit:
        return None
    total, suspects = 0, []
    for question in _questions(run):
        total += 1
        if len(question.prompt.encode()) + around + answer > limit:
            suspects.append(question.prompt)
    return _told(run, suspects, total, limit) if suspects else None


def _told(run: Run, suspects: list[str], total: int, limit: int) -> str | None:
    """What is told of prompts that may be too long."""
    answer, cure = longest_answer(run.config), "lower max_tokens or raise sampling.max_context"
    if find_spec("transformers") is None:
        return (
            f"{len(suspects)} of {total} prompts may leave no room for {answer} tokens in a "
            f"context of {limit}; east check tells, where transformers is installed"
        )
    lengths = list(_lengths(run, suspects))
    cut = sum(length + answer > limit for length in lengths)
    if cut == total:
        raise ConfigError(
            f"all {total} prompts leave no room for {answer} tokens in a context of {limit}; {cure}"
        )
    if not cut:
        return None
    empty = sum(length >= limit for length in lengths)
    return (
        f"{cut} of {total} prompts leave no room for {answer} tokens in a context of {limit}, and "
        f"{empty} for none; {cure}"
    )


def _lengths(run: Run, prompts: list[str]) -> Iterator[int]:
    """Tokens of each prompt."""
    from east_core.inputs.inspection import prompt_lengths

    trusted = run.config.model.trust_remote_code
    system, form = run.config.sampling.system_prompt, prompt_format(run)
    return prompt_lengths(_folder(run), trusted, prompts, system, form)


def _around(run: Run) -> int:
    return bytes_around(_folder(run), run.config.sampling.system_prompt, prompt_format(run))


def _folder(run: Run) -> Path:
    return base_model.locate_model(run.config.model, run.store.cache)


def _question_sets(run: Run) -> list[ArtifactRecord]:
    """The frozen questions that our engines answer, of training and benchmarks."""
    named = run.config.benchmarks.items()
    ours = [name for name, each in named if isinstance(each, DatasetConfig)]
    sets = [run.at.questions, *map(run.at.benchmark, ours)]
    records = [run.store.record(each) for each in sets]
    return [record for record in records if record]


def _longest_question(run: Run) -> int | None:
    """In bytes; None where the questions were frozen before their lengths were noted."""
    noted = [record.facts.get("longest_bytes") for record in _question_sets(run)]
    longest = [each for each in noted if isinstance(each, int)]
    return None if len(longest) < len(noted) else max(longest, default=0)


def _questions(run: Run) -> Iterator[Question]:
    for record in _question_sets(run):
        yield from read_table(run.store.fetch(record) / QUESTIONS_FILE, Question)
