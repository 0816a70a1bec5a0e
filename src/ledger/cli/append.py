"""`ledger event append`: sign events here, or hand them to the node of this machine, and say what became of them.

Rules: with a key the events are signed here and only bytes leave; without one the local node signs, and the token shows
that the caller is on this machine. Exit 0 when all were recorded and none refused, 1 when a request was refused, 4 when
an id was used with other content. Not here: what an event may say (see the rulebook).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from ledger.cli.command import command, option
from ledger.cli.event import rulebook_of
from ledger.cli.eventinput import INPUT_BYTES_MAX, check_event, from_flags, mint_event, parse_events
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.progress import Progress
from ledger.cli.session import (
    new_file,
    node_options,
    open_client,
    open_key,
    open_settings,
    read_input,
)
from ledger.cli.settings import SettingError, Settings
from ledger.cli.verdicts import verdict_lines
from ledger.errors import MalformedError

if TYPE_CHECKING:
    from ledger.client.http import NodeClient
    from ledger.client.request import Appended, Recorded

MINTED_BYTES: Final = 300  # what the node adds to an event that it signs: id, salt, time, version
SHOWN_MAX: Final = 20  # verdicts told one by one; of more events the counts


@command("append")
@option("--kind", metavar="KIND")
@option("--ref", "refs", multiple=True, metavar="NAME=ID")
@option("--set", "fields", multiple=True, metavar="FIELD=VALUE")
@option("--time", "happened", metavar="TIME")
@option("--id", "event_id", metavar="UUID")
@option("--intent", is_flag=True)
@option("--file", "file", metavar="FILE", type=click.Path())
@option("--member", metavar="ID")
@option("--key", metavar="FILE", type=click.Path())
@option("--ack", type=click.Choice(["committed", "certified"]), default="committed")
@option("--receipt", metavar="FILE", type=click.Path())
@node_options
def append(
    console: Console,
    kind: str | None,
    refs: tuple[str, ...],
    fields: tuple[str, ...],
    happened: str | None,
    event_id: str | None,
    intent: bool,
    file: str | None,
    member: str | None,
    key: str | None,
    ack: str,
    receipt: str | None,
    **connection: str | None,
) -> None:
    """Have events recorded."""
    if (kind is None) == (file is None):
        raise SettingError("event-source", "give either --kind or --file")
    if kind is not None:
        given = from_flags(kind, refs, fields, time=happened, event_id=event_id, intent=intent)
        events = [check_event(given, "--kind")]
    else:
        if refs or fields or happened or event_id or intent:
            raise SettingError("event-source", "flags of one event do not go with --file")
        events = parse_events(read_input(file or "-", INPUT_BYTES_MAX), "stdin" if file == "-" else file or "")
    if receipt is not None:
        new_file(receipt)
        if len(events) != 1:
            raise SettingError("receipt-one", "--receipt keeps the receipt of one event", count=len(events))
    settings = open_settings(console, {"member": member, "key": key, **connection})
    client = open_client(console, settings)
    answers = send_events(console, settings, client, events, "certified" if receipt else ack)
    recorded = [each for answer in answers for each in answer.events]
    if receipt is not None:
        _keep_receipt(client, recorded[0], receipt)
    tell_recorded(console, client, answers, recorded, receipt)


def send_events(
    console: Console, settings: Settings, client: NodeClient, events: Sequence[dict[str, Any]], ack: str
) -> list[Appended]:
    """The node's answers, one a batch; signed here with the settings' key, or by the node for the bearer of its token."""
    from ledger.client.batches import batches
    from ledger.client.request import append_json, parse_appended, submit

    key, answers = settings.get("key"), []
    with Progress(console, console.text("append.progress"), len(events)) as progress:
        if key is None:
            token = settings.get("token")
            if token is None:
                raise SettingError("no-signer", "no key and no token of a local node")
            for batch in batches(events, _json_size):
                answers.append(parse_appended(client.send(append_json(batch, settings.get("member"), token, ack=ack))))
                progress.advance(len(batch))
            return answers
        from ledger.core.submission import new_submission
        from ledger.framing import encode

        signer, member = open_key(console, settings, key), settings.need("member")
        state = client.get_json(("v1", "status"))
        origin, now_ms = _origin(client), ledger_now(state)
        minting = (_mint(event, now_ms, index) for index, event in enumerate(events))
        for minted in batches(minting, lambda event: len(event.head) + len(event.body)):
            framed = encode(new_submission(origin, member, signer, minted))
            answers.append(parse_appended(client.send(submit(framed, ack=ack))))
            progress.advance(len(minted))
    return answers


def _json_size(event: dict[str, Any]) -> int:
    return len(json.dumps(event, ensure_ascii=False).encode("utf-8")) + MINTED_BYTES


def _mint(event: dict[str, Any], now_ms: int, index: int) -> Any:
    try:
        return mint_event(event, now_ms)
    except MalformedError as error:
        raise MalformedError(error.code, error.message, **{**error.evidence, "index": index}) from None


def _origin(client: NodeClient) -> str:
    from ledger.core.genesis import parse_genesis

    return parse_genesis(client.get_bytes(("v1", "genesis"))).origin


def ledger_now(status: dict[str, Any]) -> int:
    """Unix ms that new ids start from: the wall clock, or the clock of a network with simulated time."""
    if status.get("clock") == "scenario":
        return int(status["time"])
    return time.time_ns() // 1_000_000


def _keep_receipt(client: NodeClient, recorded: Recorded, path: str) -> None:
    from ledger.cli.session import write_result

    write_result(path, client.get_bytes(("v1", "events", recorded.member, recorded.id, "receipt")))


def tell_recorded(
    console: Console,
    client: NodeClient,
    answers: Sequence[Appended],
    recorded: Sequence[Recorded],
    receipt: str | None = None,
) -> None:
    """Print what became of the events; exit code 1 for a refusal, 4 for a conflict."""
    counts = {name: sum(each.outcome == name for each in recorded) for name in ("accepted", "irregular", "refused")}
    counts["duplicate"] = sum(each.duplicate for each in recorded)
    last = answers[-1]
    conflict = any(each.conflict for each in recorded)
    document: dict[str, Any] = {
        "counts": counts,
        "height": last.height,
        "size": last.size,
        "certified": last.certified,
        "checkpoint": last.checkpoint,
        "events": [
            {
                "member": each.member,
                "id": each.id,
                "seq": each.seq,
                "outcome": each.outcome,
                "duplicate": each.duplicate,
                "verdict": each.verdict,
            }
            for each in recorded
        ],
    }
    if receipt is not None:
        document["receipt"] = receipt
    rulebook = rulebook_of(console, client)
    lines: list[str] = []
    for each in recorded[:SHOWN_MAX]:
        lines += [
            f"{each.member}/{each.id}" + (f"  seq {each.seq}" if each.seq is not None else ""),
            *("  " + line for line in verdict_lines(console, each.verdict, rulebook, duplicate=each.duplicate)),
        ]
    if len(recorded) > 1:
        lines.append(console.text("append.counts", total=len(recorded), **counts))
    state = "append.certified" if last.certified else "append.committed"
    lines.append(console.text(state, height=last.height, size=last.size))
    if receipt is not None:
        lines.append(console.text("append.receipt", path=receipt))
    code = Exit.CONFLICT if conflict else Exit.OPERATIONAL if counts["refused"] else Exit.OK
    console.result(document, "\n".join(lines), code)
