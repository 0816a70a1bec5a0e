"""A page of the interface for people: every route with its texts, without script, style sheet or network.

Rule: made from /openapi.json, every text escaped, and nothing but this page may load (CSP). Not here: trying requests.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

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
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            parts.extend(_route(method, path, route))
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
