"""Which device the engines run on, found without importing an engine."""

import os
import subprocess
from pathlib import Path
from typing import Literal

from east_core.config import Resources
from east_core.errors import ConfigError, EngineError

Device = Literal["cpu", "cuda"]
_ASK_SECONDS = 30.0


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


def memory_in_use(gpus: str) -> float:
    """The share of its memory that is in use on the fullest of these GPUs, by nvidia-smi.

    `gpus` are numbers or UUIDs, as in CUDA_VISIBLE_DEVICES. Raises EngineError where nvidia-smi
    does not tell.
    """
    ask = ["nvidia-smi", f"--id={gpus}", "--query-gpu=memory.used,memory.total"]
    try:
        told = subprocess.run(
            [*ask, "--format=csv,noheader,nounits"],
            capture_output=True, check=True, text=True, timeout=_ASK_SECONDS,
        ).stdout  # fmt: skip
        rows = [line.split(",") for line in told.splitlines()]
        return max(float(used) / float(total) for used, total in rows)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise EngineError(f"nvidia-smi does not tell the memory of GPU {gpus}: {error}") from error


def visible_gpus(engine: int, per_engine: int) -> str:
    """CUDA_VISIBLE_DEVICES of one of several engines: its own slice of the visible GPUs."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    first = engine * per_engine
    wanted = range(first, first + per_engine)
    if not listed:
        return ",".join(map(str, wanted))
    names = listed.split(",")
    return ",".join(names[index] for index in wanted if index < len(names))
