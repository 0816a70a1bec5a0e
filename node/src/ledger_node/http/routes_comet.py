"""Routes for nodes that join a CometBFT network from a snapshot: which ones there are, and a light client's questions."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ledger.errors import NotFoundError
from ledger.limits import LIGHT_REQUEST_BYTES_MAX
from ledger_node.comet import lightclient
from ledger_node.comet.lightclient import LIGHT_PATH
from ledger_node.http.asking import Asked
from ledger_node.http.body import require_media_type
from ledger_node.http.context import JSON, Context, answer, answer_json
from ledger_node.http.documented import body, ok
from ledger_node.http.models_comet import LightAnswer, SnapshotsBody

VALIDATOR = "validator"


def routes(context: Context) -> APIRouter:
    """The router."""
    router = APIRouter(tags=["operations"])
    node = context.node

    @router.get(LIGHT_PATH, responses=ok(SnapshotsBody))
    def snapshots(asked: Annotated[Asked, Query()]) -> Response:
        """Snapshots of the state that this node offers to nodes that join, the newest first, and how its chain began."""
        del asked
        folder = node.options.data_dir
        genesis = lightclient.chain_genesis(folder) if node.role == VALIDATOR else None
        return answer_json({"genesis": genesis, "snapshots": lightclient.offered(folder)})

    @router.post(
        LIGHT_PATH,
        responses=ok(LightAnswer, 404, 408, 413, 415),
        openapi_extra=body({JSON: {"schema": {"$ref": "#/components/schemas/LightBody"}}}),
    )
    async def light(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        """CometBFT's answer to a light client: `commit`, `validators` or `consensus_params` of a height (JSON-RPC 2.0)."""
        del asked
        require_media_type(request.scope, JSON)
        data = await context.bodies.read(request.scope, request.receive, LIGHT_REQUEST_BYTES_MAX)
        question = lightclient.parse_question(data)
        if node.role != VALIDATOR:
            raise NotFoundError("comet", "no CometBFT runs beside this node", role=node.role)
        folder = node.options.data_dir
        loop = asyncio.get_running_loop()
        return answer(await loop.run_in_executor(context.pool, lightclient.answer, folder, question))

    return router
