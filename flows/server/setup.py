"""What a Prefect server needs for this project: pool, automations, deployments.

What a person has changed on the server stays.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from flows.server.arrivals import start_on_arrival
from flows.server.connection import require_server
from flows.server.deployments import deploy

if TYPE_CHECKING:
    from prefect.events.schemas.automations import Automation, EventTrigger

POOL = "east"
CRASH_DETECTION = "Mark runs whose process is gone as Crashed"
# Five missed heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY is 30): a busy machine delays some.
SILENCE = timedelta(seconds=150)
# From its start on, not only from its first heartbeat. A run that waits for a node of a cluster
# gives none, for hours, and is no crash.
SIGNS_OF_LIFE = ("Running", "heartbeat")
NO_HEARTBEAT = "no heartbeat: the process or its machine is gone; run it again to go on"
DIED_WITH_ITS_SERVER = "the server, its worker and this run died together; run it again to go on"
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")


def prepare_server(deployments: Path) -> None:
    """Create what is missing on the server that PREFECT_API_URL names, and deploy everything.

    Raises EngineError where the server does not answer or, with Prefect's last words, where a
    deployment fails; ConfigError where the server refuses the password.
    """
    require_server()
    ensure_pool()
    detect_crashes()
    start_on_arrival()
    deploy(deployments)


def ensure_pool() -> None:
    """Create the process pool in which runs are started."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(POOL)
        except ObjectNotFound:
            about = "Runs on this machine, each in a process of its own."
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description=about))


def pool_is_ready() -> bool:
    """Whether a worker serves the pool."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        status = client.read_work_pool(POOL).status
    return status is not None and status.value == "READY"


def detect_crashes(silence: timedelta = SILENCE) -> None:
    """Install the rule that a run without a sign of life for `silence` has crashed.

    Without it a run whose machine or process died without a word stays Running for ever. A rule
    that is there hears of what it must; how long it waits, and whether at all, is a person's.
    """
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState

    with get_client(sync_client=True) as client:
        found = client.read_automations_by_name(CRASH_DETECTION)
    for rule in found:
        _renew(rule)
    if not found:
        crash = ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=NO_HEARTBEAT)
        about = "Installed by east: a run that was killed does not stay Running."
        Automation(
            name=CRASH_DETECTION, description=about, trigger=_silence(silence), actions=[crash]
        ).create()


def _silence(longest: timedelta) -> "EventTrigger":
    """No sign of life from a run for so long, nor its end."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    return EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        after=_events(*SIGNS_OF_LIFE),
        expect=_events(*SIGNS_OF_LIFE, *ENDS),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=longest,
    )


def _events(*names: str) -> set[str]:
    return {f"prefect.flow-run.{name}" for name in names}


def _renew(rule: "Automation") -> None:
    """Let a rule of an earlier version hear of the same events as ours."""
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    ours, there = _silence(SILENCE), rule.trigger
    if not isinstance(there, EventTrigger) or rule.id is None:
        return  # a person's own
    if (there.after, there.expect) == (ours.after, ours.expect):
        return
    trigger = there.model_copy(update={"after": ours.after, "expect": ours.expect})
    # not the owner, which the server knows, and refuses to be told
    same = set(AutomationCore.model_fields) - {"owner_resource", "trigger"}
    core = AutomationCore(trigger=trigger, **rule.model_dump(include=same))
    with get_client(sync_client=True) as client:
        client.update_automation(rule.id, core)


def crash_orphans() -> int:
    """Mark the pool's runs that are under way as Crashed; return how many there were.

    Right after a server's start, where its only worker is not started yet: whatever the server
    remembers as under way died with the last one, perhaps before anybody could hear of it.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        WorkPoolFilter,
        WorkPoolFilterName,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    under_way = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    states = FlowRunFilterState(type=FlowRunFilterStateType(any_=under_way))
    with get_client(sync_client=True) as client:
        orphans = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=states),
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL])),
        )
        for orphan in orphans:
            client.set_flow_run_state(orphan.id, Crashed(message=DIED_WITH_ITS_SERVER), force=True)
    return len(orphans)
