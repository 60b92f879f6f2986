"""Engines whose processes import vLLM before the run that samples with them has begun.

Importing takes 8 to 20 s. A command starts the processes first of all, while it imports Prefect
and waits for its server; the run's flow finds them here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from east_core.config import Resources
from east_core.engines.devices import require_means
from east_core.engines.vllm.sampler import VllmSampler

_early: ContextVar[VllmSampler | None] = ContextVar("early sampler", default=None)


@contextmanager
def early_sampler(resources: Resources) -> Iterator[None]:
    """Processes for `sampler_for` that import meanwhile, ended on leaving; none for a cluster.

    They touch no device before they are used, so they need not wait for its turn.
    Raises ConfigError where this machine has not what is asked for.
    """
    require_means(resources)
    if resources.ray is not None:
        yield
        return
    with VllmSampler(resources) as sampler:
        sampler.warm_up()
        token = _early.set(sampler)
        try:
            yield
        finally:
            _early.reset(token)


def sampler_for(resources: Resources) -> VllmSampler:
    """The sampler that was started early for these resources, or a new one."""
    early = _early.get()
    return early if early is not None and early.resources == resources else VllmSampler(resources)
