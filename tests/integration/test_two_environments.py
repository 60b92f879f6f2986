"""Flow, server and command line in an environment without engines, which have another one.

EAST_FLOWS_PYTHON names its Python (make install-flows: .venv-flows/bin/python), else these are
skipped. The engines are those of the environment that runs the tests.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from east_core.inputs.questions import builtin_path
from tests.integration.conftest import EastUp, start_east_up
from tests.integration.test_two_rounds import environment, records, write_config

ROOT = Path(__file__).parents[2]
NAMED = os.environ.get("EAST_FLOWS_PYTHON")
FLOWS = str(Path(NAMED).absolute()) if NAMED else ""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        not FLOWS,
        reason="EAST_FLOWS_PYTHON names no Python of an environment without engines "
        "(make install-flows)",
    ),
]
MAIN = "from flows.commands.main import main; main()"
ENGINES = ("torch", "vllm", "trl", "deepspeed", "accelerate", "peft")
RUN_SECONDS = 900


def variables() -> dict[str, str]:
    """Of the flow's environment: this source, and the engines of the Python that runs the tests."""
    return {"PYTHONPATH": str(ROOT), "EAST_ENGINE_PYTHON": sys.executable}


def east(folder: Path, *arguments: str, python: str = FLOWS, **more: str) -> str:
    own = variables() if python == FLOWS else {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-c", MAIN, *arguments],
        env={**environment(folder), **own, **more}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def flows_python(program: str) -> Any:
    """What a program of the flow's Python prints, as JSON."""
    env = {**os.environ, **variables()}
    done = subprocess.run([FLOWS, "-c", program], env=env, capture_output=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a run in two environments and of the same run in one."""
    two, one = (tmp_path_factory.mktemp(name) for name in ("two", "one"))
    east(two, "run", str(write_config(two)))
    east(one, "run", str(write_config(one)), python=sys.executable)
    return two, one


def test_the_flows_environment_has_no_engine() -> None:
    ask = "import json; from importlib.util import find_spec; "
    ask += f"print(json.dumps([name for name in {ENGINES} if find_spec(name)]))"
    assert flows_python(ask) == []


def test_the_newest_prefect_makes_dates_of_schedules() -> None:
    # Prefect 3.9.1 with whenever 0.10 makes none before Python 3.13: nothing is ever retrained
    ask = (
        "import asyncio, json; from prefect.server.schemas.schedules import CronSchedule as Cron; "
    )
    ask += "dates = Cron(cron='0 3 * * *', timezone='Europe/Berlin').get_dates(3); "
    assert flows_python(f"{ask}print(json.dumps(len(asyncio.run(dates))))") == 3


def test_what_is_made_is_what_one_environment_makes(finished: tuple[Path, Path]) -> None:
    two, one = map(records, finished)
    assert two.keys() == one.keys()
    for name, record in one.items():
        if name != "config":
            assert two[name].content == record.content, name


def test_records_tell_the_versions_of_the_engines_and_of_the_flows_prefect(
    finished: tuple[Path, Path],
) -> None:
    prefect = flows_python("import json, prefect; print(json.dumps(prefect.__version__))")
    for record in records(finished[0]).values():
        assert record.versions["torch"] == version("torch")
        assert record.versions["trl"] == version("trl")
        assert record.versions["prefect"] == prefect
        assert "python of engines" in record.versions


def test_show_report_and_lineage_need_no_engine(finished: tuple[Path, Path]) -> None:
    tables = []
    for folder, python in zip(finished, (FLOWS, sys.executable), strict=True):
        url = str(folder / "store" / "two-rounds")
        rounds = json.loads(east(folder, "show", url, "--json", python=python))["rounds"]
        tables.append([{k: v for k, v in row.items() if "seconds" not in k} for row in rounds])
        told = east(folder, "lineage", f"{url}/round-02/checkpoint", python=python)
        assert "round-01/checkpoint" in told
        assert f"torch {version('torch')}" in told
        east(folder, "report", url, python=python)
        assert (folder / "store" / "two-rounds" / "report.html").is_file()
    assert tables[0] == tables[1]


def test_weigh_needs_no_engine(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "weighed.jsonl"
    rows.write_text(json.dumps({"id": "a", "gold": "72", "responses": ["#### 72", "#### 7"]}))
    assert "kept        1" in east(tmp_path, "weigh", str(rows), "--out", str(out))
    assert json.loads(out.read_text())["weight"] == 1


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EastUp]:
    folder = tmp_path_factory.mktemp("up")
    for name, lines in (("train", 80), ("test", 50)):
        text = builtin_path(f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(text[:lines]))
    running = start_east_up(folder, environment=variables(), east=(FLOWS, "-c", MAIN))
    try:
        yield running
    finally:
        running.stop()


def test_a_run_from_a_deployment_has_its_page_with_a_picture(
    up: EastUp, small_form: Callable[..., dict[str, Any]]
) -> None:
    state = up.wait_for_end(up.start("self-training", small_form("from-the-ui")), RUN_SECONDS)
    assert state["type"] == "COMPLETED", state
    pages = up.api("artifacts/latest/filter", {"artifacts": {"type": {"any_": ["markdown"]}}})
    (page,) = [page["data"] for page in pages if page["key"] == "from-the-ui"]
    assert "/east/" in page
    with urllib.request.urlopen(f"{up.url}/east/", timeout=30) as answer:  # the run browser
        assert b"from-the-ui" in answer.read()


def test_workers_may_have_an_older_prefect_than_the_server(up: EastUp, tmp_path: Path) -> None:
    config = str(write_config(tmp_path))
    east(tmp_path, "run", config, python=sys.executable, PREFECT_API_URL=f"{up.url}/api")
    (run,) = up.api("flow_runs/filter", {"flow_runs": {"name": {"any_": ["two-rounds"]}}})
    assert run["state"]["type"] == "COMPLETED"
    pages = up.api("artifacts/latest/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert "two-rounds" in {page["key"] for page in pages}
