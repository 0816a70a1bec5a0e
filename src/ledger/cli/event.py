"""`ledger event get|search`: one event, or a page of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.settings import SettingError
from ledger.cli.tables import cut, fields, safe, screen_columns, table, width
from ledger.cli.verdicts import Rulebook, coded, format_time, verdict_lines

if TYPE_CHECKING:
    from ledger.client.http import NodeClient


@command("get")
@argument("event")
@node_options
def get(console: Console, event: str, **connection: str | None) -> None:
    """Show an event."""
    member, event_id = split_event(event)
    client = open_client(console, open_settings(console, connection))
    document = client.get_json(("v1", "events", member, event_id))
    entry = document.get("entry")
    text = event_text(console, entry if isinstance(entry, dict) else {}, rulebook_of(console, client))
    conflicts = document.get("conflicts")
    if conflicts:
        text += "\n" + console.text("event.conflicts", count=len(conflicts))
    console.result({"node": client.url, **document}, text)


@command("search")
@argument("words", required=False)
@option("--kind", metavar="KIND")
@option("--member", metavar="ID")
@option("--after", type=click.IntRange(0), metavar="SEQ")
@option("--limit", type=click.IntRange(1, 1000), default=50, metavar="N")
@node_options
def search(
    console: Console,
    words: str | None,
    kind: str | None,
    member: str | None,
    after: int | None,
    limit: int,
    **connection: str | None,
) -> None:
    """List events."""
    client = open_client(console, open_settings(console, connection))
    if words:
        document = client.get_json(("v1", "search"), {"q": words, "limit": min(limit, 100)})
        console.result({"node": client.url, **document}, _found_text(console, document))
        return
    query = {"kind": kind, "member": member, "after": after, "limit": limit}
    document = client.get_json(("v1", "events"), query)
    rows = [event_row(console, entry) for entry in document.get("entries", [])]
    head = [console.text(f"event.{name}") for name in ("seq", "time", "kind", "event", "outcome", "about")]
    text = _listed(rows, head, screen_columns(console.out, console.environment)) if rows else console.text("event.none")
    console.result({"node": client.url, **document}, text)
    if document.get("next") is not None:
        console.hint(console.text("event.more", cursor=document["next"]))


def _listed(rows: Sequence[tuple[object, ...]], head: Sequence[str], columns: int | None) -> str:
    """A table; on a screen too narrow for it two lines an event, so that the name stays whole: `event get` wants it."""
    whole = table(rows, head)
    if columns is None or max(map(width, whole.splitlines())) <= columns:
        return whole
    lines = []
    for seq, when, kind, name, outcome, refs in rows:
        lines.append(safe(f"{seq}  {name}  {outcome}"))
        lines.append(cut(safe(f"    {when}  {kind}  {refs}"), columns))
    return "\n".join(lines)


def rulebook_of(console: Console, client: NodeClient) -> Rulebook:
    """The texts of the rulebook in force at a node."""
    return Rulebook(console.language, lambda: client.get_json(("v1", "kinds")))


def _found_text(console: Console, document: dict[str, Any]) -> str:
    """What a search found, group by group."""
    found = document.get("found", {})
    rows = [
        (group, item.get("id") or item.get("kind") or item.get("member", ""), _words(item, console.language))
        for group, items in found.items()
        for item in items
    ]
    if not rows:
        return console.text("event.none")
    return table(rows, columns=screen_columns(console.out, console.environment))


def _words(item: dict[str, Any], language: str) -> str:
    title = item.get("title")
    if isinstance(title, dict):
        return str(title.get(language, ""))
    return str(item.get("text") or item.get("member") or "")


def split_event(text: str) -> tuple[str, str]:
    """(member, id) of `member/id`."""
    member, slash, event_id = text.rpartition("/")
    if not slash or not member:
        raise SettingError("event-name", "an event is named <member>/<id>", got=text)
    return member, event_id


def event_row(console: Console, entry: dict[str, Any]) -> tuple[object, ...]:
    """seq, time, kind, name, outcome and refs of an entry for a table."""
    leaf, head = entry.get("leaf") or {}, entry.get("head") or {}
    name = f"{leaf['member']}/{leaf['id']}" if "member" in leaf else leaf.get("key", "")
    refs = ", ".join(f"{ref}={_short(value)}" for ref, value in head.get("refs", {}).items())
    kind = head.get("kind") or entry.get("type", "")
    outcome = str(leaf.get("verdict", {}).get("outcome", ""))
    shown = coded(console.texts.find(f"event.listed-{outcome}"), outcome)
    return entry.get("seq", ""), head.get("time", ""), kind, name, shown, refs


def event_text(console: Console, entry: dict[str, Any], rulebook: Rulebook) -> str:
    """An event in words, its fields below."""
    leaf, head, body = entry.get("leaf") or {}, entry.get("head") or {}, entry.get("body") or {}
    pairs: list[tuple[str, object]] = [
        (console.text("event.event"), f"{leaf.get('member', '')}/{leaf.get('id', '')}"),
        (console.text("event.kind"), head.get("kind")),
        (console.text("event.time"), head.get("time")),
        (console.text("event.recorded"), format_time(entry.get("time"))),
        (console.text("event.seq"), entry.get("seq")),
        (console.text("event.height"), leaf.get("height")),
    ]
    pairs += [(f"refs.{name}", _short(value)) for name, value in head.get("refs", {}).items()]
    pairs += [(name, _short(value)) for name, value in body.items() if name != "salt"]
    lines = [fields(pairs)]
    if not body:
        lines.append(console.text("event.withheld"))
    return "\n".join([*lines, "", *verdict_lines(console, leaf.get("verdict", {}), rulebook)])


def _short(value: object) -> str:
    """A value on one line: names separated by commas, everything that is no text as JSON."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return safe(", ".join(value))
    return safe(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
