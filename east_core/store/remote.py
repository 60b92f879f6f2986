"""A store behind fsspec (S3 and others): files are uploaded first, the record is put last.

Files go to `<address>/<name of the build>/`, a name that no other build has, so two writers never
touch each other's files, and they can be on their way before their hashes are known. A killed
upload of a finished build goes on at the file. One small put, refused where a record already
stands, publishes them. (Multipart uploads can't be relied on for that: Ceph ignores the condition
on their completion.)
"""

import hashlib
import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from east_core.errors import ArtifactDamaged, StoreError
from east_core.store.cache import ARTIFACTS, DownloadCache
from east_core.store.faults import disk_fault
from east_core.store.filesystem import Transfer
from east_core.store.manifest import (
    FOLDER_DIGITS,
    RECORD_NAME,
    ArtifactFile,
    ArtifactRecord,
    decode_record,
    encode_record,
)
from east_core.store.transport import Transport

log = logging.getLogger(__name__)


class RemoteBackend:
    """The files of a store at an fsspec URL, with a cache of what was downloaded."""

    def __init__(
        self, url: str, cache: Path, options: Mapping[str, Any], transfer: Transfer
    ) -> None:
        self.transport = Transport(url, options, transfer)
        self.cache = DownloadCache(cache / ARTIFACTS)
        self.scratch = cache / "scratch"

    def read(self, path: str) -> bytes:
        """All bytes of a small file. Raises FileNotFoundError where it is absent."""
        return self.transport.read(path)

    def sizes(self, prefix: str) -> dict[str, int]:
        """Every file under a folder with its size in bytes."""
        return self.transport.sizes(prefix)

    def url(self, path: str) -> str:
        """The URL of a file."""
        return f"{self.transport.url}/{path}"

    def hash_of(self, path: str, size: int) -> str:
        """SHA-256 of a file, streamed now from the server."""
        digest = hashlib.sha256()
        for data in self.transport.chunks(path, size):
            digest.update(data)
        return digest.hexdigest()

    def folder_for(self, record: ArtifactRecord, attempt: str) -> str:  # noqa: ARG002
        """Files lie in a folder named after their build."""
        return attempt

    def fetch(self, record: ArtifactRecord, files: Sequence[ArtifactFile]) -> Path:
        """A local folder with `files`, from the cache or downloaded into it."""

        def download(file: ArtifactFile, target: Path) -> str:
            self._check_size(record, file)
            return self.transport.download(record.path_of(file.path), file.size, target)

        try:
            return self.cache.folder(record, files, download)
        except OSError as error:
            raise disk_fault(
                f"keep {record.address} in the cache", self.cache.root, error, "EAST_CACHE"
            ) from error

    def require_free(self, address: str) -> None:
        """Nothing can stand in the way: files are never at a name that another writer uses."""

    def send(self, address: str, attempt: str, folder: Path) -> None:
        """Upload what is not there yet of the build in `folder`."""
        target = f"{address}/{attempt}"
        there = self.sizes(target)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            path = f"{target}/{file.relative_to(folder).as_posix()}"
            if there.get(path) != file.stat().st_size:
                self.transport.upload(file, path)

    def publish(self, record: ArtifactRecord, folder: Path) -> None:
        """Upload what is not there yet, then put the record.

        Raises FileExistsError where the address is taken.
        """
        self.send(record.address, record.folder, folder)
        self._require_whole(record)
        path = f"{record.address}/{RECORD_NAME}"
        try:
            self.transport.create(path, encode_record(record))
        except FileExistsError:
            self.tidy(decode_record(self.read(path), self.url(path)))
            raise
        self.tidy(record)

    def tidy(self, record: ArtifactRecord) -> None:
        """Delete what interrupted attempts of other content left under the address."""
        stray = re.compile(rf"{re.escape(record.address)}/([0-9a-f]{{{FOLDER_DIGITS}}})/")
        strays = [
            path
            for path in self.sizes(record.address)
            if (match := stray.match(path)) and match[1] != record.folder
        ]
        if strays:
            log.info("deleting %d files of unpublished attempts at %s", len(strays), record.address)
            self.transport.delete(strays)

    def write(self, path: str, data: bytes) -> None:
        """Write a small file, replacing what is there."""
        self.transport.write(path, data)

    def delete(self, paths: list[str]) -> None:
        """Remove files; those already gone are no error."""
        self.transport.delete(paths)

    def check(self) -> bool:
        """Put the same new name twice; True where the second put was refused."""
        probe = f".check-{uuid.uuid4().hex}"
        self.transport.create(probe, b"first")
        try:
            return self._refuses_overwrite(probe)
        finally:
            self.transport.delete([probe])

    def close(self) -> None:
        """Unpin what was downloaded."""
        self.cache.close()

    def _refuses_overwrite(self, probe: str) -> bool:
        try:
            self.transport.create(probe, b"second")
        except FileExistsError:
            return True
        return False

    def _check_size(self, record: ArtifactRecord, file: ArtifactFile) -> None:
        path = record.path_of(file.path)
        size = self.transport.size(path)
        if size != file.size:
            why = "is missing" if size is None else f"has {size} bytes"
            raise ArtifactDamaged(
                f"{self.url(path)} {why} where its record says {file.size} bytes; delete the "
                f"address {record.address} and run again (`east verify` lists all damage)"
            )

    def _require_whole(self, record: ArtifactRecord) -> None:
        """Never publish what a listing does not show: a winner may have cleared it away."""
        there = self.sizes(record.address)
        if f"{record.address}/{RECORD_NAME}" in there:
            return  # somebody was first, and `create` will say so
        for file in record.files:
            if there.get(record.path_of(file.path)) != file.size:
                raise StoreError(
                    f"{self.url(record.path_of(file.path))} was uploaded, but the store shows "
                    f"{there.get(record.path_of(file.path))} of {file.size} bytes; run again: the "
                    "files that arrived are kept"
                )
