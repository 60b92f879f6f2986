"""Engines that import before a run has begun: found by the run, and gone with the command."""

import psutil
import pytest

from east_core.config import Resources
from east_core.engines.vllm import sampler as vllm_sampler
from east_core.engines.vllm.early import early_sampler, sampler_for
from east_core.errors import ConfigError

CPU = Resources(device="cpu", engines=1)


@pytest.fixture(autouse=True)
def idle_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_sampler, "_PROGRAM", ("-c", "import time; time.sleep(4343)"))


def engines() -> list[psutil.Process]:
    processes = psutil.Process().children(recursive=True)
    return [each for each in processes if any("4343" in word for word in each.cmdline())]


def test_a_run_gets_the_processes_that_were_started_early_and_they_end_with_the_command() -> None:
    with early_sampler(CPU):
        assert len(engines()) == 1
        early = sampler_for(CPU)
        assert sampler_for(CPU) is early
        assert sampler_for(CPU.model_copy(update={"max_sequences": 8})) is not early
    assert engines() == []
    assert sampler_for(CPU) is not early


def test_a_run_that_ends_leaves_no_process_to_the_command() -> None:
    with early_sampler(CPU):
        with sampler_for(CPU) as sampler:
            sampler.warm_up()
            assert len(engines()) == 1
        assert engines() == []


def test_nothing_starts_where_more_is_asked_for_than_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many processes as a typing error asks for would bring the machine down."""
    monkeypatch.setattr(vllm_sampler, "engine_process", None)
    with (
        pytest.raises(ConfigError, match="need 4096 GPUs"),
        early_sampler(Resources(device="cuda", engines=4096)),
    ):
        pass


def test_a_cluster_has_no_early_engines() -> None:
    with early_sampler(Resources(device="cpu", ray="auto")):
        assert engines() == []
