"""The UI's form and the deployments' parameters describe the runs they seem to describe."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from east_core.config import RunConfig
from east_core.config.toml_file import load_config
from east_core.errors import ConfigError
from east_core.inputs.questions import builtin_path
from flows.server.forms import RunForm

DEPLOYMENTS = yaml.safe_load(
    (Path(__file__).parents[3] / "infra" / "prefect.yaml").read_text("utf-8")
)["deployments"]


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
    assert len(properties["weighting"]["anyOf"]) == 7
    assert len(properties["training"]["anyOf"]) == 4
