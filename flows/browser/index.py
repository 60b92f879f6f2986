"""What the page of all runs tells, read once and kept: a store may hold thousands of runs.

The listing is renewed in the background when somebody looks; only runs that have changed since are
read again. A first look at a large store tells how far the reading has come.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from east_core.errors import EastError
from east_core.evaluation.estimates import Estimate
from east_core.runs.addresses import CONFIG, HISTORY, SCORES, RunAddresses, part_of
from east_core.runs.extent import claimed_settings, rounds_asked
from east_core.runs.overview import is_scored, trained_rounds
from east_core.store import Store

FRESH_SECONDS, WAIT_SECONDS = 10.0, 0.5
READERS = 16  # of a remote store, where reading is waiting


@dataclass(frozen=True)
class RunRow:
    """One run in the table; `score` is the mean accuracy of the last round that is scored."""

    name: str
    loss: str = ""
    weighting: str = ""
    model: str = ""
    rounds: int = 0
    rounds_asked: int | None = None
    is_finished: bool = False
    accuracy: Mapping[str, Estimate] = field(default_factory=dict)
    changed_at: str = ""
    problem: str = ""

    @property
    def score(self) -> float:
        """What the table is sorted by; below every score where there is none."""
        values = [estimate.value for estimate in self.accuracy.values()]
        return sum(values) / len(values) if values else -1.0

    @property
    def state(self) -> str:
        """In a word."""
        return "damaged" if self.problem else "finished" if self.is_finished else "unfinished"


@dataclass(frozen=True)
class Listing:
    """The runs and lines that are known, and how many runs there are.

    `is_complete` says whether the store was read to its end at least once, and all of it since.
    """

    rows: Sequence[RunRow]
    lines: Sequence[str]
    total: int
    is_complete: bool
    problem: str = ""


class RunIndex:
    """The runs of one store; safe to use from several threads."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rows: dict[str, RunRow] = {}
        self._seen: dict[str, tuple[str, ...]] = {}
        self._lines: list[str] = []
        self._total = 0
        self._problem = ""
        self._read_at = float("-inf")
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def listing(self) -> Listing:
        """What is known now; renewed first where that takes no longer than WAIT_SECONDS."""
        with self._lock:
            is_reading = self._thread is not None and self._thread.is_alive()
            if not is_reading and time.monotonic() - self._read_at > FRESH_SECONDS:
                self._thread = threading.Thread(target=self._read, daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(WAIT_SECONDS)
        rows = list(self._rows.values())
        is_complete = self._read_at > float("-inf") and len(rows) >= self._total
        return Listing(rows, list(self._lines), self._total, is_complete, self._problem)

    def _read(self) -> None:
        try:
            by_run, self._lines = _grouped(self.store.addresses())
            self._total, self._problem = len(by_run), ""
            changed = {n: a for n, a in by_run.items() if self._seen.get(n) != a}
            for name in self._rows.keys() - by_run.keys():
                del self._rows[name]
            with ThreadPoolExecutor(1 if self.store.is_local else READERS) as readers:
                for row in readers.map(self._row, changed.items()):
                    self._rows[row.name] = row
            self._seen = by_run
        except EastError as error:
            self._problem = str(error)
        self._read_at = time.monotonic()

    def _row(self, item: tuple[str, tuple[str, ...]]) -> RunRow:
        try:
            return read_row(self.store, *item)
        except (EastError, KeyError, TypeError, ValueError) as error:
            return RunRow(item[0], problem=str(error) or type(error).__name__)


def read_row(store: Store, name: str, addresses: Sequence[str]) -> RunRow:
    """A run's row, from its settings and the records of its last round. Raises StoreError."""
    settings: Mapping[str, Any] = claimed_settings(store, name) or {}
    at = RunAddresses(name)
    parts = {address: part for address in addresses if (part := at.part(address))}
    scored = {a: p for a, p in parts.items() if p.kind == SCORES and p.round is not None}
    last = max((part.round or 0 for part in scored.values()), default=0)
    done = max(trained_rounds(name, addresses), default=0)
    asked = rounds_asked(store, name, addresses)
    newest = max((part.round or 0 for part in parts.values()), default=0)
    latest = [store.require(a) for a, p in parts.items() if (p.round or 0) == newest]
    return RunRow(
        name=name,
        loss=str(settings.get("training", {}).get("loss", "")),
        weighting=str(settings.get("weighting", {}).get("kind", "")),
        model=str(settings.get("model", {}).get("name", "")),
        rounds=done,
        rounds_asked=asked,
        is_finished=asked is not None and done >= asked and is_scored(name, addresses, asked),
        accuracy={
            part.name: Estimate(**store.require(address).facts["accuracy"])
            for address, part in scored.items()
            if part.round == last
        },
        changed_at=max((record.created_at for record in latest), default=""),
    )


def _grouped(addresses: Iterable[str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Addresses by run, and the lines of retraining that have a history."""
    runs: dict[str, list[str]] = {}
    lines = set()
    for address in addresses:
        first, _, rest = address.partition("/")
        if rest.startswith(f"{HISTORY}/"):
            lines.add(first)
        elif part_of(address) is not None:
            runs.setdefault(first, []).append(address)
    begun = {name: tuple(found) for name, found in runs.items() if _is_begun(name, found)}
    return begun, sorted(lines)


def _is_begun(run: str, addresses: Iterable[str]) -> bool:
    parts = filter(None, map(RunAddresses(run).part, addresses))
    return any(part.kind == CONFIG or part.round is not None for part in parts)
