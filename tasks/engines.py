"""Which engines the tasks of this process use: the real ones, or those a caller has put in place.

The sampler stays up over all rounds of a run, so it belongs to the run's flow and not to a task.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from east_core.config import HarnessTask, Resources, RunConfig
from east_core.engines.devices import require_means
from east_core.engines.lm_eval.environment import harness_python
from east_core.engines.lm_eval.harness import LmEval
from east_core.protocols import Harness, Sampler, Trainer
from east_core.weighting.weighing import ShardWeigher, weigh_shards
from tasks.devices import device_slot, end_with_worker
from tasks.progress import (
    log_engine,
    show_sampler_start,
    show_sampling,
    show_trainer_start,
    show_training,
)


@dataclass(frozen=True)
class Engines:
    """What samples, weighs and trains for this process, and asks other people's benchmarks."""

    sampler: Sampler
    trainer: Trainer
    weigher: ShardWeigher = weigh_shards
    harness: Harness = field(default_factory=lambda: LmEval(log_engine))


_current: ContextVar[Engines | None] = ContextVar("engines", default=None)


def require_engines(config: RunConfig) -> None:
    """Refuse, before a run claims its name, what can't run here. Raises ConfigError."""
    if _current.get() is None:
        require_means(config.resources)
        if any(isinstance(each, HarnessTask) for each in config.benchmarks.values()):
            harness_python()


@contextmanager
def engines_for(config: RunConfig) -> Iterator[Engines]:
    """The engines in place, or vLLM and TRL, which are ended on leaving.

    This machine's engines belong to one run at a time, and this waits for its turn; those of a
    cluster are Ray's to share out.
    """
    placed = _current.get()
    if placed is not None:
        yield placed
        return
    require_means(config.resources)
    from east_core.engines.trl.training import TrlTrainer

    opened = (
        _local_engines(config.resources)
        if config.resources.ray is None
        else _cluster_engines(config.resources)
    )
    with (
        opened as (sampler, weigher),
        TrlTrainer(show_training, log_engine, show_trainer_start) as trainer,
        use_engines(Engines(sampler, trainer, weigher)) as engines,
    ):
        yield engines


@contextmanager
def _local_engines(resources: Resources) -> Iterator[tuple[Sampler, ShardWeigher]]:
    from east_core.engines.vllm.early import sampler_for

    with device_slot(), sampler_for(resources) as sampler:
        sampler.on_progress, sampler.on_start = show_sampling, show_sampler_start
        yield sampler, weigh_shards


@contextmanager
def _cluster_engines(resources: Resources) -> Iterator[tuple[Sampler, ShardWeigher]]:
    from east_core.engines.ray.cluster import connect
    from east_core.engines.ray.sampler import RaySampler
    from east_core.engines.ray.weighing import RayShardWeigher

    assert resources.ray is not None
    connect(resources.ray)
    end_with_worker()
    with RaySampler(resources, on_progress=show_sampling) as sampler:
        yield sampler, RayShardWeigher(resources, sampler)


@contextmanager
def use_engines(engines: Engines) -> Iterator[Engines]:
    """Use `engines` in every task that runs inside this context."""
    token = _current.set(engines)
    try:
        yield engines
    finally:
        _current.reset(token)


def current_harness() -> Harness:
    """What asks other people's benchmarks; it needs no device, so it is there without engines."""
    placed = _current.get()
    return LmEval(log_engine) if placed is None else placed.harness


def current_engines() -> Engines:
    """The engines of the flow that is running."""
    engines = _current.get()
    if engines is None:
        raise RuntimeError("no engines in place; call the task inside engines_for(config)")
    return engines
