"""Routes for local writers: JSON events that the node completes and signs, and the step of a scenario clock.

Both need the node's local token. Signed submissions have a route of their own (see `append`).
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from ledger.core.ident import format_time, parse_time
from ledger.errors import MalformedError
from ledger.limits import HTTP_BODY_BYTES_MAX
from ledger_node.http.asking import Asked, AskWrite
from ledger_node.http.body import require_media_type
from ledger_node.http.context import JSON, Context, answer, answer_json
from ledger_node.http.documented import body, local_security, ok
from ledger_node.http.models import ClockBody, Recorded
from ledger_node.intake.lines import read_lines, record_lines
from ledger_node.intake.recording import record_json
from ledger_node.query.outcome import encode_outcome

NDJSON = "application/x-ndjson"
CLOCK_BODY_BYTES_MAX = 4096


def routes(context: Context) -> APIRouter:
    """The router."""
    router = APIRouter(tags=["intake"])
    node = context.node

    @router.post(
        "/v1/events",
        status_code=201,
        responses={
            **ok(Recorded, 401, 408, 413, 415, status=201, also={NDJSON: "One EventPlace or problem a line."}),
            **ok(Recorded, status=409, text="The same, where an id was used before with other content."),
        },
        openapi_extra={
            **body(
                {
                    JSON: {
                        "schema": {
                            "anyOf": [
                                {"$ref": "#/components/schemas/DraftsBody"},
                                {"$ref": "#/components/schemas/DraftBody"},
                            ]
                        }
                    },
                    NDJSON: {"schema": {"type": "string", "description": "One DraftBody a line."}},
                }
            ),
            **local_security(),
        },
    )
    async def record_events(request: Request, asked: Annotated[AskWrite, Query()]) -> Response:
        """One event or many of one member, under one signature of the node. NDJSON: one answer a line."""
        context.token.require(request.scope)
        media_type = require_media_type(request.scope, JSON, NDJSON)
        data = await context.bodies.read(request.scope, request.receive, HTTP_BODY_BYTES_MAX)
        certified = asked.ack == "certified"
        recorder = context.running_recorder
        if media_type == NDJSON:
            groups = await read_lines(node, context.pool, data)
            lines = record_lines(node, recorder.record, context.pool, groups, certified=certified)
            return StreamingResponse(lines, 201, media_type=NDJSON)
        outcome = await record_json(node, recorder.record, context.pool, data, certified=certified)
        status = 409 if outcome.has_conflict else 201
        return answer(encode_outcome(outcome, node.certificates), status=status)

    @router.post(
        "/v1/clock",
        responses=ok(ClockBody, 401, 408, 413, 415),
        openapi_extra={
            **body({JSON: {"schema": {"$ref": "#/components/schemas/StepBody"}}}),
            **local_security(),
        },
    )
    async def step_clock(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        """Step a scenario network's clock; due timers fire. Wall-clock networks refuse."""
        del asked
        context.token.require(request.scope)
        require_media_type(request.scope, JSON)
        data = await context.bodies.read(request.scope, request.receive, CLOCK_BODY_BYTES_MAX)
        time = parse_time(_step(data))
        height = await asyncio.get_running_loop().run_in_executor(context.pool, node.step_clock, time)
        return answer_json({"height": height, "time": format_time(node.head.time)})

    return router


def _step(data: bytes) -> Any:
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedError("clock-body", str(error)) from None
    if not isinstance(value, dict) or set(value) != {"time"}:
        raise MalformedError("clock-body", "expected an object with the field time")
    return value["time"]
