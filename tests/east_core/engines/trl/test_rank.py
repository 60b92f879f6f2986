import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from east_core.engines.trl.rank import as_east_error
from east_core.errors import EngineError, StoreError, TrainingDiverged

TENSORS = {"weight": torch.zeros(100_000)}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: what a full disk does to whoever writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_under_torch_names_the_cure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as raised, largest_file(4096):
        torch.save(TENSORS, tmp_path / "optimizer.pt")
    told = as_east_error(raised.value)
    assert type(told) is StoreError  # not retried: a retry would fill the disk again
    assert "EAST_SCRATCH" in str(told)


def test_a_full_disk_told_by_the_system_names_the_cure() -> None:
    told = as_east_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert type(told) is StoreError


def test_a_damaged_file_is_not_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "optimizer.pt"
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RuntimeError) as raised:
        torch.load(path, weights_only=True)
    assert type(as_east_error(raised.value)) is EngineError


def test_a_file_that_cannot_be_written_for_another_reason_is_an_engine_error(
    tmp_path: Path,
) -> None:
    with pytest.raises(SafetensorError) as raised:
        save_file(TENSORS, tmp_path / "absent" / "model.safetensors")
    assert type(as_east_error(raised.value)) is EngineError


def test_our_own_errors_pass_and_memory_names_the_knobs() -> None:
    ours = TrainingDiverged("loss is nan")
    assert as_east_error(ours) is ours
    assert "micro_batch_size" in str(as_east_error(MemoryError()))
