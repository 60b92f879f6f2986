"""Who may use this machine's engines: one run at a time, and none that nobody watches.

A slot of one of Prefect's global concurrency limits stands for a machine's GPUs (or its CPU
engines). Runs of every deployment take it, and so do those of `east run`.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound

from east_core.supervise import die_with_parent

# A killed holder's slot is free again after so many seconds; a living one renews it.
LEASE_SECONDS = 60.0


def device_name() -> str:
    """The limit that stands for this machine: $EAST_DEVICE, or "east-device".

    Machines that share a server get a name each, set in their workers' environment.
    """
    return os.environ.get("EAST_DEVICE", "east-device")


@contextmanager
def device_slot() -> Iterator[None]:
    """Hold this machine's engines; wait while another run has them."""
    end_with_worker()
    ensure_limit()
    # A renewal may fail while the server restarts; hours of sampling are not given up for that.
    with concurrency(
        device_name(), lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False
    ):
        yield


def ensure_limit() -> None:
    """Create the limit with one slot, where it does not exist yet."""
    with get_client(sync_client=True) as client:
        try:
            client.read_global_concurrency_limit_by_name(device_name())
        except ObjectNotFound:
            client.create_global_concurrency_limit(
                GlobalConcurrencyLimitCreate(name=device_name(), limit=1, active=True)
            )


def end_with_worker() -> None:
    """End this run, as Crashed, when the worker that started it dies (Linux only).

    A run that was started from a terminal has no worker, and outlives its terminal if asked to.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ:
        die_with_parent(signal.SIGTERM)
