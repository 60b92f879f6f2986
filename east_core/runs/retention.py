"""What may be deleted from a run.

Pruning deletes a checkpoint's files and keeps its record (and its logs), beside a `_pruned.json`:
the run still resumes, and every lineage stays whole.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from east_core.errors import ConfigError, StoreError
from east_core.inputs.base_models import is_stored_as_adapter
from east_core.runs.addresses import RunAddresses, is_shard
from east_core.runs.best import best_round
from east_core.runs.overview import accuracies, is_scored, trained_rounds
from east_core.store.manifest import LOGS, ArtifactRecord
from east_core.store.store import PRUNED_NAME, Store


@dataclass(frozen=True, slots=True)
class PruneStep:
    """One checkpoint: `reason` tells why it stays, None that its files may go (`size` bytes)."""

    address: str
    size: int
    reason: str | None


def parse_retention(text: str) -> tuple[str, int]:
    """A retention policy: "all", "best-and-last" or "last:K". Raises ConfigError otherwise."""
    if text in ("all", "best-and-last"):
        return text, 1
    if match := re.fullmatch(r"last:([1-9]\d*)", text):
        return "last", int(match[1])
    raise ConfigError(f"retention {text!r} is unknown; use all, best-and-last, or last:K (last:3)")


def plan_prune(store: Store, run: str, keep: str) -> list[PruneStep]:
    """What pruning a run would delete and keep, checkpoint by checkpoint.

    Whatever the policy, the last checkpoint stays, and so does one that is not yet scored on
    every benchmark, one that an artifact outside this run was made from (a promotion, or another
    run's base model), and one that an adapter which stays is merged into. Raises StoreError where
    there is no such run.
    """
    policy, count = parse_retention(keep)
    addresses = store.addresses(run)
    if not addresses:
        raise StoreError(
            f"there is no run at {store.url(run)}; `east runs {store.root}` lists them"
        )
    checkpoints = _checkpoints(store, run, addresses)
    reasons = _still_needed(store, run, addresses, checkpoints)
    newest = sorted(checkpoints, reverse=True)
    for number in newest[: len(newest) if policy == "all" else count]:
        reasons.setdefault(number, "last" if number == newest[0] else f"policy {keep}")
    if policy == "best-and-last" and (best := _best_round(store, run, addresses)) is not None:
        reasons.setdefault(best, "best accuracy")
    _add_bases_of_adapters(checkpoints, reasons)
    return [
        PruneStep(record.address, _weight(record), reasons.get(number))
        for number, record in sorted(checkpoints.items())
    ]


def prune(store: Store, steps: Iterable[PruneStep], at: datetime | None = None) -> int:
    """Delete the files of the steps without a reason to stay; the bytes that this freed."""
    freed = 0
    for step in steps:
        if step.reason is None:
            record = store.require(step.address)
            when = (at or datetime.now(UTC)).isoformat(timespec="seconds")
            # the mark comes first: a kill in between leaves a pruned artifact, not a damaged one
            mark = json.dumps({"pruned_at": when}).encode()
            store.write(f"{record.address}/{PRUNED_NAME}", mark)
            store.place.delete([record.path_of(name) for name in _weight_files(record)])
            freed += step.size
    return freed


def _checkpoints(store: Store, run: str, addresses: list[str]) -> dict[int, ArtifactRecord]:
    """Checkpoints by round, without those pruned before."""
    at = RunAddresses(run)
    records = {n: store.require(at.checkpoint(n)) for n in trained_rounds(run, addresses)}
    return {n: record for n, record in records.items() if not _has_no_weights(store, record)}


def _has_no_weights(store: Store, record: ArtifactRecord) -> bool:
    """Whether nothing is left to prune; a prune that was killed is finished by the next one."""
    left = store.place.sizes(record.address)
    return f"{record.address}/{PRUNED_NAME}" in left and not any(
        record.path_of(name) in left for name in _weight_files(record)
    )


def _still_needed(
    store: Store, run: str, addresses: list[str], checkpoints: Mapping[int, ArtifactRecord]
) -> dict[int, str]:
    reasons = {
        number: "not scored yet" for number in checkpoints if not is_scored(run, addresses, number)
    }
    by_address = {record.address: number for number, record in checkpoints.items()}
    for record in store.records_at(filter(_can_refer(run), store.addresses())):
        for given in _referred(record) & by_address.keys():
            reasons[by_address[given]] = f"{record.address} was made from it"
    return reasons


def _add_bases_of_adapters(
    checkpoints: Mapping[int, ArtifactRecord], reasons: dict[int, str]
) -> None:
    """Keep what an adapter that stays is merged into, which may be an adapter as well."""
    by_address = {record.address: number for number, record in checkpoints.items()}
    for number, record in sorted(checkpoints.items(), reverse=True):
        below = by_address.get(record.input_addresses.get("model", ""))
        if number in reasons and below is not None and is_stored_as_adapter(record):
            reasons.setdefault(below, f"round {number} is an adapter on it")


def _can_refer(run: str) -> Callable[[str], bool]:
    # the shards of samples are made from what their samples are made from, and are many
    return lambda address: not address.startswith(f"{run}/") and not is_shard(address)


def _referred(record: ArtifactRecord) -> set[str]:
    """The addresses that an artifact refers to: its inputs, and the champion of a promotion."""
    champion = record.facts.get("champion")
    return {*record.input_addresses.values(), *([champion] if isinstance(champion, str) else [])}


def _best_round(store: Store, run: str, addresses: list[str]) -> int | None:
    """The best round after the base model, of which the run holds no weights."""
    scored = accuracies(store, run, addresses)
    return best_round({number: scored[number] for number in scored if number})


def _weight_files(record: ArtifactRecord) -> list[str]:
    """The files that pruning deletes: all but the logs."""
    return [file.path for file in record.files if not file.path.startswith(LOGS)]


def _weight(record: ArtifactRecord) -> int:
    heavy = set(_weight_files(record))
    return sum(file.size for file in record.files if file.path in heavy)
