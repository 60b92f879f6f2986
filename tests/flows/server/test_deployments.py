"""Deploying anew keeps what a person set in the UI, and renews what the code determines."""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from flows.server.deployments import code_files, deploy
from flows.server.setup import ensure_pool

FORM: dict[str, Any] = {"form": {"name": "line", "rounds": 1}}
Deploy = Callable[..., Any]


@pytest.fixture
def deployed(
    prefect_api: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Deploy, Callable[[], Any]]:
    """Deploy a file with these settings, as `east up` does; and read the deployment."""
    from prefect.settings import PREFECT_API_URL

    monkeypatch.setenv("EAST_WORKDIR", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", str(PREFECT_API_URL.value()))
    ensure_pool()
    name = tmp_path.name[:40]

    def put(**settings: Any) -> Any:
        entry = {
            "name": name, "entrypoint": "flows.self_training.self_training_form",
            "version": "{{ $EAST_VERSION }}", "parameters": FORM, "work_pool": {"name": "east"},
            "schedules": [{"cron": "0 3 * * *", "timezone": "UTC", "active": False}],
            "description": "first", **settings,
        }  # fmt: skip
        pull = [{"prefect.deployments.steps.set_working_directory": {"directory": str(tmp_path)}}]
        file = tmp_path / "prefect.yaml"
        file.write_text(yaml.safe_dump({"name": "t", "pull": pull, "deployments": [entry]}))
        deploy(file)
        return read()

    def read() -> Any:
        with get_client(sync_client=True) as client:
            (found,) = [d for d in client.read_deployments() if d.name == name]
            return found

    return put, read


def test_what_a_person_set_stays_and_what_the_code_says_is_renewed(
    deployed: tuple[Deploy, Callable[[], Any]],
) -> None:
    put, read = deployed
    first = put()
    mine = {"form": {"name": "line", "rounds": 7}}
    with get_client(sync_client=True) as client:
        client.update_deployment(first.id, DeploymentUpdate(parameters=mine, paused=True))
        client.update_deployment_schedule(
            first.id, first.schedules[0].id, active=True,
            schedule=CronSchedule(cron="30 5 * * 1", timezone="Europe/Berlin"),
        )  # fmt: skip
        client.create_deployment_schedules(
            first.id, [(IntervalSchedule(interval=timedelta(hours=6)), False)]
        )
    for description in ("second", "third"):
        again = put(description=description, parameters={"form": {"name": "other"}})
        assert again.id == first.id
        assert again.description == description
        assert again.version != first.version
        assert again.parameters == mine
        assert again.paused
        told = {(str(s.schedule.model_dump().get("cron")), s.active) for s in again.schedules}
        assert told == {("30 5 * * 1", True), ("None", False)}
    [interval] = [s for s in read().schedules if isinstance(s.schedule, IntervalSchedule)]
    assert interval.schedule.interval == timedelta(hours=6)


def test_what_nobody_changed_follows_the_file(
    deployed: tuple[Deploy, Callable[[], Any]],
) -> None:
    put, _ = deployed
    put()
    renewed = {"form": {"name": "line", "rounds": 2}}
    again = put(parameters=renewed, schedules=[{"cron": "0 4 * * *", "active": True}])
    assert again.parameters == renewed
    assert [(s.schedule.cron, s.active) for s in again.schedules] == [("0 4 * * *", True)]


def test_schedules_that_a_person_deleted_stay_deleted(
    deployed: tuple[Deploy, Callable[[], Any]],
) -> None:
    put, _ = deployed
    first = put()
    with get_client(sync_client=True) as client:
        client.delete_deployment_schedule(first.id, first.schedules[0].id)
    assert put(description="second").schedules == []


def test_a_deployment_is_made_anew_when_any_module_changes() -> None:
    root = Path(__file__).parents[3]
    listed = subprocess.run(
        ["git", "ls-files", "flows/*.py", "tasks/*.py", "east_core/*.py"],
        cwd=root, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    if not listed:
        pytest.skip("not in a git checkout, so what the project's modules are is not known")
    assert {root / path for path in listed} <= set(code_files())
