"""An engine that loads another checkpoint in place answers as one that was started with it."""

import shutil
from pathlib import Path

import pytest

from east_core.backends.vllm_sampler import VllmSampler
from east_core.config import DatasetConfig, Resources
from east_core.datasets import WithGold, builtin_path
from east_core.sampler import GenerationSettings, ModelSource

pytestmark = pytest.mark.slow
RESOURCES = Resources(device="cpu", kv_cache_gib=0.25)
GREEDY = GenerationSettings(1, 0.0, 1.0, 48, None, (), 0)
QUESTIONS = list(WithGold(DatasetConfig(path="builtin:test.jsonl", limit=12)))


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    """The built-in model with every weight changed a little, as training does."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("model") / "other"
    shutil.copytree(builtin_path("seed_model"), folder)
    draw = torch.Generator().manual_seed(3)
    weights = {
        name: tensor + 0.05 * tensor.std() * torch.randn(tensor.shape, generator=draw)
        for name, tensor in load_file(folder / "model.safetensors").items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return ModelSource(Path(folder), "other")


def answers(sampler: VllmSampler, model: ModelSource) -> list[tuple[str, float]]:
    """Every completion with its mean log-probability, which tells weights apart to the last bit."""
    (shard,) = sampler.sample(model, [QUESTIONS], GREEDY, len(QUESTIONS))
    return [(s.completions[0].text, s.completions[0].mean_logprob) for s in shard]


def test_loaded_in_place_or_at_the_start_makes_no_difference(other_model: ModelSource) -> None:
    base = ModelSource(Path(builtin_path("seed_model")), "base")
    with VllmSampler(RESOURCES) as sampler:
        first = answers(sampler, base)
        in_place = answers(sampler, other_model)
        assert answers(sampler, base) == first
    with VllmSampler(RESOURCES) as sampler:
        from_the_start = answers(sampler, other_model)
    assert from_the_start != first
    assert in_place == from_the_start
