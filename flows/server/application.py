"""Prefect's server with three additions: a header, one mode for SQLite, and the run browser.

The newer of Prefect's two UIs asks an outside analytics host for its settings; the content
security policy keeps every page from connecting, loading or sending anywhere else.

Several of Prefect 3.7's services read first and write later in one deferred transaction. SQLite
refuses that write at once ("database is locked") when anybody wrote in between, so with a worker
polling, schedules fire late or never. Prefect 3.8 asks for the lock at the start of some of them
(PrefectHQ/prefect#22967); here every transaction does, and waits for its turn.
"""

import base64
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response

from flows.server.template import begin_with_template

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

SHOWN_STORE = "EAST_SHOWN_STORE"  # the URL of the store whose runs the server shows at /east
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",
        "frame-ancestors 'self'",
        "form-action 'self'",
    )
)


def create_embedded_app() -> FastAPI:
    """The API alone, for the one run that started it: no UI, no schedules, no late runs."""
    from prefect.server.api.server import create_app as prefect_app

    begin_with_template()
    lock_sqlite_early()
    return prefect_app(ephemeral=True, final=True)


def create_app() -> FastAPI:
    """Prefect's application (API and both UIs) with the content security policy on every page."""
    from prefect.server.api.server import create_app as prefect_app

    begin_with_template()
    lock_sqlite_early()
    app = prefect_app(final=True)

    @app.middleware("http")
    async def add_policy(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        return response

    if store := os.environ.get(SHOWN_STORE):
        _show_store(app, store)
    return app


def _show_store(app: FastAPI, url: str) -> None:
    """Put the run browser of a store at /east, under the server's own password."""
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING
    from starlette.routing import Mount

    from east_core.store import Store
    from flows.browser.app import browser_app
    from tasks.browser import PREFIX

    password = PREFECT_SERVER_API_AUTH_STRING.value()
    pages = browser_app(
        Store(url),
        password=None if password is None else str(password),
        find_flow_run=lambda name: _flow_run_page(app, name),
    )
    # in front of Prefect's pages, which take every path that nothing else has taken
    app.router.routes.insert(0, Mount(PREFIX, app=pages))


async def _flow_run_page(app: FastAPI, name: str) -> str | None:
    """The page of the latest flow run of a name, asked of the server's own API."""
    import httpx
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING

    wanted = {"flow_runs": {"name": {"any_": [name]}}, "sort": "START_TIME_DESC", "limit": 1}
    password = PREFECT_SERVER_API_AUTH_STRING.value()
    known = {} if password is None else {"Authorization": f"Basic {_encoded(str(password))}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        answer = await client.post("/api/flow_runs/filter", json=wanted, headers=known)
    found = answer.json() if answer.is_success else []
    return f"/runs/flow-run/{found[0]['id']}" if found else None


def _encoded(password: str) -> str:
    return base64.b64encode(password.encode()).decode()


def lock_sqlite_early() -> None:
    """Let SQLite transactions take the write lock when they begin; PostgreSQL is not touched."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    deferred = AioSqliteConfiguration.begin_transaction

    def immediate(
        self: AioSqliteConfiguration,
        session: "AsyncSession",
        with_for_update: bool = False,  # noqa: ARG001 the signature is Prefect's
    ) -> "AbstractAsyncContextManager[AsyncSessionTransaction]":
        return deferred(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = immediate  # type: ignore[method-assign, assignment]
