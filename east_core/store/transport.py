"""Bytes to and from a remote store through fsspec: parallel, bounded, retried, watched.

One path for s3, gs, abfs, memory and whatever else fsspec speaks; S3 alone gets settings of its
own. The layers multiply if each retries on its own (s3fs times botocore: 25 requests for one
answer), so s3fs's are off, botocore repeats single requests a few times, and whole steps are
repeated here, with exponential backoff and full jitter (Brooker, "Exponential Backoff And
Jitter", AWS 2015). What is permanent (denied, no such bucket, disk full) is never repeated.
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
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from east_core.errors import StoreError
from east_core.store.faults import (
    _http_status,
    cure,
    is_transient,
    raise_if_bucket_gone,
    redact,
    told,
)
from east_core.store.filesystem import Transfer, is_s3, open_filesystem

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
            self._try(lambda: self._put_new(self.at(path), data), f"create {path}")
        except FileExistsError:
            log.debug("%s exists; comparing", path)
        if self.read(path) != data:
            raise FileExistsError(path)

    def write(self, path: str, data: bytes) -> None:
        """Write a small file, replacing what is there."""
        self._try(lambda: self.fs.pipe_file(self.at(path), data), f"write {path}")

    def sizes(self, prefix: str) -> dict[str, int]:
        """Every file under a folder, with its size in bytes; empty where there is none."""
        listed = self._try(lambda: self._find(self.at(prefix)), f"list {prefix}")
        root = self.at("") + "/"
        return {name.removeprefix(root): int(info["size"] or 0) for name, info in listed.items()}

    def delete(self, paths: list[str]) -> None:
        """Remove files; those already gone are no error."""
        for path in paths:
            try:
                self._try(functools.partial(self.fs.rm_file, self.at(path)), f"delete {path}")
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
            data: bytes = self.fs.cat_file(self.at(path), start=start, end=end)
            if len(data) != end - start:
                raise EOFError(f"got {len(data)} of {end - start} bytes")
            return data

        return self._try(receive, f"read {path} at {start}")

    def _find(self, prefix: str) -> dict[str, Any]:
        self.fs.invalidate_cache()
        try:
            found: dict[str, Any] = self.fs.find(prefix, detail=True)
        except FileNotFoundError as error:
            raise_if_bucket_gone(error)
            return {}
        return found

    def _put_new(self, path: str, data: bytes) -> None:
        try:
            self.fs.pipe_file(path, data, mode="create")
        except OSError as error:
            # Ceph's 412 names no condition, so s3fs gives EINVAL where moto and AWS give EEXIST
            if _http_status(error) == 412:
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
                return step()
            except Exception as error:
                if not self._passes(error, what) or attempt == self.transfer.attempts:
                    raise self._failure(what, error, attempt) from error
                wait = self._wait(attempt)
                log.warning("%s: %s; trying again in %.1f s", what, redact(told(error)), wait)
                time.sleep(wait)
        raise AssertionError("Transfer.attempts must be at least 1")

    def _passes(self, error: Exception, what: str) -> bool:
        """Whether trying again may help. Absence and presence are answers, raised as they are."""
        if isinstance(error, FileNotFoundError):
            raise_if_bucket_gone(error)
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
        return StoreError(
            f"can't {what} in {redact(self.url)}{tried}: {redact(told(error))}; {cure(error)}"
        )


class Progress:
    """Counts bytes for fsspec (its callback), logs every ten seconds, knows when it last moved."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self._started = self._moved = self._logged = time.monotonic()

    def set_size(self, size: int) -> None:
        """Part of fsspec's callback interface: the total is known already."""

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
