"""Store: where a run's artifacts live, by one fsspec URL or local path."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from east_core.errors import ArtifactDamaged, StoreError
from east_core.home import cache_folder
from east_core.store.cache import ARTIFACTS, DownloadCache
from east_core.store.faults import disk_fault
from east_core.store.filesystem import Transfer
from east_core.store.local import LocalBackend
from east_core.store.location import (
    check_url,
    is_local,
    kind_note,
    local_path,
    require_writable_kind,
)
from east_core.store.manifest import (
    RECORD_NAME,
    ArtifactFile,
    ArtifactRecord,
    decode_record,
    is_address,
)
from east_core.store.remote import RemoteBackend

PRUNED_NAME = "_pruned.json"


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What `Store.check_writable` found: `conditional_writes` tells whether two writers at one
    address are sure to be verdict apart by the server.
    """

    url: str
    conditional_writes: bool

    def __str__(self) -> str:
        verdict = (
            "reachable, writable, refuses to overwrite records"
            if self.conditional_writes
            else "reachable and writable, but it ignores conditional writes (If-None-Match): "
            "never run two flows with one run name at the same time there"
        )
        return "; ".join(filter(None, (f"{self.url}: {verdict}", kind_note(self.url))))


class Backend(Protocol):
    """Where bytes lie: a local folder or a remote store."""

    scratch: Path

    def read(self, path: str) -> bytes: ...  # noqa: D102 - LocalBackend and RemoteBackend tell
    def sizes(self, prefix: str) -> dict[str, int]: ...  # noqa: D102
    def url(self, path: str) -> str: ...  # noqa: D102
    def hash_of(self, path: str, size: int) -> str: ...  # noqa: D102
    def send(self, address: str, attempt: str, folder: Path) -> None: ...  # noqa: D102
    def folder_for(self, record: ArtifactRecord, attempt: str) -> str: ...  # noqa: D102
    def fetch(self, record: ArtifactRecord, files: Sequence[ArtifactFile]) -> Path: ...  # noqa: D102
    def require_free(self, address: str) -> None: ...  # noqa: D102
    def publish(self, record: ArtifactRecord, folder: Path) -> None: ...  # noqa: D102
    def tidy(self, record: ArtifactRecord) -> None: ...  # noqa: D102
    def write(self, path: str, data: bytes) -> None: ...  # noqa: D102
    def delete(self, paths: list[str]) -> None: ...  # noqa: D102
    def check(self) -> bool: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Store:
    """Artifacts under one URL: `s3://bucket/prefix`, `file:///path`, a local path, ...

    `cache` is where remote artifacts and models are downloaded to (default $EAST_CACHE, else the
    user's cache folder). `options` are fsspec storage options; leave them empty and the standard
    environment counts (AWS_PROFILE, AWS_ENDPOINT_URL, ...). Addresses are relative to the store:
    "demo/round-02/samples". Methods raise StoreError, one line, when the store can't be used.
    """

    def __init__(
        self,
        url: str,
        cache: Path | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        transfer: Transfer | None = None,
    ) -> None:
        check_url(url)
        self.root = self.root_of(url)
        self.is_local = is_local(url)
        self.cache = cache or cache_folder()
        self.place: Backend = (
            LocalBackend(local_path(url))
            if self.is_local
            else RemoteBackend(self.root, self.cache, options or {}, transfer or Transfer())
        )

        self._made = DownloadCache(self.cache / ARTIFACTS)

    @staticmethod
    def root_of(url: str) -> str:
        """A store's URL in its one spelling."""
        return url.rstrip("/") or url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the cache evict what was fetched; until then it stays, as the process may read it."""
        self.place.close()
        self._made.close()

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    def record(self, address: str) -> ArtifactRecord | None:
        """The record at an address; None where there is none.

        Raises ArtifactDamaged where it is malformed or belongs to another address.
        """
        record = self._read(address)
        return None if record is None else self._checked(record, address)

    def require(self, address: str) -> ArtifactRecord:
        """The record at an address. Raises StoreError where there is none."""
        record = self.record(address)
        if record is None:
            raise StoreError(
                f"there is no artifact at {self.url(address)}; is the run's name right, and has "
                "that stage finished? (`east runs` lists what is there)"
            )
        return record

    def records(self, prefix: str = "") -> Iterator[ArtifactRecord]:
        """The records at and below an address, in the order of their addresses."""
        return self.records_at(self.addresses(prefix))

    def records_at(self, addresses: Iterable[str]) -> Iterator[ArtifactRecord]:
        """The records at these addresses, without those of a store that lies inside this one."""
        for address in addresses:
            record = self._read(address)
            if record and not address.endswith(f"/{record.address}"):
                yield self._checked(record, address)

    def addresses(self, prefix: str = "") -> list[str]:
        """The addresses at and below `prefix` that hold a record, sound or not; sorted."""
        end = f"/{RECORD_NAME}"
        return sorted(
            address
            for path in self.place.sizes(prefix)
            if path.endswith(end) and is_address(address := path.removesuffix(end))
        )

    def fetch(self, record: ArtifactRecord, names: Sequence[str] | None = None) -> Path:
        """A local folder with the artifact's files (or those named), size and hash checked.

        In place for local stores, in the shared cache for remote ones; either way not to be
        written to. Raises ArtifactDamaged where a file is missing or not the recorded one,
        StoreError where it was pruned, KeyError for a name that the record does not list.
        """
        listed = {file.path: file for file in record.files}
        files = [listed[name] for name in names] if names is not None else list(record.files)
        try:
            return self.place.fetch(record, files)
        except ArtifactDamaged:
            if self.is_pruned(record):
                raise StoreError(
                    f"the files of {self.url(record)} were pruned and only the record is left; "
                    "run under another name to make them again"
                ) from None
            raise

    def made(self, name: str, make: Callable[[Path], object]) -> Path:
        """A local folder that `make` fills from artifacts: made once, and kept in the cache.

        `name` tells its content. What `make` raises is raised; StoreError where the disk fails.
        """
        try:
            return self._made.made(name, make)
        except OSError as error:
            raise disk_fault(
                f"keep {name} in the cache", self._made.root, error, "EAST_CACHE"
            ) from error

    def has_made(self, name: str) -> bool:
        """Whether the cache has that folder."""
        return self._made.has_made(name)

    def _read(self, address: str) -> ArtifactRecord | None:
        path = f"{check_address(address)}/{RECORD_NAME}"
        try:
            raw = self.place.read(path)
        except FileNotFoundError:
            return None
        return decode_record(raw, self.place.url(path))

    def _checked(self, record: ArtifactRecord, address: str) -> ArtifactRecord:
        if record.address != address:
            raise ArtifactDamaged(
                f"the record {self.url(address, RECORD_NAME)} says that it belongs to "
                f"{record.address}; artifacts can't be moved within a store: move them back"
            )
        return record

    def is_pruned(self, record: ArtifactRecord) -> bool:
        """Whether `east prune` deleted the files of this artifact (its record stays)."""
        try:
            self.place.read(f"{record.address}/{PRUNED_NAME}")
        except FileNotFoundError:
            return False
        return True

    def url(self, what: ArtifactRecord | str, name: str = "") -> str:
        """Path or URL of an artifact, of one of its files, or of an address; for people, pandas."""
        path = f"{what}/{name}" if isinstance(what, str) and name else what
        return self.place.url(path if isinstance(path, str) else path.path_of(name)).rstrip("/")

    def write(self, path: str, data: bytes) -> None:
        """Write a small file for people (a picture), which is no artifact and may be replaced."""
        self.place.write(path, data)

    def read(self, path: str) -> bytes | None:
        """A small file that `write` wrote; None where there is none."""
        try:
            return self.place.read(path)
        except FileNotFoundError:
            return None

    def scratch(self) -> Path:
        """The local folder for unfinished builds: $EAST_SCRATCH, or one that suits the store."""
        return Path(os.environ.get("EAST_SCRATCH") or self.place.scratch)

    def check_writable(self) -> StoreCheck:
        """Write, read and delete a probe. Raises StoreError where that fails, or where the kind of
        store can't tell two writers apart.
        """
        require_writable_kind(self.root)
        return StoreCheck(self.root, conditional_writes=self.place.check())


def check_address(address: str) -> str:
    """`address` where it is well formed: names of letters, digits, '.', '-', '_', joined by '/'.

    Raises StoreError otherwise.
    """
    if not is_address(address):
        raise StoreError(
            f"{address!r} can't be an artifact's address: use letters, digits, '.', '-' and '_', "
            "starting with a letter or digit, joined by '/'"
        )
    return address
