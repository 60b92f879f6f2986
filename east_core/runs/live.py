"""What a run is doing right now: a small file in the store that is replaced, and no artifact.

It is for those who look on from another process (the run browser) and may be missing or old.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from east_core.runs.addresses import RunAddresses
from east_core.store import Store

MOST_POINTS = 400  # of a loss curve: more would not be seen, and hours of steps are many


@dataclass(frozen=True)
class Live:
    """How far a stage of a run has come: `share` of it is done, `told` says it in words.

    `losses` are optimizer steps of `steps` with their training loss, where the stage trains;
    `at` is when that was, in ISO 8601 (UTC).
    """

    round: int
    stage: str
    share: float
    told: str
    at: str
    steps: int = 0
    losses: Sequence[tuple[int, float]] = ()


def now() -> str:
    """The time, as `Live.at` has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS of the points, evenly spread, the first and the last among them."""
    last = len(points) - 1
    if last < MOST_POINTS:
        return list(points)
    return [points[round(last * i / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def write_live(store: Store, run: str, live: Live) -> None:
    """Replace what the run tells of itself. Raises StoreError where it can't be written."""
    store.write(RunAddresses(run).live, json.dumps(dataclasses.asdict(live)).encode())


def read_live(store: Store, run: str) -> Live | None:
    """What the run told last; None where it told nothing, or what it told is done by now."""
    raw = store.read(RunAddresses(run).live)
    live = None if raw is None else _decoded(raw)
    if live is None or store.record(_reached(run, live)) is not None:
        return None
    return live


def _reached(run: str, live: Live) -> str:
    """The address of what the stage makes: "score NAME" makes the scores of a benchmark."""
    at = RunAddresses(run)
    kind, _, benchmark = live.stage.partition(" ")
    if benchmark:
        return at.scores(live.round, benchmark)
    return at.samples(live.round) if kind == "sample" else at.checkpoint(live.round)


def _decoded(raw: bytes) -> Live | None:
    try:
        fields: dict[str, Any] = json.loads(raw)
        losses = [(int(step), float(loss)) for step, loss in fields.pop("losses")]
        return Live(**fields, losses=losses)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
