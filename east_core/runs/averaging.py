"""Weighted averages of a run's checkpoints, parameter by parameter: made by hand, or in each round.

WiSE-FT (arXiv:2109.01903): between a model and what it was fine-tuned to lie models that keep more
of what the first one could. arXiv:2504.10478 finds that it gives reasoning models back the pass@k
that fine-tuning took.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from east_core.errors import ArtifactMismatch, ConfigError, DataError, StoreError
from east_core.inputs import base_models
from east_core.inputs.tensors import (
    INDEX_FILE,
    WEIGHTS_FILE,
    Tensor,
    Tensors,
    read_tensors,
    weight_files,
    write_average,
)
from east_core.protocols import PROBE_FILE
from east_core.runs import addresses
from east_core.runs.addresses import RunAddresses
from east_core.runs.overview import trained_rounds
from east_core.store import ArtifactRecord, Stage, Store, materialize
from east_core.store.manifest import changed_fields, is_address

SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Blend:
    """Rounds (0: the base model) and the weight of each.

    Raises ConfigError unless every round has one weight of 0 or more, and the weights' sum is 1
    (to 1e-6: thirds can't be written exactly; what is used is divided by the sum).
    """

    rounds: tuple[int, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.rounds) != len(self.weights):
            counts = f"{len(self.rounds)} rounds and {len(self.weights)} weights"
            raise ConfigError(f"{counts}: give one weight a round, as in --rounds 0,3")
        if len(set(self.rounds)) < len(self.rounds):
            raise ConfigError(f"a round is named twice in {self.rounds}; add its weights up")
        if not all(weight >= 0 for weight in self.weights):
            raise ConfigError(f"weights {self.weights} must be numbers of 0 or more")
        if not abs(math.fsum(self.weights) - 1) <= SUM_TOLERANCE:
            total = f"{math.fsum(self.weights):.9g}"
            raise ConfigError(f"weights {self.weights} add up to {total}; they must add up to 1")

    @property
    def name(self) -> str:
        """What it is called where nobody names it: "0x0.5-3x0.5"."""
        pairs = zip(self.rounds, self.weights, strict=True)
        return "-".join(f"{number}x{weight}" for number, weight in pairs)


def average(store: Store, run: str, blend: Blend, name: str = "") -> ArtifactRecord:
    """The average of a run's checkpoints, made or found.

    Shards, types, config, tokenizer and template are those of the round that is named last. It has
    no probe: that of a round is another model's. Raises StoreError where a round has no checkpoint
    or its files were pruned, DataError where the tensors do not fit each other, ArtifactMismatch
    where another average has that name.
    """
    if not is_address(called := name or blend.name) or "/" in called:
        raise ConfigError(f"name {called!r}: use letters, digits, '.', '-' and '_'")
    records = _checkpoints(store, run, blend)
    stage = Stage(
        RunAddresses(run).average(called),
        addresses.AVERAGES,
        recipe={"rounds": list(blend.rounds), "weights": list(blend.weights)},
        inputs={f"round {number}": record for number, record in records.items()},
    )
    _require_same(store, stage)

    def build(folder: Path) -> dict[str, Any]:
        places = {n: base_models.whole_model(store, record) for n, record in records.items()}
        return _write(folder, places, blend)

    return materialize(store, stage, build)


def require_averageable(base: Path) -> None:
    """Refuse a base model whose tensors can't be averaged with what is trained from it.

    Only headers are read. Raises DataError for files that are damaged, and for a quantised model:
    what is trained from it has other tensors.
    """
    if "quantization_config" in _config(base):
        raise DataError(
            "the base model is quantised, and what is trained from it has other tensors: leave "
            "averaging out, or begin from a model that is not"
        )
    _tensors_of({0: base}, 0)


def average_in_place(models: Mapping[int, Path], trained: int, weight: float) -> None:
    """Move a new checkpoint's weights to their average with an earlier model's, of that `weight`.

    `models` are the folders of both, by round. All else of the checkpoint stays, but for its probe,
    which tells of weights that are there no more. Raises DataError where they have other tensors.
    """
    tensors, folder = _tensors_of(models, trained), models[trained]
    parts = [(1 - weight if number == trained else weight, tensors[number]) for number in models]
    for file in weight_files(folder):
        averaged = file.with_name(f"{file.name}.averaged")
        write_average(file, averaged, parts)
        averaged.replace(file)
    (folder / PROBE_FILE).unlink(missing_ok=True)


def _checkpoints(store: Store, run: str, blend: Blend) -> dict[int, ArtifactRecord]:
    """The records of the rounds' checkpoints. Raises StoreError where there is none."""
    at, there = RunAddresses(run), store.addresses(run)
    if not there:
        raise StoreError(
            f"there is no run at {store.url(run)}; `east runs {store.root}` lists them"
        )
    trained = ", ".join(map(str, [0, *sorted(trained_rounds(run, there))]))
    for number in blend.rounds:
        if at.checkpoint(number) not in there:
            raise StoreError(
                f"round {number} of {run} has no checkpoint; it has those of {trained}"
            )
    return {number: store.require(at.checkpoint(number)) for number in blend.rounds}


def _require_same(store: Store, stage: Stage) -> None:
    """Refuse a name that another average has. Raises ArtifactMismatch."""
    found, wanted = store.record(stage.address), stage.wanted()
    if found is not None and found.fingerprint != wanted.fingerprint:
        changes = "; ".join(changed_fields(found, wanted.recipe, wanted.inputs))
        raise ArtifactMismatch(
            f"{store.url(found)} is another average: {changes}; choose another --name"
        )


def _write(folder: Path, places: Mapping[int, Path], blend: Blend) -> dict[str, Any]:
    """Write the averaged checkpoint; how many tensors and parameters it has."""
    last = blend.rounds[-1]
    tensors, files = _tensors_of(places, last), weight_files(places[last])
    total = math.fsum(blend.weights)
    pairs = zip(blend.rounds, blend.weights, strict=True)
    parts = [(weight / total, tensors[number]) for number, weight in pairs if weight]
    for source in _other_files(places[last]):
        shutil.copyfile(source, folder / source.name)
    numbers = [write_average(file, folder / file.name, parts) for file in files]
    return {"tensors": len(tensors[last]), "parameters": sum(numbers)}


def _tensors_of(models: Mapping[int, Path], last: int) -> dict[int, dict[str, Tensor]]:
    """The tensors of the models, by round. Raises DataError where they are not alike."""
    found = {number: read_tensors(weight_files(place)) for number, place in models.items()}
    _require_alike(found, last, bool(_config(models[last]).get("tie_word_embeddings")))
    return found


def _require_alike(models: Mapping[int, Tensors], last: int, is_tied: bool) -> None:
    """Refuse models that have not the same tensors. Raises DataError with the first that differs.

    Models with tied embeddings are saved with or without a copy of them as their output layer.
    """
    wanted = models[last]
    for number, tensors in models.items():
        spare = {
            name for name in tensors.keys() - wanted.keys() if not (is_tied and _is_head(name))
        }
        if odd := spare | (wanted.keys() - tensors.keys()):
            has = "only" if min(odd) in tensors else "no"
            raise DataError(
                f"round {number} has {has} tensor {min(odd)} beside round {last}: only checkpoints "
                "of one architecture can be averaged"
            )
        for name, tensor in wanted.items():
            if not tensor.same_layout(tensors[name]):
                raise DataError(
                    f"{name} is {tensors[name]} in round {number} and {tensor} in round {last}: "
                    "only checkpoints of the same shapes and vocabulary can be averaged"
                )


def _is_head(name: str) -> bool:
    return name.endswith("lm_head.weight")


def _config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    return config


def _other_files(folder: Path) -> Iterator[Path]:
    """All of a model but its weights and logs: config, tokenizer, template, the shards' index."""
    is_sharded = not (folder / WEIGHTS_FILE).is_file()
    for file in {file for pattern in base_models.PATTERNS for file in folder.glob(pattern)}:
        is_index = file.name.endswith(".index.json")
        is_ours = file.name.startswith("_")  # the store's own, beside an artifact's files
        if file.suffix == ".safetensors" or is_ours or not file.is_file():
            continue
        if not is_index or (is_sharded and file.name == INDEX_FILE):
            yield file
