"""A disk that refuses: one line that says which folder, why, and what moves it."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from east_core.errors import StoreError
from east_core.home import cache_home
from east_core.store import Stage, Store, materialize
from east_core.store.location import local_path

STAGE = Stage("demo/questions", "questions")
REFUSALS = [errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EIO, errno.ENOSPC]
NO_LOCKS = [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.ESTALE]


def write(folder: Path) -> dict[str, Any]:
    (folder / "q.jsonl").write_text("{}")
    return {}


def refusing(number: int) -> Callable[..., Any]:
    def refuse(*given: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number), str(given[0]) if given else None)

    return refuse


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> Store:
    monkeypatch.setenv("EAST_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("EAST_CACHE", str(tmp_path / "cache"))
    url = str(tmp_path / "store") if request.param == "local" else f"memory://{tmp_path.name}"
    return Store(url)


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_told(
    store: Store, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(StoreError, match="EAST_SCRATCH"):
        materialize(store, STAGE, write)


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_a_cache_without_locks_is_told(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(f"memory://{tmp_path.name}", tmp_path / "cache")
    record = materialize(store, STAGE, write)
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(StoreError, match="EAST_CACHE"):
        store.fetch(record)


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize("method", ["mkdir", "write_text", "rename", "stat"])
def test_a_disk_that_turns_read_only_in_mid_run_is_one_line(
    store: Store, method: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(folder: Path) -> dict[str, Any]:
        made = write(folder)
        monkeypatch.setattr(Path, method, refusing(number))
        return made

    with contextlib.suppress(StoreError):
        materialize(store, STAGE, build)


def test_a_store_of_another_user_is_no_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").mkdir()
    monkeypatch.setattr(os, "scandir", refusing(errno.EACCES))
    with pytest.raises(StoreError, match="can't list"):
        Store(str(tmp_path / "store")).addresses()


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(StoreError, match="EAST_CACHE"):
        cache_home()
    with pytest.raises(StoreError, match="give a full path"):
        local_path("~nobody-of-that-name/store")
