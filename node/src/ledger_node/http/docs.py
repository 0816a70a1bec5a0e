"""A page of the interface for people: every route with its texts and examples, without script, style sheet or network.

Rule: made from /openapi.json, every text escaped, and nothing but this page may load (CSP). Not here: trying requests.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec
from starlette.responses import Response

CSP: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def docs_page(openapi: bytes) -> Response:
    """The page of an OpenAPI document."""
    document = msgspec.json.decode(openapi)
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>{escape(document['info']['title'])}</title>",
        f"<h1>{escape(document['info']['title'])}</h1>",
        *(f"<p>{escape(text)}</p>" for text in document["info"]["description"].split("\n\n")),
        '<p><a href="/openapi.json">/openapi.json</a></p>',
    ]
    shared = document["components"].get("examples", {})
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            parts.extend(_route(method, path, route))
            parts.extend(_examples(method, path, route, shared))
    parts.append("</html>")
    return Response("\n".join(parts), media_type="text/html", headers={"content-security-policy": CSP})


def _route(method: str, path: str, route: dict[str, Any]) -> list[str]:
    parts = [f"<h2><code>{method.upper()} {escape(path)}</code></h2>", f"<p>{escape(route.get('description', ''))}</p>"]
    parameters = route.get("parameters", [])
    if parameters:
        rows = "".join(
            f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
            f"<td>{'required' if each.get('required') else ''}</td><td>{escape(each.get('description', ''))}</td></tr>"
            for each in parameters
        )
        parts.append(f"<table>{rows}</table>")
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(', '.join(answer.get('content', {})))}</td>"
        f"<td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in sorted(route["responses"].items())
    )
    parts.append(f"<table>{answers}</table>")
    return parts


def _examples(method: str, path: str, route: dict[str, Any], shared: dict[str, Any]) -> list[str]:
    """A request with all its parameters, what goes in, and what comes back, each to be unfolded."""
    values = {each["name"]: str(each["example"]) for each in route.get("parameters", ()) if "example" in each}
    queries = [each["name"] for each in route.get("parameters", ()) if each["in"] == "query"]
    query = urlencode([(name, values[name]) for name in queries if name in values])
    for name, value in values.items():
        path = path.replace("{" + name + "}", quote(value, safe="/:~"))
    parts = [f"<p><code>{method.upper()} {escape(f'{path}?{query}' if query else path)}</code></p>"]
    bodies = [("body", content) for content in route.get("requestBody", {}).get("content", {}).items()]
    answers = [(status, each) for status in sorted(route["responses"]) for each in _contents(route, status)]
    for where, (media_type, content) in [*bodies, *answers]:
        value = content.get("example")
        for reference in content.get("examples", {}).values():
            value = shared[reference["$ref"].rpartition("/")[2]]["value"]
        if value is not None:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
            parts.append(f"<details><summary>{where} {media_type}</summary><pre>{escape(shown)}</pre></details>")
    return parts


def _contents(route: dict[str, Any], status: str) -> list[tuple[str, dict[str, Any]]]:
    return list(route["responses"][status].get("content", {}).items())
