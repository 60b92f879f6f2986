"""Base models: whole or refused, and fetched again when what is at their URL has changed."""

import contextlib
import functools
import http.server
import json
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from east_core.config import ModelConfig
from east_core.errors import DataError
from east_core.inputs.base_models import (
    check_model_folder,
    fingerprint_files,
    locate_model,
    safetensors_problem,
)


def safetensors(data: bytes) -> bytes:
    header = {"w": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return struct.pack("<Q", len(text)) + text + data


def model_folder(folder: Path, data: bytes = b"0123") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "model.safetensors").write_bytes(safetensors(data))
    return folder


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A plain web server, whose listing tells names alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing to the test's output."""

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(10)


def replace_weights(folder: Path, data: bytes) -> None:
    """Other weights of the same size, a minute later."""
    path = folder / "model.safetensors"
    path.write_bytes(safetensors(data))
    later = path.stat().st_mtime + 60
    os.utime(path, (later, later))


@pytest.mark.parametrize("kind", ["file", "http"])
def test_new_weights_of_equal_size_are_fetched(kind: str, tmp_path: Path) -> None:
    folder, cache = model_folder(tmp_path / "model", b"0123"), tmp_path / "cache"
    with contextlib.ExitStack() as stack:
        url = f"file://{folder}" if kind == "file" else stack.enter_context(served(folder))
        config = ModelConfig(name=url)
        first = fingerprint_files(before := locate_model(config, cache))
        assert locate_model(config, cache) == before, "unchanged: the same files"
        replace_weights(folder, b"4567")
        second = fingerprint_files(locate_model(config, cache))
    assert first["model.safetensors"] != second["model.safetensors"]
    assert fingerprint_files(before) == first, "files that somebody may be reading stay as they are"


def test_what_has_not_changed_is_not_downloaded_again(tmp_path: Path) -> None:
    folder, cache = model_folder(tmp_path / "model"), tmp_path / "cache"
    config = ModelConfig(name=f"file://{folder}")
    weights = locate_model(config, cache) / "model.safetensors"
    written = weights.stat().st_mtime_ns
    assert (locate_model(config, cache) / "model.safetensors").stat().st_mtime_ns == written


def test_pickles_at_a_url_stay_there(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    fetched = locate_model(ModelConfig(name=f"file://{folder}"), tmp_path / "cache")
    assert not (fetched / "pytorch_model.bin").exists()


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with served(tmp_path) as url:
        pass
    with pytest.raises(DataError, match="can't be downloaded"):
        locate_model(ModelConfig(name=url), tmp_path / "cache")


def test_weights_that_were_cut_off_are_refused_by_the_check(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model", b"0" * 300)
    check_model_folder(folder, ModelConfig(name="m"))
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=f"where its header says {len(whole)}"):
        check_model_folder(folder, ModelConfig(name="m"))


def test_the_demos_own_weights_are_whole() -> None:
    folder = locate_model(ModelConfig(name="builtin:seed_model"), Path())
    assert [safetensors_problem(path) for path in folder.glob("*.safetensors")] == [None]


@given(cut=st.integers(0, 10_000), junk=st.binary(max_size=40))
def test_no_damage_to_weights_is_a_traceback(
    cut: int, junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    whole = safetensors(b"0" * 100)
    kept = whole[: cut % len(whole)]
    path.write_bytes(kept + junk)
    if kept + junk != whole:
        problem = safetensors_problem(path)
        assert problem is None or problem.isprintable()
        assert junk or problem, "a file that was only cut is always noticed"
