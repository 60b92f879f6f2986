"""What there is to run on, and what is refused because it is not there."""

import os
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from east_core.config import Resources
from east_core.engines.devices import engine_count, memory_in_use, require_means, visible_gpu_count
from east_core.engines.vllm.batching import BatchPolicy
from east_core.errors import ConfigError, EngineError


def test_the_fullest_gpu_counts(nvidia_smi) -> None:
    asked = nvidia_smi("1000, 80000\n4000, 80000\n")
    assert memory_in_use("2,GPU-1a") == 0.05
    assert "--id=2,GPU-1a" in asked.read_text()


@pytest.mark.parametrize("told", ["", "[N/A], 80000\n", "1, 2, 3\n"])
def test_an_answer_that_says_nothing_is_told(nvidia_smi, told: str) -> None:
    nvidia_smi(told)
    with pytest.raises(EngineError, match="does not tell the memory of GPU 0"):
        memory_in_use("0")


def test_a_machine_without_nvidia_smi_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match="nvidia-smi"):
        memory_in_use("0")


@pytest.mark.parametrize(
    ("listed", "count"), [("", 0), ("-1", 0), ("0", 1), ("2,3,5", 3), ("GPU-1a,GPU-2b", 2)]
)
def test_gpus_are_those_that_a_child_process_would_see(
    monkeypatch: pytest.MonkeyPatch, listed: str, count: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert visible_gpu_count() == count


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [({"processes": 4}, 4), ({"engines": 2, "tensor_parallel": 2}, 4), ({"engines": 3}, 3)],
)
def test_more_gpus_than_there_are_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, int], wanted: int
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(
        ConfigError,
        match=f"need {wanted} GPUs, and 2 are visible here; .* resources.device to 'cpu'",
    ):
        require_means(Resources(device="cuda", **asked))
    require_means(Resources(device="cuda", processes=2, engines=2))
    require_means(Resources(device="cpu", **asked))
    require_means(Resources(device="cuda", ray="auto", **asked))


@pytest.mark.parametrize(
    ("cores", "model_bytes", "count"), [({0, 1}, 0, 2), ({0}, 0, 1), ({0, 1}, 2**50, 1)]
)
def test_a_cpu_has_two_engines_where_there_are_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch, cores: set[int], model_bytes: int, count: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * 2**30))
    assert engine_count(Resources(device="cpu"), model_bytes) == count
    assert engine_count(Resources(device="cpu", engines=3), model_bytes) == 3
    assert engine_count(Resources(device="cpu", tensor_parallel=2), model_bytes) == 1


def test_one_engine_is_started_elsewhere_unless_more_are_asked_for() -> None:
    assert engine_count(Resources(device="cuda")) == 1
    assert engine_count(Resources(device="cpu", ray="auto")) == 1


def test_one_engine_or_two_sample_the_same_batches_on_a_cpu() -> None:
    policies = [BatchPolicy.of(Resources(device="cpu", engines=n), 8) for n in ("auto", 1, 2)]
    assert policies[0] == policies[1] == policies[2]
    assert [len(batch) for batch in policies[0].slices(256)] == [128, 128]


def test_prompts_in_chunks_are_refused_on_cpus() -> None:
    """vLLM would fail in the middle of sampling."""
    options = {"enable_chunked_prefill": True}
    with pytest.raises(ConfigError, match="can't be used on CPUs"):
        require_means(Resources(device="cpu", processes=1, engine_options=options))
