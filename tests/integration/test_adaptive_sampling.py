"""Adaptive sampling with vLLM: the steps' completions are new, and a rerun gives the same ones."""

from collections.abc import Iterator, Sequence

import pytest

from east_core.answers.grading import Grader
from east_core.config import AdaptiveRecipe, DatasetConfig, Resources
from east_core.engines.vllm.sampler import VllmSampler
from east_core.inputs.questions import WithGold, builtin_path
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question, SampledQuestion
from east_core.runs.adaptive import AdaptiveSampling

MODEL = ModelSource(builtin_path("seed_model"), "seed")
RECIPE = AdaptiveRecipe(first=4, step=4, tolerance_bits=0.2, unanimous_after=4)
SETTINGS = GenerationSettings(
    samples_per_question=12, temperature=1.0, top_p=1.0, max_tokens=96,
    system_prompt="Reason.", stop=(), seed=7,
)  # fmt: skip


@pytest.mark.slow
def test_steps_never_repeat_a_completion_and_a_rerun_repeats_them_all() -> None:
    questions = list(WithGold(DatasetConfig(limit=12)))
    resources = Resources(device="cpu", kv_cache_gib=0.25, max_sequences=32)
    with VllmSampler(resources) as sampler, Grader(processes=1) as grader:

        def draw(
            asked: Sequence[Sequence[Question]], settings: GenerationSettings
        ) -> Iterator[list[SampledQuestion]]:
            return sampler.sample(MODEL, asked, settings, sum(map(len, asked)))

        adaptive = AdaptiveSampling(draw, RECIPE, grader)
        ((once,), (again,)) = (adaptive.sample([questions], SETTINGS) for _ in range(2))
    assert once == again
    counts = {len(item.completions) for item in once}
    assert counts <= {4, 8, 12}
    assert 12 in counts
    for item in once:
        texts = [completion.text for completion in item.completions]
        steps = [tuple(texts[at : at + 4]) for at in range(0, len(texts), 4)]
        assert len(set(steps)) == len(steps), "a step drew what an earlier one had drawn"
