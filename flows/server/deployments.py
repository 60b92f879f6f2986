"""The deployments of a prefect.yaml on the server, made anew when the file or the code changes.

A deployment has two owners. The code determines its form, entry point, description and limits; a
person may change its schedules, its default parameters and whether it is paused, in the UI. What
was deployed last is noted in a Prefect variable: what differs from the note was changed by a
person and stays, the rest follows the file.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from east_core.errors import EngineError

if TYPE_CHECKING:
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse

DEPLOYED = "east_deployed"  # the variable: what each deployment was last deployed with
ROOMS = ("flows", "tasks", "east_core")  # the packages of a checkout
Settings = Mapping[str, Any]  # a person's part of a deployment: parameters, schedules, paused


def deploy(deployments: Path) -> None:
    """Create or renew every deployment of a prefect.yaml, unless they are as file and code say.

    Raises EngineError with Prefect's last words.
    """
    import yaml

    version = _version(deployments)
    document = yaml.safe_load(deployments.read_text("utf-8"))
    names = [entry["name"] for entry in document["deployments"]]
    there = _on_server(names)
    if all(name in there and there[name].version == version for name in names):
        return
    noted = _last_deployed()
    kept = {name: changed(_settings(there[name]), noted.get(name)) for name in there}
    for entry in document["deployments"]:
        entry.update(kept.get(entry["name"], {}))
    _prefect_deploy(document, deployments, version)
    made = {name: _settings(deployment) for name, deployment in _on_server(names).items()}
    renewed = {n: {**made[n], **_as_deployed(kept.get(n, {}), noted.get(n))} for n in made}
    _remember_deployed({**noted, **renewed})


def changed(current: Settings, deployed: Settings | None) -> Settings:
    """What a person has changed of what was deployed; all of it where that is not known."""
    return {
        field: value
        for field, value in current.items()
        if deployed is None or value != deployed.get(field)
    }


def _as_deployed(kept: Settings, deployed: Settings | None) -> Settings:
    """The note of what a person changed stays what was deployed, so that the change is known."""
    return {field: (deployed or {}).get(field) for field in kept}


def _settings(deployment: "DeploymentResponse") -> Settings:
    """A person's part of a deployment, as a prefect.yaml has it."""
    return {
        "parameters": deployment.parameters,
        "paused": bool(deployment.paused),
        "schedules": [_plain(schedule) for schedule in deployment.schedules],
    }


def _plain(schedule: "DeploymentSchedule") -> dict[str, Any]:
    """A schedule as a prefect.yaml has it: cron, interval (seconds) or rrule, and its switches."""
    plain = schedule.schedule.model_dump(mode="json", exclude_none=True)
    plain |= {"active": schedule.active, "parameters": schedule.parameters}
    return plain | ({"slug": schedule.slug} if schedule.slug else {})


def _on_server(names: list[str]) -> "dict[str, DeploymentResponse]":
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return {found.name: found for found in client.read_deployments() if found.name in names}


def _last_deployed() -> dict[str, Any]:
    from prefect.variables import Variable

    noted: Any = Variable.get(DEPLOYED, default={})
    return noted if isinstance(noted, dict) else {}


def _remember_deployed(deployed: Mapping[str, Settings]) -> None:
    from prefect.variables import Variable

    Variable.set(DEPLOYED, dict(deployed), overwrite=True)


def _prefect_deploy(document: Mapping[str, Any], deployments: Path, version: str) -> None:
    import yaml

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prefect.yaml"
        file.write_text(yaml.safe_dump(dict(document), sort_keys=False))
        command = ("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
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


def code_files() -> list[Path]:
    """The modules that a deployment runs: every one of flows, tasks and east_core."""
    root = Path(__file__).parents[2]
    return sorted(path for room in ROOMS for path in (root / room).rglob("*.py"))


def _version(deployments: Path) -> str:
    """What a deployment is made from: the file, the folder of its runs, and the code."""
    digest = hashlib.sha256(os.environ["EAST_WORKDIR"].encode())
    for path in (deployments, *code_files()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
