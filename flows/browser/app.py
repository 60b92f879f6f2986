"""The run browser as a FastAPI application: alone (`east browse`), or at /east beside Prefect's UI.

It only reads. Pages hold no script and ask no other host; whatever comes from models and data sets
is escaped by the templates.
"""

import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.middleware.trustedhost import TrustedHostMiddleware

from east_core.errors import DataError, EastError, StoreError
from east_core.reports import html
from east_core.reports.pages import page_environment
from east_core.runs.addresses import QUESTIONS_PICTURE, RunAddresses
from east_core.runs.extent import claimed_settings
from east_core.store import Store
from east_core.studies import promotion
from flows.browser import details, pictures, samples
from flows.browser.index import RunIndex, RunRow
from tasks.browser import full_name

HERE = Path(__file__).parent
PER_PAGE = 100
MOST_COMPARED = 8
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'self'"
)
REPORT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
SORTS: dict[str, Callable[[RunRow], Any]] = {
    "name": lambda row: row.name,
    "state": lambda row: row.state,
    "rounds": lambda row: row.rounds,
    "score": lambda row: row.score,
    "loss": lambda row: (row.loss, row.weighting),
    "model": lambda row: row.model,
    "changed": lambda row: row.changed_at,
}
Runs = Annotated[list[str], Query()]
FindFlowRun = Callable[[str], Awaitable[str | None]]


def browser_app(
    store: Store,
    *,
    password: str | None = None,
    hosts: list[str] | None = None,
    find_flow_run: FindFlowRun | None = None,
) -> FastAPI:
    """The pages of a store.

    `password` is "user:password" as Prefect's server takes it; None asks for none. `hosts` are the
    names that it answers to (None: any), so that no other page's name can be pointed at loopback.
    `find_flow_run` gives the page of a run in Prefect's UI, where there is one.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    _add_pages(app, store, _templates(store, is_beside_prefect=find_flow_run is not None))
    _add_files(app, store)
    _add_pictures(app, store)
    _add_flow_run(app, find_flow_run)
    _add_safety(app, password, hosts)
    return app


def _add_safety(app: FastAPI, password: str | None, hosts: list[str] | None) -> None:
    wanted = None if password is None else base64.b64encode(password.encode()).decode()

    @app.middleware("http")
    async def guard(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Basic ")
        if wanted is not None and not hmac.compare_digest(given, wanted):
            asked = {"WWW-Authenticate": 'Basic realm="east", charset="UTF-8"'}
            return Response("the password of the server, please\n", 401, asked)
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        return response

    if hosts is not None:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)


def _templates(store: Store, *, is_beside_prefect: bool) -> Callable[..., HTMLResponse]:
    environment = page_environment(HERE / "templates")
    environment.filters.update(size=_size, query=lambda values: urlencode(values, doseq=True))
    environment.globals.update(store=store.root, is_beside_prefect=is_beside_prefect)

    def page(request: Request, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        base = request.scope.get("root_path", "")
        rendered = environment.get_template(template).render(base=base, **values)
        return HTMLResponse(rendered, status)

    return page


def _size(count: int) -> str:
    """A number of bytes: "3.2 MiB"."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _add_pages(app: FastAPI, store: Store, page: Callable[..., HTMLResponse]) -> None:
    index = RunIndex(store)

    @app.exception_handler(EastError)
    def known(request: Request, error: Exception) -> HTMLResponse:
        status = 404 if isinstance(error, DataError | StoreError) else 500
        return page(request, "problem.html", status, message=str(error))

    @app.get("/")
    def all_runs(
        request: Request, q: str = "", state: str = "", sort: str = "changed",
        order: str = "desc", number: Annotated[int, Query(alias="page", ge=1)] = 1,
    ) -> HTMLResponse:  # fmt: skip
        listing = index.listing()
        rows = [row for row in listing.rows if _matches(row, q, state)]
        rows.sort(key=lambda row: row.name)
        rows.sort(key=SORTS.get(sort, SORTS["changed"]), reverse=order == "desc")
        pages = max(1, -(-len(rows) // PER_PAGE))
        number = min(number, pages)
        shown = rows[(number - 1) * PER_PAGE : number * PER_PAGE]
        asked = {"q": q, "state": state, "sort": sort, "order": order}
        return page(
            request, "runs.html", listing=listing, rows=shown, matching=len(rows), asked=asked,
            sorts=list(SORTS), number=number, pages=pages,
        )  # fmt: skip

    @app.get("/run/{name}")
    def one_run(request: Request, name: str) -> HTMLResponse:
        return page(request, "run.html", run=details.run_details(store, name))

    @app.get("/run/{name}/samples/{number}")
    def round_samples(
        request: Request, name: str, number: int, shown: str = "all", sort: str = "order",
        at: Annotated[int, Query(alias="page", ge=1)] = 1,
        of_set: Annotated[str, Query(alias="set")] = "",
    ) -> HTMLResponse:  # fmt: skip
        found = samples.samples_page(store, name, number, shown, sort, at, of_set)
        return page(
            request, "samples.html", name=name, number=number, found=found,
            asked={"shown": shown, "sort": sort, "set": of_set},
            filters=samples.FILTERS, sorts=samples.SORTS,
        )  # fmt: skip

    @app.get("/compare")
    def compare(request: Request, run: Runs = []) -> HTMLResponse:  # noqa: B006 FastAPI copies it
        runs = _chosen(run)
        return page(
            request, "compare.html", runs=runs, comparisons=details.comparisons(store, runs),
            settings=details.differing_settings(store, runs),
        )  # fmt: skip

    @app.get("/champions")
    def champions(request: Request) -> HTMLResponse:
        lines = {line: promotion.history(store, line) for line in index.listing().lines}
        return page(request, "champions.html", lines=lines)


def _matches(row: RunRow, words: str, state: str) -> bool:
    told = f"{row.name} {row.model} {row.loss} {row.weighting}".lower()
    return all(word in told for word in words.lower().split()) and state in ("", row.state)


def _chosen(runs: list[str]) -> list[str]:
    chosen = list(dict.fromkeys(runs))
    if not 2 <= len(chosen) <= MOST_COMPARED:
        raise DataError(f"choose 2 to {MOST_COMPARED} runs to compare, in the table of all runs")
    return chosen


def _add_files(app: FastAPI, store: Store) -> None:
    @app.get("/health")
    def health() -> dict[str, str]:
        """For those who ask whether pictures of a store are to be had here."""
        return {"store": full_name(store)}

    @app.get("/run/{name}/report")
    def report(name: str) -> Response:
        page = html.render(store, name)
        return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY})

    @app.get("/run/{name}/settings.json")
    def settings(name: str) -> Response:
        found = claimed_settings(store, name)
        if found is None:
            raise DataError(f"{store.root} holds no settings of a run {name!r}")
        return Response(json.dumps(found, indent=2), media_type="application/json")


def _add_pictures(app: FastAPI, store: Store) -> None:
    @app.get("/run/{name}/picture/{kind}.svg")
    def curve(name: str, kind: str, until: int | None = None) -> Response:
        return _svg(pictures.run_picture(store, name, kind, until))

    @app.get("/run/{name}/live.svg")
    def live(name: str) -> Response:
        return _svg(pictures.live_picture(store, name), seconds=5)

    @app.get("/run/{name}/weights/{number}.svg")
    def weights(name: str, number: int) -> Response:
        return _svg(pictures.weights_picture(store, name, number))

    @app.get("/run/{name}/questions/{number}.png")
    def questions(name: str, number: int) -> Response:
        record = store.require(RunAddresses(name).round_report(number))
        image = store.fetch(record, [QUESTIONS_PICTURE]) / QUESTIONS_PICTURE
        return Response(image.read_bytes(), media_type="image/png")

    @app.get("/compare.svg")
    def compared(benchmark: str, run: Runs = []) -> Response:  # noqa: B006
        return _svg(pictures.comparison_picture(store, _chosen(run), benchmark))


def _add_flow_run(app: FastAPI, find: FindFlowRun | None) -> None:
    @app.get("/run/{name}/flow-run")
    async def flow_run(name: str) -> Response:
        found = None if find is None else await find(name)
        if found is None:
            raise DataError(f"Prefect's server here knows no flow run called {name!r}")
        return RedirectResponse(found, 303)


def _svg(image: bytes, seconds: int = 20) -> Response:
    kept = f"private, max-age={seconds}"
    headers = {"Content-Security-Policy": PICTURE_POLICY, "Cache-Control": kept}
    return Response(image, media_type="image/svg+xml", headers=headers)
