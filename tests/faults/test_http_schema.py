"""Every documented route under generated requests: no 5xx, no undocumented status or media type, no answer of another form.

schemathesis reads /openapi.json from a running node and sends valid and invalid requests to each route; its own checks judge
the answers. The local token is sent, so that writers' routes are reached too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.models.live_node import LiveNode, live_node, tell_story

EXAMPLES = 8  # of each route and mode
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]


@schemathesis.serializer("application/msgpack", "application/x-ndjson")
def as_bytes(_context: Any, value: Any) -> bytes:
    """Bodies that are no JSON go out as they are."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A node with a story."""
    with live_node(tmp_path_factory.mktemp("schema") / "net") as found:
        tell_story(found)
        yield found


def operations(live: LiveNode) -> list[Any]:
    """Every documented route."""
    loaded = schemathesis.openapi.from_dict(live.client.get("/openapi.json").json())
    loaded.config.update(base_url=f"http://127.0.0.1:{live.port}")
    return [found.ok() for found in loaded.get_all_operations()]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests(live: LiveNode, mode: GenerationMode) -> None:
    """Whatever is generated from the document, valid or not, is answered as the document says."""
    tried = 0
    for operation in operations(live):
        try:
            strategy = operation.as_strategy(generation_mode=mode)
            try_requests(live, strategy)
        except Unsatisfiable:
            continue  # nothing invalid can be made of a route without parameters
        tried += 1
    assert tried > 20


def try_requests(live: LiveNode, strategy: Any) -> None:
    """Send some requests of one route and check every answer."""

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(case=strategy)
    def send(case: Any) -> None:
        if "wait" in (case.query or {}) and case.query["wait"]:
            case.query["wait"] = 0  # a long poll is tried elsewhere
        response = case.call(headers=live.token)
        case.validate_response(response, checks=CHECKS, headers=live.token)

    send()


def test_the_document_describes_every_route(live: LiveNode) -> None:
    """Each route names 421, 422 and 503, has a summary and an operation id of its own; every $ref resolves."""
    document = live.client.get("/openapi.json").json()
    ids = set()
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            assert {"421", "422", "503"} <= route["responses"].keys(), (method, path)
            assert route["description"], (method, path)
            ids.add(route["operationId"])
    assert len(ids) == sum(len(methods) for methods in document["paths"].values())
    text = json.dumps(document)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= document["components"]["schemas"].keys()
