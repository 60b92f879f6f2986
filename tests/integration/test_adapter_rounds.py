"""Rounds stored as adapters, with real engines: samples, bytes, and a rank that is killed."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

from east_core.config import (
    DatasetConfig,
    EvaluationRecipe,
    LoraRecipe,
    Resources,
    RunConfig,
    SamplingRecipe,
    SftRecipe,
)
from east_core.engines.trl.lora import dtype_of, write_adapter
from east_core.engines.vllm.sampler import VllmSampler
from east_core.errors import EngineError
from east_core.inputs.base_models import is_stored_as_adapter, whole_model
from east_core.protocols import GenerationSettings, ModelSource
from east_core.records import Question, SampledQuestion
from east_core.runs.run import Run
from east_core.store.verification import verify
from east_core.testing.small_jobs import tiny_model
from tests.east_core.conftest import finish
from tests.integration.training_runs import kill_a_rank, trainer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ASKED = [Question(str(n), f"Tom has {n} marbles and gets 4 more. How many?", "") for n in range(8)]
SETTINGS = GenerationSettings(8, 1.0, 1.0, 64, None, (), seed=5, needed_context=512, logprobs=True)


def run_in(folder: Path, rounds: int) -> Run:
    return Run.open(
        RunConfig(
            name="adapters",
            store=str(folder),
            rounds=rounds,
            questions=DatasetConfig(path="builtin:train.jsonl", limit=60),
            benchmarks={"word-problems": DatasetConfig(path="builtin:test.jsonl", limit=20)},
            sampling=SamplingRecipe(samples_per_question=8, max_tokens=96),
            training=SftRecipe(
                learning_rate=1e-3, global_batch_size=4, epochs=2, lora=LoraRecipe(rank=4)
            ),
            evaluation=EvaluationRecipe(max_tokens=96),
            resources=Resources(
                device="cpu",
                processes=1,
                micro_batch_size=4,
                zero_stage=0,
                checkpoint_every_steps=2,
                kv_cache_gib=0.25,
                engines=1,
            ),
        )
    )


def said(samples: list[SampledQuestion]) -> list[list[int]]:
    return [list(each.ids or ()) for item in samples for each in item.completions]


def logprobs(samples: list[SampledQuestion]) -> torch.Tensor:
    return torch.tensor([each.mean_logprob for item in samples for each in item.completions])


def merged_by_peft(base: Path, adapter: Path, out: Path) -> Path:
    """The whole model, as the library makes it of the files that are stored."""
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter)
    merged: Any = model
    merged.merge_and_unload().save_pretrained(out)
    for file in base.iterdir():
        if file.is_file() and file.suffix != ".safetensors":
            shutil.copyfile(file, out / file.name)
    return out


def test_a_run_of_adapters_samples_and_resumes_as_one_of_whole_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    with VllmSampler(run_in(tmp_path / "one", 2).config.resources) as sampler:
        whole = run_in(tmp_path / "one", 2)
        finish(whole, sampler, trainer())
        finish(run_in(tmp_path / "two", 1), sampler, trainer())
        killed = run_in(tmp_path / "two", 2)
        with pytest.raises(EngineError):
            finish(killed, sampler, trainer(on_step=kill_a_rank(at_step=3)))
        shutil.rmtree(tmp_path / "cache" / "artifacts")  # as on a machine that has merged nothing
        resumed = run_in(tmp_path / "two", 2)
        finish(resumed, sampler, trainer())
        for number in (1, 2):
            for address in (whole.at.samples(number), whole.at.checkpoint(number)):
                assert whole.record(address).content == resumed.record(address).content, address
            assert is_stored_as_adapter(whole.record(whole.at.checkpoint(number)))
        assert verify(resumed.store, "adapters").is_sound
        _engines_cannot_tell(run_in(tmp_path / "one", 2), sampler, tmp_path / "by-peft")


def _engines_cannot_tell(run: Run, sampler: VllmSampler, out: Path) -> None:
    """Samples from the merged adapter are those from the library's merged model."""
    first, second = (run.record(run.at.checkpoint(number)) for number in (1, 2))
    theirs = merged_by_peft(whole_model(run.store, first), run.store.fetch(second), out)
    ours = whole_model(run.store, second)
    models = ModelSource(ours, "ours"), ModelSource(theirs, "theirs")
    answers = [
        list(sampler.sample(model, [ASKED], SETTINGS, len(ASKED)))[0]  # noqa: RUF015 to its end
        for model in models
    ]
    assert said(answers[0]) == said(answers[1])
    torch.testing.assert_close(*map(logprobs, answers), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("rank", "share"), [(4, 0.02), (16, 0.05)])
def test_an_adapter_takes_a_small_share_of_a_models_bytes(
    tmp_path: Path, rank: int, share: float
) -> None:
    """A Llama of 30 M parameters, all linear layers adapted, everything in fp32."""
    sizes = {"vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1408}
    source = tiny_model(tmp_path / "model", num_hidden_layers=8, num_attention_heads=8, **sizes)
    config = LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(source.folder), config)
    (tmp_path / "adapter").mkdir()
    state = adapted.state_dict()
    write_adapter(state, adapted, dtype_of(state), tmp_path / "adapter")
    model, adapter = (_bytes(tmp_path / name) for name in ("model", "adapter"))
    assert model > 4 * 29e6
    assert adapter <= share * model


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
