"""Re-read and re-hash everything that a run's records list, and name what is not as recorded."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from east_core.errors import ArtifactDamaged, DataError
from east_core.store.manifest import LOGS, RECORD_NAME, ArtifactFile, ArtifactRecord, is_address
from east_core.store.store import PRUNED_NAME, Store

Problem = Literal["damaged", "missing", "unrecorded"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as recorded.

    "unrecorded" files belong to no artifact and are never read: leftovers of a killed upload, or
    of an artifact whose record was deleted. The other problems are damage.
    """

    problem: Problem
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.problem:<10} {self.path}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verification:
    """What was read, and what was found."""

    artifacts: int
    files: int
    bytes: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether every recorded byte is as recorded."""
        return all(finding.problem == "unrecorded" for finding in self.findings)


def verify(store: Store, prefix: str, views: Collection[str] = ()) -> Verification:
    """Check every artifact at and below an address, byte by byte.

    Records have a checksum of their own, so one flipped byte anywhere is found. `views` names
    files right below the address that are no artifacts and belong there all the same.
    Raises DataError where nothing stands there.
    """
    sizes = dict(store.place.sizes(prefix))
    if not sizes:
        raise DataError(
            f"{store.root} holds no run or artifact {prefix!r}; east runs lists its runs"
        )
    records, findings = _read_records(store, prefix)
    for record in records.values():
        findings += _check_inputs(store, record, records)
        findings += _check_files(store, record, sizes)
    claimed = {record.path_of(file.path) for record in records.values() for file in record.files}
    claimed |= {f"{prefix}/{view}" for view in views}
    findings += _unrecorded(sizes, claimed)
    files = [file for record in records.values() for file in record.files]
    total = sum(file.size for file in files)
    return Verification(len(records), len(files), total, tuple(findings))


def _read_records(store: Store, prefix: str) -> tuple[dict[str, ArtifactRecord], list[Finding]]:
    records: dict[str, ArtifactRecord] = {}
    findings: list[Finding] = []
    for address in store.addresses(prefix):
        try:
            records[address] = store.require(address)
        except ArtifactDamaged as error:
            findings.append(Finding("damaged", f"{address}/{RECORD_NAME}", str(error)))
    return records, findings


def _check_inputs(
    store: Store, record: ArtifactRecord, records: dict[str, ArtifactRecord]
) -> Iterator[Finding]:
    """Inputs must still be there with the content that this artifact was made from."""
    for name, address in record.input_addresses.items():
        try:
            given = records.get(address) or store.record(address)
        except ArtifactDamaged:
            continue  # reported at its own address
        if given is None:
            yield Finding(
                "missing", address, f"its record is gone; {record.address} was made of it"
            )
        elif given.content != record.inputs[name]:
            detail = f"{record.address} was made of another content of it; delete that and rerun"
            yield Finding("damaged", address, detail)


def _check_files(
    store: Store, record: ArtifactRecord, sizes: Mapping[str, int]
) -> Iterator[Finding]:
    is_pruned = f"{record.address}/{PRUNED_NAME}" in sizes
    for file in record.files:
        if is_pruned and not file.path.startswith(LOGS):
            continue
        if finding := _check_file(store, record.path_of(file.path), file, sizes):
            yield finding


def _check_file(
    store: Store, path: str, file: ArtifactFile, sizes: Mapping[str, int]
) -> Finding | None:
    if path not in sizes:
        return Finding("missing", path, f"{file.size} bytes are recorded")
    if sizes[path] != file.size:
        return Finding("damaged", path, f"has {sizes[path]} bytes, {file.size} are recorded")
    if (found := store.place.hash_of(path, file.size)) != file.sha256:
        return Finding("damaged", path, f"SHA-256 {found[:12]}, recorded is {file.sha256[:12]}")
    return None


def _unrecorded(sizes: Mapping[str, int], claimed: set[str]) -> Iterator[Finding]:
    for path in sorted(sizes.keys() - claimed):
        address, _, name = path.rpartition("/")
        if name not in (RECORD_NAME, PRUNED_NAME) or not is_address(address):
            yield Finding("unrecorded", path, f"{sizes[path]} bytes that belong to no artifact")
