"""One page a run in Prefect's UI, kept up to date: curves, table, links, and what happens now.

It is one artifact that changes, and no card for every round: what belongs to a round alone lies
with the round's own flow run.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from uuid import UUID

import httpx
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from east_core.config import RunConfig
from east_core.errors import EastError
from east_core.reports import figures
from east_core.reports.markdown import escape_markdown
from east_core.runs.live import Live
from east_core.runs.run import Run
from tasks.browser import run_page

BAR_WIDTH = 24


@dataclass
class RunPage:
    """The run's page: an artifact, and what stands on it."""

    run: Run
    artifact: UUID
    shown: str | None
    now: str
    rounds: str = ""
    title: str = ""

    def update(self, now: str | None = None) -> None:
        """Renew the page; `now` is what the run is doing, as Markdown, where that has changed.

        Where the server does not take it, that is logged: work is not given up for a page.
        """
        self.now = now or self.now
        changed = {
            "data": _page(self.run.config, self.now, self.rounds),
            "description": self.title or self.run.name,
        }
        try:
            with get_client(sync_client=True) as client:
                # update_artifact would send the whole page a second time, as an event's payload
                path = {"id": self.artifact}
                client.request("PATCH", "/artifacts/{id}", json=changed, path_params=path)
        except (httpx.HTTPError, PrefectException) as error:
            get_run_logger().warning("the run's page could not be renewed: %s", error)


_current: ContextVar[RunPage | None] = ContextVar("run page", default=None)


@contextmanager
def shown_run(run: Run) -> Iterator[None]:
    """The run's page, for every task inside this context; it tells how the run ends."""
    shown = run_page(run.store, run.name)
    now = f"Round 0 of {run.config.rounds}."
    page = RunPage(run, _artifact(run, shown, now), shown, now)
    token = _current.set(page)
    try:
        yield
    except EastError as error:
        page.update(f"**Stopped**: {escape_markdown(str(error))}  \nRun it again to go on.")
        raise
    else:
        page.update(f"Finished: round {run.config.rounds} of {run.config.rounds}.")
    finally:
        _current.reset(token)


def note_round_done(number: int) -> None:
    """The page says when it is renewed that a round is done, until the next stage tells of it."""
    if (page := _current.get()) is not None:
        page.now = f"Round {number} of {page.run.config.rounds} is done."


def show_rounds(rounds: str, title: str) -> None:
    """Put what the rounds have shown so far on the page, as Markdown; `title` says it shortly."""
    if (page := _current.get()) is not None:
        page.rounds, page.title = rounds, title
        page.update()


def show_live(live: Live) -> None:
    """Put what the run is doing on the page, with the loss so far where it trains."""
    if (page := _current.get()) is not None:
        page.update(_now(page, live))


def image(title: str, png: bytes, address: str | None) -> str:
    """A picture: by its address in the run browser, or else inside the page.

    The newer of Prefect 3.7's UIs shows only what has an address.
    """
    data = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return f"![{title}]({address or data})"


def bar(share: float) -> str:
    """A text progress bar: bar(0.5) is half full."""
    full = round(min(1.0, max(0.0, share)) * BAR_WIDTH)
    return "━" * full + "─" * (BAR_WIDTH - full) + f" {share:4.0%}"


def _artifact(run: Run, shown: str | None, now: str) -> UUID:
    """The page of this flow run: that of its last try, or a new one."""
    context = FlowRunContext.get()
    flow_run = None if context is None else context.flow_run
    if flow_run is not None and (found := _found(run.name, flow_run.id)):
        return found
    if shown is not None:
        told = f"{run.name} in the run browser: curves, samples, report"
        create_link_artifact(shown, told, key=f"{run.name}-browser")
    begun = _page(run.config, now, "")
    created = create_markdown_artifact(key=run.name, markdown=begun, description=run.name)
    assert isinstance(created, UUID)  # a coroutine only where there is an event loop
    return created


def _found(key: str, flow_run: UUID) -> UUID | None:
    wanted = ArtifactFilter(
        key=ArtifactFilterKey(any_=[key]), flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run])
    )
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return found[0].id if found else None


def _page(config: RunConfig, now: str, rounds: str) -> str:
    about = (
        f"{config.training.loss.upper()}, weighting {config.weighting.kind}, base model "
        f"{escape_markdown(config.model.name)}, seed {config.seed}"
    )
    return f"# {config.name}\n\n{about}\n\n{now}\n\n{rounds}\n"


def _now(page: RunPage, live: Live) -> str:
    told = (
        f"**Round {live.round} of {page.run.config.rounds}: {escape_markdown(live.stage)}**  \n"
        f"`{bar(live.share)}`  \n{escape_markdown(live.told)}  \nat {live.at}"
    )
    if len(live.losses) < 2:
        return told
    address = page.shown and f"{page.shown}/live.svg?step={live.losses[-1][0]}"
    drawn = (
        b""
        if address
        else figures.png(figures.loss_by_step(live.losses, live.steps, page.run.name))
    )
    return f"{told}\n\n{image('training loss', drawn, address)}"
