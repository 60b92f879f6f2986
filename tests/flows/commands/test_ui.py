"""`east champions`, `east rollback`, and how `east up` refuses to start."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from east_core.errors import ConfigError, EastError
from east_core.store import Stage, Store, materialize
from east_core.studies.promotion import Entry, record_entry
from flows.commands.main import app

runner = CliRunner()


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A line with one promotion, in a folder without a running server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    store = Store(str(tmp_path))
    address = "line-0001/round-01/checkpoint"
    materialize(store, Stage(address, "checkpoint"), lambda _: None)
    record_entry(store, "line", Entry(1, "promoted", address, "line-0001", "+9 points", {}))
    return str(tmp_path / "line")


def test_a_rollback_names_the_champion_and_stays_in_the_history(line: str) -> None:
    done = runner.invoke(app, ["rollback", line, "--reason", "too terse"])
    assert done.stdout == "line: champion is now the base model\n"
    told = runner.invoke(app, ["champions", line]).stdout
    assert "+9 points" in told
    assert "too terse" in told
    assert told.index("promoted") < told.index("rolled back")


def test_a_second_rollback_says_that_there_is_nothing_left(line: str) -> None:
    runner.invoke(app, ["rollback", line])
    assert isinstance(runner.invoke(app, ["rollback", line]).exception, ConfigError)


def test_a_line_that_is_not_there_is_an_error(line: str) -> None:
    for command in ("champions", "rollback"):
        done = runner.invoke(app, [command, line + "-of-another-name"])
        assert isinstance(done.exception, EastError)
        assert "line-of-another-name" in str(done.exception)


def test_a_taken_port_is_told_before_anything_starts(line: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = runner.invoke(app, ["up", "--port", str(taken.getsockname()[1])])
    assert "is taken" in str(done.exception)


def test_a_missing_file_of_deployments_is_told_before_anything_starts(line: str) -> None:
    done = runner.invoke(app, ["up", "--port", "0", "--deployments", "none.yaml"])
    assert done.exit_code == 2  # ports begin at 1
    done = runner.invoke(app, ["up", "--port", "47123", "--deployments", "none.yaml"])
    assert "none.yaml: no such file" in str(done.exception)
