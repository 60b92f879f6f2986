"""New questions as a trigger: what looks for them, and the automation that starts the retraining.

A line's questions lie in a folder or at a URL, where no server of ours is told of new files. So the
place is listed every now and then, and what has come is counted only where the listing has changed.
The event starts the deployment by an automation, which a person may pause, change, or let others
start by sending the same event themselves.
"""

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID

from pydantic import ValidationError

from east_core.errors import EastError
from east_core.inputs.questions import listing
from east_core.store import Store
from east_core.studies import promotion, retraining

if TYPE_CHECKING:
    from prefect.client.schemas.responses import DeploymentResponse

ARRIVED = "east.questions.arrived"
ON_ARRIVAL = "Retrain when new questions have arrived"
ENTRYPOINT = "flows.retrain.retrain"
log = logging.getLogger("prefect.east")
State = tuple[object, ...]


def start_on_arrival() -> None:
    """Install the automation, where it is not there: the event starts the deployment it names."""
    from prefect.client.orchestration import get_client
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    trigger = EventTrigger(expect={ARRIVED}, posture=Posture.Reactive, threshold=1)
    start = RunDeployment(source="inferred", deployment_id=None)
    about = "Installed by east: `east watch` sends the event."
    with get_client(sync_client=True) as client:
        if not client.read_automations_by_name(ON_ARRIVAL):
            client.create_automation(
                AutomationCore(name=ON_ARRIVAL, description=about, trigger=trigger, actions=[start])
            )


@dataclass
class Watcher:
    """Looks at the questions of every retraining deployment, again and again."""

    last: dict[UUID, State] = field(default_factory=dict)  # as it was at the last look
    judged: dict[UUID, State] = field(default_factory=dict)  # as it was when it was counted
    faults: dict[UUID, str] = field(default_factory=dict)

    def look(self) -> list[str]:
        """Emit the event for each line with enough new questions; return their names.

        Files count once two looks have found them the same: they may be on their way. They count
        again when the line has decided, since a run that goes on takes no further questions.
        """
        return [name for each in _deployments() if (name := self._look_at(each))]

    def _look_at(self, deployment: "DeploymentResponse") -> str | None:
        try:
            told = self._judge(deployment.id, deployment.parameters)
            self.faults.pop(deployment.id, None)
        except (EastError, ValidationError) as error:
            told, fault = None, " ".join(str(error).split())
            if self.faults.get(deployment.id) != fault:  # once, not every minute
                log.warning("%s: %s", deployment.name, fault)
            self.faults[deployment.id] = fault
        if told is None:
            return None
        line, payload = told
        _emit(deployment, line, payload)
        return line

    def _judge(self, key: UUID, parameters: dict[str, Any]) -> tuple[str, dict[str, object]] | None:
        """The line and what is to be told of it; None where nothing is."""
        from flows.retrain import RetrainForm

        form = RetrainForm.model_validate(parameters.get("form", {}))
        settings = form.run_config()
        source = settings.questions
        with Store(settings.store) as store:
            entries = promotion.history(store, form.name)
            paths = [each.path for each in source.named.values()]
            files = [file for path in paths for file in listing(path)]
            state = (form.name, form.least_questions, len(entries), *files)
            settled = self.last.get(key) == state
            self.last[key] = state
            if not settled or self.judged.get(key) == state:
                return None
            enough = retraining.has_arrivals(store, form.name, source, form.least_questions)
            self.judged[key] = state
        if not enough:
            return None
        return form.name, {"questions": ", ".join(paths), "files": len(files)}


def _deployments() -> "list[DeploymentResponse]":
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_deployments()
    return [each for each in found if each.entrypoint == ENTRYPOINT]


def _emit(deployment: "DeploymentResponse", line: str, payload: dict[str, object]) -> None:
    from prefect.events import emit_event

    emit_event(
        event=ARRIVED,
        resource={"prefect.resource.id": f"east.line.{line}", "prefect.resource.name": line},
        related=[
            {
                "prefect.resource.id": f"prefect.deployment.{deployment.id}",
                "prefect.resource.role": "deployment",
                "prefect.resource.name": deployment.name,
            }
        ],
        payload=payload,
    )
