"""Who may use this machine's engines: one run at a time, and none that nobody watches.

A lock of the operating system stands for a machine's GPUs (or its CPU engines): the kernel frees it
when its holder ends, in whatever way, and it needs no server. A slot of a server's concurrency
limit would outlive a killed run, for ever where the server was killed with it.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import Timeout
from prefect.logging import get_run_logger

from east_core.engines.supervise import die_with_parent
from east_core.home import cache_home
from east_core.store.locks import exclusive_lock


def lock_path() -> Path:
    """The lock that stands for this machine's device: $EAST_DEVICE_LOCK, or one for each user.

    Runs with different GPUs (CUDA_VISIBLE_DEVICES) may share a machine under a lock each.
    """
    return Path(os.environ.get("EAST_DEVICE_LOCK") or cache_home() / "device.lock")


@contextmanager
def device_slot() -> Iterator[None]:
    """Hold this machine's engines; wait, and say so, while another run has them."""
    end_with_worker()
    path = lock_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = exclusive_lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        get_run_logger().info("waiting until another run frees this machine's engines (%s)", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def end_with_worker() -> None:
    """End this run, as Crashed, when the worker that started it dies (Linux only).

    A run that was started from a terminal has no worker, and outlives its terminal if asked to.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ:
        die_with_parent(signal.SIGTERM)
