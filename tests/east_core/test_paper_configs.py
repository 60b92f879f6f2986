"""The paper's runs: every file is there, loads, and says what is known of the paper."""

import itertools
from pathlib import Path

import pytest

from east_core.config.toml_file import load_config

FOLDER = Path(__file__).parents[2] / "infra" / "configs" / "paper"
MODELS = {
    "llama-3-2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "llama-3-1-8b": "meta-llama/Llama-3.1-8B-Instruct",
}
RUNS = list(itertools.product(MODELS, ("gsm8k", "math"), ("sft", "dpo", "kto")))
RELEASED_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."


def load(model, benchmark, loss, arm):
    return load_config(FOLDER / f"{model}-{benchmark}-{loss}-{arm}.toml")


def test_the_folder_holds_the_papers_runs_and_nothing_else():
    expected = {f"{'-'.join(run)}-{arm}" for run in RUNS for arm in ("vanilla", "east")}
    assert {path.stem for path in FOLDER.iterdir()} == expected
    assert len(expected) == 24


@pytest.mark.parametrize(("model", "benchmark", "loss"), RUNS)
def test_vanilla_and_east_differ_in_the_weighting_alone(model, benchmark, loss):
    vanilla, east = (load(model, benchmark, loss, arm) for arm in ("vanilla", "east"))
    varied = {"name", "weighting"}
    assert vanilla.model_dump(exclude=varied) == east.model_dump(exclude=varied)
    assert vanilla.weighting.kind == "uniform"
    assert (east.weighting.kind, east.weighting.exponent) == ("entropy", 1.0)
    assert vanilla.weighting.drop_unanimous
    assert east.weighting.drop_unanimous


@pytest.mark.parametrize(("model", "benchmark", "loss"), RUNS)
def test_settings_are_the_released_ones_where_they_are_known(model, benchmark, loss):
    config = load(model, benchmark, loss, "east")
    assert config.model.name == MODELS[model]
    assert (config.training.loss, config.questions.format) == (loss, benchmark)
    assert list(config.benchmarks) == [benchmark]
    assert config.questions.split == "train"
    assert config.benchmarks[benchmark].split == "test"
    assert (config.rounds, config.seed, config.sampling.samples_per_question) == (1, 42, 128)
    assert config.sampling.system_prompt == RELEASED_PROMPT
    training = config.training
    assert training.learning_rate == (2e-6 if loss == "sft" else 2e-7)
    assert (training.epochs, training.warmup_ratio, training.global_batch_size) == (3, 0.1, 16)
    assert (training.precision, config.resources.zero_stage) == ("bf16", 3)
    if loss != "sft":
        assert training.beta == 0.01


@pytest.mark.parametrize(("model", "benchmark", "loss"), RUNS)
def test_no_completion_that_was_sampled_is_too_long_to_train_on(model, benchmark, loss):
    config = load(model, benchmark, loss, "east")
    assert config.training.max_length >= config.sampling.max_tokens + 1024
    assert config.evaluation.max_tokens == config.sampling.max_tokens


def test_what_is_not_known_of_the_paper_is_marked_as_our_choice():
    for path in FOLDER.iterdir():
        lines = path.read_text().splitlines()
        for setting in ("temperature =", "max_tokens =", "schedule ="):
            marked = [line for line in lines if line.startswith(setting)]
            assert marked
            assert all("our choice" in line for line in marked), (path.name, setting)
        if "-kto-" in path.name:
            assert sum("our choice: DPO's" in line for line in lines) == 2
