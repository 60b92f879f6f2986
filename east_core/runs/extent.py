"""How far a run is to go: the rounds asked for, which may grow after it was claimed."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from east_core.runs.addresses import CONFIG_FILE, ROUNDS, RunAddresses
from east_core.store import Store


def claimed_settings(store: Store, run: str) -> Mapping[str, Any] | None:
    """The settings that a run was claimed with; None where they are gone."""
    record = store.record(RunAddresses(run).config)
    if record is None or CONFIG_FILE not in {file.path for file in record.files}:
        return None
    text = (store.fetch(record, [CONFIG_FILE]) / CONFIG_FILE).read_text("utf-8")
    settings: dict[str, Any] = json.loads(text)
    return settings


def recorded_rounds(store: Store, run: str) -> int:
    """The most rounds that the run was ever started for, by what it noted itself; 0: unknown."""
    claimed = int((claimed_settings(store, run) or {}).get("rounds", 0))
    extensions = store.records(f"{run}/{ROUNDS}")
    return max([claimed, *(int(record.facts["rounds"]) for record in extensions)])


def rounds_asked(store: Store, run: str, addresses: Iterable[str]) -> int | None:
    """The rounds that a run with these addresses was last extended to; None where nobody knows.

    Runs that were extended before extensions were noted have more rounds than they claimed.
    """
    parts = map(RunAddresses(run).part, addresses)
    begun = max((part.round or 0 for part in parts if part), default=0)
    return max(recorded_rounds(store, run), begun) or None
