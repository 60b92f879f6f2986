from pathlib import Path

import pytest

from east_core.config.toml_file import load_config
from east_core.errors import ConfigError
from east_core.inputs.questions import builtin_path
from east_core.studies.study import Arm, load_studies, parse_study
from east_core.weighting.strategies import weighting_kinds

CONFIGS = Path(__file__).parents[3] / "infra" / "configs"
MATRIX = {
    "name": "s",
    "baseline": "sft-uniform",
    "seeds": [1, 2],
    "weightings": ["uniform", "entropy"],
    "exponents": [-0.5, 1.0],
    "training": {"sft": {"learning_rate": 1e-4}, "dpo": {"beta": 0.1}},
    "run": {"rounds": 2, "sampling": {"samples_per_question": 4}},
}


def test_the_matrix_has_every_arm_once_and_the_baseline_first():
    names = [arm.name for arm in parse_study(MATRIX).arms()]
    assert names == [
        "sft-uniform", "sft-entropy-minus-0p5", "sft-entropy-1",
        "dpo-uniform", "dpo-entropy-minus-0p5", "dpo-entropy-1",
    ]  # fmt: skip


def test_runs_differ_in_what_the_matrix_varies_and_in_nothing_else():
    runs = list(parse_study(MATRIX).runs())
    assert len(runs) == len({run.name for run in runs}) == 12
    first, other = runs[0], runs[11]
    assert (first.seed, first.weighting.kind, first.training.learning_rate) == (1, "uniform", 1e-4)
    assert (other.seed, other.weighting.exponent, other.training.beta) == (2, 1.0, 0.1)
    assert {run.store for run in runs} == {".east/store/s"}
    varied = {"name", "seed", "weighting", "training"}
    assert first.model_dump(exclude=varied) == other.model_dump(exclude=varied)


def test_seeds_are_finished_one_after_another():
    assert [run.seed for run in parse_study(MATRIX).runs()] == [1] * 6 + [2] * 6


def test_names_of_arms_are_names_of_runs():
    assert Arm("kto", "entropy", -0.25).run_name(7) == "kto-entropy-minus-0p25-seed-7"
    assert Arm("kto", "entropy", -0.25).label == "KTO, entropy, a = -0.25"


@pytest.mark.parametrize("kind", weighting_kinds())
def test_every_weighting_can_be_an_arm(kind: str) -> None:
    study = parse_study(
        {**MATRIX, "weightings": sorted({"uniform", kind}), "training": {"sft": {}}}
    )
    assert kind in {run.weighting.kind for run in study.runs()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "sft-entropy-2"}, "none of the arms: sft-uniform"),
        ({"run": {"seed": 3}}, r"run\.seed is set by the study"),
        ({"seeds": [1, 1]}, "names something twice"),
        ({"weightings": ["uniform", "entropi"]}, "arm sft-entropi"),
        ({"run": {"sampling": {"temprature": 1}}}, r"did you mean sampling\.temperature"),
        ({"training": {"ppo": {}}}, "training"),
        ({"rounds": 3}, r"rounds is a setting of a run, not of a study; put it under \[run\], or"),
        ({"weighting": "uniform"}, "weighting is a setting of a run"),
        ({"exponent": [1]}, "exponent is not a setting; did you mean exponents"),
    ],
)
def test_mistakes_are_one_line_that_names_them(change, message):
    with pytest.raises(ConfigError, match=message) as told:
        parse_study({**MATRIX, **change})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", ["compare-weightings.toml", "sweep-exponent.toml"])
def test_the_studies_of_the_built_in_task_load(name):
    (study,) = load_studies(CONFIGS / name)
    assert study.baseline == "sft-uniform"
    runs = list(study.runs())
    assert {run.model.name for run in runs} == {"builtin:seed_model"}
    assert len(runs) == len(study.arms()) * len(study.seeds)
    demo = load_config(builtin_path("demo.toml"))
    assert runs[0].training == demo.training
    assert (runs[0].sampling, runs[0].evaluation) == (demo.sampling, demo.evaluation)
    assert runs[0].questions == demo.questions
    # one study keeps the order of rows in which docs/results.md was measured
    grouped = runs[0].resources.model_copy(update={"group_by_length": True})
    assert grouped == demo.resources


def test_overrides_reach_the_shared_settings():
    (study,) = load_studies(
        CONFIGS / "compare-weightings.toml", ["seeds=[9]", "run.rounds=1", "run.questions.limit=16"]
    )
    assert [(run.seed, run.rounds, run.questions.limit) for run in study.runs()] == [(9, 1, 16)] * 3


BASE = """
name = "alone"
seed = 7
rounds = 2
[sampling]
samples_per_question = 4
max_tokens = 32
[weighting]
kind = "entropy"
exponent = 2.0
[training]
loss = "sft"
epochs = 5
"""


def on_bases(tmp_path, **bases):
    for name, text in bases.items():
        (tmp_path / f"{name}.toml").write_text(text)
    study = tmp_path / "study.toml"
    names = ", ".join(f'"{name}.toml"' for name in bases)
    study.write_text(
        f"""name = "s"
        bases = [{names}]
        [training.sft]
        [training.dpo]
        epochs = 1
        [run.sampling]
        max_tokens = 64
        """
    )
    return study


def test_every_base_is_a_study_of_its_own_under_what_the_file_sets(tmp_path):
    other = BASE.replace("rounds = 2", "rounds = 3")
    one, two = load_studies(on_bases(tmp_path, one=BASE, two=other), ["run.sampling.top_p=0.9"])
    assert [(s.name, next(s.runs()).rounds) for s in (one, two)] == [("s-one", 2), ("s-two", 3)]
    runs = {arm.name: one.run_config(arm, seed=1) for arm in one.arms()}
    assert {run.seed for run in runs.values()} == {1}
    assert {run.store for run in runs.values()} == {".east/store/s-one"}
    sampling = runs["sft-uniform"].sampling
    # from the base, from the study's [run], and from --set
    assert (sampling.samples_per_question, sampling.max_tokens, sampling.top_p) == (4, 64, 0.9)
    assert runs["sft-entropy-1"].training.epochs == 5
    assert runs["dpo-entropy-1"].training.epochs == 1


@pytest.mark.parametrize(
    ("base", "override", "message"),
    [
        (BASE.replace("exponent = 2.0", "max_weight = 3.0"), "seeds=[1]", "weighting.max_weight"),
        (BASE, 'bases=["missing.toml"]', "missing.toml: no such file"),
        (BASE, "bases=[]", "bases is not a list of files"),
        (BASE, "bases=one.toml", "bases is not a list of files"),
        ("[sampling]\ntemprature = 1", "seeds=[1]", r"did you mean sampling\.temperature"),
    ],
)
def test_a_base_that_does_not_fit_is_told(tmp_path, base, override, message):
    with pytest.raises(ConfigError, match=message):
        load_studies(on_bases(tmp_path, one=base), [override])
