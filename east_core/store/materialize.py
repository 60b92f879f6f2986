"""Artifacts: one idea carries resume, lineage and safety.

Every stage writes one artifact at a readable address of a `Store`, through `materialize`:

- a record with the same fingerprint is there: it is returned and nothing is built (resume);
- a record with another fingerprint: ArtifactMismatch, naming what changed (it is neither served
  nor overwritten);
- no record: build in a scratch folder, upload, and put the record last, exclusively.

So a reader never sees half an artifact, a run killed anywhere goes on from its last finished
stage, and every record tells what made it. docs/artifacts.md has the details.
"""

import contextlib
import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from east_core.errors import ArtifactConflict, ArtifactMismatch
from east_core.store.faults import DISK_FAULTS, disk_fault
from east_core.store.manifest import (
    ArtifactFile,
    ArtifactRecord,
    Json,
    canonical_json,
    changed_fields,
    fingerprint_of,
)
from east_core.store.provenance import code_version, library_versions
from east_core.store.scratch import (
    FinishedBuild,
    Scratch,
    claim_scratch,
    drop_published,
    work_folder,
)
from east_core.store.store import Store, StoreCheck

__all__ = [
    "ArtifactFile",
    "ArtifactRecord",
    "Json",
    "Stage",
    "Store",
    "StoreCheck",
    "existing",
    "materialize",
    "reuse",
    "work_folder",
]
log = logging.getLogger(__name__)
Build = Callable[[Path], Mapping[str, Json] | None]


@dataclass(frozen=True)
class Stage:
    """An artifact to be made: where it goes, and all that identifies it.

    `recipe` holds every setting that changes the result, and nothing else; `revision` is bumped
    by hand when the stage's code changes what it makes. Records among `inputs` enter the
    fingerprint by their content, strings as they are.
    """

    address: str
    name: str
    recipe: Mapping[str, Json] = field(default_factory=dict)
    inputs: Mapping[str, ArtifactRecord | str] = field(default_factory=dict)
    revision: int = 1

    def wanted(self) -> ArtifactRecord:
        """The record to be made, but for what only the build can tell."""
        named = {**self.recipe, "stage": self.name, "revision": self.revision}
        asked = json.loads(canonical_json(named))
        identities = {name: _identity(given) for name, given in self.inputs.items()}
        return ArtifactRecord(
            address=self.address,
            recipe=asked,
            inputs=identities,
            fingerprint=fingerprint_of(asked, identities),
            files=(),
            facts={},
            code_version=code_version(),
            created_at="",
            seconds=0.0,
            versions=library_versions(),
            input_addresses=_addresses(self.inputs),
        )


def materialize(
    store: Store, stage: Stage, build: Build, *, clock: Callable[[], float] = time.time
) -> ArtifactRecord:
    """The artifact of `stage`: found where it was made before, built and published otherwise.

    `build(folder)` fills an empty local folder and returns the facts; it may keep checkpoints in
    `work_folder(folder)`, where a build of the same artifact that follows a crash finds them
    again. A build that had finished before the crash is not repeated, only published. `clock`
    gives seconds since 1970.

    Raises ArtifactMismatch where the address holds something made otherwise, ArtifactConflict
    where another process is building or has published there, ArtifactDamaged for a malformed
    record, StoreError where the store can't be used; and whatever `build` raises.
    """
    return existing(store, stage) or _build_and_publish(store, stage.wanted(), build, clock)


def existing(store: Store, stage: Stage) -> ArtifactRecord | None:
    """The record that `materialize` would return without building; None where it would build.

    What a kill behind the record's put left is tidied. Raises ArtifactMismatch and ArtifactDamaged
    as `materialize` does.
    """
    wanted = stage.wanted()
    found = _existing_record(store, wanted)
    if found and drop_published(store.scratch(), store.root, wanted.address, wanted.fingerprint):
        store.place.tidy(found)
    return found


def made_by_revision(store: Store, stage: Stage, revision: int) -> ArtifactRecord | None:
    """The record at the stage's address that an earlier revision of it made, all else equal."""
    record = store.record(stage.address)
    wanted = dataclasses.replace(stage, revision=revision).wanted()
    return record if record is not None and record.fingerprint == wanted.fingerprint else None


def reuse(store: Store, source: ArtifactRecord, stage: Stage) -> ArtifactRecord | None:
    """Publish a copy of `source` as `stage`, if it is what `materialize` would make there.

    None where something else was asked for, or where the files of `source` were pruned.
    """
    wanted = stage.wanted()
    if source.fingerprint != wanted.fingerprint or store.is_pruned(source):
        return None

    def copy(folder: Path) -> Mapping[str, Json]:
        fetched = store.fetch(source)
        for file in source.files:
            (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(fetched / file.path, folder / file.path)
        return source.facts

    return existing(store, stage) or _build_and_publish(store, wanted, copy, time.time)


def _existing_record(store: Store, wanted: ArtifactRecord) -> ArtifactRecord | None:
    """The record that is there already. Raises ArtifactMismatch where it is another's."""
    record = store.record(wanted.address)
    if record is None or record.fingerprint == wanted.fingerprint:
        return record
    changes = "; ".join(changed_fields(record, wanted.recipe, wanted.inputs))
    raise ArtifactMismatch(
        f"{store.url(record.address)} was made at {record.created_at} from other settings: "
        f"{changes}; choose another run name, or delete that address (and what was made from it)"
    )


def _build_and_publish(
    store: Store, wanted: ArtifactRecord, build: Build, clock: Callable[[], float]
) -> ArtifactRecord:
    store.place.require_free(wanted.address)
    claimed = claim_scratch(store.scratch(), store.root, wanted.address, wanted.fingerprint)
    with claimed as scratch, _disk_faults_named(scratch):
        # by another process, while we waited our turn
        if published := _existing_record(store, wanted):
            return published
        built = scratch.finished() or _build(store, wanted.address, scratch, build, clock)
        record = _complete(wanted, built, clock)
        whole = dataclasses.replace(record, folder=store.place.folder_for(record, scratch.attempt))
        return _publish(store, whole, scratch.out)


def _build(
    store: Store, address: str, scratch: Scratch, build: Build, clock: Callable[[], float]
) -> FinishedBuild:
    """Build; the files are hashed while they are already on their way to a remote store."""
    started = clock()
    facts = build(scratch.fresh_out())
    plain, seconds = json.loads(canonical_json(dict(facts or {}))), clock() - started
    with ThreadPoolExecutor(1, "east-send") as aside:
        sending = aside.submit(store.place.send, address, scratch.attempt, scratch.out)
        built = scratch.finish(plain, seconds)
    sending.result()
    return built


@contextlib.contextmanager
def _disk_faults_named(scratch: Scratch) -> Iterator[None]:
    """One line for what goes wrong with the disk under a build: full, read-only, another's."""
    try:
        yield
    except OSError as error:
        named = str(error.filename or "")
        if error.errno not in DISK_FAULTS or (named and not named.startswith(str(scratch.root))):
            raise
        raise disk_fault("build in", scratch.root.parent, error, "EAST_SCRATCH") from error


def _complete(
    wanted: ArtifactRecord, built: FinishedBuild, clock: Callable[[], float]
) -> ArtifactRecord:
    return dataclasses.replace(
        wanted,
        files=built.files,
        facts=built.facts,
        seconds=round(built.seconds, 3),
        created_at=datetime.fromtimestamp(clock(), UTC).isoformat(timespec="milliseconds"),
    )


def _publish(store: Store, record: ArtifactRecord, folder: Path) -> ArtifactRecord:
    """Publish, or say who was first: the same artifact is welcome, another one is a conflict."""
    try:
        store.place.publish(record, folder)
    except FileExistsError as error:
        winner = store.record(record.address)
        if winner is None or winner.fingerprint != record.fingerprint:
            raise ArtifactConflict(_conflict(store, record, winner)) from error
        log.warning(
            "%s: another writer published the same artifact first; using that", winner.address
        )
        return winner
    log.info("published %s (%d files, %d bytes)", record.address, len(record.files), record.size)
    return record


def _conflict(store: Store, record: ArtifactRecord, winner: ArtifactRecord | None) -> str:
    if winner is None:
        where = store.url(record.address)
        return f"{where} was published by another writer and deleted again; run again"
    changes = "; ".join(changed_fields(winner, record.recipe, record.inputs))
    return (
        f"{store.url(winner.address)} was published by another run at {winner.created_at} while "
        f"this one was building: {changes}; choose another run name"
    )


def _identity(given: ArtifactRecord | str) -> str:
    return given if isinstance(given, str) else given.content


def _addresses(inputs: Mapping[str, ArtifactRecord | str]) -> dict[str, str]:
    return {
        name: given.address for name, given in inputs.items() if isinstance(given, ArtifactRecord)
    }
