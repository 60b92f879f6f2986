"""What a Prefect server needs for this project: pool, crash detection, deployments.

What a person has changed on the server stays.
"""

from datetime import timedelta
from pathlib import Path

from flows.server.connection import require_server
from flows.server.deployments import deploy

POOL = "east"
CRASH_DETECTION = "Mark runs whose process is gone as Crashed"
# Five missed heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY is 30): a busy machine delays some.
SILENCE = timedelta(seconds=150)
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")


def prepare_server(deployments: Path) -> None:
    """Create what is missing on the server that PREFECT_API_URL names, and deploy everything.

    Raises EngineError where the server does not answer or, with Prefect's last words, where a
    deployment fails; ConfigError where the server refuses the password.
    """
    require_server()
    ensure_pool()
    detect_crashes()
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
    """Install the rule that a run without a heartbeat for `silence` has crashed.

    Without it a run whose machine or process died without a word stays Running for ever.
    """
    from prefect.automations import Automation
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture

    with get_client(sync_client=True) as client:
        if client.read_automations_by_name(CRASH_DETECTION):
            return
    trigger = EventTrigger(
        match={"prefect.resource.id": "prefect.flow-run.*"},
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{end}" for end in ENDS)},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=silence,
    )
    crash = ChangeFlowRunState(
        state=StateType.CRASHED,
        name="Crashed",
        message="no heartbeat: the process or its machine is gone; run it again to go on",
    )
    about = "Installed by east up: a run that was killed does not stay Running."
    Automation(name=CRASH_DETECTION, description=about, trigger=trigger, actions=[crash]).create()
