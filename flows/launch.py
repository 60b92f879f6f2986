"""Start a run from the command line, and say where everything is."""

import contextlib
import os
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from east_core.artifacts import Store
from east_core.config import RunConfig
from east_core.config_file import load_config
from east_core.datasets import builtin_path
from flows.console import print_end, print_start

LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"
# Nothing phones home, and the embedded server's history stays beside the store.
PREFECT_SETTINGS = {
    "PREFECT_HOME": str(Path(".east/prefect").resolve()),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # A run that stops sending heartbeats is marked Crashed; see flows/cockpit.py.
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # On disk, so that a slot held over a restart of the server is still known, and freed.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": LEASES_ON_DISK,
    "DO_NOT_TRACK": "1",
}


ADDRESS_FILE = "api-url"  # in PREFECT_HOME, while `east up` is running


def demo_config(store: str, overrides: Sequence[str]) -> RunConfig:
    """The built-in demo's settings, with its artifacts in `store`."""
    return load_config(builtin_path("demo.toml"), [f'store="{store}"', *overrides])


def launch(config: RunConfig) -> None:
    """Run the flow in this process, with the table and the paths at its end.

    The run is told to the server of PREFECT_API_URL, or of an `east up` in this folder; without
    either an embedded server keeps its history.
    """
    use_project_settings()
    from flows.self_training import self_training

    print_start(config)
    try:
        self_training(config)
    finally:
        print_end(config)


def use_project_settings() -> None:
    """Prefect's settings for this project, where the user's environment does not say otherwise."""
    for name, value in PREFECT_SETTINGS.items():
        os.environ.setdefault(name, value)
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    _join_running_server()


def _join_running_server() -> None:
    """Report to this folder's `east up`, if it is running, so that its UI shows the run live."""
    file = Path(os.environ["PREFECT_HOME"]) / ADDRESS_FILE
    if "PREFECT_API_URL" in os.environ or not file.is_file():
        return
    url = file.read_text()
    with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310
        os.environ["PREFECT_API_URL"] = url


def open_run(url: str) -> tuple[Store, str]:
    """The store and the name of the run at a URL such as s3://bucket/prefix/NAME."""
    parent, _, name = url.rstrip("/").rpartition("/")
    return Store(parent or "."), name
