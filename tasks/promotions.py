"""What the UI and automations hear of a line of retraining."""

from prefect.artifacts import create_table_artifact
from prefect.events import emit_event

from east_core.store import Store
from east_core.studies import promotion
from east_core.studies.promotion import Decision, Entry

EVENTS = {
    "promoted": "east.checkpoint.promoted",
    "kept": "east.checkpoint.kept",
    "rolled back": "east.checkpoint.rolled-back",
}


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


def tell_decision(line: str, entry: Entry, decision: Decision | None = None) -> None:
    """Emit what was decided, with the numbers of the comparison if there was one."""
    numbers: dict[str, float] = {}
    if decision is not None:
        numbers = {"gain": decision.difference.value, "p_value": decision.difference.p_value}
    emit_event(
        event=EVENTS[entry.action],
        resource={"prefect.resource.id": f"east.line.{line}", "prefect.resource.name": line},
        payload={
            "champion": entry.champion,
            "run": entry.run,
            "reason": entry.reason,
            **numbers,
        },
    )
