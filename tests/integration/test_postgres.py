"""PostgreSQL behind Prefect's server, with passwords: killed in mid-run, and with a queue."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import TEST_LINES, EastUp, start_east_up
from tests.integration.postgres import SERVERS, Postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not SERVERS, reason="PostgreSQL is not installed (Debian: postgresql)"),
]
LOGIN = "admin:only-in-this-test"
RUN_SECONDS = 900
QUEUED = 10


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="east-postgres-") as folder:
        Path(folder).chmod(0o755)  # its user must get there
        server = Postgres.create(Path(folder) / "data")
        yield server
        server.kill()


@pytest.fixture(scope="module")
def up(database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EastUp]:
    folder = tmp_path_factory.mktemp("postgres-up")
    builtin = Path(__file__).parents[2] / "east_core" / "demo"
    lines = (builtin / "test.jsonl").read_text().splitlines(keepends=True)
    (folder / "test.jsonl").write_text("".join(lines[:TEST_LINES]))
    environment = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.url,
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
        "PREFECT_API_AUTH_STRING": LOGIN,
    }
    up = start_east_up(folder, environment=environment, login=LOGIN)
    yield up
    up.stop()


def evaluation(name: str) -> dict[str, Any]:
    """The seed model on a few questions."""
    scored = {"evaluation": {"max_tokens": 96}, "resources": {"device": "cpu"}}
    return {"form": {"name": name, "benchmarks": {"problems": "test.jsonl"}, **scored}}


def scores(up: EastUp, name: str) -> dict[str, Any]:
    (path,) = (up.folder / ".east" / "store" / name).rglob("scores/problems/_record.json")
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def test_the_database_holds_the_runs_and_no_file_beside_it_does(up: EastUp) -> None:
    run = up.start("evaluate", evaluation("first"))
    state = up.wait_for_end(run, RUN_SECONDS)
    assert state["type"] == "COMPLETED", state
    assert not list(up.folder.rglob("*.db"))


def test_a_run_outlives_its_database(up: EastUp, database: Postgres) -> None:
    """Killed in mid-run, it comes back: the run ends well, or does when it is run again."""
    run = up.start("evaluate", evaluation("outlives"))
    up.wait_until(lambda: up.processes("engines.vllm.worker"), RUN_SECONDS, "the engine")
    database.kill()
    database.start()
    state = up.wait_for_end(run, RUN_SECONDS)
    if state["type"] != "COMPLETED":
        up.run_again(run)
        up.wait_until(lambda: up.state(run)["type"] == "COMPLETED", RUN_SECONDS, "the rerun's end")
    assert scores(up, "outlives")["facts"]["accuracy"] == scores(up, "first")["facts"]["accuracy"]


def test_ten_runs_wait_for_one_device_and_all_end_well(up: EastUp) -> None:
    runs = [up.start("evaluate", evaluation(f"queued-{index}")) for index in range(QUEUED)]
    states = [up.wait_for_end(run, QUEUED * RUN_SECONDS)["type"] for run in runs]
    assert states == ["COMPLETED"] * QUEUED
    accuracy = scores(up, "first")["facts"]["accuracy"]
    for index in range(QUEUED):
        assert scores(up, f"queued-{index}")["facts"]["accuracy"] == accuracy
