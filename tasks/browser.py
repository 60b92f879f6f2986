"""Where a run's pages and pictures are to be had, if the server shows its store at /east."""

import base64
import functools
from pathlib import Path
from urllib.parse import quote

import httpx
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

from east_core.store import Store

PREFIX = "/east"
_SECONDS = 3.0


def run_page(store: Store, run: str) -> str | None:
    """The path of a run's page on Prefect's server; None where it does not show this store.

    A path and no address: the page that links to it knows by which name it was reached.
    """
    if _shown_store() != full_name(store):
        return None
    return f"{PREFIX}/run/{quote(run)}"


def full_name(store: Store) -> str:
    """A store's URL, or its folder's whole path: the same for every process that uses it."""
    return str(Path(store.url(".")).resolve()) if store.is_local else store.root


@functools.cache
def _shown_store() -> str | None:
    """The store that Prefect's server shows; asked once a process."""
    api = PREFECT_API_URL.value()
    if api is None:
        return None
    url = str(api).rstrip("/").removesuffix("/api")
    try:
        answer = httpx.get(f"{url}{PREFIX}/health", headers=_password(), timeout=_SECONDS)
        return str(answer.json()["store"])
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return None


def _password() -> dict[str, str]:
    """What lets us in where the server asks for a password, as Prefect's clients send it."""
    password = PREFECT_API_AUTH_STRING.value()
    if password is None:
        return {}
    encoded = base64.b64encode(str(password).encode()).decode()
    return {"Authorization": f"Basic {encoded}"}
