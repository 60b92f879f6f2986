"""Start a run from the command line, and say where everything is."""

import contextlib
import importlib
from collections.abc import Sequence

from east_core.config import RunConfig
from east_core.config.toml_file import load_config
from east_core.errors import ArtifactMismatch
from east_core.inputs.questions import builtin_path
from east_core.runs.addresses import RunAddresses
from east_core.store import Store
from flows.commands.console import print_end, print_start
from flows.server.connection import prefect_api


def demo_config(store: str, overrides: Sequence[str]) -> RunConfig:
    """The built-in demo's settings, with its artifacts in `store`."""
    return load_config(builtin_path("demo.toml"), [f'store="{store}"', *overrides])


def launch(config: RunConfig) -> None:
    """Run the flow in this process, with the table and the paths at its end."""
    from east_core.engines.vllm.early import early_sampler

    print_start(config)
    early = contextlib.nullcontext() if _is_finished(config) else early_sampler(config.resources)
    with early, prefect_api(meanwhile=_import_flow):
        from flows.self_training import self_training

        is_ours = True
        try:
            self_training(config)
        except ArtifactMismatch:  # the name is another run's, whose rounds would be shown
            is_ours = False
            raise
        finally:
            if is_ours:
                print_end(config)


def _is_finished(config: RunConfig) -> bool:
    """Whether nothing is left to sample, as far as a look at a local disk tells."""
    store = Store(config.store)
    report = RunAddresses(config.name).round_report(config.rounds)
    return store.is_local and store.record(report) is not None


def _import_flow() -> None:
    importlib.import_module("flows.self_training")


def open_run(url: str) -> tuple[Store, str]:
    """The store and the name of the run at a URL such as s3://bucket/prefix/NAME."""
    parent, _, name = url.rstrip("/").rpartition("/")
    return Store(parent or "."), name
