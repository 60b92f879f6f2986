"""Which device the engines run on, found without importing an engine."""

import os
from pathlib import Path
from typing import Literal

from east_core.config import Resources
from east_core.errors import ConfigError

Device = Literal["cpu", "cuda"]


def device_of(resources: Resources) -> Device:
    """The device that `resources` asks for; "auto" is CUDA where a GPU is visible."""
    if resources.device != "auto":
        return resources.device
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return "cuda" if Path("/dev/nvidiactl").exists() and not hidden else "cpu"


def require_cluster(resources: Resources) -> None:
    """Refuse several nodes without a cluster, which `east plan` understands and nothing can run.

    Raises ConfigError.
    """
    if resources.nodes > 1 and resources.ray is None:
        raise ConfigError(
            f"resources.nodes {resources.nodes} needs a Ray cluster: set resources.ray to "
            "host:port of its head, or to auto (docs/clusters.md)"
        )


def visible_gpus(engine: int, per_engine: int) -> str:
    """CUDA_VISIBLE_DEVICES of one of several engines: its own slice of the visible GPUs."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = engine * per_engine
    wanted = range(first, first + per_engine)
    if not listed:
        return ",".join(map(str, wanted))
    names = listed.split(",")
    return ",".join(names[index] for index in wanted if index < len(names))
