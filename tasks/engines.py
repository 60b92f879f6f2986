"""Which engines the tasks of this process use: the real ones, or those a caller has put in place.

The sampler stays up over all rounds of a run, so it belongs to the run's flow and not to a task.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from east_core.config import RunConfig
from east_core.devices import require_one_machine
from east_core.sampler import Sampler
from east_core.trainer import Trainer
from tasks.devices import device_slot
from tasks.progress import report_engine, report_sampling, report_training


@dataclass(frozen=True)
class Engines:
    """What samples and what trains in this process."""

    sampler: Sampler
    trainer: Trainer


_current: ContextVar[Engines | None] = ContextVar("engines", default=None)


@contextmanager
def engines_for(config: RunConfig) -> Iterator[Engines]:
    """The engines in place, or vLLM and TRL under torchrun, which are ended on leaving.

    The machine's engines belong to one run at a time; this waits for its turn.
    """
    placed = _current.get()
    if placed is not None:
        yield placed
        return
    require_one_machine(config.resources)
    from east_core.backends.torchrun import TorchrunTrainer
    from east_core.backends.vllm_sampler import VllmSampler

    trainer = TorchrunTrainer(on_step=report_training, on_log=report_engine)
    with (
        device_slot(),
        VllmSampler(config.resources, on_progress=report_sampling) as sampler,
        place(Engines(sampler, trainer)) as engines,
    ):
        yield engines


@contextmanager
def place(engines: Engines) -> Iterator[Engines]:
    """Use `engines` in every task that runs inside this context."""
    token = _current.set(engines)
    try:
        yield engines
    finally:
        _current.reset(token)


def current() -> Engines:
    """The engines of the flow that is running."""
    engines = _current.get()
    if engines is None:
        raise RuntimeError("no engines in place; call the task inside engines_for(config)")
    return engines
