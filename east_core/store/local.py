"""A store in a local (or shared) folder: artifacts are read in place and published by one rename.

An artifact's folder, record included, is finished aside and renamed to its address. POSIX lets
that rename succeed only where the address is free, so it is the exclusive create and the commit in
one step: there is never half an artifact, and of two writers one wins.

An artifact may have others below it (`samples` and its shards). Its address is then no longer free
for a rename, so its files are moved into a folder named after their content, and its record is
linked into place, which fails where one is.
"""

import contextlib
import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from east_core.errors import ArtifactDamaged, StoreError
from east_core.store.faults import disk_fault
from east_core.store.files import (
    file_hash,
    known_hash,
    move_folder,
    remember_hash,
    sync_folder,
    sync_tree,
    write_atomically,
)
from east_core.store.manifest import (
    FOLDER_DIGITS,
    RECORD_NAME,
    ArtifactFile,
    ArtifactRecord,
    encode_record,
)
from east_core.store.scratch import STAGED

_CONTENT_FOLDER = re.compile(rf"[0-9a-f]{{{FOLDER_DIGITS}}}")


class LocalBackend:
    """The files of a store under a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scratch = root / ".scratch"

    def read(self, path: str) -> bytes:
        """All bytes of a small file. Raises FileNotFoundError where it is absent."""
        try:
            return (self.root / path).read_bytes()
        except NotADirectoryError as error:
            raise FileNotFoundError(path) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            raise disk_fault("read", self.root / path, error) from error

    def sizes(self, prefix: str) -> dict[str, int]:
        """Every file under a folder with its size; the store's own hidden files left out."""
        found: dict[str, int] = {}
        for folder, folders, names in os.walk(self.root / prefix, onerror=_unlisted):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                path = Path(folder) / name
                with contextlib.suppress(FileNotFoundError):  # removed while we listed
                    found[path.relative_to(self.root).as_posix()] = path.stat().st_size
        return found

    def url(self, path: str) -> str:
        """The absolute path of a file."""
        return str(self.root.absolute() / path)

    def hash_of(self, path: str, size: int) -> str:  # noqa: ARG002 - remote places need the size
        """SHA-256 of a file, read now."""
        with _disk_faults_named("read", self.root / path):
            return file_hash(self.root / path)

    def send(self, address: str, attempt: str, folder: Path) -> None:
        """Nothing to send: publishing is a rename."""

    def folder_for(self, record: ArtifactRecord, attempt: str) -> str:  # noqa: ARG002
        """Files lie directly at the address, or in a content folder where others are below it."""
        return record.content_folder if _entries(self.root / record.address) else ""

    def fetch(self, record: ArtifactRecord, files: Sequence[ArtifactFile]) -> Path:
        """The artifact's folder, in place, after checking size and hash of `files`."""
        folder = self.root / record.path_of("")
        for file in files:
            with _disk_faults_named("read", folder / file.path):
                self._check(folder / file.path, file, record)
        return folder

    def require_free(self, address: str) -> None:
        """Raises StoreError where files that are not ours stand in the way of publishing."""
        with _disk_faults_named("look into", self.root / address):
            entries = _entries(self.root / address)
        for entry in entries:
            ours = _CONTENT_FOLDER.fullmatch(entry.name) or any(entry.rglob(RECORD_NAME))
            if not (entry.is_dir() and ours):
                raise StoreError(
                    f"{entry} belongs to no artifact, so it is not ours to replace; move or delete "
                    "it and run again"
                )

    def publish(self, record: ArtifactRecord, folder: Path) -> None:
        """Make `folder` the artifact. Raises FileExistsError where the address is taken."""
        try:
            self._publish(record, folder)
        except FileExistsError:
            raise
        except OSError as error:
            raise disk_fault("publish", self.root / record.address, error) from error

    def tidy(self, record: ArtifactRecord) -> None:
        """Nothing to tidy: what a kill leaves is in scratch."""

    def write(self, path: str, data: bytes) -> None:
        """Write a small file, replacing what is there."""
        try:
            write_atomically(self.root / path, data)
        except OSError as error:
            raise disk_fault("write", self.root / path, error) from error

    def delete(self, paths: list[str]) -> None:
        """Remove files; those already gone are no error."""
        for path in paths:
            with _disk_faults_named("delete", self.root / path):
                (self.root / path).unlink(missing_ok=True)

    def check(self) -> bool:
        """Write, publish twice, and clean up; True where the second was refused."""
        probe = self.root / f".check-{uuid.uuid4().hex}"
        try:
            with _removed(probe):
                for name in ("first", "second"):
                    (probe / name).mkdir(parents=True)
                    (probe / name / "probe").write_bytes(b"east")
                move_folder(probe / "first", probe / "taken")
                return _was_there(probe / "second", probe / "taken")
        except OSError as error:
            raise disk_fault("write in", self.root, error) from error

    def close(self) -> None:
        """Nothing to let go: artifacts are read in place."""

    def _publish(self, record: ArtifactRecord, folder: Path) -> None:
        (folder / RECORD_NAME).write_bytes(encode_record(record))
        sync_tree(folder)
        target = self.root / record.address
        with self._on_this_disk(folder) as whole:
            if record.folder:
                self._publish_in_parts(record, whole, target)
            else:
                move_folder(whole, target)
            if whole == folder:  # moved, not copied: still the bytes that the record was made of
                for file in record.files:
                    remember_hash(self.root / record.path_of(file.path), file.sha256)

    @contextlib.contextmanager
    def _on_this_disk(self, folder: Path) -> Iterator[Path]:
        """`folder`, or a copy where it lies on another file system and can't be renamed."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        if _renames(folder.parent, self.scratch):
            yield folder
            return
        staged = self.scratch / f"{uuid.uuid4().hex}{STAGED}"
        with _removed(staged):
            shutil.copytree(folder, staged)
            sync_tree(staged)
            yield staged

    def _publish_in_parts(self, record: ArtifactRecord, folder: Path, target: Path) -> None:
        written = folder.with_name(f"{uuid.uuid4().hex}.record")
        (folder / RECORD_NAME).rename(written)
        try:
            if record.files:
                _move_unless_there(folder, target / record.folder)
            os.link(written, target / RECORD_NAME)
        finally:
            written.unlink()
        sync_folder(target)

    def _check(self, path: Path, file: ArtifactFile, record: ArtifactRecord) -> None:
        """Compare a file with its record; hashed once a process, and again when it changed."""
        try:
            size = path.stat().st_size
        except FileNotFoundError as error:
            raise ArtifactDamaged(_damaged(record, file, "is missing")) from error
        if size != file.size:
            why = f"has {size} bytes where its record says {file.size}"
            raise ArtifactDamaged(_damaged(record, file, why))
        if known_hash(path) != file.sha256:
            raise ArtifactDamaged(_damaged(record, file, "does not have its recorded SHA-256"))


def _renames(source: Path, target: Path) -> bool:
    """Whether what is in one folder can be renamed into another, tried with an empty one.

    Two mounts of one disk (volumes of a container) have one device, and no rename between them.
    """
    probe = source / f"{uuid.uuid4().hex}.probe"
    probe.mkdir()
    try:
        probe.rename(target / probe.name)
    except OSError as error:
        probe.rmdir()
        if error.errno != errno.EXDEV:
            raise
        return False
    (target / probe.name).rmdir()
    return True


def _unlisted(error: OSError) -> None:
    """A folder that can't be listed is no empty one; one that is not there is."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise disk_fault("list", Path(error.filename), error) from error


@contextlib.contextmanager
def _disk_faults_named(doing: str, path: Path) -> Iterator[None]:
    """Errors of the disk as one line."""
    try:
        yield
    except OSError as error:
        raise disk_fault(doing, path, error) from error


def _entries(folder: Path) -> list[Path]:
    """What is directly in a folder; nothing where there is no folder."""
    return list(folder.iterdir()) if folder.is_dir() else []


def _move_unless_there(source: Path, target: Path) -> None:
    """Rename a folder whose name tells its content: one that is there already is as good."""
    with contextlib.suppress(FileExistsError):
        move_folder(source, target)


@contextlib.contextmanager
def _removed(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _was_there(source: Path, target: Path) -> bool:
    try:
        move_folder(source, target)
    except FileExistsError:
        return True
    return False


def _damaged(record: ArtifactRecord, file: ArtifactFile, why: str) -> str:
    return (
        f"{record.path_of(file.path)} {why}; delete the address {record.address} and run again "
        "(`east verify` lists all damage)"
    )
