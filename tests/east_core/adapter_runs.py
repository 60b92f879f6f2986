"""A trainer whose checkpoints are adapters on a model of one weight, behind the real interface."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from east_core.inputs.adapters import ADAPTER_FILE, MERGE_FILE
from east_core.protocols import PROBE_FILE, TrainingJob, TrainingResult
from east_core.runs.run import Run
from east_core.testing.fakes import InstantTrainer, ScriptedSampler
from tests.east_core.conftest import finish, sums_config

Matrix = npt.NDArray[np.float32]
WEIGHTS = "model.safetensors"
SHAPE = (40, 30)


class AdapterTrainer(InstantTrainer):
    """Leaves a rank-1 adapter that depends on the job's seed; `trained` are the models it began
    from.
    """

    def __init__(self) -> None:
        self.trained: list[Matrix] = []

    def train(self, job: TrainingJob, out: Path) -> TrainingResult:
        """See `Trainer.train`."""
        self.trained.append(load_file(job.model.folder / WEIGHTS)["w"])
        draw = np.random.default_rng(job.seed)
        held = {"A": draw.normal(size=(1, SHAPE[1])), "B": draw.normal(size=(SHAPE[0], 1))}
        save_file({n: m.astype(np.float32) for n, m in held.items()}, out / ADAPTER_FILE)
        told = {"w": {"a": "A", "b": "B", "scale": 0.5, "is_transposed": False}}
        (out / MERGE_FILE).write_text(json.dumps({"dtype": "float32", "weights": told}))
        (out / PROBE_FILE).parent.mkdir()
        (out / PROBE_FILE).write_text(json.dumps({"ids": [1, 2], "logprobs": [-float(job.seed)]}))
        return TrainingResult(1, 40, 0, 1.0, 0.5)


def new_run(folder: Path, **changes: Any) -> Run:
    """A run from a model of one weight, not begun yet."""
    config = sums_config(folder, **{"rounds": 3, **changes})
    weight = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    save_file({"w": weight}, Path(config.model.name) / WEIGHTS)
    return Run.open(config)


def adapter_run(folder: Path, **changes: Any) -> Run:
    """A finished run whose rounds are adapters, each on the round before."""
    run = new_run(folder, **changes)
    finish(run, ScriptedSampler(), AdapterTrainer())
    return run


def added(run: Run, number: int) -> npt.NDArray[np.float64]:
    """What a round has added to the weight, from its files as numpy reads them."""
    folder = run.store.fetch(run.record(run.at.checkpoint(number)))
    held = load_file(folder / ADAPTER_FILE)
    return 0.5 * (held["B"].astype(np.float64) @ held["A"].astype(np.float64))


def weight_in(folder: Path) -> Matrix:
    """The weight in a model's folder."""
    weight: Matrix = load_file(folder / WEIGHTS)["w"]
    return weight
