"""`ledger member list|show`: who takes part, in which standing, with which keys.

Rule: what is shown is the certified state as the node gives it; a removed member stays listed, for its entries stay too.
Not here: changes of members (see `approve`).
"""

from __future__ import annotations

from typing import Any

from ledger.cli.command import argument, command
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.tables import fields, safe, screen_columns, table


@command("list")
@node_options
def list_members(console: Console, **connection: str | None) -> None:
    """List the members."""
    client = open_client(console, open_settings(console, connection))
    document = client.get_json(("v1", "members"))
    rows = [
        (
            safe(item["id"]),
            _title(console, item["member"]),
            _status(console, item["member"]),
            safe(", ".join(item["member"]["roles"])),
            sum(1 for key in item["keys"] if "until" not in key["entry"]),
            item["accepted"],
        )
        for item in document["items"]
    ]
    head = [console.text(f"member.{name}") for name in ("id", "title", "status", "roles", "keys", "accepted")]
    console.result(
        {"node": client.url, **document}, table(rows, head, screen_columns(console.out, console.environment))
    )


@command("show")
@argument("member", metavar="ID")
@node_options
def show(console: Console, member: str, **connection: str | None) -> None:
    """Show one member with its keys."""
    client = open_client(console, open_settings(console, connection))
    document = client.get_json(("v1", "members", member))
    entry = document["member"]
    pairs: list[tuple[str, object]] = [
        (console.text("member.id"), safe(document["id"])),
        (console.text("member.title"), _title(console, entry)),
        (console.text("member.status"), _status(console, entry)),
        (console.text("member.roles"), safe(", ".join(entry["roles"]))),
        (console.text("member.accepted"), document["accepted"]),
        (console.text("member.refused"), document["refused"]),
    ]
    if entry.get("successor"):
        pairs.append((console.text("member.successor"), safe(entry["successor"])))
    pairs += [(safe(name), safe(str(value))) for name, value in sorted(entry["attributes"].items())]
    rows = [
        (
            safe(key["key_id"]),
            safe(key["entry"]["use"]),
            safe(", ".join(key["entry"]["roles"])),
            key["entry"]["from"],
            key["entry"].get("until", ""),
        )
        for key in document["keys"]
    ]
    head = [console.text(f"member.{name}") for name in ("key", "use", "roles", "from", "until")]
    shown = [fields(pairs), "", table(rows, head, screen_columns(console.out, console.environment), whole=(0,))]
    console.result({"node": client.url, **document}, "\n".join(shown))


def _title(console: Console, entry: dict[str, Any]) -> str:
    title = entry["title"]
    return safe(str(title.get(console.texts.language) or title.get("en") or ""))


def _status(console: Console, entry: dict[str, Any]) -> str:
    return console.text(f"member.{entry.get('status') or 'active'}")
