"""The UI's form and the deployments' parameters describe the runs they seem to describe."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from east_core.answers.gradings import Grading
from east_core.config import HarnessTask, RunConfig
from east_core.config.toml_file import load_config
from east_core.errors import ConfigError
from east_core.inputs.questions import builtin_path
from east_core.weighting.strategies import Weighting
from flows.server.forms import RunForm, named_by_form

DEPLOYMENTS = yaml.safe_load(
    (Path(__file__).parents[3] / "infra" / "prefect.yaml").read_text("utf-8")
)["deployments"]


TYPED = (2e-6, 1.7e-7, 5e-5, 3e-4, 0.3, 0.7, 0.95, 1.1, 1e-9)


def test_the_empty_form_is_the_default_run() -> None:
    assert RunForm().run_config() == RunConfig()


def test_the_demo_of_the_ui_is_the_demo_of_the_command_line() -> None:
    (demo,) = [entry for entry in DEPLOYMENTS if entry["name"] == "demo"]
    form = RunForm.model_validate(demo["parameters"]["form"])
    assert form.run_config() == load_config(builtin_path("demo.toml"))


@pytest.mark.parametrize("entry", DEPLOYMENTS, ids=lambda entry: str(entry["name"]))
def test_every_deployment_names_a_flow_that_takes_its_parameters(entry: dict[str, Any]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    flow = load_flow_from_entrypoint(entry["entrypoint"])
    assert set(entry.get("parameters", {})) <= set(flow.parameters.properties)
    assert entry["description"]
    assert entry["tags"]


@pytest.mark.parametrize("entry", DEPLOYMENTS, ids=lambda entry: str(entry["name"]))
def test_every_number_of_every_form_can_be_saved(entry: dict[str, Any]) -> None:
    """Prefect's number field steps by `multipleOf`, and the browser refuses what lies between."""
    from prefect.flows import load_flow_from_entrypoint

    fields = list(
        number_fields(load_flow_from_entrypoint(entry["entrypoint"]).parameters.model_dump())
    )
    assert len(fields) > 0
    for field in fields:
        limits = [field[key] for key in field if "imum" in key or key == "default"]
        step = {"type": "number", "multipleOf": field.get("multipleOf", 0.01)}
        for value in (*TYPED, *(limit for limit in limits if limit is not None)):
            assert Fraction(str(value)) % Fraction(str(step["multipleOf"])) == 0  # the browser
            assert Draft202012Validator(step).is_valid(value)  # the server, in floating point


def number_fields(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of a schema that is a number, with the default of the field that it is in."""
    if isinstance(schema, list):
        for part in schema:
            yield from number_fields(part)
    elif isinstance(schema, dict):
        given = {"default": schema["default"]} if "default" in schema else {}
        for variant in (schema, *schema.get("anyOf", ())):
            if variant.get("type") == "number":
                yield given | variant
        for name, part in schema.items():
            if name != "anyOf":
                yield from number_fields(part)


def test_the_form_offers_every_grading_and_says_what_code_needs() -> None:
    kinds = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(Grading)[0])}
    grading = RunForm.model_json_schema()["$defs"]["DatasetConfig"]["properties"]["grading"]
    assert [part["$ref"].rsplit("/", 1)[1] for part in grading["anyOf"]] == [
        kind.__name__ for kind in kinds.values()
    ]
    for name in kinds:
        settings = {"kind": name, "functions": "mine"} if name == "python" else {"kind": name}
        opened = {"path": "q.jsonl", "grading": settings, "allow_code_execution": True}
        config = RunForm.model_validate({"questions": opened}).run_config()
        assert config.questions.grading.kind == name
    with pytest.raises(ValidationError, match="allow_code_execution = true"):
        RunForm.model_validate({"questions": {"path": "q.jsonl", "grading": {"kind": "code"}}})


def test_the_form_takes_a_mixture_as_a_tab_of_the_questions() -> None:
    offered = RunForm.model_json_schema()["properties"]["questions"]["anyOf"]
    kinds = [part.get("$ref", part.get("type")) for part in offered]
    assert kinds == ["string", "#/$defs/DatasetConfig", "#/$defs/QuestionMixture"]
    sets = {
        "sums": {"path": "s.jsonl", "share": 3},
        "letters": {"path": "l.jsonl", "share": 1, "grading": {"kind": "choice"}},
    }
    config = RunForm.model_validate({"questions": {"sets": sets}}).run_config()
    assert config.questions.sets["sums"].share == 3
    assert config.questions.grading.of("letters/q1").kind == "choice"
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="greater than 0"):
        RunForm.model_validate({"questions": {"sets": {"a": {"share": 0}}}})


def test_the_form_takes_averaging_and_leaves_it_out_by_default() -> None:
    config = RunForm.model_validate({"averaging": {"earlier": "previous"}}).run_config()
    assert config.averaging is not None
    assert (config.averaging.earlier, config.averaging.weight) == ("previous", 0.5)
    assert RunForm().run_config().averaging is None


def test_the_form_takes_a_task_of_the_harness_as_a_benchmark() -> None:
    schema = RunForm.model_json_schema()
    offered = schema["properties"]["benchmarks"]["additionalProperties"]["anyOf"]
    kinds = [part.get("$ref", part.get("type")) for part in offered]
    assert kinds == ["string", "#/$defs/DatasetConfig", "#/$defs/HarnessTask"]
    assert all("description" in f for f in schema["$defs"]["HarnessTask"]["properties"].values())
    task = {"task": "gsm8k", "metric": "exact_match,strict-match", "limit": 200}
    given = {"ours": "q.jsonl", "columns": {"path": "r.jsonl"}, "theirs": task}
    benchmarks = RunForm.model_validate({"benchmarks": given}).run_config().benchmarks
    kinds = [type(each).__name__ for each in benchmarks.values()]
    assert kinds == ["DatasetConfig", "DatasetConfig", "HarnessTask"]
    assert benchmarks["theirs"] == HarnessTask.model_validate(task)
    with pytest.raises(ValidationError, match="String should match"):
        RunForm.model_validate({"benchmarks": {"theirs": {"task": "a,b"}}})
    form = RunForm.model_validate({"benchmarks": {"ours": {"limit": 5}}})
    with pytest.raises(ConfigError, match="benchmark 'ours' has no path"):
        form.run_config()


def test_opened_groups_replace_the_short_fields() -> None:
    form = RunForm.model_validate(
        {
            "questions": {"path": "q.jsonl", "format": "gsm8k"},
            "training": {"loss": "dpo", "beta": 0.1},
            "sampling": {"temperature": 0.7},
        }
    )
    config = form.run_config()
    assert config.questions.format == "gsm8k"
    assert config.training.loss == "dpo"
    assert config.sampling.temperature == 0.7


def test_settings_that_do_not_fit_are_one_clear_line() -> None:
    form = RunForm.model_validate({"training": {"loss": "sft", "global_batch_size": 7}})
    with pytest.raises(ConfigError, match=r"^form: training.global_batch_size 7 is not a multip"):
        form.run_config()


def test_unions_are_tabs_in_the_form() -> None:
    properties = RunForm.model_json_schema()["properties"]
    (strategies, _) = get_args(Weighting)
    assert len(properties["weighting"]["anyOf"]) == len(get_args(strategies))
    assert len(properties["training"]["anyOf"]) == 4


def test_every_bound_is_told_in_words() -> None:
    """Prefect's form only says that a value is invalid."""
    properties = RunForm.model_json_schema()["properties"]
    assert properties["rounds"]["description"].endswith("(1 to 1000)")
    assert properties["seed"]["description"].endswith("(at least 0, below 2147483648)")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("tidy-otter", "demo"),
        ("chi6-bayliss-warp", "demo"),
        ("omicron-curie-nebula", "demo"),
        ("my-first-try", "demo: my-first-try"),
        ("", "demo"),
        ("demo", "demo"),
        ("Tuesday's try", "demo: Tuesday's try"),
        ("demo: Tuesday's try", "demo: Tuesday's try"),
    ],
)
def test_a_run_is_called_as_its_form_and_as_a_person_called_it(
    monkeypatch: pytest.MonkeyPatch, given: str, name: str
) -> None:
    now = SimpleNamespace(name=given, parameters={"form": RunForm(name="demo")})
    monkeypatch.setattr("prefect.runtime.flow_run", now)
    assert named_by_form() == name
