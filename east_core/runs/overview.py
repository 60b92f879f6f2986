"""The runs of a store at a glance."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from east_core.store.store import Store

_ROUND = re.compile(r"round-(\d+)/(.+)")


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run: rounds with a checkpoint, rounds asked for, accuracy of the last scored round.

    `state` is "finished" where the last round asked for is scored on every benchmark, else the
    address of the latest artifact, which is where a rerun goes on from.
    """

    name: str
    state: str
    rounds: int
    rounds_asked: int | None
    accuracy: Mapping[str, float]
    last_change: str


def list_runs(store: Store) -> list[RunOverview]:
    """The runs of a store, by name."""
    by_run: dict[str, list[str]] = {}
    for address in store.addresses():
        by_run.setdefault(address.split("/")[0], []).append(address)
    return [_overview(store, name, addresses) for name, addresses in sorted(by_run.items())]


def _overview(store: Store, name: str, addresses: list[str]) -> RunOverview:
    rounds = round_parts(name, addresses)
    done = max((number for number, part in rounds if part == "checkpoint"), default=0)
    asked = _rounds_asked(store, name, addresses)
    scores = accuracies(store, name, addresses)
    scored = max(scores, default=None)
    latest = max((store.require(a) for a in addresses), key=lambda r: (r.created_at, r.address))
    is_finished = asked is not None and is_scored(name, addresses, asked) and done >= asked
    return RunOverview(
        name=name,
        state="finished" if is_finished else f"unfinished after {latest.address}",
        rounds=done,
        rounds_asked=asked,
        accuracy={} if scored is None else scores[scored],
        last_change=latest.created_at,
    )


def _rounds_asked(store: Store, name: str, addresses: list[str]) -> int | None:
    """Rounds in the config that started the run; None where it is gone."""
    address = f"{name}/config"
    if address not in addresses:
        return None
    record = store.require(address)
    names = [file.path for file in record.files if file.path.endswith(".json")]
    if not names:
        return None
    config = json.loads((store.fetch(record, names) / names[0]).read_bytes())
    return int(config["rounds"]) if "rounds" in config else None


def round_parts(run: str, addresses: Iterable[str]) -> list[tuple[int, str]]:
    """(round number, address within the round) of the run's artifacts."""
    found = (_ROUND.fullmatch(address.removeprefix(f"{run}/")) for address in addresses)
    return [(int(match[1]), match[2]) for match in found if match]


def accuracies(store: Store, run: str, addresses: list[str]) -> dict[int, dict[str, float]]:
    """Accuracy by round and benchmark."""
    scores: dict[int, dict[str, float]] = {}
    for address in addresses:
        match = _ROUND.fullmatch(address.removeprefix(f"{run}/"))
        if match and match[2].startswith("scores/") and match[2].count("/") == 1:
            facts = store.require(address).facts
            if "accuracy" in facts:
                value = float(facts["accuracy"]["value"])
                scores.setdefault(int(match[1]), {})[match[2].split("/")[1]] = value
    return scores


def is_scored(run: str, addresses: Iterable[str], number: int) -> bool:
    """Whether a round has scores on every benchmark of the run."""
    given = set(addresses)
    prefix = f"{run}/benchmarks/"
    names = [a.removeprefix(prefix) for a in given if a.startswith(prefix)]
    return all(f"{run}/round-{number:02d}/scores/{name}" in given for name in names)
