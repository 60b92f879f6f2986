"""What there is to run on: devices, and whether a run has what it asks for; imports no engine."""

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import psutil

from east_core.config import Resources
from east_core.engine_python import engine_python, installed_for_engines, require_engines
from east_core.engines.trl.deepspeed import deepspeed_config
from east_core.errors import ConfigError, EngineError

Device = Literal["cpu", "cuda"]
AUTO_ENGINES = 2
SEQUENCES = 256  # at a time, in an engine on a CPU; on most GPUs vLLM chooses the same,
LARGE_GPU_SEQUENCES = 1024  # and so many on those of 70 GiB and more, but for the A100
_ASK_SECONDS = 30.0
_ENGINE_BYTES = 2**30  # what a CPU engine holds besides its weights and its KV cache
_SHARE_OF_MEMORY = 0.7  # of what is free: training's ranks come beside the engines


def device_of(resources: Resources) -> Device:
    """The device that `resources` asks for; "auto" is CUDA where a GPU is visible."""
    if resources.device != "auto":
        return resources.device
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return "cuda" if Path("/dev/nvidiactl").exists() and not hidden else "cpu"


def most_sequences(resources: Resources) -> int:
    """The most completions that an engine may generate at a time, whatever vLLM chooses."""
    most = LARGE_GPU_SEQUENCES if device_of(resources) == "cuda" else SEQUENCES
    return resources.max_sequences or most


def engine_count(resources: Resources, model_bytes: int = 0) -> int:
    """How many sampling engines a run has; on CPUs "auto" depends on what a model needs.

    Two engines of one thread beat one of two by a third, and take the model's memory twice.
    """
    if resources.engines != "auto":
        return resources.engines
    if resources.ray is not None or device_of(resources) == "cuda":
        return 1
    ranks = resources.tensor_parallel
    needed = model_bytes + ranks * (resources.kv_cache_gib * 2**30 + _ENGINE_BYTES)
    has_room = AUTO_ENGINES * needed < psutil.virtual_memory().available * _SHARE_OF_MEMORY
    cores = len(os.sched_getaffinity(0))
    return AUTO_ENGINES if cores >= AUTO_ENGINES * ranks and has_room else 1


def require_means(resources: Resources) -> None:
    """Refuse, before anything starts, what `east plan` understands and can't run here.

    Engines or a tracker that are not installed, several nodes without a cluster, a DeepSpeed file
    that does not fit, prompts in chunks on CPUs, more GPUs than are visible.
    Raises ConfigError.
    """
    if resources.nodes > 1 and resources.ray is None:
        raise ConfigError(
            f"resources.nodes {resources.nodes} needs a Ray cluster: set resources.ray to "
            "host:port of its head, or to auto (docs/clusters.md)"
        )
    require_engines()
    require_trackers(resources)
    deepspeed_config(resources)
    if device_of(resources) == "cpu" and resources.engine_options.get("enable_chunked_prefill"):
        raise ConfigError(
            "resources.engine_options.enable_chunked_prefill can't be used on CPUs: a prompt in "
            "chunks rewinds its random generator, which those of CPUs can't do; leave it out"
        )
    if resources.ray is None and device_of(resources) == "cuda":
        _require_gpus(resources)


def require_trackers(resources: Resources) -> None:
    """Refuse a tracker whose package is not installed, here or for the engines.

    The flow tells trackers of rounds, the ranks of steps. Raises ConfigError.
    """
    for name in resources.trackers:
        if find_spec(name) is None:
            where, pip = "", "pip"
        elif name not in installed_for_engines().folders:
            where, pip = " for the engines", f"{engine_python()} -m pip"
        else:
            continue
        raise ConfigError(
            f"resources.trackers names {name}, which is not installed{where}; "
            f"{pip} install {name}, or leave it out"
        )


def _require_gpus(resources: Resources) -> None:
    engines = engine_count(resources)
    wanted = max(resources.processes, engines * resources.tensor_parallel)
    if wanted > (here := visible_gpu_count()):
        raise ConfigError(
            f"resources.processes {resources.processes} and resources.engines "
            f"{engines} x tensor_parallel {resources.tensor_parallel} need {wanted} "
            f"GPUs, and {here} are visible here; lower them, name a cluster in resources.ray, or "
            "set resources.device to 'cpu'"
        )


def visible_gpu_count() -> int:
    """How many GPUs a process started here would see."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return len(list(Path("/dev").glob("nvidia[0-9]*")))
    return len([name for name in listed.split(",") if name not in ("", "-1")])


def memory_in_use(gpus: str) -> float:
    """The share of its memory that is in use on the fullest of these GPUs, by nvidia-smi.

    `gpus` are numbers or UUIDs, as in CUDA_VISIBLE_DEVICES. Raises EngineError where nvidia-smi
    does not tell.
    """
    ask = ["nvidia-smi", f"--id={gpus}", "--query-gpu=memory.used,memory.total"]
    try:
        output = subprocess.run(
            [*ask, "--format=csv,noheader,nounits"],
            capture_output=True, check=True, text=True, timeout=_ASK_SECONDS,
        ).stdout  # fmt: skip
        rows = [line.split(",") for line in output.splitlines()]
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
