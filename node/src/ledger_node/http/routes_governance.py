"""Routes of governance: proposals with their votes, and the bundle that travels with a proposal.

Votes and proposals themselves are events like all others (see `append` and `routes_intake`).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from ledger.limits import BUNDLE_BYTES_MAX
from ledger_node.http.asking import Asked, AskProposals
from ledger_node.http.body import require_media_type
from ledger_node.http.context import JSON, Context, answer, answer_json, answer_with
from ledger_node.http.documented import body, ok, raw
from ledger_node.http.models import OfferedBody, ProposalBody, ProposalsBody
from ledger_node.query.proposals import kept_certificate, list_proposals, show_proposal

TEXT: Final = "text/plain; charset=utf-8"


def routes(context: Context) -> APIRouter:
    """The router."""
    router = APIRouter(tags=["governance"])

    @router.get("/v1/proposals", responses=ok(ProposalsBody))
    def proposals(asked: Annotated[AskProposals, Query()]) -> Response:
        """Proposals to change members, keys, rules or parameters, oldest first, and who votes now."""
        with context.standing() as standing:
            found = list_proposals(standing, asked.status, after=asked.after, limit=asked.limit)
            return answer_with(standing.encode(), found)

    @router.get("/v1/proposals/{name:path}", responses=ok(ProposalBody, 404))
    def proposal(name: str, asked: Annotated[Asked, Query()]) -> Response:
        """One proposal, `<member>/<event id>`, with every vote on it."""
        del asked
        with context.standing() as standing:
            return answer_with(standing.encode(), show_proposal(standing, name))

    @router.get(
        "/v1/certificates/{size}",
        response_class=Response,
        responses=raw("text/plain", "A quorum certificate, a C2SP note.", 404),
    )
    def certificate(size: str, asked: Annotated[Asked, Query()]) -> Response:
        """The kept certificate of exactly this size, such as that of an epoch's last block."""
        del asked
        return answer(kept_certificate(context.node, size), TEXT)

    @router.post(
        "/v1/bundles",
        status_code=201,
        responses=ok(OfferedBody, 408, 413, 415, status=201),
        openapi_extra=body({JSON: {"schema": {"type": "object", "additionalProperties": {"type": "string"}}}}),
    )
    async def offer_bundle(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        """Hand over a rulebook or calendar, `{path: text}` as canonical JSON, right before the proposal that names it."""
        del asked
        require_media_type(request.scope, JSON)
        data = await context.bodies.read(request.scope, request.receive, BUNDLE_BYTES_MAX)
        digest = await asyncio.get_running_loop().run_in_executor(context.pool, context.node.offer_bundle, data)
        return answer_json({"digest": digest.hex()}, status=201)

    return router
