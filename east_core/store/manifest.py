"""The record of an artifact: what made it, from what, and which bytes it consists of.

A record stands beside its files as `_record.json` and is written last, so files without a record
are never read. It is canonical JSON with a checksum of its own: a single flipped byte is noticed.

An artifact has two identities:

- `fingerprint`, of what was asked for: recipe (with stage name and revision) and inputs;
- `content`, of what came out: the hashes of its files, and its facts.

An input enters a fingerprint by its *content*. The recipe's fingerprint alone would keep serving
results whose input has since been rebuilt, and on GPUs a rebuild differs in its bytes. A resumed
run rebuilds nothing, so it never pays for this strictness. It also stops early: an input made by
a newer revision, but with the same bytes, leaves everything after it valid.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from east_core.errors import ArtifactDamaged

Json: TypeAlias = Any  # None, bool, int, float, str, and lists and string-keyed dicts of these
RECORD_NAME = "_record.json"
FOLDER_DIGITS = 16
# Files below this folder of an artifact tell how it was made; they are no part of its identity.
LOGS = "logs/"
FORMAT = 1
_ABSENT = "(absent)"


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file of an artifact: path relative to the artifact (POSIX), bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ArtifactRecord:
    """What is known of one artifact; equal fingerprints mean that the same thing was asked for.

    `recipe` holds the stage's name and revision and every setting that changes the result; paths,
    GPU counts, host names and credentials stay out of it. `inputs` maps an input's name to its
    content hash (or, for what is no artifact, to the fingerprint given), and `input_addresses`
    tells where it stands. `facts` are small results (counts, accuracy), free of times.
    `folder` is where the files lie under the address: "" in local stores (mostly), and named after
    the build in remote ones, so that racing writers never touch each other's files.
    `seconds` is the build's wall time; `created_at` is UTC, ISO 8601.
    """

    address: str
    recipe: Mapping[str, Json]
    inputs: Mapping[str, str]
    fingerprint: str
    files: tuple[ArtifactFile, ...]
    facts: Mapping[str, Json]
    code_version: str
    created_at: str
    seconds: float
    versions: Mapping[str, str] = field(default_factory=dict)
    input_addresses: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""

    @property
    def content(self) -> str:
        """SHA-256 over the sorted (path, sha256) of the files and the facts: the result's identity.

        Facts count because later stages read them, and some artifacts have no files. Logs do not:
        they hold times, and two runs that learn the same must give the same identity.
        """
        return content_hash([f for f in self.files if not f.path.startswith(LOGS)], self.facts)

    @property
    def stored_content(self) -> str:
        """SHA-256 over all files, logs included: names what is really stored, byte for byte."""
        return content_hash(self.files, self.facts)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def content_folder(self) -> str:
        """Name of a folder that only files of this content may be in."""
        return self.stored_content[:FOLDER_DIGITS]

    @property
    def stage(self) -> str:
        """Name of the stage that made it."""
        return str(self.recipe.get("stage", ""))

    def path_of(self, name: str) -> str:
        """Where a file of the artifact lies, relative to the store."""
        return "/".join(part for part in (self.address, self.folder, name) if part)


def canonical_json(value: Json) -> str:
    """JSON with one spelling for each value: sorted keys, no spaces, no NaN.

    Raises ValueError for NaN or infinity, TypeError for what JSON can't express.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def fingerprint_of(recipe: Mapping[str, Json], inputs: Mapping[str, str]) -> str:
    """SHA-256 of the canonical JSON of a recipe and its inputs, in hex."""
    return _sha256(canonical_json({"inputs": dict(inputs), "recipe": dict(recipe)}))


def content_hash(files: Iterable[ArtifactFile], facts: Mapping[str, Json]) -> str:
    """SHA-256 over the sorted (path, sha256) of `files` and over `facts`, in hex."""
    hashes = sorted([file.path, file.sha256] for file in files)
    return _sha256(canonical_json({"facts": dict(facts), "files": hashes}))


def changed_fields(
    old: ArtifactRecord, recipe: Mapping[str, Json], inputs: Mapping[str, str]
) -> list[str]:
    """The differences between a record and what is now asked for, one readable phrase each."""
    before = {**_leaves(old.recipe), **_leaves(old.inputs, "input ")}
    after = {**_leaves(recipe), **_leaves(inputs, "input ")}
    return [
        f"{name}: {_brief(before.get(name, _ABSENT))} -> {_brief(after.get(name, _ABSENT))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name, _ABSENT) != after.get(name, _ABSENT)
    ]


def encode_record(record: ArtifactRecord) -> bytes:
    """The bytes of `_record.json`: indented, sorted, with a checksum over everything else."""
    fields = {**dataclasses.asdict(record), "format": FORMAT}
    fields["checksum"] = _sha256(canonical_json(fields))
    return (json.dumps(fields, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def decode_record(raw: bytes, where: str) -> ArtifactRecord:
    """The record in `raw`, which was read at `where`.

    Raises ArtifactDamaged unless `raw` is exactly what `encode_record` writes.
    """
    try:
        fields = json.loads(raw)
        written_format = fields.pop("format")
        del fields["checksum"]
        fields["files"] = tuple(ArtifactFile(**file) for file in fields["files"])
        record = ArtifactRecord(**fields)
        sound = encode_record(record) == raw
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactDamaged(_damaged(where, f"it is no record ({error})")) from error
    if written_format != FORMAT:
        raise ArtifactDamaged(_damaged(where, f"its format {written_format} is not {FORMAT}"))
    if not sound:
        raise ArtifactDamaged(_damaged(where, "its checksum does not match"))
    return record


def check_name(name: str) -> str:
    """`name` where it may be a file of an artifact.

    Raises ValueError for absolute paths, '..', and the names that the store keeps for itself.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or parts[0].startswith("_record"):
        raise ValueError(f"{name!r} is no file name that an artifact may hold")
    return name


def _damaged(where: str, why: str) -> str:
    return (
        f"the record {where} is damaged: {why}; restore it from a backup, or delete that address "
        "and run again"
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _leaves(value: Mapping[str, Json], prefix: str = "") -> dict[str, Json]:
    return dict(_walk(value, prefix))


def _walk(value: Mapping[str, Json], prefix: str) -> Iterator[tuple[str, Json]]:
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _walk(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", item


def _brief(value: Json, width: int = 60) -> str:
    text = value if value == _ABSENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else text[: width - 1] + "…"
