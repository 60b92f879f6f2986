"""What nvidia-smi tells of GPUs."""

from pathlib import Path

import pytest

from east_core.devices import memory_in_use
from east_core.errors import EngineError


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
