"""Routes of what is in force: the rulebook, its kinds, and the config; for forms, SDKs and people."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from ledger_node.http.asking import Asked
from ledger_node.http.context import Context, answer_json
from ledger_node.http.documented import ok
from ledger_node.http.models import KindsBody, RulebooksBody
from ledger_node.query import inforce


def routes(context: Context) -> APIRouter:
    """The router."""
    router = APIRouter(tags=["rules"])

    @router.get("/v1/rulebooks", responses=ok(RulebooksBody))
    def rulebooks(asked: Annotated[Asked, Query()]) -> Response:
        """The rulebook in force, with its legal sources, and the whole config document."""
        del asked
        return answer_json(inforce.rulebooks(context.node))

    @router.get("/v1/kinds", responses=ok(KindsBody))
    def kinds(asked: Annotated[Asked, Query()]) -> Response:
        """Every declared event kind with its refs, fields and titles; objects and codes with their texts."""
        del asked
        return answer_json(inforce.kinds(context.node))

    return router
