"""The job as one rank reads it: a JSON file, its folders, and its identity.

A job works in `scratch/<identity>`: tokenised rows, training checkpoints, TensorBoard files. The
identity covers everything that determines the trained parameters, and the layout of ranks (a
sharded optimizer state fits no other); a checkpoint is bound to the tokenised rows as well. So
nothing of another job can ever be resumed from.
"""

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from east_core.config import Resources, Training
from east_core.engine_python import installed_for_engines
from east_core.engines.devices import Device
from east_core.engines.trl.deepspeed import deepspeed_config
from east_core.errors import ConfigError
from east_core.inputs.context import own_context
from east_core.protocols import ModelSource, PromptFormat, Recipe, TrainingJob

JOB_FILE = "job.json"
MEMORY_KNOBS = (
    "lower resources.micro_batch_size or training.max_length, set "
    "resources.gradient_checkpointing, raise resources.zero_stage, or set resources.offload"
)
_LAYOUT = (
    "processes",
    "micro_batch_size",
    "zero_stage",
    "offload",
    "gradient_checkpointing",
    "group_by_length",
)
_ENGINES = ("torch", "transformers", "trl", "deepspeed")


@dataclass(frozen=True, kw_only=True)
class RankJob(TrainingJob):
    """A TrainingJob with what the launcher decided: output folder, device, identity."""

    out: Path
    device: Device
    identity: str

    @property
    def work(self) -> Path:
        """The job's own folder on local disk."""
        return self.scratch / self.identity[:16]

    @property
    def data_file(self) -> Path:
        """The tokenised rows."""
        return self.work / "data.arrow"

    @property
    def checkpoints(self) -> Path:
        """The training checkpoints."""
        return self.work / "checkpoints"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard event files."""
        return self.work / "tensorboard"

    @property
    def accumulation_steps(self) -> int:
        """Micro-batches that a rank accumulates for one optimizer step."""
        at_once = self.resources.processes * self.resources.micro_batch_size
        return self.recipe.global_batch_size // at_once


def rank_job(job: TrainingJob, out: Path, device: Device) -> RankJob:
    """Complete a TrainingJob; raises ConfigError where the batch does not fit the ranks."""
    at_once = job.resources.processes * job.resources.micro_batch_size
    if job.recipe.global_batch_size % at_once:
        raise ConfigError(
            f"training.global_batch_size {job.recipe.global_batch_size} is not a multiple of "
            f"resources.processes x resources.micro_batch_size = {at_once}; change one of them"
        )
    if getattr(job.recipe, "kl", None) == "trl" and job.resources.micro_batch_size == 1:
        raise ConfigError(
            "training.kl 'trl' pairs rows within a micro-batch, so it needs "
            "resources.micro_batch_size 2 or more; or choose training.kl 'invariant'"
        )
    fields = {spec.name: getattr(job, spec.name) for spec in dataclasses.fields(TrainingJob)}
    return RankJob(**fields, out=out, device=device, identity=_identity(job, device))


def write_job(job: RankJob, path: Path) -> None:
    """Write the job as JSON."""
    plain = {spec.name: getattr(job, spec.name) for spec in dataclasses.fields(RankJob)}
    path.write_text(json.dumps(plain, default=_plain, indent=1))


def read_job(path: Path) -> RankJob:
    """Read a job that `write_job` wrote."""
    plain: dict[str, Any] = json.loads(path.read_text())
    recipe: Recipe = TypeAdapter(Training).validate_python(plain["recipe"])
    plain |= {
        "model": _model(plain["model"]),
        "reference": plain["reference"] and _model(plain["reference"]),
        "examples": [Path(name) for name in plain["examples"]],
        "recipe": recipe,
        "resources": Resources(**plain["resources"]),
        "scratch": Path(plain["scratch"]),
        "prompt": PromptFormat(**plain["prompt"]),
        "stop_token_ids": tuple(plain["stop_token_ids"]),
        "out": Path(plain["out"]),
    }
    return RankJob(**plain)


def longest_sequence(job: TrainingJob) -> int:
    """Most tokens that an example may have: the recipe's max_length or the model's context."""
    return min(job.recipe.max_length, own_context(job.model.folder) or sys.maxsize)


def _identity(job: TrainingJob, device: Device) -> str:
    resources = job.resources.model_dump(include=set(_LAYOUT))
    if job.resources.deepspeed_config is not None:
        resources["deepspeed"] = deepspeed_config(job.resources)
    parts = {
        "model": job.model.fingerprint,
        "reference": job.reference and job.reference.fingerprint,
        "examples": [hashlib.sha256(path.read_bytes()).hexdigest() for path in job.examples],
        "recipe": job.recipe.identity(),
        "system_prompt": job.system_prompt,
        **({"prompt": prompt} if (prompt := job.prompt.identity()) else {}),
        "seed": job.seed,
        **({} if job.has_mean_one else {"weights": "as they are"}),
        "layout": [resources, device],
        "engines": [installed_for_engines().versions.get(name) for name in _ENGINES],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _model(plain: dict[str, Any]) -> ModelSource:
    return ModelSource(**{**plain, "folder": Path(plain["folder"])})


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, ModelSource | PromptFormat):
        return dataclasses.asdict(value)
    if isinstance(value, tuple):
        return list(value)
    return value.model_dump()
