"""Settings that reach a real vLLM engine: context, options passed on, a budget of thinking."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

from east_core.config import DatasetConfig, ModelConfig, Resources, RunConfig, SamplingRecipe
from east_core.engines.processes import run_child
from east_core.engines.vllm.options import EngineOptions
from east_core.engines.vllm.sampler import VllmSampler
from east_core.errors import EngineError
from east_core.protocols import GenerationSettings, ModelSource, PromptFormat
from east_core.records import Question, SampledQuestion
from east_core.runs import samples, start
from east_core.runs.addresses import SAMPLES_FILE
from east_core.runs.run import Run
from east_core.tables import read_table
from tests.integration.families import tiny_model

pytestmark = pytest.mark.slow
# 131,072 tokens of the tiny Llama 3.1 need 128 MiB of cache, as a 24 GB card has too little for 8B
SMALL = Resources(device="cpu", kv_cache_gib=0.1, max_sequences=16)
SETTINGS = GenerationSettings(4, 1.0, 1.0, 24, None, (), seed=7)
ASKED = [Question(id="short", prompt="How many?", answer="1")]
ENGINE = """
import json, sys
from east_core.engines.vllm.options import EngineOptions
from east_core.engines.vllm.worker import Worker
worker = Worker(EngineOptions(**json.loads(sys.argv[1])))
worker.load(sys.argv[2])
config = worker.llm.llm_engine.vllm_config
print("told", config.scheduler_config.max_num_batched_tokens, config.model_config.dtype)
"""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model("llama-3.1", tmp_path_factory.mktemp("llama"))


def test_a_long_context_and_a_small_cache_work_by_default(llama: Path, tmp_path: Path) -> None:
    """Asked for all that the model has, the engine does not start; a run asks for what it needs."""
    with VllmSampler(SMALL) as sampler, pytest.raises(EngineError, match="KV cache"):
        list(sampler.sample(ModelSource(llama, "m"), [ASKED], SETTINGS, 1))
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question": "How many?", "answer": "1"}) + "\n")
    data = DatasetConfig(path=str(questions))
    config = RunConfig(
        name="long",
        store=str(tmp_path / "store"),
        model=ModelConfig(name=str(llama)),
        questions=data,
        benchmarks={"same": data},
        sampling=SamplingRecipe(samples_per_question=4, max_tokens=24),
        resources=SMALL,
    )
    run = Run.open(config)
    start.claim(run)
    start.register_base_model(run)
    start.freeze_questions(run)
    with VllmSampler(SMALL) as sampler:
        record = samples.sample(run, 1, sampler)
    (file,) = samples.sample_files(run, record)
    assert file.name == SAMPLES_FILE
    (item,) = read_table(file, SampledQuestion)
    assert all(said.token_count > 0 for said in item.completions)


def test_engine_options_reach_the_engine(llama: Path) -> None:
    """In place of ours (float32 on CPUs), or beside it."""
    asked = {"max_num_batched_tokens": 777, "dtype": "bfloat16"}
    resources = SMALL.model_copy(update={"engine_options": asked})
    options = EngineOptions.from_resources(resources, False, 512)
    lines: list[str] = []
    run_child(
        [sys.executable, "-c", ENGINE, json.dumps(dataclasses.asdict(options)), str(llama)],
        env={"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCHDYNAMO_DISABLE": "1"},
        on_line=lines.append,
    )
    assert "told 777 torch.bfloat16" in lines


def test_a_thinking_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """A model of random weights would think for ever."""
    folder = tiny_model("qwen3", tmp_path)
    names = json.loads((folder / "tokenizer.json").read_text("utf-8"))["added_tokens"]
    (end,) = [each["id"] for each in names if each["content"] == "</think>"]
    thinking = PromptFormat(assistant_prefix="<think>\n")
    settings = dataclasses.replace(SETTINGS, prompt=thinking, needed_context=512)
    budgeted = dataclasses.replace(settings, thinking_budget=8)
    model = ModelSource(folder, "m")
    with VllmSampler(SMALL) as sampler:
        ((item,),) = sampler.sample(model, [ASKED], settings, 1)
        assert all(end not in (said.ids or ()) for said in item.completions)
        ((item,),) = sampler.sample(model, [ASKED], budgeted, 1)
    for said in item.completions:
        assert end in [*(said.ids or ())][:9]
        assert len(said.ids or ()) > 9  # it goes on behind
        assert "</think>" in said.text
