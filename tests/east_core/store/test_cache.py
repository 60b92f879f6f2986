"""The download cache: bounded, and safe for the processes that share it."""

import gc
import hashlib
import os
import time
from pathlib import Path

import pytest

from east_core.errors import ArtifactDamaged
from east_core.store.cache import DownloadCache
from east_core.store.manifest import ArtifactFile, ArtifactRecord

SIZE = 1000


def record(name: str) -> ArtifactRecord:
    data = name.encode().ljust(SIZE, b".")
    file = ArtifactFile("weights.bin", SIZE, hashlib.sha256(data).hexdigest())
    return ArtifactRecord(f"run/{name}", {}, {}, "", (file,), {}, "", "", 0.0)


class Server:
    def __init__(self) -> None:
        self.downloads: list[str] = []

    def fetch(self, cache: DownloadCache, name: str) -> Path:
        wanted = record(name)

        def download(file: ArtifactFile, target: Path) -> str:
            self.downloads.append(name)
            target.write_bytes(name.encode().ljust(SIZE, b"."))
            return file.sha256

        return cache.folder(wanted, wanted.files, download) / "weights.bin"


def held(cache: DownloadCache) -> int:
    return len(list(cache.root.glob("*/weights.bin")))


def test_what_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    server = Server()
    for cache in (DownloadCache(tmp_path), DownloadCache(tmp_path)):
        assert server.fetch(cache, "a").read_bytes().startswith(b"a.")
    assert server.downloads == ["a"]


def test_the_least_recently_fetched_go_first(tmp_path: Path) -> None:
    server = Server()
    for name in ("a", "b", "a", "c"):
        cache = DownloadCache(tmp_path, limit=2 * SIZE)
        server.fetch(cache, name)
        cache.close()
        time.sleep(0.02)
    assert held(cache) == 2
    again = DownloadCache(tmp_path, limit=2 * SIZE)
    server.fetch(again, "a")
    assert server.downloads == ["a", "b", "c"], "b was evicted, a was not"


def test_what_another_reader_uses_is_not_evicted(tmp_path: Path) -> None:
    server = Server()
    reader = DownloadCache(tmp_path, limit=SIZE)
    path = server.fetch(reader, "mine")
    other = DownloadCache(tmp_path, limit=SIZE)
    for name in ("a", "b", "c"):
        server.fetch(other, name)
    assert path.exists()
    reader.close()
    server.fetch(other, "d")
    assert not path.exists()


def test_one_reader_that_fetches_much_stays_within_the_limit(tmp_path: Path) -> None:
    server, cache = Server(), DownloadCache(tmp_path, limit=3 * SIZE)
    for number in range(10):
        assert server.fetch(cache, f"n{number}").exists()
    assert held(cache) <= 3


def test_a_damaged_cached_file_is_downloaded_again(tmp_path: Path) -> None:
    server, cache = Server(), DownloadCache(tmp_path)
    path = server.fetch(cache, "a")
    path.write_bytes(b"X" * SIZE)
    os.utime(path, ns=(1, 1))
    assert server.fetch(cache, "a").read_bytes().startswith(b"a.")
    assert server.downloads == ["a", "a"]


def test_a_wrong_download_never_appears(tmp_path: Path) -> None:
    cache, wanted = DownloadCache(tmp_path), record("a")

    def download(_: ArtifactFile, target: Path) -> str:
        target.write_bytes(b"wrong")
        return "0" * 64

    with pytest.raises(ArtifactDamaged, match=r"run/a/weights\.bin is damaged"):
        cache.folder(wanted, wanted.files, download)
    assert list(tmp_path.glob("*/*")) == []


def test_the_limit_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAST_CACHE_GIB", "0.5")
    assert DownloadCache(tmp_path).limit == 2**29


def test_a_cache_that_nobody_refers_to_any_more_still_pins_what_it_fetched(tmp_path: Path) -> None:
    """Only closing unpins: a fetched path outlives the object that fetched it."""
    server = Server()
    path = server.fetch(DownloadCache(tmp_path, limit=SIZE), "scored")
    gc.collect()
    other = DownloadCache(tmp_path, limit=SIZE)
    for name in ("a", "b"):
        server.fetch(other, name)
    assert path.exists()


def test_what_is_made_is_made_once_and_again_where_it_is_damaged(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "logs").mkdir()
        (folder / "logs" / "weights.bin").write_bytes(b"sound")

    for cache in (DownloadCache(tmp_path), DownloadCache(tmp_path)):
        file = cache.made("merged-a", make) / "logs" / "weights.bin"
        assert file.read_bytes() == b"sound"
    assert len(made) == 1
    file.write_bytes(b"other")
    assert not cache.has_made("merged-a")
    assert (cache.made("merged-a", make) / "logs" / "weights.bin").read_bytes() == b"sound"
    assert len(made) == 2


def test_what_a_killed_process_has_half_made_is_made_anew(tmp_path: Path) -> None:
    cache = DownloadCache(tmp_path)

    def killed(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.made("merged-a", killed)
    assert not cache.has_made("merged-a")
    folder = cache.made("merged-a", lambda out: (out / "whole").write_bytes(b"whole"))
    assert [path.name for path in folder.iterdir()] == ["whole"]


def test_what_was_made_counts_and_is_evicted_like_a_download(tmp_path: Path) -> None:
    server = Server()
    first = DownloadCache(tmp_path, limit=SIZE)
    first.made("merged-a", lambda out: (out / "weights.bin").write_bytes(b"." * SIZE))
    first.close()
    time.sleep(0.02)
    server.fetch(DownloadCache(tmp_path, limit=SIZE), "b")
    assert held(first) == 1
    assert not list(tmp_path.glob("merged-a*")), "nothing of it is left"
