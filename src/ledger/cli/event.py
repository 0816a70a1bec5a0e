"""`ledger event get|search`: one event, or a page of them."""

from __future__ import annotations

from typing import Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.settings import SettingError
from ledger.cli.tables import fields, safe, screen_columns, table
from ledger.cli.verdicts import Rulebook, verdict_lines


@command("get")
@argument("event")
@node_options
def get(console: Console, event: str, **connection: str | None) -> None:
    """Show an event."""
    member, event_id = split_event(event)
    client = open_client(console, open_settings(console, connection))
    document = client.get_json(("v1", "events", member, event_id))
    shown = document.get("event") if isinstance(document.get("event"), dict) else document
    rulebook = Rulebook(console.language, lambda: client.get_json(("v1", "rulebooks")))
    console.result({"node": client.url, **document}, event_text(console, shown or {}, rulebook))


@command("search")
@argument("words", required=False)
@option("--kind", metavar="KIND")
@option("--member", metavar="ID")
@option("--after", metavar="CURSOR")
@option("--limit", type=click.IntRange(1, 1000), default=50, metavar="N")
@node_options
def search(
    console: Console,
    words: str | None,
    kind: str | None,
    member: str | None,
    after: str | None,
    limit: int,
    **connection: str | None,
) -> None:
    """List events."""
    client = open_client(console, open_settings(console, connection))
    if words:
        document = client.get_json(("v1", "search"), {"q": words, "limit": limit, "after": after})
    else:
        query = {"kind": kind, "member": member, "after": after, "limit": limit}
        document = client.get_json(("v1", "events"), query)
    rows = [event_row(entry) for entry in entries_of(document)]
    head = [console.text(f"event.{name}") for name in ("seq", "time", "kind", "event", "outcome", "about")]
    text = table(rows, head, screen_columns(console.out, console.environment)) if rows else console.text("event.none")
    console.result({"node": client.url, **document}, text)
    following = document.get("next") or document.get("after")
    if following:
        console.hint(console.text("event.more", cursor=following))


def split_event(text: str) -> tuple[str, str]:
    """(member, id) of `member/id`."""
    member, slash, event_id = text.rpartition("/")
    if not slash or not member:
        raise SettingError("event-name", "an event is named <member>/<id>", got=text)
    return member, event_id


def entries_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The list of an answer's page, whatever its member is called."""
    for name in ("events", "entries", "items", "results"):
        found = document.get(name)
        if isinstance(found, list):
            return [entry for entry in found if isinstance(entry, dict)]
    return []


def parts_of(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(record, head, body) of an entry; empty where the answer withholds one."""
    record = entry.get("record") if isinstance(entry.get("record"), dict) else entry
    head = entry.get("head") if isinstance(entry.get("head"), dict) else entry
    body = entry.get("body")
    return record or {}, head or {}, body if isinstance(body, dict) else {}


def event_row(entry: dict[str, Any]) -> tuple[object, ...]:
    """seq, time, kind, name, outcome and refs of an entry for a table."""
    record, head, _ = parts_of(entry)
    verdict = record.get("verdict") if isinstance(record.get("verdict"), dict) else {}
    name = f"{record.get('member', '')}/{record.get('id', '')}"
    refs = ", ".join(f"{ref}={_short(value)}" for ref, value in (head.get("refs") or {}).items())
    outcome = (verdict or {}).get("outcome") or record.get("outcome", "")
    return entry.get("seq", ""), head.get("time", ""), head.get("kind", "timer"), name, outcome, refs


def event_text(console: Console, entry: dict[str, Any], rulebook: Rulebook) -> str:
    """An event in words, its fields below."""
    record, head, body = parts_of(entry)
    verdict = record.get("verdict") if isinstance(record.get("verdict"), dict) else {}
    pairs: list[tuple[str, object]] = [
        (console.text("event.event"), f"{record.get('member', '')}/{record.get('id', head.get('id', ''))}"),
        (console.text("event.kind"), head.get("kind")),
        (console.text("event.time"), head.get("time")),
        (console.text("event.seq"), entry.get("seq")),
        (console.text("event.height"), record.get("height")),
    ]
    pairs += [(f"refs.{name}", _short(value)) for name, value in (head.get("refs") or {}).items()]
    pairs += [(name, value) for name, value in body.items() if name != "salt"]
    lines = [fields(pairs), ""]
    if not body:
        lines.insert(1, console.text("event.withheld"))
    return "\n".join([*lines, *verdict_lines(console, verdict or {}, rulebook)])


def _short(value: object) -> str:
    return safe(", ".join(map(str, value)) if isinstance(value, list) else value)
