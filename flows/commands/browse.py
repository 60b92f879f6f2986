"""`east browse`: the run browser by itself, on loopback unless there is a password."""

import importlib
import os
import threading

from east_core.errors import ConfigError
from east_core.store import Store
from flows.commands.say import say

HEAVY = ("matplotlib.figure", "pyarrow.parquet", "scipy.stats", "statsmodels.stats.api")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PASSWORDS = ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING")


def serve(store_url: str, host: str, port: int) -> None:
    """Serve a store's pages until Ctrl-C.

    Raises ConfigError where others could reach them without a password, StoreError where the store
    can't be read.
    """
    import uvicorn

    from flows.browser.app import browser_app
    from flows.server.stack import require_free

    password = next((os.environ[name] for name in PASSWORDS if os.environ.get(name)), None)
    is_here = host in LOOPBACK
    if not is_here and password is None:
        raise ConfigError(
            f"at {host} others can reach these pages: set PREFECT_SERVER_API_AUTH_STRING to "
            "user:password, or leave --host out"
        )
    require_free(port, host)
    hosts = ["127.0.0.1", "localhost", "[::1]"] if is_here else None
    with Store(store_url) as store:
        store.addresses("-")  # a store that can't be reached is told now, not on a page
        say(f"runs       http://{host}:{port}/ ({store.root})")
        say("stop       Ctrl-C")
        threading.Thread(target=warm_up, daemon=True).start()
        app = browser_app(store, password=password, hosts=hosts)
        uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False)


def warm_up() -> None:
    """Import what pages and pictures need, so that the first of them does not wait for it."""
    for module in HEAVY:
        importlib.import_module(module)
