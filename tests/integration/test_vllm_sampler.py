"""vLLM behind the sampler's interface: what a completion depends on, and what it does not."""

import dataclasses
from collections.abc import Iterator
from itertools import pairwise

import psutil
import pytest

from east_core.config import DatasetConfig, Resources
from east_core.engines.vllm.sampler import VllmSampler
from east_core.errors import EngineError
from east_core.inputs.questions import WithGold, builtin_path
from east_core.protocols import GenerationSettings, ModelSource, SamplingProgress
from east_core.records import Question, SampledQuestion

MODEL = ModelSource(builtin_path("seed_model"), "seed")
SETTINGS = GenerationSettings(
    samples_per_question=4, temperature=1.0, top_p=1.0, max_tokens=48,
    system_prompt="Reason.", stop=(), seed=7,
)  # fmt: skip
SIZE = 12


@pytest.fixture(scope="module")
def sampler() -> Iterator[VllmSampler]:
    resources = Resources(device="cpu", engines=2, kv_cache_gib=0.25, max_sequences=16)
    with VllmSampler(resources) as opened:
        yield opened


@pytest.fixture(scope="module")
def shards() -> list[list[Question]]:
    questions = list(WithGold(DatasetConfig(limit=3 * SIZE)))
    return [questions[at : at + SIZE] for at in range(0, 3 * SIZE, SIZE)]


def sample(sampler: VllmSampler, *shards: list[Question]) -> list[list[SampledQuestion]]:
    return list(sampler.sample(MODEL, shards, SETTINGS, sum(map(len, shards))))


def test_a_shard_comes_out_the_same_to_the_bit_whatever_was_sampled_before_it(
    sampler: VllmSampler, shards: list[list[Question]]
) -> None:
    """What a run killed between two shards rests on: its last shards equal an undisturbed run's."""
    whole = sample(sampler, *shards)
    assert sample(sampler, shards[2]) == whole[2:]
    assert sample(sampler, shards[1], shards[0]) == [whole[1], whole[0]]


def test_one_engine_or_two_make_the_same_tokens(
    sampler: VllmSampler, shards: list[list[Question]]
) -> None:
    """So "auto" may choose: the batches are the same, and threads round in the last bits alone."""
    settings = dataclasses.replace(SETTINGS, logprobs=True)
    with VllmSampler(sampler.resources.model_copy(update={"engines": 1})) as alone:
        one, two = [
            list(each.sample(MODEL, shards[:2], settings, 2 * SIZE)) for each in (alone, sampler)
        ]
    first, second = (
        [completion for shard in each for item in shard for completion in item.completions]
        for each in (one, two)
    )
    assert [completion.ids for completion in first] == [completion.ids for completion in second]
    expected = pytest.approx([completion.mean_logprob for completion in first], abs=1e-6)
    assert [completion.mean_logprob for completion in second] == expected


def test_a_killed_copy_fails_the_stage_and_the_next_try_samples_the_same(
    sampler: VllmSampler, shards: list[list[Question]]
) -> None:
    whole = sample(sampler, *shards)
    assert len(sampler._engines) == 2
    (process,) = sampler._processes
    workers = psutil.Process(process.pid).children(recursive=True)
    workers[-1].kill()
    with pytest.raises(EngineError, match="engine 1 ended"):
        sample(sampler, *shards)
    assert not any(worker.is_running() for worker in workers)
    assert sample(sampler, *shards) == whole


def test_processes_that_import_early_are_the_ones_that_sample(
    sampler: VllmSampler, shards: list[list[Question]]
) -> None:
    with VllmSampler(sampler.resources) as early:
        early.warm_up()
        waiting = list(early._processes)
        sample(early, shards[0][:1])
        assert early._processes == waiting


def test_completions_keep_the_order_of_questions_and_differ_among_themselves(
    sampler: VllmSampler, shards: list[list[Question]]
) -> None:
    (sampled,) = sample(sampler, shards[0])
    assert [item.question for item in sampled] == shards[0]
    for item in sampled:
        assert len(item.completions) == SETTINGS.samples_per_question
        assert all(1 <= completion.token_count <= 48 for completion in item.completions)
        assert all(completion.mean_logprob is None for completion in item.completions)
    assert any(len({c.text for c in item.completions}) > 1 for item in sampled)


def test_a_question_that_fills_the_context_is_answered_as_truncated(sampler: VllmSampler) -> None:
    long = Question(id="long", prompt="How many? " * 3000, answer="1")
    short = Question(id="short", prompt="How many?", answer="1")
    ((first, second),) = sample(sampler, [long, short])
    assert [c.finish_reason for c in first.completions] == ["length"] * 4
    assert first.completions[0].text == ""
    assert second.completions[0].token_count > 0


def test_tokens_are_told_before_the_first_question_is_answered(
    sampler: VllmSampler, monkeypatch: pytest.MonkeyPatch, shards: list[list[Question]]
) -> None:
    """One long batch: whole questions alone would be silent until its end."""
    told: list[SamplingProgress] = []
    monkeypatch.setattr(sampler, "on_progress", told.append)
    (sampled,) = sample(sampler, shards[0])
    tokens = sum(c.token_count for item in sampled for c in item.completions)
    assert told[0].questions == 0
    assert told[0].tokens > 0
    assert told[0].most_seconds_left
    assert told[-1].tokens == tokens
    assert all(a.tokens <= b.tokens for a, b in pairwise(told))
