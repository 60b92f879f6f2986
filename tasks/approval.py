"""A person's word on a promotion: a flow run pauses, and goes on by a form in Prefect's UI.

It is a run of its own below the retraining, since a run that pauses gives back its place under its
deployment's concurrency limit: another retraining could start meanwhile, and minutes later Prefect
would cancel the one that waits, which renews that place in vain.

Prefect fails a run whose pause expires. A run that nobody answers shall end well, with the champion
kept; so at the deadline we answer it ourselves, before Prefect's own deadline.
"""

import contextvars
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal
from uuid import UUID

import httpx
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field

from east_core.studies.promotion import Decision
from east_core.text import visible

GRACE_SECONDS = 900  # from our deadline to Prefect's
POLL_SECONDS = 10
LONGEST_NOTE = 400


class Approval(RunInput):
    """What a person is asked."""

    decision: Literal["promote", "keep"] = Field(
        description="Promote the new checkpoint, or keep the champion."
    )
    note: str = Field("", description="Why; kept in the history.")


def ask_for_approval(decision: Decision, run: str, comparison: str, hours: float) -> Decision:
    """Wait until a person decides on a run's checkpoint; after `hours` the champion is kept.

    `comparison` is what the person is shown, as Markdown. What the rule refuses is put to nobody.
    """
    if not decision.promote:
        return decision
    get_run_logger().info(
        "a person decides, within %g hours: Resume on the page of the run '%s: a person decides'",
        hours, run,
    )  # fmt: skip
    answer = approval(run, comparison, hours)
    if answer is None:
        return _decided(decision, False, f"nobody decided within {hours:g} h")
    is_promoted = answer.decision == "promote"
    note = " ".join(visible(answer.note).split())[:LONGEST_NOTE]
    who = "a person agreed" if is_promoted else "a person kept the champion"
    return _decided(decision, is_promoted, f"{who}: {note}" if note else who)


@flow(name="approval", flow_run_name="{run}: a person decides")
def approval(run: str, comparison: str, hours: float) -> Approval | None:  # noqa: ARG001 its name
    """A person's answer to a comparison; None where nobody gave one within `hours`."""
    context = FlowRunContext.get()
    assert context is not None, "a flow that runs has a context"
    assert context.flow_run is not None, "a flow that runs has a run"
    with _answered_after(hours, context.flow_run.id) as is_late:
        answer: Approval = pause_flow_run(
            wait_for_input=Approval.with_initial_data(description=comparison),
            timeout=round(hours * 3600) + GRACE_SECONDS,
            poll_interval=POLL_SECONDS,
            key=f"approval-{context.flow_run.run_count}",  # a run that is tried again asks again
        )
    return None if is_late.is_set() else answer


def _decided(decision: Decision, promote: bool, why: str) -> Decision:
    return dataclasses.replace(decision, promote=promote, reason=f"{decision.reason}; {why}")


@contextmanager
def _answered_after(hours: float, flow_run: UUID) -> Iterator[threading.Event]:
    """Let the run go on with "keep" at the deadline; the event says that it came to that."""
    is_late = threading.Event()

    def answer() -> None:
        try:
            with get_client(sync_client=True) as client:
                client.resume_flow_run(flow_run, {"decision": "keep"})
            is_late.set()
        except httpx.HTTPError as error:  # a person was quicker, or Prefect's own deadline ends it
            get_run_logger().warning("the run could not be resumed at its deadline: %s", error)

    settings = contextvars.copy_context()  # which server, and whose logger
    timer = threading.Timer(hours * 3600, settings.run, (answer,))
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()
