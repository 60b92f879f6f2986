"""A run over a template that writes today's date, stopped before midnight and resumed after it."""

import contextlib
import datetime
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from east_core.config import DatasetConfig, ModelConfig, Resources, RunConfig, SamplingRecipe
from east_core.engines.vllm.sampler import VllmSampler
from east_core.errors import EastError
from east_core.inputs.questions import builtin_path
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question, SampledQuestion
from east_core.runs import prompts
from east_core.runs.run import Run
from east_core.runs.samples import sample_files
from east_core.tables import read_tables
from east_core.testing.fakes import InstantTrainer
from flows.self_training import self_training
from tasks.engines import Engines, use_engines

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_api")]
FIRST, NEXT = datetime.date(2001, 2, 3), datetime.date(2001, 2, 4)  # no engine's clock says so
DATED = (
    "{{ bos_token }}{{ '<|system|>Today is ' + strftime_now('%d %b %Y') + '.' + eos_token }}"
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


class StoppedSampler(VllmSampler):
    """Is interrupted when its second shard is there."""

    def sample(
        self,
        model: ModelSource,
        shards: Iterable[Sequence[Question]],
        settings: GenerationSettings,
        total: int,
    ) -> Iterator[list[SampledQuestion]]:
        for number, shard in enumerate(super().sample(model, shards, settings, total)):
            if number:
                raise KeyboardInterrupt
            yield shard


def config(folder: Path) -> RunConfig:
    rows = ({"question": f"{i} + 1 = ?", "answer": str(i + 1)} for i in range(4))
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    questions = DatasetConfig(path=str(folder / "questions.jsonl"))
    return RunConfig(
        name="midnight",
        store=str(folder / "store"),
        rounds=1,
        model=ModelConfig(chat_template=DATED),
        questions=questions,
        benchmarks={"sums": questions.model_copy(update={"limit": 2})},
        sampling=SamplingRecipe(samples_per_question=2, max_tokens=16),
        resources=Resources(device="cpu", kv_cache_gib=0.25, shard_questions=2),
    )


def run_on(day: datetime.date, run: RunConfig, sampler: VllmSampler) -> None:
    """Run the flow; what comes behind the samples may find nothing to learn from."""
    with pytest.MonkeyPatch.context() as clock, sampler:
        clock.setattr(prompts, "today", lambda: day)
        with use_engines(Engines(sampler, InstantTrainer())), contextlib.suppress(EastError):
            self_training(run)


def test_a_resume_after_midnight_samples_the_same_prompts_and_tells_their_date(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = config(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_on(FIRST, run, StoppedSampler(run.resources))
    opened = Run.open(run)
    samples = opened.at.samples(1)
    assert len(opened.store.addresses(samples)) == 1  # one of two shards
    with caplog.at_level(logging.INFO):
        run_on(NEXT, run, VllmSampler(run.resources))
    assert "prompts are rendered with the date 2001-02-03" in caplog.text
    tokenizer = AutoTokenizer.from_pretrained(builtin_path("seed_model"))
    files = sample_files(opened, opened.record(samples))
    asked = [tokenizer.decode(each.prompt_ids) for each in read_tables(files, SampledQuestion)]
    assert len(asked) == 4
    assert all("Today is 03 Feb 2001." in prompt for prompt in asked)
