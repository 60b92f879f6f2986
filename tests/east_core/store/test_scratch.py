"""Scratch: what a kill leaves there goes, and what somebody works on stays."""

import contextlib
import errno
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from east_core.store import Stage, Store, local, materialize, work_folder
from east_core.store.scratch import Scratch, claim_scratch, sweep_scratch

DAY = 86_400.0


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("EAST_SCRATCH", str(tmp_path / "scratch"))
    return Store(str(tmp_path / "store"))


def build(folder: Path) -> dict[str, Any]:
    (work_folder(folder) / "optimizer.pt").write_bytes(b"0" * 1000)
    (folder / "model").write_text("weights")
    return {}


def left(store: Store) -> list[str]:
    return sorted(path.name for path in store.scratch().glob("*"))


def test_a_kill_after_the_record_leaves_nothing_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("demo/checkpoint", "train")
    publish = store.place.publish

    def killed_after(*given: Any) -> None:
        publish(*given)
        raise Killed

    monkeypatch.setattr(store.place, "publish", killed_after)
    with pytest.raises(Killed):
        materialize(store, stage, build)
    assert left(store), "the kill left its scratch"
    materialize(Store(store.root), stage, build)
    assert not left(store)


def test_a_kill_that_leaves_the_lock_alone_leaves_nothing_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage("demo/checkpoint", "train")
    unlink = Path.unlink

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".lock":
            raise Killed
        unlink(path, missing_ok)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(Killed):
            materialize(store, stage, build)
    (lock,) = left(store)
    assert lock.endswith(".lock")
    materialize(Store(store.root), stage, build)
    assert not left(store)


def test_a_lock_without_scratch_is_swept(store: Store) -> None:
    root = unfinished(store, "demo/checkpoint")
    shutil.rmtree(root)
    assert sweep_scratch(store.scratch(), days=1, now=time.time() + 2 * DAY) == [root]
    assert not left(store)


def test_a_kill_between_record_and_tidying_leaves_no_attempt_for_ever(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stage = Store(f"memory://{tmp_path.name}"), Stage("demo/checkpoint", "train")

    def killed(*_: Any) -> None:
        raise Killed

    for owner, name in ((Scratch, "finish"), (store.place, "tidy")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, killed)
            with pytest.raises(Killed):
                materialize(store, stage, build)
    files = store.place.sizes("demo/checkpoint")
    assert len(files) == 3, "a record and the files of two attempts"
    record = materialize(Store(store.root), stage, build)
    assert set(store.place.sizes("demo/checkpoint")) == {
        record.path_of("model"), "demo/checkpoint/_record.json",
    }  # fmt: skip


def test_scratch_on_another_mount_of_the_same_disk_is_copied(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, base = Path.rename, store.scratch()

    def between_mounts(path: Path, target: Path) -> Path:
        if path.is_relative_to(base) != Path(target).is_relative_to(base):
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", between_mounts)
    record = materialize(store, Stage("demo/checkpoint", "train"), build)
    assert (store.fetch(record) / "model").read_text() == "weights"
    assert not left(store)


def test_what_a_kill_left_between_two_mounts_is_swept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(local, "_renames", lambda *_: False)
        patched.setattr(local, "_removed", contextlib.nullcontext)
        patched.setattr(local, "sync_tree", killed_where_copied)
        with pytest.raises(Killed):
            materialize(store, Stage("demo/checkpoint", "train"), build)
    (staged,) = store.place.scratch.iterdir()
    assert list(staged.iterdir())
    assert sweep_scratch(store.place.scratch, days=1) == []
    assert sweep_scratch(store.place.scratch, days=1, now=time.time() + 2 * DAY) == [staged]
    assert not any(store.place.scratch.iterdir())


def killed_where_copied(folder: Path) -> None:
    if folder.suffix == ".staged":
        raise Killed


def unfinished(store: Store, address: str) -> Path:
    def fail(folder: Path) -> None:
        build(folder)
        raise Killed

    before = set(store.scratch().glob("*/"))
    with pytest.raises(Killed):
        materialize(store, Stage(address, "train"), fail)
    (root,) = (path for path in store.scratch().glob("*/") if path.is_dir() and path not in before)
    return root


def test_what_nobody_touched_for_long_is_swept_and_told(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    root = unfinished(store, "demo/checkpoint")
    base, now = store.scratch(), time.time()
    assert sweep_scratch(base, days=14, now=now + 13 * DAY) == []
    assert sweep_scratch(base, days=14, now=now + 15 * DAY) == [root]
    assert str(root) in caplog.text
    assert not left(store)


def test_what_is_held_stays_however_old(store: Store) -> None:
    with claim_scratch(store.scratch(), store.root, "demo/checkpoint", "f" * 64) as scratch:
        scratch.fresh_out()
        assert sweep_scratch(store.scratch(), days=1, now=time.time() + 100 * DAY) == []
        assert scratch.out.is_dir()


def test_what_is_not_ours_stays(store: Store) -> None:
    mine = store.scratch() / "my-own-notes"
    mine.mkdir(parents=True)
    assert sweep_scratch(store.scratch(), days=0, now=time.time() + DAY) == []
    assert mine.is_dir()


def test_the_setting_counts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    root = unfinished(store, "demo/checkpoint")
    monkeypatch.setenv("EAST_SCRATCH_DAYS", "0")
    assert sweep_scratch(store.scratch(), now=time.time() + 1) == [root]
