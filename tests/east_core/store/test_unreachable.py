"""A store that can't be reached is an error, and never an empty list."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from east_core.errors import StoreError
from east_core.store import Store
from east_core.store.filesystem import Transfer
from east_core.testing.s3_servers import free_port

QUICK = Transfer(attempts=2, request_attempts=1, backoff_s=0.05, stall_s=5)


@pytest.fixture(params=["http", "s3", "sftp"])
def nowhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A URL behind a port where nothing listens."""
    endpoint = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{endpoint}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-key")
    if request.param == "s3":
        return "s3://bucket/runs"
    pytest.importorskip({"http": "aiohttp", "sftp": "paramiko"}[request.param])
    return f"{request.param}://{endpoint}/runs"


def opened(url: str, tmp_path: Path) -> Store:
    return Store(url, tmp_path / "cache", transfer=QUICK)


def test_where_nothing_listens_nothing_is_listed(nowhere: str, tmp_path: Path) -> None:
    store = opened(nowhere, tmp_path)
    with pytest.raises(StoreError, match=r"can't list what is in .* run again when it is reach"):
        store.addresses()
    with pytest.raises(StoreError, match="can't read"):
        store.record("demo/config")


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """A web server that answers everything with one status."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(request.param)

        def log_message(self, *told: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/runs"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("answering", [401, 403, 500, 503], indirect=True)
def test_what_a_server_refuses_is_no_empty_list(answering: str, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    store = opened(answering, tmp_path)
    for asked in (store.addresses, lambda: store.record("demo/config")):
        with pytest.raises(StoreError, match=r"can't (list|read)"):
            asked()


@pytest.mark.parametrize("answering", [200, 404], indirect=True)
def test_an_empty_page_and_none_are_an_empty_list(answering: str, tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    assert opened(answering, tmp_path).addresses() == []
