"""An engine that loads another checkpoint in place answers as one that was started with it."""

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from east_core.config import DatasetConfig, Resources
from east_core.engines.probe import SENTENCE, Probe
from east_core.engines.vllm import sampler as vllm_sampler
from east_core.engines.vllm.sampler import VllmSampler
from east_core.inputs.questions import WithGold, builtin_path
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Completion

RESOURCES = Resources(device="cpu", kv_cache_gib=0.25)
SLEEPING = RESOURCES.model_copy(update={"sleeping_engines": True})
ONE_ENGINE = RESOURCES.model_copy(update={"engines": 1})
DRAWN = GenerationSettings(4, 1.0, 1.0, 48, None, (), 7, logprobs=True)
STALE = Path(__file__).with_name("stale_worker.py")
GREEDY = GenerationSettings(1, 0.0, 1.0, 48, None, (), 0, logprobs=True)
QUESTIONS = list(WithGold(DatasetConfig(path="builtin:test.jsonl", limit=12)))


@pytest.fixture(autouse=True)
def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On CPU an engine needs no C++ compiler; nothing compiled before may stand in for one."""
    monkeypatch.setenv("CXX", "there-is-no-such-compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))


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
    true_probe(folder).write(folder)
    return ModelSource(Path(folder), "other")


def true_probe(folder: Path) -> Probe:
    """What training writes: the log-probabilities by Transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(SENTENCE)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        told = model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return Probe(ids, told[torch.arange(len(ids) - 1), ids[1:]].tolist())


def answers(sampler: VllmSampler, model: ModelSource) -> list[tuple[str, float]]:
    """Every completion with its mean log-probability, which tells weights apart to the last bit."""
    (shard,) = sampler.sample(model, [QUESTIONS], GREEDY, len(QUESTIONS))
    return [(s.completions[0].text, s.completions[0].mean_logprob) for s in shard]


def sampled(sampler: VllmSampler, model: ModelSource) -> list[Completion]:
    """Four completions of each question, drawn."""
    (shard,) = sampler.sample(model, [QUESTIONS], DRAWN, len(QUESTIONS))
    return [completion for item in shard for completion in item.completions]


def engine_of(sampler: VllmSampler) -> int:
    return sampler._processes[0].pid


def test_loaded_in_place_or_at_the_start_makes_no_difference(
    other_model: ModelSource, caplog: pytest.LogCaptureFixture
) -> None:
    base = ModelSource(builtin_path("seed_model"), "base")
    with VllmSampler(RESOURCES) as sampler:
        first = answers(sampler, base)
        engine = engine_of(sampler)
        in_place = answers(sampler, other_model)
        assert answers(sampler, base) == first
        assert engine_of(sampler) == engine, "the engine was started anew"
    assert not caplog.records, "the checkpoint's own log-probabilities were not recognised"
    with VllmSampler(RESOURCES) as sampler:
        from_the_start = answers(sampler, other_model)
    assert from_the_start != first
    assert in_place == from_the_start


def test_an_engine_that_speaks_otherwise_than_the_checkpoint_is_started_anew(
    other_model: ModelSource, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A probe of other weights stands for weights that did not arrive."""
    folder = tmp_path / "odd"
    shutil.copytree(other_model.folder, folder)
    true_probe(builtin_path("seed_model")).write(folder)
    odd = dataclasses.replace(other_model, folder=folder, fingerprint="odd")
    with VllmSampler(RESOURCES) as sampler, caplog.at_level(logging.WARNING):
        answers(sampler, ModelSource(builtin_path("seed_model"), "base"))
        engine = engine_of(sampler)
        answers(sampler, odd)
        assert engine_of(sampler) != engine
    assert "nats a token" in caplog.text


@pytest.mark.slow
def test_a_base_model_that_did_not_arrive_is_noticed(
    other_model: ModelSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no probe beside it; the engine that was started with it has told what it says."""
    monkeypatch.setattr(vllm_sampler, "_PROGRAM", (str(STALE),))
    base = ModelSource(builtin_path("seed_model"), "base")
    with VllmSampler(RESOURCES) as sampler, caplog.at_level(logging.WARNING):
        first = answers(sampler, base)
        answers(sampler, other_model)
        caplog.clear()
        engine = engine_of(sampler)
        assert answers(sampler, base) == first
        assert engine_of(sampler) != engine
    assert "nats a token" in caplog.text


def release_as_on_a_gpu(sampler: VllmSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release a CPU engine as if it were a GPU's; vLLM's sleep frees nothing there, but is one."""
    with monkeypatch.context() as patch:
        patch.setattr(vllm_sampler, "device_of", lambda _: "cuda")
        sampler.release()


def test_an_engine_that_slept_wakes_with_the_next_checkpoint(
    other_model: ModelSource,
    nvidia_smi: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nvidia_smi("4000, 80000\n")
    base = ModelSource(builtin_path("seed_model"), "base")
    with VllmSampler(SLEEPING) as sampler:
        first = answers(sampler, base)
        engine = engine_of(sampler)
        release_as_on_a_gpu(sampler, monkeypatch)
        release_as_on_a_gpu(sampler, monkeypatch)  # as a training that is tried again does
        assert answers(sampler, other_model) != first
        release_as_on_a_gpu(sampler, monkeypatch)
        assert answers(sampler, base) == first
        assert engine_of(sampler) == engine, "the engine was started anew"
    assert not caplog.records


@pytest.fixture(scope="module")
def in_process(other_model: ModelSource) -> list[list[Completion]]:
    """What an engine inside of the worker's process draws: of the base, the other, the base."""
    base = ModelSource(builtin_path("seed_model"), "base")
    with VllmSampler(ONE_ENGINE) as sampler:
        return [sampled(sampler, model) for model in (base, other_model, base)]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_an_engine_in_processes_of_its_own_samples_the_same(
    in_process: list[list[Completion]],
    other_model: ModelSource,
    nvidia_smi: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    ranks: int,
) -> None:
    """As vLLM runs on GPUs: new weights in place, asleep and awake, and nothing left behind."""
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "1")
    nvidia_smi("4000, 80000\n")
    resources = ONE_ENGINE.model_copy(update={"tensor_parallel": ranks, "sleeping_engines": True})
    base = ModelSource(builtin_path("seed_model"), "base")
    with VllmSampler(resources) as sampler:
        first = sampled(sampler, base)
        engine = engine_of(sampler)
        processes = psutil.Process(engine).children(recursive=True)
        in_place = sampled(sampler, other_model)
        release_as_on_a_gpu(sampler, monkeypatch)
        again = sampled(sampler, base)
        assert engine_of(sampler) == engine, "the engine was started anew"
    assert not caplog.records
    assert len(processes) >= 2 + ranks  # ours, the engine's, its workers
    assert not [process for process in processes if process.is_running()]
    for here, there in zip((first, in_place, again), in_process, strict=True):
        assert [said.ids for said in here] == [said.ids for said in there]
        expected = pytest.approx([said.mean_logprob for said in there], abs=1e-5)
        assert [said.mean_logprob for said in here] == expected


@pytest.mark.parametrize(
    ("resources", "told", "reason"),
    [
        (RESOURCES, "4000, 80000\n", ""),
        (SLEEPING, "40000, 80000\n", "asleep, they still held 50% of a GPU"),
        (SLEEPING, "", "nvidia-smi does not tell the memory of GPU 0"),
    ],
    ids=["not asked to", "holds too much", "unknown"],
)
def test_an_engine_that_does_not_sleep_well_ends(
    nvidia_smi: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    resources: Resources,
    told: str,
    reason: str,
) -> None:
    nvidia_smi(told)
    base = ModelSource(builtin_path("seed_model"), "base")
    with VllmSampler(resources) as sampler:
        answers(sampler, base)
        release_as_on_a_gpu(sampler, monkeypatch)
        assert not sampler._engines
    assert reason in caplog.text
    assert bool(caplog.records) == bool(reason)


@pytest.mark.slow
def test_a_mixtures_experts_are_those_of_the_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """vLLM packs experts for its CPU kernels at the start only; a reload must do so again."""
    first, second = (mixture(tmp_path / name, seed) for seed, name in enumerate(("one", "two")))
    with VllmSampler(RESOURCES) as sampler:
        answers(sampler, first)
        engine = engine_of(sampler)
        in_place = answers(sampler, second)
        assert engine_of(sampler) == engine, "the engine was started anew"
    assert not caplog.records
    with VllmSampler(RESOURCES) as sampler:
        assert in_place == answers(sampler, second)


def mixture(folder: Path, seed: int) -> ModelSource:
    """A small mixture of experts with the built-in model's tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen3MoeConfig

    shutil.copytree(builtin_path("seed_model"), folder)
    known = json.loads((folder / "config.json").read_text())
    same = {name: known[name] for name in ("vocab_size", "bos_token_id", "eos_token_id")}
    config = Qwen3MoeConfig(
        **same, hidden_size=64, intermediate_size=128, moe_intermediate_size=64, num_experts=4,
        num_experts_per_tok=2, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=32, max_position_embeddings=512, pad_token_id=known.get("pad_token_id"),
    )  # fmt: skip
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    true_probe(folder).write(folder)
    return ModelSource(folder, folder.name)
