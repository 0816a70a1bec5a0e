"""Routes for operators: does the process answer, may it take part, what does it count, where does it stand."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from ledger_node.http.asking import Asked
from ledger_node.http.context import JSON, Context, answer, answer_json
from ledger_node.http.documented import ok, raw, refusals
from ledger_node.http.models import PeersBody, ReadyBody, StatusBody
from ledger_node.intake.signing import held_members
from ledger_node.metrics import CONTENT_TYPE
from ledger_node.query.health import readiness, status


def routes(context: Context) -> APIRouter:
    """The router."""
    router = APIRouter(tags=["operations"])
    node = context.node

    @router.get(
        "/healthz",
        response_class=Response,
        responses=raw("text/plain", "The process answers.", schema={"type": "string"}),
    )
    async def healthz(asked: Annotated[Asked, Query()]) -> Response:
        """Nothing but this process is asked."""
        del asked
        return answer(b"ok\n", "text/plain; charset=utf-8")

    ready_answers = {**refusals(), **ok(ReadyBody)}
    ready_answers[503] = {"model": ReadyBody, "description": "Some check fails; the body says which."}

    @router.get("/readyz", responses=ready_answers)
    def readyz(asked: Annotated[Asked, Query()]) -> Response:
        """Every check with its result; 503 while one fails."""
        del asked
        found = readiness(node, context.indexer)
        return Response(msgspec.json.encode(found), 200 if found["ready"] else 503, media_type=JSON)

    @router.get(
        "/metrics",
        response_class=Response,
        responses=raw("text/plain", "Prometheus text format.", schema={"type": "string"}),
    )
    def metrics(asked: Annotated[Asked, Query()]) -> Response:
        """Counters, histograms and gauges of this node."""
        del asked
        return answer(context.metrics.encode(), CONTENT_TYPE.decode())

    @router.get("/v1/status", responses=ok(StatusBody))
    def node_status(asked: Annotated[Asked, Query()]) -> Response:
        """Where this node stands."""
        del asked
        return answer_json({**status(node), "signs_for": held_members(node), "version": package_version()})

    @router.get("/v1/peers", responses=ok(PeersBody))
    def peers(asked: Annotated[Asked, Query()]) -> Response:
        """Addresses of the other nodes, those that order first, and of the engines, this node's own first."""
        del asked
        comet = context.settings.comet
        own = [comet.p2p_address] if comet.p2p_address else []
        return answer_json({"http": list(context.settings.node.peers), "p2p": [*own, *comet.p2p_peers]})

    return router


def package_version() -> str:
    """The installed version; `0` in a checkout that was never installed."""
    try:
        return version("suyuan-node")
    except PackageNotFoundError:
        return "0"
