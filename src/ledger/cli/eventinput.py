"""Decides which events a person meant: flags, a JSON file, NDJSON or standard input, checked before anything is sent.

Rules: `--ref name=value` (repeated: a list) and `--set field=value`, where a value that is JSON (number, true, list …) is
taken as such and everything else as text; in files an event is {kind, refs?, body?, time?, id?, intent?, data_subjects?,
commitments?}. Unknown names are errors that say where. Not here: ids and salts (see `ledger.client.recorder`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ledger.cli.settings import SettingError

NAMES: Final = frozenset(("kind", "refs", "body", "time", "id", "intent", "data_subjects", "commitments"))
INPUT_BYTES_MAX: Final = 256 * 1024 * 1024
EVENTS_MAX: Final = 1_000_000


def from_flags(
    kind: str, refs: Sequence[str], fields: Sequence[str], *, time: str | None, event_id: str | None, intent: bool
) -> dict[str, Any]:
    """The event of the flags of one call."""
    event: dict[str, Any] = {"kind": kind, "refs": {}, "body": {}}
    for text in refs:
        name, value = _pair(text, "--ref")
        known = event["refs"].get(name)
        if known is None:
            event["refs"][name] = value
        else:
            event["refs"][name] = [*known, value] if isinstance(known, list) else [known, value]
    for text in fields:
        name, value = _pair(text, "--set")
        if name in event["body"]:
            raise SettingError("event-input", "a field is set twice", name=name)
        event["body"][name] = parse_value(value)
    if time is not None:
        event["time"] = time
    if event_id is not None:
        event["id"] = event_id
    if intent:
        event["intent"] = True
    return event


def parse_value(text: str) -> Any:
    """`text` as JSON where it is a number, a boolean, a quoted text, a list or an object; else the text itself."""
    if text[:1] in '-0123456789tf"[{':
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def parse_events(data: bytes, where: str) -> list[dict[str, Any]]:
    """Events of a JSON object, a JSON array, {"events": […]}, or NDJSON (one event a line)."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingError("event-input", "not UTF-8", file=where, offset=error.start) from None
    events = _document(text) or _lines(text, where)
    if not events or len(events) > EVENTS_MAX:
        raise SettingError("event-input", "no events, or too many", file=where, count=len(events))
    return [check_event(event, f"{where}[{number}]") for number, event in enumerate(events, 1)]


def check_event(event: object, where: str) -> dict[str, Any]:
    """`event` when it has the form of one; `SettingError` (code `event-input`) naming `where` otherwise."""
    if not isinstance(event, dict):
        raise SettingError("event-input", "an event is a JSON object", file=where)
    unknown = sorted(set(event) - NAMES)
    if unknown or not isinstance(event.get("kind"), str):
        raise SettingError(
            "event-input", "kind is missing, or names are unknown", file=where, unknown=", ".join(unknown)
        )
    refs, body = event.get("refs", {}), event.get("body", {})
    if not isinstance(refs, dict) or not isinstance(body, dict):
        raise SettingError("event-input", "refs and body are objects", file=where)
    if event.get("intent", True) is not True:
        raise SettingError("event-input", "intent is true or absent", file=where)
    return {**event, "refs": refs, "body": body}


def mint_event(event: Mapping[str, Any], now_ms: int) -> Any:
    """The complete event with id, time and salt; raises `MalformedError` where the ledger would."""
    import os

    from ledger.client.recorder import mint
    from ledger.core import canonical
    from ledger.core.event import parse_event
    from ledger.core.ident import format_time, parse_time, uuid7_at

    body = dict(event["body"])
    time_ms = parse_time(event["time"]) if "time" in event else now_ms
    if "salt" not in body:
        return mint(
            event["kind"],
            event["refs"],
            body,
            now_ms=now_ms,
            time_ms=time_ms,
            event_id=event.get("id"),
            data_subjects=event.get("data_subjects", ()),
            commitments=event.get("commitments"),
            intent="intent" in event,
        )
    # A salted event is complete: it is sent again, to the bit.
    head = {name: event[name] for name in ("commitments", "data_subjects", "intent") if event.get(name)}
    head.update(kind=event["kind"], refs=event["refs"], time=format_time(time_ms), v=1)
    head["id"] = event.get("id") or uuid7_at(now_ms, os.urandom(10))
    return parse_event(canonical.encode(head), canonical.encode(body))


def _document(text: str) -> list[Any]:
    """Events of one JSON document; none where the text is not one document."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(document, dict) and set(document) == {"events"} and isinstance(document["events"], list):
        return list(document["events"])
    return document if isinstance(document, list) else [document]


def _lines(text: str, where: str) -> list[Any]:
    events: list[Any] = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                events.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise SettingError("event-input", "not JSON", file=f"{where}:{number}", reason=str(error)) from None
    return events


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingError("event-input", "expected name=value", option=option, got=text)
    return name, value
