"""The runs of a store at a glance."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from east_core.runs.addresses import BENCHMARKS, CHECKPOINT, CONFIG, SCORES, RunAddresses, part_of
from east_core.runs.extent import rounds_asked
from east_core.store.store import Store


@dataclass(frozen=True, slots=True)
class RunOverview:
    """One run: rounds with a checkpoint, rounds asked for, accuracy of the last scored round.

    `state` is "finished" where the last round asked for is scored on every benchmark, "stopped
    after round 2" where the run ended early by its own rule, else the
    address of the latest artifact, which is where a rerun goes on from.
    """

    name: str
    state: str
    rounds: int
    rounds_asked: int | None
    accuracy: Mapping[str, float]
    last_change: str


def list_runs(store: Store) -> list[RunOverview]:
    """The runs of a store, by name.

    What else is there is left out: lines of retraining, comparisons, and studies, whose runs are
    in a store of their own.
    """
    by_run: dict[str, list[str]] = {}
    for address in store.addresses():
        if part_of(address) is not None:
            by_run.setdefault(address.split("/")[0], []).append(address)
    return [
        _overview(store, name, addresses)
        for name, addresses in sorted(by_run.items())
        if _is_begun(name, addresses)
    ]


def _is_begun(run: str, addresses: Iterable[str]) -> bool:
    """Whether a run has claimed its name or finished a stage (its config may have been deleted)."""
    parts = filter(None, map(RunAddresses(run).part, addresses))
    return any(part.kind == CONFIG or part.round is not None for part in parts)


def _overview(store: Store, name: str, addresses: list[str]) -> RunOverview:
    done = max(trained_rounds(name, addresses), default=0)
    asked = rounds_asked(store, name, addresses)
    scores = accuracies(store, name, addresses)
    scored = max(scores, default=None)
    latest = max((store.require(a) for a in addresses), key=lambda r: (r.created_at, r.address))
    is_finished = asked is not None and is_scored(name, addresses, asked) and done >= asked
    return RunOverview(
        name=name,
        state="finished" if is_finished else _unfinished(name, done, addresses, latest.address),
        rounds=done,
        rounds_asked=asked,
        accuracy={} if scored is None else scores[scored],
        last_change=latest.created_at,
    )


def _unfinished(run: str, done: int, addresses: Iterable[str], latest: str) -> str:
    is_stopped = RunAddresses(run).stop(done) in addresses
    return f"stopped after round {done}" if is_stopped else f"unfinished after {latest}"


def trained_rounds(run: str, addresses: Iterable[str]) -> list[int]:
    """The rounds that have a checkpoint."""
    parts = filter(None, map(RunAddresses(run).part, addresses))
    return [part.round for part in parts if part.kind == CHECKPOINT and part.round is not None]


def accuracies(store: Store, run: str, addresses: list[str]) -> dict[int, dict[str, float]]:
    """Accuracy by round and benchmark."""
    scores: dict[int, dict[str, float]] = {}
    for address in addresses:
        part = RunAddresses(run).part(address)
        if part and part.kind == SCORES and part.round is not None:
            facts = store.require(address).facts
            if "accuracy" in facts:
                scores.setdefault(part.round, {})[part.name] = float(facts["accuracy"]["value"])
    return scores


def is_scored(run: str, addresses: Iterable[str], number: int) -> bool:
    """Whether a round has scores on every benchmark of the run."""
    given, at = set(addresses), RunAddresses(run)
    parts = filter(None, map(at.part, given))
    names = [part.name for part in parts if part.kind == BENCHMARKS]
    return all(at.scores(number, name) in given for name in names)
