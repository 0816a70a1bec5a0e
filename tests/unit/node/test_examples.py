"""Examples of the interface: all that the OpenAPI document describes has one, it is as the schema says, and it is new.

They are what a real node was asked and said (scripts/make_examples.py).
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from difflib import unified_diff
from itertools import islice
from typing import Any, cast

import jsonschema_rs
import pytest

from ledger import framing
from ledger.core.genesis import parse_genesis
from ledger.core.proof import trust_genesis, verify_proof
from ledger_node.http import examples
from ledger_node.http.problems import PROBLEM_JSON
from ledger_node.intake.drafts import parse_drafts
from scripts import make_examples
from scripts.example_story import WALL_NS
from scripts.make_reference import openapi

DOCUMENT = openapi()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
BINARY = {"application/octet-stream", "application/msgpack"}


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(where, media type, its part of the document) of every body that goes in or comes out."""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield "body", media_type, content
    for status, answer in operation["responses"].items():
        for media_type, content in answer.get("content", {}).items():
            yield status, media_type, content


def example(content: dict[str, Any]) -> Any:
    """The example of a parameter or media type, the shared one too; None where there is none."""
    if "example" in content:
        return content["example"]
    for shared in content.get("examples", {}).values():
        name = shared["$ref"].rpartition("/")[2]
        return DOCUMENT["components"]["examples"][name]["value"]
    return None


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What the schema finds wrong with a value."""
    whole = {**schema, "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft202012Validator(cast("Any", whole))
    return [error.message for error in validator.iter_errors(value)]


def lacking(operation: dict[str, Any]) -> list[str]:
    """What of an operation has no example."""
    missing = [each["name"] for each in operation.get("parameters", ()) if "example" not in each]
    for where, media_type, content in contents(operation):
        if (where == "body" or media_type not in BINARY) and example(content) is None:
            missing.append(f"{where} {media_type}")
    return missing


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_everything_has_an_example(name: str) -> None:
    """Each path and query parameter, each body, each answer that a person can read, and each problem."""
    assert lacking(OPERATIONS[name]) == []


def test_what_lacks_an_example_is_found() -> None:
    """A new parameter and a new answer are named, so that nobody adds a route without an example."""
    document = copy.deepcopy(OPERATIONS["GET /v1/datasets/{id}"])
    document["parameters"].append({"name": "new", "in": "query", "schema": {"type": "integer"}})
    document["responses"]["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    assert lacking(document) == ["new", "200 text/csv"]


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_examples_are_as_the_schema_says(name: str) -> None:
    """Every example validates against the schema beside it; a problem names the status it stands under."""
    operation = OPERATIONS[name]
    for parameter in operation.get("parameters", ()):
        value = parameter["example"]
        # In a query or path everything is text; the schema says what it stands for.
        assert not (faults(value, parameter["schema"]) and faults(_typed(value), parameter["schema"])), parameter
    for where, media_type, content in contents(operation):
        value = example(content)
        if value is None:
            continue
        assert faults(value, content["schema"]) == [], (where, media_type)
        if media_type == PROBLEM_JSON:
            assert str(value["status"]) == where


def _typed(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value


def test_a_wrong_example_is_found() -> None:
    """An answer without a field, with one too many, and of another type is each refused by its schema."""
    content = OPERATIONS["GET /v1/status"]["responses"]["200"]["content"]["application/json"]
    value = content["example"]
    assert faults(value, content["schema"]) == []
    for wrong in ({**value, "more": 1}, {**value, "height": "x"}, {key: value[key] for key in value if key != "size"}):
        assert faults(wrong, content["schema"]) != []


def test_examples_are_real() -> None:
    """The proofs among the examples verify with the genesis among the examples; bodies are what the node's parsers take."""

    def shown(name: str) -> Any:
        return OPERATIONS[name]["responses"]["200"]["content"]["application/json"]["example"]

    trust = trust_genesis(parse_genesis(_canonical(shown("GET /v1/genesis"))), WALL_NS // 10**9 + 60)
    for name in ("absence", "completeness"):
        verify_proof(_canonical(shown(f"GET /v1/proofs/{name}")), trust)
    verify_proof(_canonical(shown("GET /v1/events/{member}/{event_id}/receipt")), trust)
    verify_proof(_canonical(shown("GET /v1/datasets/{id}/timeline")["proof"]), trust)
    sent = OPERATIONS["POST /v1/submissions"]["requestBody"]["content"]["application/msgpack"]["example"]
    assert framing.parse(base64.b64decode(sent)).origin == trust.origin
    bodies = OPERATIONS["POST /v1/events"]["requestBody"]["content"]
    for media_type in ("application/json", "application/x-ndjson"):
        value = bodies[media_type]["example"]
        data = value if isinstance(value, str) else json.dumps(value)
        assert [draft.kind for draft in parse_drafts(data.encode()).events] == ["use.access"]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def test_examples_are_those_of_the_node() -> None:
    """Asking a new node the same questions gives the same bytes."""
    made, kept = (data.decode().splitlines() for data in (make_examples.make(), examples.FILE.read_bytes()))
    changed = "\n".join(line[:300] for line in islice(unified_diff(kept, made, n=2, lineterm=""), 60))
    assert not changed, f"run ./dev run python -m scripts.make_examples:\n{changed}"
