"""Bytes to and from a remote store through fsspec: parallel, bounded, retried, watched.

One path for s3, gs, abfs, sftp, memory and whatever else fsspec speaks; S3 alone gets settings of
its own, and SFTP its own exclusive write. The layers multiply if each retries on its own (s3fs
times botocore: 25 requests for one answer), so s3fs's are off, botocore repeats single requests a
few times, and whole steps are repeated here, with exponential backoff and full jitter (Brooker,
"Exponential Backoff And Jitter", AWS 2015). What is permanent (denied, no such bucket, disk full)
is never repeated.
"""

import asyncio
import concurrent.futures
import functools
import hashlib
import logging
import os
import random
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

from fsspec.callbacks import Callback

from east_core.errors import StoreError
from east_core.store.faults import (
    bucket_gone,
    http_status,
    is_transient,
    next_step_for,
    one_line,
    raise_if_bucket_gone,
)
from east_core.store.filesystem import Transfer, is_s3, open_filesystem
from east_core.store.location import BUCKETED, scheme_of
from east_core.store.redaction import redact

log = logging.getLogger(__name__)
Result = TypeVar("Result")
MAX_PARTS = 9_000  # S3 allows 10,000 parts an object


class Transport:
    """One remote fsspec location, with every path relative to it.

    Raises StoreError, one line, when the retries are used up or trying again is pointless;
    FileNotFoundError where a file is absent. Credentials come from the environment or from
    `options` (fsspec storage options); they are never logged.
    """

    def __init__(self, url: str, options: Mapping[str, Any], transfer: Transfer) -> None:
        self.url = url.rstrip("/")
        self.transfer = transfer
        self._options = dict(options)
        self._fs: Any = None
        self._owner = 0
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self._bucket_seen = False

    @property
    def fs(self) -> Any:
        """The file system, made on first use and again after a fork (s3fs is not fork-safe)."""
        with self._lock:
            if self._fs is None or self._owner != os.getpid():
                self._fs = open_filesystem(self.url, self._options, self.transfer)
                self._owner = os.getpid()
        return self._fs

    def at(self, path: str) -> str:
        """The file system's name of `path`."""
        root = str(self.fs._strip_protocol(self.url)).rstrip("/")
        return f"{root}/{path}" if path else root

    def read(self, path: str) -> bytes:
        """All bytes of a small file. Raises FileNotFoundError where it is absent."""
        # one GET: s3fs would ask for the size first, to split a large file
        whole = {"max_concurrency": 1} if is_s3(self.url) else {}
        data: bytes = self._try(lambda: self.fs.cat_file(self.at(path), **whole), f"read {path}")
        return data

    def create(self, path: str, data: bytes) -> None:
        """Write a small file in one put, only where none is (If-None-Match: *).

        Raises FileExistsError where one is, unless it holds the same bytes: then this is our own
        put, whose answer was lost. Where the server ignores conditions, the later writer wins,
        and the read after the write tells the earlier one, unless both came at the same instant.
        """
        try:
            self._try(
                lambda: self._in_folder(path, lambda: self._put_new(self.at(path), data)),
                f"create {path}",
            )
        except FileExistsError:
            log.debug("%s exists; comparing", path)
        if self.read(path) != data:
            raise FileExistsError(path)

    def write(self, path: str, data: bytes) -> None:
        """Write a small file, replacing what is there."""
        self._try(
            lambda: self._in_folder(path, lambda: self.fs.pipe_file(self.at(path), data)),
            f"write {path}",
        )

    def size(self, path: str) -> int | None:
        """A file's size in bytes; None where it is absent."""
        try:
            return self._try(lambda: self._size(self.at(path)), f"find {path}")
        except FileNotFoundError:
            return None

    def sizes(self, prefix: str) -> dict[str, int]:
        """Every file under a folder, with its size in bytes; empty where there is none."""
        listed = self._try(lambda: self._find(self.at(prefix)), f"list {prefix or 'what is'}")
        root = self.at("") + "/"
        return {name.removeprefix(root): size for name, size in listed.items()}

    def delete(self, paths: list[str]) -> None:
        """Remove files; those already gone are no error."""
        for path in paths:
            try:
                self._try(functools.partial(self._remove, path), f"delete {path}")
            except FileNotFoundError:
                log.debug("%s was gone already", path)

    def upload(self, local: Path, path: str) -> None:
        """Send a file in parallel parts; a reader sees all of it or nothing."""
        size = local.stat().st_size
        part = max(self.transfer.part_bytes, -(-size // MAX_PARTS))

        def send() -> None:
            progress = Progress(f"upload {path}", size)
            options: dict[str, Any] = {"callback": progress}
            if is_s3(self.url):
                options |= {"chunksize": part, "max_concurrency": self.transfer.parallel}
            self._watched("put_file", str(local), self.at(path), progress, options)

        self._try(send, f"upload {path}")

    def chunks(self, path: str, size: int) -> Iterator[bytes]:
        """The bytes of a file in order, read ahead in parallel ranges.

        Raises FileNotFoundError where it is absent, StoreError where it stays shorter than `size`.
        """
        progress = Progress(f"download {path}", size)
        with ThreadPoolExecutor(self.transfer.parallel, "east-read") as pool:
            for data in _in_order(pool, self._ranges(path, size), self.transfer.parallel):
                progress.relative_update(len(data))
                yield data

    def download(self, path: str, size: int, local: Path) -> str:
        """Fetch a file into `local` and return the SHA-256 of what came, hashed on the way."""
        digest = hashlib.sha256()
        with local.open("wb") as file:
            for data in self.chunks(path, size):
                file.write(data)
                digest.update(data)
            file.flush()
            os.fsync(file.fileno())
        return digest.hexdigest()

    def _ranges(self, path: str, size: int) -> Iterator[Callable[[], bytes]]:
        step = self.transfer.part_bytes
        for start in range(0, size, step):
            yield functools.partial(self._range, path, start, min(start + step, size))

    def _range(self, path: str, start: int, end: int) -> bytes:
        def receive() -> bytes:
            data = self._read_range(self.at(path), start, end)
            if len(data) != end - start:
                raise EOFError(f"got {len(data)} of {end - start} bytes")
            return data

        return self._try(receive, f"read {path} at {start}")

    def _read_range(self, name: str, start: int, end: int) -> bytes:
        if self.fs.async_impl:
            return bytes(self.fs.cat_file(name, start=start, end=end))
        with self.fs.open(name, "rb") as file:
            file.seek(start)
            if hasattr(file, "prefetch"):  # paramiko asks for 32 KiB at a time otherwise
                file.prefetch(min(end, file.stat().st_size))  # beyond the end it waits for ever
            return bytes(file.read(end - start))

    def _find(self, prefix: str) -> dict[str, int]:
        """Size by full name of every file below `prefix`, or of the file that it is."""
        self.fs.invalidate_cache()
        try:
            # a walk leaves out what it can't read, unless it is one_line not to
            options = {"on_error": "raise"} if self._walks() else {}
            found = self.fs.find(prefix, detail=True, **options)
        except FileNotFoundError as error:
            raise_if_bucket_gone(error)
            if self._walks() and self.fs.exists(prefix):
                raise OSError(f"{prefix} changed while it was listed") from error
            return {}
        if not found:
            self._require_bucket("an empty listing")
        listed = found.items() if isinstance(found, Mapping) else ((name, {}) for name in found)
        return {name: self._size_in(name, info) for name, info in listed}

    def _walks(self) -> bool:
        """Whether the file system lists a tree folder by folder, by fsspec's own walk."""
        from fsspec import AbstractFileSystem
        from fsspec.asyn import AsyncFileSystem

        kind = type(self.fs)
        if self.fs.async_impl:
            return bool(kind._find is AsyncFileSystem._find)
        return bool(kind.find is AbstractFileSystem.find)

    def _size_in(self, name: str, info: Mapping[str, Any]) -> int:
        size = info.get("size")
        return self._size(name) if size is None else int(size)

    def _size(self, name: str) -> int:
        self.fs.invalidate_cache()
        return int(self.fs.info(name)["size"] or 0)

    def _remove(self, path: str) -> None:
        self.fs.rm_file(self.at(path))

    def _in_folder(self, path: str, put: Callable[[], object]) -> None:
        """Put a file; where its folder must be made first, make it. Never makes a bucket."""
        try:
            put()
        except FileNotFoundError as error:
            raise_if_bucket_gone(error)
            self._require_bucket(one_line(error))
            self.fs.makedirs(self.at(path).rpartition("/")[0], exist_ok=True)
            put()

    def _require_bucket(self, why: str) -> None:
        """Raises StoreError where the bucket (container) is not there: some list that as empty."""
        if scheme_of(self.url) not in BUCKETED:
            return  # folders appear with their first file
        bucket = self.at("").split("/")[0]
        if not self._bucket_seen and not self.fs.exists(bucket):
            raise bucket_gone(why)
        self._bucket_seen = True

    def _put_new(self, path: str, data: bytes) -> None:
        """The service's exclusive write: If-None-Match, ifGenerationMatch, or a link.

        Raises FileExistsError where a file is.
        """
        if scheme_of(self.url) in ("sftp", "ssh"):
            self._link_new(path, data)
            return
        try:
            self.fs.pipe_file(path, data, mode="create")
        except OSError as error:
            # Ceph's 412 names no condition, so s3fs gives EINVAL where moto and AWS give EEXIST;
            # gcsfs gives its own kind
            if http_status(error) == 412:
                raise FileExistsError(path) from error
            raise

    def _link_new(self, path: str, data: bytes) -> None:
        """Write aside, then rename: SFTP's rename (version 3) is refused where a file is.

        OpenSSH does it by a hard link, so of two writers one wins and nobody reads a part.
        """
        aside = f"{path}.{uuid.uuid4().hex}.new"
        self.fs.pipe_file(aside, data)
        try:
            self.fs.ftp.rename(aside, path)
        except OSError as error:
            with suppress(FileNotFoundError):
                self.fs.rm_file(aside)
            if self.fs.exists(path):
                raise FileExistsError(path) from error
            raise

    def _watched(
        self, method: str, source: str, target: str, progress: "Progress", options: dict[str, Any]
    ) -> None:
        """Run a transfer of the file system, and cancel it when no byte moves for too long.

        botocore's read time-out does not cover a server that stops taking our bytes.
        """
        coroutine = getattr(self.fs, f"_{method}", None)
        if not asyncio.iscoroutinefunction(coroutine):
            getattr(self.fs, method)(source, target, **options)
            return
        task = asyncio.run_coroutine_threadsafe(coroutine(source, target, **options), self.fs.loop)
        # a part counts when it is whole, and all parallel parts share the line
        patience = self.transfer.stall_s
        while concurrent.futures.wait([task], timeout=min(1.0, patience / 4)).not_done:
            if progress.idle_seconds > patience:
                task.cancel()
                raise TimeoutError(f"no byte moved for {patience:.0f} s")
        task.result()

    def _try(self, step: Callable[[], Result], what: str) -> Result:
        """Run `step`, again after what may pass; turn the rest into one StoreError."""
        for attempt in range(1, self.transfer.attempts + 1):
            try:
                with self._alone():
                    return step()
            except StoreError:
                raise
            except Exception as error:
                if not self._passes(error, what) or attempt == self.transfer.attempts:
                    raise self._failure(what, error, attempt) from error
                wait = self._wait(attempt)
                log.warning("%s: %s; trying again in %.1f s", what, redact(one_line(error)), wait)
                time.sleep(wait)
        raise AssertionError("Transfer.attempts must be at least 1")

    def _alone(self) -> AbstractContextManager[object]:
        """One call at a time where a file system is not made for more (paramiko loses answers)."""
        return nullcontext() if self.fs.async_impl else self._turn

    def _passes(self, error: Exception, what: str) -> bool:
        """Whether trying again may help. Absence and presence are answers, raised as they are."""
        raise_if_bucket_gone(error)
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(what) from error
        if isinstance(error, FileExistsError):
            raise error
        return is_transient(error)

    def _wait(self, attempt: int) -> float:
        ceiling: float = min(
            self.transfer.backoff_s * 2 ** (attempt - 1), self.transfer.longest_wait_s
        )
        return random.uniform(0.1, 1.0) * ceiling  # noqa: S311 - jitter, not cryptography

    def _failure(self, what: str, error: Exception, attempts: int) -> StoreError:
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        why, next_step = redact(one_line(error)), next_step_for(error, self.url)
        return StoreError(f"can't {what} in {redact(self.url)}{tried}: {why}; {next_step}")


class Progress(Callback):  # type: ignore[misc]
    """Counts bytes for fsspec (its callback), logs every ten seconds, knows when it last moved."""

    def __init__(self, what: str, total: int) -> None:
        super().__init__(size=total)
        self.what, self.total, self.done = what, total, 0
        self._started = self._moved = self._logged = time.monotonic()

    def set_size(self, size: int) -> None:
        """The total is known already."""

    def absolute_update(self, value: int) -> None:
        """Note that `value` bytes in all have moved."""
        self.relative_update(value - self.done)

    def relative_update(self, inc: int = 1) -> None:
        """Note that `inc` more bytes have moved."""
        now = self._moved = time.monotonic()
        self.done += inc
        if now - self._logged > 10:
            self._logged = now
            rate = self.done / (now - self._started) / 2**20
            log.info(
                "%s: %.1f of %.1f MiB, %.0f MiB/s",
                self.what, self.done / 2**20, self.total / 2**20, rate,
            )  # fmt: skip

    @property
    def idle_seconds(self) -> float:
        """Seconds since a byte last moved."""
        return time.monotonic() - self._moved


def _in_order(
    pool: ThreadPoolExecutor, tasks: Iterator[Callable[[], bytes]], window: int
) -> Iterator[bytes]:
    """Results in the order of `tasks`, with at most `window` of them under way or waiting."""
    pending: deque[Future[bytes]] = deque()
    try:
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
