"""The crash detection: installed once, renewed where it is older, and a person's where they say."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.schemas.automations import AutomationCore
from prefect.states import Pending, Running, Scheduled

from flows.server.setup import CRASH_DETECTION, POOL, crash_orphans, detect_crashes, ensure_pool


@flow
def nothing() -> None:
    """A flow to have runs of."""


@pytest.fixture
def rules(prefect_api: None) -> Iterator[Any]:
    """Reads the rules of that name; there is none before and after."""

    def read() -> list[Any]:
        with get_client(sync_client=True) as client:
            return list(client.read_automations_by_name(CRASH_DETECTION))

    def clear() -> None:
        with get_client(sync_client=True) as client:
            for rule in read():
                client.delete_automation(rule.id)

    clear()
    yield read
    clear()


def test_a_run_is_watched_from_its_start_on(rules: Any) -> None:
    detect_crashes()
    detect_crashes()
    [rule] = rules()
    assert rule.trigger.after == {"prefect.flow-run.Running", "prefect.flow-run.heartbeat"}
    assert rule.trigger.after <= rule.trigger.expect
    assert "prefect.flow-run.Completed" in rule.trigger.expect


def test_an_older_rule_hears_of_more_and_keeps_what_a_person_set(rules: Any) -> None:
    detect_crashes(timedelta(seconds=600))
    [rule] = rules()
    older = rule.trigger.model_copy(update={"after": {"prefect.flow-run.heartbeat"}})
    core = rule.model_copy(update={"trigger": older, "enabled": False})
    fields = set(AutomationCore.model_fields) - {"owner_resource"}
    with get_client(sync_client=True) as client:
        client.update_automation(
            rule.id, AutomationCore.model_validate(core.model_dump(include=fields))
        )
    detect_crashes()
    [renewed] = rules()
    assert "prefect.flow-run.Running" in renewed.trigger.after
    assert renewed.trigger.within == timedelta(seconds=600)
    assert not renewed.enabled
    assert renewed.actions == rule.actions


def test_what_died_with_its_server_does_not_stay_under_way(prefect_api: None) -> None:
    ensure_pool()
    crash_orphans()  # other tests' runs
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(nothing), name="orphans", work_pool_name=POOL, entrypoint="x:y"
        )
        wanted = (Running(), Pending(name="Submitting"), Scheduled())
        runs = [_run_in(client, deployment, state) for state in wanted]
        here = client.create_flow_run(nothing, state=Running())  # of a command, without a pool
        assert crash_orphans() == 2
        states = [client.read_flow_run(run).state for run in (*runs, here.id)]
    assert [state.type.value for state in states if state] == [
        "CRASHED", "CRASHED", "SCHEDULED", "RUNNING",
    ]  # fmt: skip
    assert "run it again" in str(states[0].message if states[0] else "")


def _run_in(client: Any, deployment: UUID, state: Any) -> UUID:
    run = client.create_flow_run_from_deployment(deployment)
    client.set_flow_run_state(run.id, state, force=True)
    return UUID(str(run.id))
