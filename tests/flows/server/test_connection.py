"""A server that is not there, or does not let us in, is one line."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from east_core.errors import ConfigError, EastError, EngineError
from flows.server.connection import ADDRESS_FILE, prefect_api
from flows.server.setup import prepare_server
from flows.server.stack import server_stack


class Answering(http.server.BaseHTTPRequestHandler):
    """Healthy, and refuses everything else without a password."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path.endswith("/health") else 401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def locked() -> Iterator[str]:
    """The API of a server that wants a password."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


def refused(url: str, use: Any) -> EastError:
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(EastError) as told:
        use()
    assert url in str(told.value)
    assert "\n" not in str(told.value)
    return told.value


def enter() -> None:
    with prefect_api():
        pytest.fail("no run may start")


@pytest.mark.parametrize("use", [enter, lambda: prepare_server(Path("prefect.yaml"))])
def test_a_wrong_password_is_one_line(locked: str, use: Any) -> None:
    error = refused(locked, use)
    assert isinstance(error, ConfigError)
    assert "PREFECT_API_AUTH_STRING" in str(error)


@pytest.mark.parametrize("use", [enter, lambda: prepare_server(Path("prefect.yaml"))])
def test_a_server_that_does_not_answer_is_one_line(use: Any) -> None:
    error = refused("http://127.0.0.1:9/api", use)
    assert isinstance(error, EngineError)
    assert "correct PREFECT_API_URL" in str(error)


def test_a_second_one_in_a_folder_says_where_the_first_is(locked: str, home: Path) -> None:
    file = home / ADDRESS_FILE
    file.write_text(locked)
    told = pytest.raises(ConfigError, match=f"already running at {locked.removesuffix('/api')};")
    with told, server_stack(47123):
        pytest.fail("no second server may start")
    assert file.read_text() == locked
