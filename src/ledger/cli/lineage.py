"""`ledger lineage show`: where a dataset came from and where it went, as a table of steps."""

from __future__ import annotations

from typing import Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.tables import screen_columns, table
from ledger.cli.verdicts import coded


@command("show")
@argument("dataset")
@option("--direction", type=click.Choice(["up", "down", "both"]), default="both")
@option("--depth", type=click.IntRange(1, 50), default=3, metavar="N")
@node_options
def show(console: Console, dataset: str, direction: str, depth: int, **connection: str | None) -> None:
    """Show the lineage of a dataset."""
    client = open_client(console, open_settings(console, connection))
    document = client.get_json(("v1", "datasets", dataset, "lineage"), {"direction": direction, "depth": depth})
    edges, nodes = document.get("edges", []), document.get("nodes", [])
    columns = screen_columns(console.out, console.environment)
    lines = [console.text("lineage.counts", nodes=len(nodes), edges=len(edges), depth=depth)]
    if nodes:
        head = [console.text(f"lineage.{name}") for name in ("depth", "node", "status")]
        lines += ["", table([_node(console, node) for node in nodes], head, columns)]
    if edges:
        head = [console.text(f"lineage.{name}") for name in ("from", "to", "by", "seq")]
        lines += ["", table([(edge["from"], edge["to"], edge["via"], edge["seq"]) for edge in edges], head, columns)]
    if document.get("withheld"):
        lines.append(console.text("lineage.withheld", count=document["withheld"]))
    if document.get("truncated"):
        lines.append(console.text("lineage.cut"))
    console.result({"node": client.url, **document}, "\n".join(lines))


def _node(console: Console, node: dict[str, Any]) -> tuple[object, ...]:
    status = str((node.get("object") or {}).get("status", ""))
    words = coded(console.texts.find(status, "states"), status)
    return f"{node.get('depth', 0):+d}", f"{node.get('kind', '')}/{node.get('id', '')}", words
