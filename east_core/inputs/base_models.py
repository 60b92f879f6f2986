"""The base model: found on disk, at a URL or on the hub, and checked before anything starts.

Only safetensors are accepted; pickled weights can run code when they are loaded.
"""

import hashlib
import json
from pathlib import Path

import fsspec

from east_core.config import ModelConfig
from east_core.errors import DataError
from east_core.inputs.questions import BUILTIN, builtin_path
from east_core.protocols import ModelSource

# What a checkpoint consists of; notes, original weights and pickles stay behind.
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


def check_model_folder(folder: Path, name: str) -> None:
    """Refuse a folder that can't be sampled from and trained: one line with what is missing."""
    if not (folder / "config.json").is_file():
        raise DataError(f"model {name}: no config.json in it; is it a transformers model?")
    if not list(folder.glob("*.safetensors")):
        raise DataError(
            f"model {name}: no .safetensors in it; convert its weights (pickles are refused)"
        )
    if not _has_chat_template(folder):
        raise DataError(
            f"model {name}: its tokenizer has no chat template; "
            "add chat_template.jinja or choose an instruction-tuned model"
        )


def fingerprint_files(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint that decides what is sampled and learned."""
    names = {path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return {path.name: _sha256(path) for path in sorted(names)}


def model_source(folder: Path, fingerprint: str, config: ModelConfig) -> ModelSource:
    """A checkpoint in a local folder, as the engines take it."""
    return ModelSource(folder, fingerprint, config.trust_remote_code)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.is_file() and "chat_template" in json.loads(settings.read_text("utf-8"))


def _download(url: str, cache: Path) -> Path:
    """Copy a model folder at an fsspec URL into the cache; files of the right size are kept."""
    target = cache / "models" / hashlib.sha256(url.encode()).hexdigest()[:16]
    target.mkdir(parents=True, exist_ok=True)
    filesystem, root = fsspec.core.url_to_fs(url)
    try:
        listed = filesystem.ls(root, detail=True)
    except Exception as error:  # each filesystem has its own kinds
        raise DataError(f"model {url} can't be listed: {error}; check model.name") from error
    for entry in listed:
        local = target / Path(entry["name"]).name
        if entry["type"] == "file" and not _is_there(local, entry["size"]):
            part = local.with_suffix(local.suffix + ".part")
            filesystem.get_file(entry["name"], str(part))
            part.replace(local)
    return target


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _from_hub(config: ModelConfig) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(config.name, revision=config.revision, allow_patterns=PATTERNS)
    except Exception as error:  # no network, no such repository, no permission ...
        reason = str(error).strip().splitlines()[0]
        raise DataError(
            f"model {config.name!r} is neither a local folder nor loadable from the hub: {reason}"
        ) from error
    return Path(folder)
