"""Champions: which checkpoint of a line of retraining is in use, and why.

A line is a name in a store, and its history a list of entries that only grows:

    {line}/history/0001      promoted, kept or rolled back; the champion since; the mark
    {line}/champion.json     the same as the last entry, for programs that serve the champion

An entry is published in one step and exclusively, like every artifact, so the champion changes
atomically, two writers can't both decide number n, and what was in use at any time stays known.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from east_core.config import Frozen, RunConfig
from east_core.errors import ArtifactConflict, ArtifactMismatch, ConfigError
from east_core.evaluation.estimates import PairedDifference, paired_difference
from east_core.inputs.base_models import is_stored_as_adapter
from east_core.reports import text
from east_core.runs.addresses import LineAddresses, RunAddresses
from east_core.runs.predictions import read_outcomes
from east_core.store import ArtifactRecord, Stage, Store, materialize

Action = Literal["promoted", "kept", "rolled back"]
BASE = ""  # the champion before any promotion: the base model of the settings


class PairedTest(Frozen):
    """Promote where the gain is larger than chance explains: the exact paired test, two-sided."""

    model_config = ConfigDict(title="Paired test")

    kind: Literal["paired"] = "paired"
    significance: float = Field(
        0.05, gt=0, lt=1, description="Largest p-value at which a gain counts as real."
    )

    def accepts(self, difference: PairedDifference) -> bool:
        """Whether the second checkpoint is better."""
        return difference.value > 0 and difference.p_value <= self.significance


class Margin(Frozen):
    """Promote where the gain in accuracy reaches a margin, whatever chance may do."""

    model_config = ConfigDict(title="Margin")

    kind: Literal["margin"] = "margin"
    points: float = Field(
        1.0, ge=0, le=100, description="Smallest gain, in percentage points of accuracy."
    )

    def accepts(self, difference: PairedDifference) -> bool:
        """Whether the second checkpoint is better."""
        return difference.value > 0 and 100 * difference.value >= self.points


@dataclass(frozen=True)
class Entry:
    """One decision of a line.

    `champion` is the address of the checkpoint in use since then (BASE: the base model), `run` the
    run that was compared, `mark` how many rows of each file of questions have been used.
    """

    number: int
    action: Action
    champion: str
    run: str
    reason: str
    mark: Mapping[str, int]
    decided_at: str = ""


@dataclass(frozen=True)
class Decision:
    """Whether a run's last checkpoint is to be promoted, and the numbers behind it."""

    promote: bool
    reason: str
    difference: PairedDifference


def history(store: Store, line: str) -> list[Entry]:
    """The decisions of a line, oldest first; empty before its first one."""
    return [_entry(record) for record in store.records(LineAddresses(line).history)]


def champion(entries: Sequence[Entry]) -> str:
    """The address of the checkpoint in use; BASE where nothing was promoted."""
    return entries[-1].champion if entries else BASE


def mark(entries: Sequence[Entry]) -> Mapping[str, int]:
    """How many rows of each file of questions the line has used."""
    return entries[-1].mark if entries else {}


def decide(
    store: Store, run: str, rounds: int, benchmarks: Sequence[str], rule: PairedTest | Margin
) -> Decision:
    """Compare a run's last checkpoint with the one it began from, question by question.

    The questions of all benchmarks are pooled. It is the last checkpoint and not the best one:
    choosing the best on the test questions would promote luck.
    """
    before, after = (
        [
            outcome
            for benchmark in sorted(benchmarks)
            for outcome in _outcomes(store, RunAddresses(run).scores(number, benchmark))
        ]
        for number in (0, rounds)
    )
    difference = paired_difference(before, after)
    promote = rule.accepts(difference)
    return Decision(promote, _reason(difference, rule, promote), difference)


def next_entry(
    store: Store, line: str, run: RunConfig, decision: Decision, reached: Mapping[str, int]
) -> Entry:
    """The entry that a run adds to its line; `reached` is the mark after its questions."""
    entries = history(store, line)
    trained = RunAddresses(run.name).checkpoint(run.rounds)
    return Entry(
        number=len(entries) + 1,
        action="promoted" if decision.promote else "kept",
        champion=trained if decision.promote else champion(entries),
        run=run.name,
        reason=decision.reason,
        mark={**mark(entries), **reached},
    )


def record_entry(store: Store, line: str, entry: Entry) -> Entry:
    """Append a decision; from then on its champion is the one in use.

    Raises ArtifactConflict where another decision of that number is there already.
    """
    decided = {name: value for name, value in asdict(entry).items() if name != "decided_at"}

    def build(_folder: Path) -> dict[str, Any]:
        return decided

    stage = Stage(LineAddresses(line).decision(entry.number), "promotion", recipe=decided)
    try:
        record = materialize(store, stage, build)
    except ArtifactMismatch as error:
        raise ArtifactConflict(
            f"decision {entry.number} of {line} was taken by another run meanwhile; "
            "run again to judge against the champion in use now"
        ) from error
    recorded = _entry(record)
    store.write(LineAddresses(line).champion, _pointer(store, recorded))
    return recorded


def roll_back(store: Store, line: str, reason: str) -> Entry:
    """Put the champion before the current one back in use. The mark stays where it is.

    Raises ConfigError where the line has no earlier champion.
    """
    entries = history(store, line)
    stack = _champions(entries)
    if len(stack) < 2:
        raise ConfigError(
            f"{store.root}/{line} has no promotion to roll back; "
            "is the name of the line right (retrain's `name`)?"
        )
    last = entries[-1]
    return record_entry(
        store, line, Entry(last.number + 1, "rolled back", stack[-2], last.run, reason, last.mark)
    )


def _champions(entries: Sequence[Entry]) -> list[str]:
    """The base and the promoted checkpoints that were not rolled back, the current one last."""
    stack = [BASE]
    for entry in entries:
        if entry.action == "promoted":
            stack.append(entry.champion)
        if entry.action == "rolled back":
            stack.pop()
    return stack


def _outcomes(store: Store, address: str) -> list[float]:
    """What became of each question, by question id."""
    return [outcome for _, outcome in sorted(read_outcomes(store, store.require(address)).items())]


def _reason(difference: PairedDifference, rule: PairedTest | Margin, promote: bool) -> str:
    asked = (
        f"p <= {rule.significance:g}"
        if isinstance(rule, PairedTest)
        else f"at least {rule.points:g} points"
    )
    return (
        f"{text.points(difference.value)} points on {difference.n} questions "
        f"({difference.only_second} better, {difference.only_first} worse, "
        f"p = {difference.p_value:.3g}); the rule asks for a gain with {asked}: "
        f"{'promoted' if promote else 'not promoted'}"
    )


def _entry(record: ArtifactRecord) -> Entry:
    return Entry(**{**record.facts, "decided_at": record.created_at})


def _pointer(store: Store, entry: Entry) -> bytes:
    found = store.require(entry.champion) if entry.champion else None
    url = None if found is None else store.url(found.path_of(""))
    is_adapter = found is not None and is_stored_as_adapter(found)
    plain = {**asdict(entry), "url": url, "is_adapter": is_adapter}
    return json.dumps(plain, indent=1).encode()
