"""What the UI and automations hear of a line of retraining."""

from datetime import UTC, datetime

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.states import Cancelled

from east_core.config import RunConfig
from east_core.reports import text
from east_core.reports.markdown import escape_markdown
from east_core.runs.summary import summarise
from east_core.store import Store
from east_core.studies import promotion
from east_core.studies.promotion import Decision, Entry
from tasks.browser import run_page

EVENTS = {
    "promoted": "east.checkpoint.promoted",
    "kept": "east.checkpoint.kept",
    "rolled back": "east.checkpoint.rolled-back",
}
REST = "east.line.rested"


def publish_history(store: Store, line: str) -> None:
    """Show the line's decisions, the latest first."""
    rows = [
        {
            "decision": entry.number,
            "when": entry.decided_at,
            "action": entry.action,
            "champion": entry.champion or "base model",
            "run": entry.run,
            "why": entry.reason,
        }
        for entry in reversed(promotion.history(store, line))
    ]
    create_table_artifact(key=f"{line}-champions", table=rows, description=f"Champions of {line}")


def publish_decision(store: Store, line: str, run: RunConfig, decision: Decision) -> str:
    """Show the champion and the run's last checkpoint beside each other; return what is shown."""
    page = comparison_page(store, run, decision)
    told = f"{run.name} beside the champion of {line}"
    create_markdown_artifact(key=f"{line}-comparison", markdown=page, description=told)
    return page


def comparison_page(store: Store, run: RunConfig, decision: Decision) -> str:
    """The scores before and after by benchmark, the pooled difference, and where to look."""
    rounds = {each.round: each.accuracy for each in summarise(store, run.name)}
    before, after = rounds[0], rounds[run.rounds]
    header = "| benchmark | champion | new checkpoint |\n|---|---|---|"
    rows = "\n".join(
        f"| {escape_markdown(name)} | {text.with_interval(before[name])} "
        f"| {text.with_interval(after[name])} |"
        for name in sorted(before)
    )
    found = decision.difference
    size = f"{text.points(found.value)} points {text.point_bounds(found.low, found.high)}"
    pooled = f"Difference: {size}, {text.chance(found.p_value)}"
    shown = run_page(store, run.name)
    where = f"[{run.name}]({shown})" if shown else f"`{store.root}/{run.name}`"
    return f"{where}\n\n{header}\n{rows}\n\n{pooled}\n\n{escape_markdown(decision.reason)}\n"


def emit_decision(line: str, entry: Entry, decision: Decision | None = None) -> None:
    """Emit what was decided, with the numbers of the comparison if there was one."""
    numbers: dict[str, float] = {}
    if decision is not None:
        numbers = {"gain": decision.difference.value, "p_value": decision.difference.p_value}
    emit_event(
        event=EVENTS[entry.action],
        resource=_resource(line),
        payload={
            "champion": entry.champion,
            "run": entry.run,
            "reason": entry.reason,
            **numbers,
        },
    )


def emit_too_few_questions(line: str, reason: str) -> None:
    """Emit that there was too little to train on this time."""
    emit_event(event=REST, resource=_resource(line), payload={"reason": reason})


def collapse_waiting() -> int:
    """Cancel runs of the flow run's deployment that are overdue; return how many.

    They piled up while no worker was there. One run takes all questions that have come, so the
    others would find none.
    """
    context = FlowRunContext.get()
    run = None if context is None else context.flow_run
    if run is None or run.deployment_id is None:
        return 0
    overdue = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[run.deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(flow_run_filter=overdue)
        for other in waiting:
            told: State[None] = Cancelled(message=f"{run.name} takes its questions too")
            client.set_flow_run_state(other.id, told, force=True)
    return len(waiting)


def _resource(line: str) -> dict[str, str]:
    return {"prefect.resource.id": f"east.line.{line}", "prefect.resource.name": line}
