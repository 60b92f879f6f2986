"""A checkpoint goes out of the house: to a folder, or to the Hugging Face hub, with its card.

Only what a transformers model consists of is published, its weights as safetensors. The token for
the hub comes from the environment (HF_TOKEN) alone.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from east_core.config import ModelConfig
from east_core.config.toml_file import parse_config
from east_core.errors import ConfigError, DataError, StoreError
from east_core.inputs.base_models import (
    PATTERNS,
    is_stored_as_adapter,
    locate_model,
    whole_model,
)
from east_core.protocols import example_type
from east_core.reports.model_card import (
    Published,
    examples_card,
    is_hub_name,
    model_card,
    public_name,
)
from east_core.runs.addresses import (
    EXAMPLES_FILE,
    RunAddresses,
    checkpoint_address,
    part_of,
)
from east_core.runs.extent import claimed_settings
from east_core.runs.summary import summarise
from east_core.store import ArtifactRecord, Store
from east_core.store.lineage import open_artifact
from east_core.store.redaction import redact
from east_core.studies import promotion

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB = "hub:"
TOKEN = "HF_TOKEN"  # noqa: S105 the name of a variable
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)


@dataclass(frozen=True)
class Target:
    """Where to: `hub` is organisation/name there, or else `folder` is one that is not there yet."""

    hub: str | None
    folder: Path | None

    @property
    def name(self) -> str:
        """How the model is served from there."""
        return self.hub or str(self.folder and self.folder.name)

    def beside(self, suffix: str) -> "Target":
        """Another one, with `suffix` behind its name."""
        if self.folder is None:
            return Target(f"{self.hub}{suffix}", None)
        return Target(None, self.folder.with_name(self.folder.name + suffix))


def parse_target(told: str) -> Target:
    """ "hub:org/name" or a folder. Raises ConfigError for another form, or a folder with files."""
    if told.startswith(HUB):
        name = told.removeprefix(HUB)
        if not is_hub_name(name):
            raise ConfigError(f"--to {told}: name the repository as hub:organisation/name")
        return Target(name, None)
    folder = Path(told).expanduser()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--to {told}: there is something already; name a new folder")
    return Target(None, folder)


def publish(
    url: str, target: Target, *, license_id: str | None, with_examples: bool, public: bool
) -> list[str]:
    """Publish the checkpoint of RUN_URL/round-NN; return where it lies, and its examples.

    Raises StoreError where there is no such checkpoint or the hub can't be reached, DataError where
    it has no safetensors, ConfigError where no token is set.
    """
    address = checkpoint_address(url.rstrip("/"))
    store, address = open_artifact(address)
    with store:
        model = _described(store, address, target, license_id)
        files = _model_files(store, model.checkpoint)
        contents = {"README.md": model_card(model).encode()}
        beside = target.beside("-examples")
        if with_examples and beside.folder:
            parse_target(str(beside.folder))
        told = [_send(target, "model", files, contents, public)]
        if with_examples:
            told.append(_send(beside, "dataset", *_examples(store, model), public))
        return told


def _described(store: Store, address: str, target: Target, license_id: str | None) -> Published:
    part, run = part_of(address), address.split("/")[0]
    settings = claimed_settings(store, run)
    if part is None or part.round is None or settings is None:
        raise StoreError(f"{store.url(address)} is no round of a run; name RUN_URL/round-03")
    base = _base_of(store, run)
    is_on_hub = _is_on_hub(base)
    return Published(
        name=target.name if target.hub else f"./{target.name}",
        run=run,
        round=part.round,
        base=base.name if is_on_hub else public_name(base.name),
        is_base_on_hub=is_on_hub,
        license=license_id or _license_of(base, store.cache),
        settings=settings,
        rounds=summarise(store, run),
        checkpoint=store.require(address),
    )


def _base_of(store: Store, run: str) -> ModelConfig:
    """The model that it all began with: of a line's run, behind the champions before it."""
    line, _, number = run.rpartition("-")
    entries = promotion.history(store, line) if line and number.isdigit() else []
    champion = promotion.champion(entries[: max(0, int(number) - 1)]) if entries else promotion.BASE
    if champion != promotion.BASE and (before := champion.split("/")[0]) != run:
        return _base_of(store, before)
    settings = claimed_settings(store, run) or {}
    return ModelConfig.model_validate(settings.get("model", {"name": "unknown"}))


def _is_on_hub(config: ModelConfig) -> bool:
    return is_hub_name(config.name) and not Path(config.name).is_dir()


def _license_of(config: ModelConfig, cache: Path) -> str | None:
    """The licence that the base model's card names; None where there is none to be found."""
    try:
        if _is_on_hub(config):
            from huggingface_hub import hf_hub_download

            card = Path(hf_hub_download(config.name, "README.md", revision=config.revision))
        else:
            card = locate_model(config, cache) / "README.md"
        found = _FRONT_MATTER.match(card.read_text("utf-8"))
    except Exception:  # of the hub, the network, the disk: a licence that is not found is told
        return None
    import yaml

    try:
        told = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError:
        return None
    return str(told["license"]) if isinstance(told, dict) and told.get("license") else None


def _model_files(store: Store, record: ArtifactRecord) -> dict[str, Path]:
    """The files that the whole model consists of, without logs and whatever else lies there."""
    folder = whole_model(store, record)
    names = [file.path for file in record.files]
    if is_stored_as_adapter(record):
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
    files = {
        name: folder / name
        for name in names
        if "/" not in name and any(fnmatch(name, pattern) for pattern in PATTERNS)
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise DataError(f"{store.url(record)}: no .safetensors in it; only these are published")
    return files


def _examples(store: Store, model: Published) -> tuple[Mapping[str, Path], Mapping[str, bytes]]:
    record = store.require(RunAddresses(model.run).examples(model.round))
    recipe = parse_config(dict(model.settings), where=f"settings of {model.run}").training
    card = examples_card(model, example_type(recipe).__name__, int(str(record.facts["examples"])))
    path = store.fetch(record, [EXAMPLES_FILE]) / EXAMPLES_FILE
    return {"data/train-00000-of-00001.parquet": path}, {"README.md": card.encode()}


def _send(
    target: Target, kind: str, files: Mapping[str, Path], texts: Mapping[str, bytes], public: bool
) -> str:
    if target.folder is not None:
        return _write(target.folder, files, texts)
    return _upload(str(target.hub), kind, files, texts, public)


def _write(folder: Path, files: Mapping[str, Path], texts: Mapping[str, bytes]) -> str:
    try:
        for name, path in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
        for name, content in texts.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise StoreError(f"can't write {folder}: {error.strerror}") from error
    return str(folder)


def _upload(
    name: str, kind: str, files: Mapping[str, Path], texts: Mapping[str, bytes], public: bool
) -> str:
    """One commit with everything, into a repository that is made where it is missing."""
    from huggingface_hub import CommitOperationAdd

    api = _hub()
    operations = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
    operations += [CommitOperationAdd(name, content) for name, content in texts.items()]
    try:
        made = api.create_repo(name, repo_type=kind, private=not public, exist_ok=True)
        api.create_commit(name, operations, repo_type=kind, commit_message="Published by east")
    except Exception as error:  # its own, the network's, and of one HTTP library or another
        told = " ".join(redact(str(error)).split())[:300]
        raise StoreError(f"the hub did not take {name}: {told}") from error
    return str(made)


def _hub() -> "HfApi":
    from huggingface_hub import HfApi

    token = os.environ.get(TOKEN)
    if not token:
        raise ConfigError(f"{TOKEN} is not set; the hub asks for a token that may write")
    return HfApi(endpoint=os.environ.get("HF_ENDPOINT"), token=token)
