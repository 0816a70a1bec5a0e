"""`ledger lineage show`: where a dataset came from and where it went, as a table of steps."""

from __future__ import annotations

from typing import Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.tables import screen_columns, table


@command("show")
@argument("dataset")
@option("--direction", type=click.Choice(["up", "down", "both"]), default="both")
@option("--depth", type=click.IntRange(1, 50), default=3, metavar="N")
@node_options
def show(console: Console, dataset: str, direction: str, depth: int, **connection: str | None) -> None:
    """Show the lineage of a dataset."""
    client = open_client(console, open_settings(console, connection))
    document = client.get_json(
        ("v1", "datasets", dataset, "lineage"), {"direction": direction, "depth": depth}
    )
    edges = [edge for edge in document.get("edges", []) if isinstance(edge, dict)]
    nodes = {str(node.get("id")): node for node in document.get("nodes", []) if isinstance(node, dict)}
    rows = [_row(edge) for edge in edges]
    head = [console.text(f"lineage.{name}") for name in ("from", "to", "by", "event", "outcome")]
    lines = [console.text("lineage.counts", nodes=len(nodes), edges=len(edges), depth=depth)]
    if rows:
        lines += ["", table(rows, head, screen_columns(console.out, console.environment))]
    if document.get("truncated") or document.get("hidden"):
        lines.append(console.text("lineage.cut"))
    console.result({"node": client.url, **document}, "\n".join(lines))


def _row(edge: dict[str, Any]) -> tuple[object, ...]:
    def first(*names: str) -> object:
        return next((edge[name] for name in names if edge.get(name)), "")

    return (
        first("from", "source", "parent"),
        first("to", "target", "child"),
        first("kind", "type", "label"),
        first("event", "id", "seq"),
        first("outcome"),
    )
