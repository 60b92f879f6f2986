"""What a Prefect server needs for this project: pool, crash detection, deployments.

What a user has changed on the server stays, until the file of deployments or the code changes.
"""

import hashlib
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from east_core.errors import EngineError

POOL = "east"
CRASH_DETECTION = "Mark runs whose process is gone as Crashed"
# Five missed heartbeats (PREFECT_FLOWS_HEARTBEAT_FREQUENCY is 30): a busy machine delays some.
SILENCE = timedelta(seconds=150)
ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")


def prepare_server(deployments: Path) -> None:
    """Create what is missing on the server that PREFECT_API_URL names, and deploy everything.

    Raises EngineError, with Prefect's last words, where a deployment fails.
    """
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


def deploy(deployments: Path) -> None:
    """Create or renew every deployment of a prefect.yaml, unless they are as the file has them.

    Raises EngineError with Prefect's last words.
    """
    version = _version(deployments)
    if set(_deployed(deployments)) == {version}:
        return
    command = ("--no-prompt", "deploy", "--all", "--prefect-file", str(deployments))
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *command],
        env={**os.environ, "COLUMNS": "200", "EAST_VERSION": version},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        words = " ".join((done.stdout + done.stderr).split())[-600:]
        raise EngineError(f"the deployments of {deployments} can't be made: {words}")


def _deployed(deployments: Path) -> list[str | None]:
    """The version of each of the file's deployments on the server; None where it is missing."""
    import yaml
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        there = {found.name: found.version for found in client.read_deployments()}
    entries = yaml.safe_load(deployments.read_text("utf-8"))["deployments"]
    return [there.get(entry["name"]) for entry in entries]


def _version(deployments: Path) -> str:
    """What a deployment is made from: the file, the folder of its runs, and the code's forms."""
    root = Path(__file__).parents[2]
    sources = sorted([*root.glob("flows/**/*.py"), *root.glob("east_core/**/*.py")])
    digest = hashlib.sha256(os.environ["EAST_WORKDIR"].encode())
    for path in (deployments, *sources):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
