"""The application factory: one node, its routes, and the edge around them.

Rule: everything is made here and handed down; no module holds state of its own. Started and stopped by the server through
ASGI's lifespan: the search index and the watcher run as long as the application does. Not here: what any route does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from ledger.errors import LedgerError, MalformedError
from ledger_node.http import (
    polling,
    routes_comet,
    routes_governance,
    routes_health,
    routes_intake,
    routes_log,
    routes_provenance,
    routes_rules,
)
from ledger_node.http.access import LocalToken
from ledger_node.http.append import Append, Recorder
from ledger_node.http.body import BodyReader, Receive, Scope
from ledger_node.http.context import Context
from ledger_node.http.direct import DirectAppend
from ledger_node.http.docs import docs_page
from ledger_node.http.edge import Answer, Edge, language_of
from ledger_node.http.gate import Gate
from ledger_node.http.openapi import describe
from ledger_node.http.problems import PROBLEM_JSON, HttpError, problem_of
from ledger_node.http.watch import Commits, Watcher
from ledger_node.intake.checker import Checker
from ledger_node.metrics import Metrics
from ledger_node.query.blocktimes import BlockTimes
from ledger_node.query.health import gauges, labelled
from ledger_node.query.indexer import open_indexer
from ledger_node.query.ports import Node
from ledger_node.reads.journal import Journal
from ledger_node.reads.readers import Readers, owner_of
from ledger_node.reads.recorder import KIND, ReadRecorder
from ledger_node.reads.sealing import Plan
from ledger_node.settings import Settings

APPEND_PATH: Final = "/v1/submissions"
POOL_THREADS: Final = 8  # parsing of large bodies and reads for writers; routes of readers have the server's own pool


def create_app(
    node: Node,
    settings: Settings,
    *,
    token_file: Path | None = None,
    metrics: Metrics | None = None,
    search: bool = True,
) -> Edge:
    """The ASGI application of `node`.

    `token_file` holds the local writers' token; with `search` a search index is kept in the node's data directory
    (without it lists and lineage answer 503). The application starts and closes the index, never the node.
    """
    indexer = open_indexer(node) if search else None
    pool = ThreadPoolExecutor(POOL_THREADS, thread_name_prefix="intake")
    metrics = Metrics() if metrics is None else metrics
    metrics.watch(lambda: gauges(node, indexer), lambda: labelled(node, indexer))
    context = Context(
        node=node,
        settings=settings,
        metrics=metrics,
        indexer=indexer,
        token=LocalToken(token_file),
        bodies=BodyReader(settings.http.body_timeout_s),
        times=BlockTimes(),
        pool=pool,
        checker=Checker(node, pool, worker=settings.http.check_worker),
    )
    reads = _gate(context, token_file) if settings.reads.readers == "named" else None
    app = FastAPI(
        title="suyuan ledger node 溯源账本节点",
        docs_url=None,  # FastAPI's own pages load scripts from a CDN
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # a redirected POST may become a GET
        lifespan=_lifespan(context, reads),
    )
    modules = (
        routes_log,
        routes_provenance,
        routes_rules,
        routes_governance,
        routes_intake,
        routes_health,
        routes_comet,
    )
    routers = [module.routes(context) for module in modules]
    for router in routers:
        app.include_router(router)
    _own_pages(app)
    _own_errors(app, settings.http.language, [route for router in routers for route in router.routes])
    edge = Edge(
        app,
        hot={APPEND_PATH: {"POST": _HotAppend(context)}, polling.PATH: {"GET": polling.PollCheckpoint(context)}},
        hosts=settings.http.hosts,
        metrics=metrics,
        language=settings.http.language,
    )
    edge.direct = DirectAppend(context, edge, APPEND_PATH)
    edge.on_stopping.append(context.stop_waiting)
    return edge


def _gate(context: Context, token_file: Path | None) -> ReadRecorder:
    """Answer named readers only, and record what they read. Raises `MalformedError` where the rules cannot take it."""
    node, settings = context.node, context.settings.reads
    if KIND not in node.rules.kinds():
        raise MalformedError("reads-kind", "the rulebook in force has no kind for the record of reads", kind=KIND)
    data_dir = node.options.data_dir
    member = settings.member or owner_of(data_dir)
    node.signers(member)

    def own() -> str:
        return member

    journal = Journal(data_dir)
    context.gated.append(Depends(Gate(context, Readers(data_dir, token_file, own), journal)))
    plan = Plan(frozenset(settings.sealed_readers), settings.sealed_days, settings.sealed_ground)
    return ReadRecorder(node, journal, own, settings.record_s, plan)


class _HotAppend:
    """The hot route, once the application has started."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._append: Append | None = None

    async def __call__(self, scope: Scope, receive: Receive) -> Answer:
        """See `Append`."""
        if self._append is None:
            context = self._context
            self._append = Append(context.node, context.running_recorder, context.checker, context.bodies, context.pool)
        return await self._append(scope, receive)


def _lifespan(context: Context, reads: ReadRecorder | None):  # type: ignore[no-untyped-def]  # noqa: ANN202 - FastAPI's own protocol
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        watcher = context.watcher = Watcher(context.node, loop)
        context.recorder = Recorder(
            context.node,
            Commits(loop, context.node.arrival),
            watcher,
            context.metrics,
            context.pool,
            context.settings.http.certified_wait_s,
        )
        watcher.start()
        await context.checker.start()
        if context.indexer is not None:
            context.indexer.start()
        if reads is not None:
            reads.start()
        try:
            yield
        finally:
            watcher.close()
            if reads is not None:
                await loop.run_in_executor(None, reads.close)
            await context.checker.close()
            if context.indexer is not None:
                await loop.run_in_executor(None, context.indexer.close)
            context.pool.shutdown(wait=False, cancel_futures=True)

    return lifespan


def _own_pages(app: FastAPI) -> None:
    """/openapi.json and a page of the interface that needs no script and no network."""

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return Response(describe(app), media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return docs_page(describe(app))


def _own_errors(app: FastAPI, language: str, routes: Sequence[BaseRoute]) -> None:
    """Every error that FastAPI or a route raises becomes a problem. `routes` are those of the included routers, which
    the application itself shows as one entry without methods for each router."""

    def refuse(request: Request, error: Exception) -> Response:
        problem = problem_of(error)
        chosen = language_of(request.scope, language)
        body = problem.encode(chosen, request.scope.get("request_id", ""))
        headers = {name.decode("ascii"): value.decode("ascii") for name, value in problem.headers(chosen)}
        return Response(body, problem.status, headers=headers, media_type=PROBLEM_JSON)

    def invalid(request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        faults = [
            {
                "in": str(fault["loc"][0]),
                "name": ".".join(str(part) for part in fault["loc"][1:]),
                "reason": fault["msg"],
            }
            for fault in found
        ]
        return refuse(request, HttpError("query", "a parameter is unknown, missing or out of range", faults=faults))

    def unrouted(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 404
        if status == 405:
            allow = _allowed([*routes, *app.routes], request)
            return refuse(request, HttpError("method", "not a method of this path", allow=allow))
        if status == 404:
            return refuse(request, HttpError("path", "no such path"))
        return refuse(request, HttpError("bad-request", "not a request that this server understands"))

    app.add_exception_handler(LedgerError, refuse)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, unrouted)


def _allowed(routes: Sequence[BaseRoute], request: Request) -> str:
    """The methods of a path, for Allow: several routes may share it."""
    methods: set[str] = set()
    for route in routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            methods.update(getattr(route, "methods", None) or ())
    return ", ".join(sorted(methods))
