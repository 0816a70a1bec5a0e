"""The OpenAPI document: FastAPI's, with what it cannot know added: the hot route, the problem body, the local token, and
an example of everything (see `examples`).

Rule: made once, from the routes themselves; a test sends what it describes. Not here: models of answers.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ledger_node.http.documented import ok
from ledger_node.http.examples import attach_examples
from ledger_node.http.models import DraftBody, DraftsBody, ProblemBody, Recorded, StepBody
from ledger_node.http.models_comet import LightBody

DESCRIPTION: Final = """\
Evidence of government data sharing: events in, provenance out. 政务数据共享存证：事件写入，溯源查询。

Every provenance answer carries the certified checkpoint it stands on; with `proof=full` it carries its own completeness
proof. Answers that say no are problem+json (RFC 9457) in zh or en, by `?lang=` or Accept-Language; `code` is stable.
Times are Unix milliseconds. Proof files are checked with `ledger proof verify`.
"""


def describe(app: FastAPI) -> bytes:
    """The document as JSON; made once for an application."""
    found: bytes | None = getattr(app.state, "openapi", None)
    if found is None:
        found = app.state.openapi = msgspec.json.encode(_document(app))
    return found


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version="1", description=DESCRIPTION, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in (ProblemBody, Recorded, DraftBody, DraftsBody, StepBody, LightBody):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        for name, inner in schema.pop("$defs", {}).items():
            schemas.setdefault(name, inner)
        schemas[model.__name__] = schema
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    document["components"]["securitySchemes"] = {
        "localToken": {
            "type": "http",
            "scheme": "bearer",
            "description": "The token in DATA_DIR/token, for writers on the node's own machine.",
        }
    }
    document["paths"]["/v1/submissions"] = {"post": _append()}
    attach_examples(document)
    return document


def _append() -> dict[str, Any]:
    """The description of the hot route, which FastAPI does not serve."""
    recorded = {"application/json": {"schema": {"$ref": "#/components/schemas/Recorded"}}}
    responses: dict[str, Any] = {}
    for status, response in ok(Recorded, 408, 413, 415, status=201).items():
        responses[str(status)] = {name: part for name, part in response.items() if name != "model"}
    responses["201"]["content"] = recorded
    responses["409"] = {
        "description": "The same, where an id was used before with other content: the recorded refusal.",
        "content": recorded,
    }

    def choice(name: str, values: list[str], text: str) -> dict[str, Any]:
        schema = {"type": "string", "enum": values}
        return {"name": name, "in": "query", "required": False, "schema": schema, "description": text}

    return {
        "tags": ["intake"],
        "summary": "Record a signed submission",
        "description": "A replay gets the first receipt again. Keep events spooled until they are certified.",
        "operationId": "record_submission",
        "parameters": [
            choice("ack", ["committed", "certified"], "What to wait for: durable here, or certified by the quorum."),
            choice(
                "receipt", ["compact", "full"], "`full`: a self-contained receipt with each event; waits for certified."
            ),
            choice("lang", ["zh", "en"], "Language of texts; else Accept-Language."),
        ],
        "requestBody": {
            "required": True,
            "description": "A framed submission, at most 700,000 bytes; the example shows its bytes in base64.",
            "content": {"application/msgpack": {"schema": {"type": "string", "format": "binary"}}},
        },
        "responses": responses,
    }
