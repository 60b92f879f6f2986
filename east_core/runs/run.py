"""A run: its settings and its store, and the checkpoints in it."""

from dataclasses import dataclass

from east_core.config import RunConfig
from east_core.inputs import base_models as base_model
from east_core.protocols import ModelSource
from east_core.runs.addresses import RunAddresses
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

    @property
    def name(self) -> str:
        """The run's name, which is its folder in the store."""
        return self.config.name

    @property
    def at(self) -> RunAddresses:
        """Where everything of the run lives: `run.at.samples(2)`."""
        return RunAddresses(self.name)

    def record(self, address: str) -> ArtifactRecord:
        """The record of an earlier stage. Raises StoreError where it is not there."""
        return self.store.require(address)


def checkpoint_record(run: Run, number: int) -> ArtifactRecord:
    """The record of checkpoint `number`; checkpoint 0 is the base model."""
    return run.record(run.at.checkpoint(number))


def checkpoint(run: Run, number: int) -> ModelSource:
    """Checkpoint `number` in a local folder: whole, downloaded and verified where it is remote."""
    record, config = checkpoint_record(run, number), run.config.model
    if number == 0:
        folder = base_model.locate_model(config, run.store.cache)
    else:
        folder = base_model.whole_model(run.store, record, config)
    return base_model.model_source(folder, record.fingerprint, config)
