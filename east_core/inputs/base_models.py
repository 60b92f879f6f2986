"""Models in local folders: the base model, found on disk, at a URL or on the hub, and checked
before anything starts; and what training made of it, merged where a checkpoint is an adapter.

Only safetensors are accepted; pickled weights can run code when they are loaded.
"""

import fnmatch
import functools
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from east_core.config import ModelConfig
from east_core.errors import DataError, EastError, StoreError
from east_core.inputs.adapters import MERGE_FILE, is_adapter, read_adapter, write_merged
from east_core.inputs.questions import BUILTIN, builtin_path
from east_core.inputs.templates import template_of
from east_core.inputs.tensors import safetensors_problem
from east_core.protocols import PROBE_FILE, ModelSource
from east_core.store import ArtifactRecord, Store
from east_core.store.files import kept_hash
from east_core.store.lineage import open_artifact
from east_core.store.manifest import LOGS, RECORD_NAME
from east_core.store.redaction import redact

# The files of a run's note of its base model: the hashes, and where it was found.
MODEL_FILES, MODEL_SOURCE = "files.json", f"{LOGS}source.json"
# What a checkpoint consists of; notes, original weights and pickles stay behind.
# Mistral's weights in its own format, beside the same weights in ours.
DOUBLES = ["consolidated*.safetensors"]
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "tokenizer*", "*.model", "*.txt", "*.py"]


def locate_model(config: ModelConfig, cache: Path) -> Path:
    """The local folder of the base model, downloaded into `cache` where it is remote.

    A checkpoint of a store may be named by its folder or its URL, an adapter (merged in the cache)
    too. Raises DataError where it can't be found.
    """
    if config.name.startswith(BUILTIN):
        return builtin_path(config.name.removeprefix(BUILTIN))
    if "://" in config.name:
        return _download(config.name, cache)
    local = Path(config.name).expanduser()
    if local.is_dir():
        return _checkpoint_at(str(local), cache) if is_adapter(local) else local.resolve()
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


def whole_model(store: Store, record: ArtifactRecord, base: ModelConfig | None = None) -> Path:
    """A local folder with the whole model of a checkpoint, verified; not to be written to.

    `record` is that of a round, of an average, or a run's note of its base model, which is looked
    for as `base` says, or where it was at the run's start. An adapter is merged in the cache, once.
    Raises StoreError where something was pruned or is gone, DataError where the base model can't be
    found or is another one by now.
    """
    if _has(record, MODEL_SOURCE):
        return _noted_base(store, record, base)
    if not is_stored_as_adapter(record):
        return store.fetch(record)
    return store.made(_merged(record), lambda folder: _merge(store, record, base, folder))


def is_stored_as_adapter(record: ArtifactRecord) -> bool:
    """Whether a checkpoint needs the model that it was trained from (`whole_model`)."""
    return _has(record, MERGE_FILE)


def name_of_checkpoint(store: Store, record: ArtifactRecord) -> str:
    """How `ModelConfig.name` names a checkpoint: its folder; the artifact where it is an adapter,
    so that it is found again when the cache has lost the whole model.
    """
    if is_stored_as_adapter(record):
        return store.url(record.address)
    return str(store.fetch(record))


def model_source(folder: Path, fingerprint: str, config: ModelConfig) -> ModelSource:
    """A checkpoint in a local folder, as the engines take it."""
    return ModelSource(folder, fingerprint, config.trust_remote_code)


def _has(record: ArtifactRecord, name: str) -> bool:
    return any(file.path == name for file in record.files)


def _merged(record: ArtifactRecord) -> str:
    return f"merged-{record.stored_content}"


def _merge(store: Store, record: ArtifactRecord, base: ModelConfig | None, out: Path) -> None:
    """Merge a checkpoint and the adapters below it, down to what is whole."""
    chain = [record]
    below = _trained_from(store, record)
    while is_stored_as_adapter(below) and not store.has_made(_merged(below)):
        chain.insert(0, below)
        below = _trained_from(store, below)
    adapters = [read_adapter(store.fetch(each)) for each in chain]
    write_merged(whole_model(store, below, base), adapters, out)
    probe = store.fetch(record) / PROBE_FILE
    if probe.is_file():
        (out / PROBE_FILE).parent.mkdir()
        shutil.copyfile(probe, out / PROBE_FILE)


def _trained_from(store: Store, record: ArtifactRecord) -> ArtifactRecord:
    """The checkpoint that an adapter belongs to. Raises StoreError where it is not there."""
    address, content = record.input_addresses.get("model", ""), record.inputs.get("model", "")
    found = store.record(address) if address else None
    if found is None or found.content != content:
        now = "which is gone" if found is None else f"of which {found.content[:12]} is there now"
        raise StoreError(
            f"{store.url(record)} is an adapter on {address or 'a model'} ({content[:12]}), {now}; "
            "restore that, or delete the adapter's address (and what was made from it) and run "
            "again"
        )
    return found


def _noted_base(store: Store, record: ArtifactRecord, place: ModelConfig | None) -> Path:
    """The base model of a run, with the files that it had at the run's start."""
    folder = store.fetch(record)
    noted = ModelConfig.model_validate_json((folder / MODEL_SOURCE).read_text("utf-8"))
    source = place or noted
    try:
        base = locate_model(source, store.cache)
    except DataError as error:
        raise DataError(f"{store.url(record)} needs the run's base model: {error}") from error
    if fingerprint_files(base) != json.loads((folder / MODEL_FILES).read_text("utf-8")):
        raise DataError(
            f"{source.name} is not the base model that the run began with any more; put back the "
            f"files whose hashes are in {store.url(record, MODEL_FILES)}"
        )
    return base


def _checkpoint_at(url: str, cache: Path) -> Path:
    """The whole model of the checkpoint at a folder or URL that holds an artifact's record."""
    try:
        opened, address = open_artifact(url)
    except StoreError as error:
        raise DataError(
            f"model {url} is an adapter, and no run's that could be merged ({error}); name a whole "
            "model"
        ) from error
    store = _store_of(opened.root, cache)
    return whole_model(store, store.require(address))


@functools.cache
def _store_of(root: str, cache: Path) -> Store:
    """A store that stays open: what is fetched by name is in use until the process ends."""
    return Store(root, cache)


def _download(url: str, cache: Path) -> Path:
    """Copy a model folder at an fsspec URL into the cache; what is there already is kept.

    The folder in the cache is named after the URL and after what the file system tells of each
    file (size, ETag or checksum, time of change): other weights under an old name get another
    folder, and nobody's files change while they are read.
    """
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
        listed = filesystem.ls(root, detail=True)
        if any(Path(entry["name"]).name == RECORD_NAME for entry in listed):
            return _checkpoint_at(url, cache)
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
    except EastError:
        raise
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
