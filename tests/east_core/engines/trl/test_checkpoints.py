from types import SimpleNamespace

import pyarrow as pa
import pytest

from east_core.engines.trl.checkpoints import (
    bind_to_rows,
    checkpoint_fault,
    copy_from_store,
    copy_to_store,
    discard_damaged,
    identity_with_rows,
    latest_checkpoint,
    mark_complete,
)
from east_core.engines.trl.rank import bind_checkpoints_to_rows


def checkpoint(folder, step, identity="job", content="weights"):
    path = folder / f"checkpoint-{step}"
    (path / "state").mkdir(parents=True)
    (path / "model.safetensors").write_text(content)
    (path / "state" / "optimizer.pt").write_text(content * 3)
    mark_complete(path, identity)
    return path


def test_the_newest_whole_checkpoint_is_resumed_from(tmp_path):
    for step in (2, 10, 9):
        checkpoint(tmp_path, step)
    discard_damaged(tmp_path, "job")
    assert latest_checkpoint(tmp_path).name == "checkpoint-10"


def test_without_checkpoints_training_starts_anew(tmp_path):
    discard_damaged(tmp_path / "none", "job")
    assert latest_checkpoint(tmp_path / "none") is None


def flip_a_byte(path):
    file = path / "state" / "optimizer.pt"
    content = bytearray(file.read_bytes())
    content[5] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (flip_a_byte, "state/optimizer.pt is missing or damaged"),
        (lambda path: (path / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda path: (path / "model.safetensors").write_text("w"), "model.safetensors is missing"),
        (lambda path: (path / "east_manifest.json").unlink(), "not finished"),
        (lambda path: (path / "east_manifest.json").write_text("{"), "manifest can't be read"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path, capsys, damage, fault):
    good, bad = checkpoint(tmp_path, 4), checkpoint(tmp_path, 8)
    damage(bad)
    assert fault in checkpoint_fault(bad, "job")
    discard_damaged(tmp_path, "job")
    assert latest_checkpoint(tmp_path) == good
    assert "checkpoint-8" in capsys.readouterr().out


def test_another_jobs_checkpoint_is_never_used(tmp_path):
    other = checkpoint(tmp_path, 4, identity="other")
    assert (
        checkpoint_fault(other, "job")
        == "it belongs to another job, or was trained on other tokens"
    )
    discard_damaged(tmp_path, "job")
    assert latest_checkpoint(tmp_path) is None


def test_checkpoints_that_named_their_job_alone_count_for_the_rows_beside_them(tmp_path):
    """What the commit before left goes on where it trains the same tokens, and only there."""
    whole, bad = checkpoint(tmp_path, 4), checkpoint(tmp_path, 8)
    flip_a_byte(bad)
    bind_to_rows(tmp_path, "job", "rows")
    assert checkpoint_fault(whole, identity_with_rows("job", "rows")) is None
    assert "other tokens" in checkpoint_fault(whole, identity_with_rows("job", "other rows"))
    bind_to_rows(tmp_path, "job", "other rows")  # once is for all
    assert checkpoint_fault(whole, identity_with_rows("job", "rows")) is None
    assert checkpoint_fault(bad, identity_with_rows("job", "rows")) is not None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_rows_that_were_cut_short_bind_nothing(tmp_path, share):
    """An attempt that was killed as it wrote its rows must not stop the next one."""
    whole = checkpoint(tmp_path, 4)
    table, file = pa.table({"ids": [[1, 2], [3]] * 500}), tmp_path / "data.arrow"
    with pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    bind_checkpoints_to_rows(SimpleNamespace(data_file=file, checkpoints=tmp_path, identity="job"))
    assert checkpoint_fault(whole, "job") is None


def test_another_machine_goes_on_from_the_copy_in_a_store(tmp_path):
    here, there, store = tmp_path / "here", tmp_path / "there", f"file://{tmp_path}/store"
    there.mkdir()
    for step in (2, 4, 6):
        copy_to_store(checkpoint(here, step), store, "job")
    flip_a_byte(tmp_path / "store" / "job" / "checkpoint-6")
    resumed = copy_from_store(there, store, "job")
    assert resumed.name == "checkpoint-4"
    assert checkpoint_fault(resumed, "job") is None
    assert not (tmp_path / "store" / "job" / "checkpoint-2").exists()
    assert copy_from_store(there, store, "another job") is None
