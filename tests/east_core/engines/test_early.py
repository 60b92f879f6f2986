"""Engines that import before a run has begun: found by the run, and gone with the command."""

import psutil
import pytest

from east_core.config import Resources
from east_core.engines.vllm import sampler as vllm_sampler
from east_core.engines.vllm.early import early_sampler, sampler_for
from east_core.engines.vllm.sampler import VllmSampler
from east_core.errors import ConfigError, EngineError
from east_core.inputs.questions import builtin_path
from east_core.protocols import GenerationSettings, ModelSource

CPU = Resources(device="cpu", engines=1)


@pytest.fixture(autouse=True)
def idle_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_sampler, "_PROGRAM", ("-c", "import time; time.sleep(4343)"))


def engines() -> list[psutil.Process]:
    """The supervisors of engines: they are there at once, and what they start a little later."""
    return [each for each in psutil.Process().children() if "4343" in " ".join(each.cmdline())]


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


def test_the_processes_that_imported_early_are_those_that_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(sampler: VllmSampler, _: ModelSource) -> None:
        assert len(sampler._talks(1)) == 1
        raise EngineError("it would be built now")

    monkeypatch.setattr(VllmSampler, "_start", start)
    settings = GenerationSettings(2, 1.0, 1.0, 32, None, (), seed=1)
    with early_sampler(CPU):
        early, seen = engines(), []
        monkeypatch.setattr(
            VllmSampler, "_end_processes", lambda _: seen.append("ended before they were used")
        )
        sampled = sampler_for(CPU).sample(
            ModelSource(builtin_path("seed_model"), "seed"), [[]], settings, 0
        )
        with pytest.raises(EngineError, match="would be built"):
            next(sampled)
        assert engines() == early
        assert len(seen) == 1  # by the failure
        monkeypatch.undo()


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
