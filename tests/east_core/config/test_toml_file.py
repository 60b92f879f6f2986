"""A config is read strictly, and what is wrong with it is said in one line."""

from pathlib import Path

import pytest

from east_core.config import DpoRecipe, RunConfig
from east_core.config.toml_file import load_config, parse_config, read_settings
from east_core.errors import ConfigError
from east_core.inputs.questions import builtin_path
from east_core.studies.study import load_studies
from east_core.weighting.strategies import AccuracyWeighting, EntropyWeighting

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = [
    path for room in ("infra", "examples", "east_core") for path in ROOT.glob(f"{room}/**/*.toml")
]
STUDIES = [path for path in SHIPPED if "seeds" in read_settings(path)]
RUNS = [path for path in SHIPPED if path not in STUDIES]


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_every_shipped_run_config_loads(path: Path) -> None:
    assert load_config(path).rounds >= 1


def test_every_table_of_the_demo_takes_a_setting() -> None:
    demo = builtin_path("demo.toml")
    limited = load_config(demo, ["questions.limit=7", "benchmarks.word-problems.limit=5"])
    assert limited.questions.limit == 7
    assert limited.benchmarks["word-problems"].limit == 5
    assert limited.benchmarks["word-problems"].path == "builtin:test.jsonl"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_shipped_study_loads(path: Path) -> None:
    assert all(study.arms() for study in load_studies(path))


def test_every_field_says_what_it_is() -> None:
    schema = RunConfig.model_json_schema()
    models = [schema, *schema["$defs"].values()]
    silent = [
        f"{model['title']}.{name}"
        for model in models
        for name, field in model.get("properties", {}).items()
        if "description" not in field and "const" not in field
    ]
    assert silent == []


def test_unions_are_chosen_by_their_tag() -> None:
    config = parse_config(
        {"weighting": {"kind": "accuracy", "exponent": 2}, "training": {"loss": "dpo"}}
    )
    assert config.weighting == AccuracyWeighting(exponent=2)
    assert config.training == DpoRecipe()


UNIONS = [name for name, field in RunConfig.model_fields.items() if field.discriminator]


@pytest.mark.parametrize("name", UNIONS)
def test_a_table_without_a_kind_is_of_the_defaults_kind(name: str) -> None:
    default = getattr(RunConfig(), name)
    tag = str(RunConfig.model_fields[name].discriminator)
    for field, value in default.model_dump(exclude={tag}).items():
        assert parse_config({name: {field: value}}) == RunConfig()
    assert parse_config({name: {}}) == RunConfig()


def test_the_exponent_alone_is_enough_on_the_command_line() -> None:
    assert parse_config({}, ["weighting.exponent=2"]).weighting == EntropyWeighting(exponent=2)
    chosen = {"weighting": {"kind": "accuracy"}}
    assert parse_config(chosen, ["weighting.exponent=2"]).weighting == AccuracyWeighting(exponent=2)


def test_overrides_win_and_are_typed() -> None:
    config = parse_config(
        {"rounds": 2},
        ["rounds=5", "sampling.temperature=0.5", "name=other", "weighting.kind='uniform'"],
    )
    assert (config.rounds, config.sampling.temperature, config.name) == (5, 0.5, "other")
    assert config.weighting.kind == "uniform"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampling": {"temprature": 1}}, "sampling.temprature is not a setting; did you mean"),
        ({"modell": {"name": "m"}}, r"modell is not a setting; did you mean model\?"),
        ({"temperature": 1}, r"temperature is not a setting; did you mean \w+\.temperature\?"),
        ({"training": {"learning_rat": 1}}, r"of 'sft'; did you mean training\.learning_rate\?"),
        ({"benchmarks": {"b": {"pth": "q"}}}, r"pth is not a setting; did you mean .*b\.path\?"),
        ({"weighting": {"most_examples": 2}}, r"most_examples is not a setting of 'entropy'"),
        ({"sampling": {"temperature": -1}}, "sampling.temperature: input should be greater"),
        ({"rounds": 0}, r"rounds: input should be greater than or equal to 1 \(got 0\)"),
        ({"name": "Has Spaces"}, "name: string should match pattern"),
        ({"training": {"loss": "rlhf"}}, "training: .*'rlhf'"),
        ({"training": {"loss": "dpo", "beta": 0}}, r"training.beta: .*greater than 0 \(got 0\)"),
        ({"resources": {"processes": 3}}, "global_batch_size 16 is not a multiple of"),
        ({"resources": {"offload": "all"}}, "offload 'all' needs zero_stage 3"),
        ({"resources": {"processes": 6, "nodes": 4}}, "must be a multiple of nodes"),
        ({"benchmarks": {}}, "benchmarks is empty"),
        ({"benchmarks": {"a/b": {}}}, "benchmark name 'a/b' must be"),
        (
            {"benchmarks": {"b": {"task": "t", "metrc": "acc"}}},
            r"benchmarks\.b\.metrc is not a setting of 'harness task'; did you mean .*b\.metric\?",
        ),
        (
            {"benchmarks": {"b": {"task": "t", "path": "q"}}},
            r"benchmarks\.b\.path is not a setting of 'harness task'",
        ),
        ({"benchmarks": {"b": {"task": "../t"}}}, r"benchmarks\.b\.task: string should match"),
        ({"benchmarks": {"b": {"task": "t,u"}}}, r"benchmarks\.b\.task: string should match"),
        ({"benchmarks": {"b": {"limit": 0}}}, r"benchmarks\.b\.limit: input should be greater"),
        (
            {"benchmarks": {"b": {"task": "t"}}, "model": {"trust_remote_code": True}},
            "benchmark 'b' is a task of lm-evaluation-harness, which is started without trust",
        ),
        (
            {"benchmarks": {"b": {"task": "t"}}, "resources": {"ray": "auto", "device": "cuda"}},
            "benchmark 'b' is a task of lm-evaluation-harness, which runs on this machine",
        ),
        (
            {"weighting": {"kind": "difficulty"}, "training": {"loss": "kto"}},
            "weighting 'difficulty' chooses how many completions",
        ),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        parse_config(settings, where="run.toml")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("run.toml: ")


def test_files_that_are_not_there_or_not_toml(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; see infra/configs"):
        load_config(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("rounds = = 3")
    with pytest.raises(ConfigError, match=r"bad\.toml: not valid TOML"):
        load_config(tmp_path / "bad.toml")


@pytest.mark.parametrize("override", ["rounds", "=3", "rounds.x=1"])
def test_a_malformed_override_is_refused(override: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        parse_config({"rounds": 2}, [override])


@pytest.mark.parametrize(
    "settings",
    [
        {"store": "s3://user:canary@bucket/runs"},
        {"model": {"name": "https://user:canary@example.org/model"}},
        {"questions": {"path": "https://canary@example.org/q.jsonl"}},
        {"benchmarks": {"b": {"path": "simplecache::ftp://user:canary@example.org/q.jsonl"}}},
        {"resources": {"checkpoint_store": "s3://user:canary@bucket/x"}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_credentials_in_a_url_are_refused_and_not_repeated(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="out of the URL") as caught:
        parse_config(settings)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "path", ["hub:openai/gsm8k", "s3://bucket/a@b.jsonl", "hf://datasets/org/name@v1/q.jsonl"]
)
def test_other_locations_may_hold_an_at_sign(path: str) -> None:
    assert parse_config({"questions": {"path": path}}).questions.path == path
