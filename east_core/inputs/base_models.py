"""The base model: found on disk, at a URL or on the hub, and checked before anything starts.

Only safetensors are accepted; pickled weights can run code when they are loaded.
"""

import fnmatch
import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from east_core.config import ModelConfig
from east_core.errors import DataError
from east_core.inputs.questions import BUILTIN, builtin_path
from east_core.inputs.templates import template_of
from east_core.protocols import ModelSource
from east_core.store.files import kept_hash
from east_core.store.redaction import redact

# What a checkpoint consists of; notes, original weights and pickles stay behind.
# Mistral's weights in its own format, beside the same weights in ours.
DOUBLES = ["consolidated*.safetensors"]
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer*", "*.model", "*.txt", "*.py"]


def locate_model(config: ModelConfig, cache: Path) -> Path:
    """The local folder of the base model, downloaded into `cache` where it is remote.

    Raises DataError where it can't be found.
    """
    if config.name.startswith(BUILTIN):
        return builtin_path(config.name.removeprefix(BUILTIN))
    if "://" in config.name:
        return _download(config.name, cache)
    local = Path(config.name).expanduser()
    if local.is_dir():
        return local.resolve()
    if config.name.startswith((".", "/", "~")):
        raise DataError(f"model folder {config.name} does not exist; check model.name")
    return _from_hub(config)


def check_model_folder(folder: Path, config: ModelConfig) -> None:
    """Refuse a folder that can't be sampled from and trained: one line with what is missing."""
    name = config.name
    if not (folder / "config.json").is_file():
        raise DataError(f"model {name}: no config.json in it; is it a transformers model?")
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise DataError(
            f"model {name}: no .safetensors in it; convert its weights (pickles are refused)"
        )
    for path in weights:
        if problem := safetensors_problem(path):
            raise DataError(f"model {name}: {path.name} {problem}; download or copy it again")
    if template_of(folder, config.chat_template) is None:
        raise DataError(
            f"model {name}: its tokenizer has no chat template; set model.chat_template "
            "(builtin:question_answer and builtin:few_shot are for base models), or choose an "
            "instruction-tuned model"
        )


def fingerprint_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint that decides what is sampled and learned.

    Large files are read once on a machine, until they change: a start of a run should not take the
    minutes that reading hundreds of gigabytes does.
    """
    names = {path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return {path.name: kept_hash(path.resolve()) for path in sorted(names)}


def model_source(folder: Path, fingerprint: str, config: ModelConfig) -> ModelSource:
    """A checkpoint in a local folder, as the engines take it."""
    return ModelSource(folder, fingerprint, config.trust_remote_code)


def safetensors_problem(path: Path) -> str | None:
    """Why a file of weights can't be whole; None where its length is what its header says.

    The format (huggingface.co/docs/safetensors): eight bytes with the header's length, a JSON
    header with each tensor's `data_offsets`, then the data.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            return f"is cut off in its header ({size} bytes)"
        raw = stream.read(length)
    try:
        tensors = json.loads(raw)
        ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
        entry = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "has no safetensors header"
    return None if entry == size else f"has {size} bytes where its header says {entry}"


def _download(url: str, cache: Path) -> Path:
    """Copy a model folder at an fsspec URL into the cache; what is there already is kept.

    The folder in the cache is named after the URL and after what the file system tells of each
    file (size, ETag or checksum, time of change): other weights under an old name get another
    folder, and nobody's files change while they are read.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
        listed = filesystem.ls(root, detail=True)
        files = {
            name: _with_details(filesystem, entry)
            for entry in listed
            if entry["type"] == "file" and _is_wanted(name := Path(entry["name"]).name)
        }
        identity = {name: _identity(entry) for name, entry in files.items()}
        target = cache / "models" / _digest([url, identity])
        target.mkdir(parents=True, exist_ok=True)
        for name, entry in files.items():
            if not (identity[name] and _is_there(target / name, entry["size"])):
                _get(filesystem, str(entry["name"]), target / name)
    except Exception as error:  # each filesystem has its own kinds
        reason = " ".join(redact(str(error)).split()) or type(error).__name__
        raise DataError(
            f"model {url} can't be downloaded: {reason}; check model.name, and that its server "
            "can be reached"
        ) from error
    return target


# What file systems tell of a file that changes with its content, the surest first.
_MARKS = (
    "ETag", "etag", "md5Hash", "content_md5", "generation", "uid", "mtime", "LastModified",
    "last_modified", "Last-Modified", "modified", "updated", "created",
)  # fmt: skip


def _with_details(filesystem: Any, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is known of a listed file; asked for where the listing tells names alone (http)."""
    if entry.get("size") is not None and _identity(entry):
        return entry
    details: Mapping[str, Any] = filesystem.info(entry["name"])
    return {**entry, **details}


def _identity(entry: Mapping[str, Any]) -> list[str]:
    """Size and marks of a file; empty where nothing but the size is known."""
    marks = [f"{mark}={entry[mark]}" for mark in _MARKS if entry.get(mark) not in (None, "")]
    return [f"size={entry['size']}", *marks] if marks else []


def _is_wanted(name: str) -> bool:
    if any(fnmatch.fnmatch(name, pattern) for pattern in DOUBLES):
        return False
    return any(fnmatch.fnmatch(name, pattern) for pattern in PATTERNS)


def _get(filesystem: Any, source: str, target: Path) -> None:
    part = target.with_suffix(target.suffix + ".part")
    filesystem.get_file(source, str(part))
    part.replace(target)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _is_there(path: Path, size: int | None) -> bool:
    return path.is_file() and path.stat().st_size == size


def _from_hub(config: ModelConfig) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            config.name,
            revision=config.revision,
            allow_patterns=PATTERNS,
            ignore_patterns=DOUBLES,
        )
    except Exception as error:  # no network, no such repository, no permission ...
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"model {config.name!r} is neither a local folder nor loadable from the hub: {reason}"
        ) from error
    return Path(folder)
