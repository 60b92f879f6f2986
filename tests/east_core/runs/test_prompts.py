"""The room that a run asks of its engines for its prompts and answers."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from east_core.config import EvaluationRecipe, ModelConfig, SamplingRecipe
from east_core.errors import ConfigError
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question, SampledQuestion
from east_core.runs import start
from east_core.runs.room import prompts_without_room
from east_core.runs.run import Run
from east_core.testing.fakes import ScriptedSampler
from tests.east_core.conftest import FakeRun, sums_config


class Listener(ScriptedSampler):
    """Remembers the settings that it was asked with."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: list[GenerationSettings] = []

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        self.settings.append(settings)
        return super().sample(model, shards, settings, total)


def test_sampling_and_scoring_ask_for_one_room_that_holds_prompts_and_answers(
    fake_run: FakeRun,
) -> None:
    """One size, or an engine would start anew between the two."""
    sampler = Listener()
    run = fake_run(sampler=sampler, rounds=1)
    assert len(sampler.settings) == 3  # the base model's score, a round's samples and score
    (room,) = {each.needed_context for each in sampler.settings}
    sampling, evaluation = run.config.sampling, run.config.evaluation
    answer = max(sampling.max_tokens, evaluation.max_tokens)
    letters = len("39 + 1 = ?{{ messages }}") + len(sampling.system_prompt or "")
    assert room is not None
    assert answer + letters <= room < answer + letters + 128
    assert all("needed_context" not in each.identity() for each in sampler.settings)


def test_prompts_that_leave_no_room_are_counted_before_anything_is_sampled(tmp_path: Path) -> None:
    """The seed model's tokenizer; three questions of one, forty and four hundred words."""
    words = (1, 40, 400)
    rows = [{"question": "pens " * count, "answer": "1"} for count in words]
    lines = "".join(json.dumps(row) + "\n" for row in rows)

    def run(name: str, context: int | None) -> Run:
        sampling = SamplingRecipe(max_tokens=100, system_prompt=None, max_context=context)
        evaluation = EvaluationRecipe(max_tokens=100)
        opened = Run.open(
            sums_config(
                tmp_path, name=name, model=ModelConfig(), sampling=sampling, evaluation=evaluation
            )
        )
        (tmp_path / "questions.jsonl").write_text(lines)
        start.freeze_questions(opened)
        return opened

    told = prompts_without_room(run("small", 240))
    assert told is not None
    assert told.startswith(
        "1 of 3 prompts leave no room for 100 tokens in a context of 240, and 1 "
    )
    assert prompts_without_room(run("large", 4000)) is None
    with pytest.raises(ConfigError, match="all 3 prompts leave no room for 100 tokens"):
        prompts_without_room(run("none", 101))
