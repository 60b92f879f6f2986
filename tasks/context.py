"""What the tasks of a flow work on: its store and its run, each opened once.

They stand beside the engines (tasks.engines) in the flow's context, not among the parameters of
the tasks: Prefect keeps parameters as JSON, and a run holds open files and locks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from east_core.config import RunConfig
from east_core.runs.run import Run
from east_core.store import Store

_store: ContextVar[Store | None] = ContextVar("store", default=None)
_run: ContextVar[Run | None] = ContextVar("run", default=None)


@contextmanager
def store_for(url: str) -> Iterator[Store]:
    """The store at a URL: the one in place, or one that is opened here and closed on leaving.

    What is fetched from it stays in the cache until it is closed.
    """
    placed = _store.get()
    if placed is not None and placed.root == Store.root_of(url):
        yield placed
        return
    with Store(url) as store:
        token = _store.set(store)
        try:
            yield store
        finally:
            _store.reset(token)


@contextmanager
def run_for(config: RunConfig) -> Iterator[Run]:
    """The run that `config` describes, for every task inside this context."""
    with store_for(config.store) as store:
        run = Run(config, store)
        token = _run.set(run)
        try:
            yield run
        finally:
            _run.reset(token)


def current_run() -> Run:
    """The run of the flow that is running."""
    run = _run.get()
    if run is None:
        raise RuntimeError("no run in place; call the task inside run_for(config)")
    return run


def current_store() -> Store:
    """The store of the flow that is running."""
    store = _store.get()
    if store is None:
        raise RuntimeError("no store in place; call the task inside store_for(url)")
    return store
