"""Prefect's server with two additions: a header for the browser, and one mode for SQLite.

The newer of Prefect's two UIs asks an outside analytics host for its settings; the content
security policy keeps every page from connecting, loading or sending anywhere else.

Several of Prefect 3.7's services read first and write later in one deferred transaction. SQLite
refuses that write at once ("database is locked") when anybody wrote in between, so with a worker
polling, schedules fire late or never. Prefect 3.8 asks for the lock at the start of some of them
(PrefectHQ/prefect#22967); here every transaction does, and waits for its turn.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request, Response

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

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

    lock_sqlite_early()
    return prefect_app(ephemeral=True, final=True)


def create_app() -> FastAPI:
    """Prefect's application (API and both UIs) with the content security policy on every page."""
    from prefect.server.api.server import create_app as prefect_app

    lock_sqlite_early()
    app = prefect_app(final=True)

    @app.middleware("http")
    async def add_policy(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return app


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
