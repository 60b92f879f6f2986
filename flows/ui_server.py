"""Prefect's server as it is, with one header: the browser may talk to this server alone.

The newer of Prefect's two UIs asks an outside analytics host for its settings; the content
security policy keeps every page from connecting, loading or sending anywhere else.
"""

from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request, Response

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


def create_app() -> FastAPI:
    """Prefect's application (API and both UIs) with the content security policy on every page."""
    from prefect.server.api.server import create_app as prefect_app

    app = prefect_app(final=True)

    @app.middleware("http")
    async def add_policy(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return app
