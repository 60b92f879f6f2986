"""A run: its settings and its store, and the checkpoints in it."""

from dataclasses import dataclass

from east_core.config import RunConfig
from east_core.inputs import base_models as base_model
from east_core.protocols import ModelSource
from east_core.runs.addresses import round_name
from east_core.store import (
    ArtifactRecord,
    Store,
)


@dataclass(frozen=True)
class Run:
    """A run's settings and its store: all that a stage needs to find what came before it."""

    config: RunConfig
    store: Store

    @classmethod
    def open(cls, config: RunConfig) -> "Run":
        """The run that `config` describes, in the store that it names."""
        return cls(config, Store(config.store))

    def address(self, *parts: str) -> str:
        """An address of this run, such as "demo/round-02/samples"."""
        return "/".join([self.config.name, *parts])

    def record(self, *parts: str) -> ArtifactRecord:
        """The record of an earlier stage. Raises StoreError where it is not there."""
        return self.store.require(self.address(*parts))


def checkpoint_record(run: Run, number: int) -> ArtifactRecord:
    """The record of checkpoint `number`; checkpoint 0 is the base model."""
    if number == 0:
        return run.record("base-model")
    return run.record(round_name(number), "checkpoint")


def checkpoint(run: Run, number: int) -> ModelSource:
    """Checkpoint `number` in a local folder, downloaded and verified where it is remote."""
    record, config = checkpoint_record(run, number), run.config.model
    base = number == 0
    folder = base_model.locate_model(config, run.store.cache) if base else run.store.fetch(record)
    return base_model.model_source(folder, record.fingerprint, config)
