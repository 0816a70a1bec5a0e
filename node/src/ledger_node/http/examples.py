"""Examples in the OpenAPI document: for each parameter, body and answer what a real node was asked and said.

Rule: they stand in `examples.json`, which scripts/make_examples.py writes from a running node; nothing here is made up.
Problems that any route may answer are shared. Not here: the document itself (see `openapi`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from ledger_node.http.problems import PROBLEM_JSON

FILE: Final = Path(__file__).with_name("examples.json")
Json = dict[str, Any]


def attach_examples(document: Json) -> None:
    """Put the examples of every operation where OpenAPI 3.1 wants them: `example` of a parameter or media type."""
    found = msgspec.json.decode(FILE.read_bytes())
    shared = {_name(status): {"value": value} for status, value in found["problems"].items()}
    document.setdefault("components", {})["examples"] = shared
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _attach(operation, found["operations"].get(f"{method.upper()} {path}", {}), found["problems"])


def _attach(operation: Json, known: Json, problems: Json) -> None:
    values = known.get("parameters", {})
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in values:
            parameter["example"] = values[parameter["name"]]
    bodies = known.get("bodies", {})
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        if media_type in bodies:
            content["example"] = bodies[media_type]
    for status, answer in operation["responses"].items():
        own = known.get("answers", {}).get(status, {})
        for media_type, content in answer.get("content", {}).items():
            if media_type in own:
                content["example"] = own[media_type]
            elif media_type == PROBLEM_JSON and status in problems:
                content["examples"] = {status: {"$ref": f"#/components/examples/{_name(status)}"}}


def _name(status: str) -> str:
    return f"Problem{status}"
