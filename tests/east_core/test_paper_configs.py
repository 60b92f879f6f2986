"""The paper's 24 runs, as four bases and a matrix: all load, and say what is known of the paper."""

import itertools
from pathlib import Path

import pytest

from east_core.config.toml_file import load_config
from east_core.studies.study import load_studies

FOLDER = Path(__file__).parents[2] / "infra" / "configs" / "paper"
MODELS = {
    "llama-3-2-1b": "meta-llama/Llama-3.2-1B-Instruct",
    "llama-3-1-8b": "meta-llama/Llama-3.1-8B-Instruct",
}
BASES = [f"{model}-{data}" for model, data in itertools.product(MODELS, ("gsm8k", "math"))]
ARMS = list(itertools.product(("sft", "dpo", "kto"), ("uniform", "entropy-1")))
RUNS = [(base, loss, weighting) for base in BASES for loss, weighting in ARMS]
RELEASED_PROMPT = "Please reason step by step, and put your final answer within \\boxed{}."


@pytest.fixture(scope="module")
def runs():
    """The runs with the paper's one seed, by (base, loss, weighting)."""
    found = {}
    for study in load_studies(FOLDER / "matrix.toml"):
        for arm in study.arms():
            base = study.name.removeprefix("paper-")
            found[base, *arm.name.split("-", 1)] = study.run_config(arm, 42)
    return found


def test_the_folder_holds_the_papers_runs_and_nothing_else(runs):
    assert {path.stem for path in FOLDER.iterdir()} == {*BASES, "matrix"}
    assert len(runs) == 24
    assert runs.keys() == set(RUNS)


@pytest.mark.parametrize(("base", "loss"), itertools.product(BASES, ("sft", "dpo", "kto")))
def test_vanilla_and_east_differ_in_the_weighting_alone(runs, base, loss):
    vanilla, east = (runs[base, loss, weighting] for weighting in ("uniform", "entropy-1"))
    varied = {"name", "weighting"}
    assert vanilla.model_dump(exclude=varied) == east.model_dump(exclude=varied)
    assert vanilla.weighting.kind == "uniform"
    assert (east.weighting.kind, east.weighting.exponent) == ("entropy", 1.0)


@pytest.mark.parametrize(("base", "loss", "weighting"), RUNS)
def test_settings_are_the_released_ones_where_they_are_known(runs, base, loss, weighting):
    config = runs[base, loss, weighting]
    model, _, benchmark = base.rpartition("-")
    assert config.model.name == MODELS[model]
    assert (config.training.loss, config.questions.format) == (loss, benchmark)
    assert list(config.benchmarks) == [benchmark]
    assert config.questions.split == "train"
    assert config.benchmarks[benchmark].split == "test"
    assert (config.rounds, config.seed, config.sampling.samples_per_question) == (1, 42, 128)
    assert config.sampling.system_prompt == RELEASED_PROMPT
    assert config.weighting.drop_unanimous
    training = config.training
    assert training.learning_rate == (2e-6 if loss == "sft" else 2e-7)
    assert (training.epochs, training.warmup_ratio, training.global_batch_size) == (3, 0.1, 16)
    assert (training.precision, config.resources.zero_stage) == ("bf16", 3)
    if loss != "sft":
        assert training.beta == 0.01


@pytest.mark.parametrize(("base", "loss", "weighting"), RUNS)
def test_no_completion_that_was_sampled_is_too_long_to_train_on(runs, base, loss, weighting):
    config = runs[base, loss, weighting]
    assert config.training.max_length >= config.sampling.max_tokens + 1024
    assert config.evaluation.max_tokens == config.sampling.max_tokens


@pytest.mark.parametrize("base", BASES)
def test_a_base_alone_is_the_run_of_sft_with_east(runs, base):
    alone = load_config(FOLDER / f"{base}.toml")
    named = {"name", "store"}
    arm = runs[base, "sft", "entropy-1"]
    assert alone.model_dump(exclude=named) == arm.model_dump(exclude=named)


def test_what_is_not_known_of_the_paper_is_marked_as_our_choice():
    for base in BASES:
        lines = (FOLDER / f"{base}.toml").read_text().splitlines()
        for setting in ("temperature =", "max_tokens =", "schedule ="):
            marked = [line for line in lines if line.startswith(setting)]
            assert marked
            assert all("our choice" in line for line in marked), (base, setting)
    kto = (FOLDER / "matrix.toml").read_text().split("[training.kto]")[1]
    assert kto.count("our choice: DPO's") == 2
