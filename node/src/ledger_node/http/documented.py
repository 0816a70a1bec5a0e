"""What the OpenAPI document says of answers: which statuses a route has, and in which media type.

Rule: every status that a route can answer is listed here; a test sends odd requests to every route and finds no other.
Not here: the answers themselves.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from ledger_node.http.problems import PROBLEM_JSON

Responses = dict[int | str, dict[str, Any]]

_PROBLEM: Final = {"$ref": "#/components/schemas/ProblemBody"}
_MEANINGS: Final = {
    401: "A token is needed and missing or wrong.",
    403: "Not for this reader: neither oversight, provider, party nor the person concerned.",
    404: "Nothing of this name, or a name that no path can hold.",
    408: "The body did not arrive in time.",
    409: "The id was used before with other content.",
    413: "The body is too large.",
    415: "Another content type is expected.",
    421: "This node does not answer under that Host name.",
    422: "Malformed, unsigned, or not allowed; `code` and `evidence` say what and where.",
    503: "Cannot be done now; `Retry-After` says when to try again.",
}


def ok(
    model: type[BaseModel],
    *problems: int,
    status: int = 200,
    text: str = "",
    proof: bool = False,
    also: dict[str, str] | None = None,
) -> Responses:
    """A JSON answer of this form; 421, 422 and 503 may happen everywhere. `also` are other media types with a remark."""
    found: Responses = {status: {"model": model, "description": text or (model.__doc__ or "").split("\n", 1)[0]}}
    if proof:
        found[status]["description"] += " A proof file for `ledger proof verify`."
    for media_type, remark in (also or {}).items():
        schema = {"type": "string", "description": remark}
        found[status].setdefault("content", {})[media_type] = {"schema": schema}
    found.update(refusals(*problems))
    return found


def raw(media_type: str, text: str, *problems: int, schema: dict[str, Any] | None = None) -> Responses:
    """An answer of another media type."""
    shown = schema or {"type": "string", "format": "binary"}
    found: Responses = {200: {"description": text, "content": {media_type: {"schema": shown}}}}
    found.update(refusals(*problems))
    return found


def refusals(*statuses: int) -> Responses:
    """Problem answers."""
    return {
        status: {"description": _MEANINGS[status], "content": {PROBLEM_JSON: {"schema": dict(_PROBLEM)}}}
        for status in sorted({*statuses, 421, 422, 503})
    }


def body(media_types: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The `openapi_extra` of a route that reads its body itself."""
    return {"requestBody": {"required": True, "content": media_types}}


def local_security() -> dict[str, Any]:
    """The `openapi_extra` of a route for local writers."""
    return {"security": [{"localToken": []}]}
