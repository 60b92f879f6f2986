"""The record of an artifact: what made it, from what, and which bytes it consists of.

A record stands beside its files as `_record.json` and is written last, so files without a record
are never read. It is canonical JSON with a checksum of its own: a single flipped byte is noticed.

An artifact has two identities:

- `fingerprint`, of what was asked for: recipe (with stage name and revision) and inputs;
- `content`, of what came out: the hashes of its files, and its facts.

A store may be shared, damaged or hostile, so a record is believed only after `decode_record` has
looked at all of it: its checksum, the type of every field, names, sizes and numbers.

An input enters a fingerprint by its *content*. The recipe's fingerprint alone would keep serving
results whose input has since been rebuilt, and on GPUs a rebuild differs in its bytes. A resumed
run rebuilds nothing, so it never pays for this strictness. It also stops early: an input made by
a newer revision, but with the same bytes, leaves everything after it valid.
"""

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from pydantic import TypeAdapter, ValidationError

from east_core.errors import ArtifactDamaged
from east_core.text import is_plain_name

Json: TypeAlias = Any  # None, bool, int, float, str, and lists and string-keyed dicts of these
RECORD_NAME = "_record.json"
FOLDER_DIGITS = 16
# Files below this folder of an artifact tell how it was made; they are no part of its identity.
LOGS = "logs/"
FORMAT = 1
# What a record may hold at most: far above any run, far below what fills a machine.
MAX_RECORD_BYTES = 64 * 2**20
MAX_FILES = 100_000
MAX_FILE_BYTES = 2**46
MAX_NAME = 1_000
_ADDRESS = re.compile(r"[^\W_][\w.-]*(/[^\W_][\w.-]*)*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(rf"([0-9a-f]{{{FOLDER_DIGITS}}})?")
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
        f"{name}: {_shortened(before.get(name, _ABSENT))} -> {_shortened(after.get(name, _ABSENT))}"
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

    Raises ArtifactDamaged unless `raw` is exactly what `encode_record` writes, and every name,
    size and number in it is one that an artifact may have.
    """
    if len(raw) > MAX_RECORD_BYTES:
        raise ArtifactDamaged(_damaged(where, f"it is longer than {MAX_RECORD_BYTES} bytes"))
    try:
        record = _typed().validate_json(raw, strict=True)
        written_format = json.loads(raw).pop("format")
        sound = encode_record(record) == raw
    except ValidationError as error:
        raise ArtifactDamaged(_damaged(where, f"it is no record ({_first(error)})")) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactDamaged(_damaged(where, f"it is no record ({error})")) from error
    if written_format != FORMAT:
        raise ArtifactDamaged(_damaged(where, f"its format {written_format} is not {FORMAT}"))
    if not sound:
        raise ArtifactDamaged(_damaged(where, "its checksum does not match"))
    if problem := _impossible(record):
        raise ArtifactDamaged(_damaged(where, problem))
    return record


def check_name(name: str) -> str:
    """`name` where it may be a file of an artifact.

    Raises ValueError for absolute paths, '..', control characters, names too long for a disk, and
    the names that the store keeps for itself.
    """
    if not _is_file_name(name):
        raise ValueError(f"{name!r} is no file name that an artifact may hold")
    return name


def is_address(address: str) -> bool:
    """Whether a text is an address: names of letters, digits, '.', '-', '_', joined by '/'."""
    return len(address) <= MAX_NAME and _ADDRESS.fullmatch(address) is not None


def _is_file_name(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and "/".join(parts) == name  # neither absolute nor with '.', '//' or a '/' at its end
        and ".." not in parts
        and not parts[0].startswith("_record")
        and len(name) <= MAX_NAME
        and is_plain_name(name)
    )


def _impossible(record: ArtifactRecord) -> str | None:
    """What in a well-formed record no artifact of ours has; None where all is possible."""
    if len(record.files) > MAX_FILES:
        return f"it lists {len(record.files)} files"
    names = [file.path for file in record.files]
    if len(set(names)) < len(names):
        return "it lists a file twice"
    for file in record.files:
        if not _is_file_name(file.path):
            return f"it lists {file.path[:MAX_NAME]!r}, which is no file name of an artifact"
        if not (0 <= file.size <= MAX_FILE_BYTES and _SHA256.fullmatch(file.sha256)):
            return f"it lists {file.path} with an impossible size or hash"
    if not _FOLDER.fullmatch(record.folder):
        return f"its folder {record.folder[:MAX_NAME]!r} is not one of ours"
    addresses = [record.address, *record.input_addresses.values()]
    if wrong := next((address for address in addresses if not is_address(address)), None):
        return f"{wrong[:MAX_NAME]!r} is no address"
    if stray := record.input_addresses.keys() - record.inputs.keys():
        return f"it tells where {min(stray)!r} stands, which is no input of it"
    return None


@functools.cache
def _typed() -> TypeAdapter[ArtifactRecord]:
    return TypeAdapter(ArtifactRecord)


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, on one line."""
    found = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, found['loc'])) or 'JSON'}: {found['msg']}"


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


def _shortened(value: Json, width: int = 60) -> str:
    text = value if value == _ABSENT else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= width else text[: width - 1] + "…"
