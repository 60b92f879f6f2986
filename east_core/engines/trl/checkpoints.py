"""Training checkpoints that can be trusted: bound to their job, whole, and never half-written.

A checkpoint counts only once its manifest stands in it: the size and SHA-256 of every file, and
the identity of the job and of the tokens it was trained on. Resuming takes the newest checkpoint
whose files still match; a damaged one is reported and the one before it is used. Copies in a store
go by the same rules.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from east_core.engines.processes import emit
from east_core.engines.trl.messages import SkippedCheckpoint

MANIFEST = "east_manifest.json"
CHECKPOINTS_KEPT = 2  # the newest may be damaged; the one before it is the way back
_BLOCK = 1 << 20


def identity_with_rows(job: str, rows: str) -> str:
    """The identity of what a job trains on rows of this digest.

    The same examples may become other ids: under another version, or where a file of the model
    that no fingerprint covers names another end of turn.
    """
    return hashlib.sha256(f"{job} {rows}".encode()).hexdigest()


def mark_complete(checkpoint: Path, identity: str) -> None:
    """Write the manifest, last and atomically: from now on the checkpoint counts."""
    files = {str(file.relative_to(checkpoint)): _digest(file) for file in _files(checkpoint)}
    _write_manifest(checkpoint, {"identity": identity, "files": files})


def bind_to_rows(folder: Path, job: str, rows: str) -> None:
    """Bind checkpoints of versions that named their job alone to the rows beside them."""
    for checkpoint in _newest_first(folder):
        if checkpoint_fault(checkpoint, job) is None:
            manifest = json.loads((checkpoint / MANIFEST).read_text())
            _write_manifest(checkpoint, {**manifest, "identity": identity_with_rows(job, rows)})


def discard_damaged(folder: Path, identity: str) -> None:
    """Delete what can't be resumed from, telling why, until a whole checkpoint is the newest."""
    for checkpoint in _newest_first(folder):
        fault = checkpoint_fault(checkpoint, identity)
        if fault is None:
            return
        emit(SkippedCheckpoint(checkpoint.name, fault))
        shutil.rmtree(checkpoint)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint under `folder`; None where there is none."""
    return next(iter(_newest_first(folder)), None)


def checkpoint_fault(checkpoint: Path, identity: str) -> str | None:
    """Why this checkpoint can't be used by the job `identity`; None where it can."""
    path = checkpoint / MANIFEST
    if not path.exists():
        return "it was not finished"
    try:
        manifest = json.loads(path.read_text())
        of_job, files = manifest["identity"], manifest["files"]
    except (ValueError, KeyError, TypeError):
        return "its manifest can't be read"
    if of_job != identity:
        return "it belongs to another job, or was trained on other tokens"
    damaged = (name for name, entry in files.items() if not _matches(checkpoint / name, entry))
    name = next(damaged, None)
    return f"{name} is missing or damaged" if name else None


def copy_to_store(checkpoint: Path, url: str, identity: str) -> None:
    """Copy a complete checkpoint to `url`/IDENTITY, then drop the job's oldest copies there."""
    store, root = fsspec.core.url_to_fs(f"{url.rstrip('/')}/{identity}")
    target = f"{root}/{checkpoint.name}"
    if store.exists(target):  # put would nest the new copy in the old one
        store.rm(target, recursive=True)
    store.put(str(checkpoint), target, recursive=True)
    for old in _stored(store, root)[CHECKPOINTS_KEPT:]:
        store.rm(f"{root}/{old}", recursive=True)


def copy_from_store(folder: Path, url: str, identity: str) -> Path | None:
    """Bring the job's newest whole checkpoint from `url` into `folder`; None: there is none."""
    store, root = fsspec.core.url_to_fs(f"{url.rstrip('/')}/{identity}")
    for name in _stored(store, root):
        store.get(f"{root}/{name}", str(folder / name), recursive=True)
        fault = checkpoint_fault(folder / name, identity)
        if fault is None:
            return folder / name
        emit(SkippedCheckpoint(f"{url} {name}", fault))
        shutil.rmtree(folder / name)
    return None


def _write_manifest(checkpoint: Path, manifest: dict[str, Any]) -> None:
    temporary = checkpoint / f"{MANIFEST}.part"
    temporary.write_text(json.dumps(manifest, indent=1))
    with temporary.open("rb") as written:
        os.fsync(written.fileno())
    temporary.replace(checkpoint / MANIFEST)


def _stored(store: Any, root: str) -> list[str]:
    """Names of the checkpoints under `root`, newest first."""
    names = (Path(path).name for path in store.glob(f"{root}/checkpoint-*"))
    return sorted(names, key=lambda name: _step(Path(name)), reverse=True)


def _matches(file: Path, entry: list[int | str]) -> bool:
    return file.is_file() and file.stat().st_size == entry[0] and _digest(file) == entry


def _digest(file: Path) -> list[int | str]:
    """Size in bytes and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
    return [size, digest.hexdigest()]


def _files(checkpoint: Path) -> Iterator[Path]:
    files = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
    return (path for path in files if not path.name.startswith(MANIFEST))


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=_step, reverse=True)


def _step(checkpoint: Path) -> int:
    suffix = checkpoint.name.removeprefix("checkpoint-")
    return int(suffix) if suffix.isdigit() else -1
