"""`ledger import permits FILE`: record a permit log as `import.batch` events, through the same interface as all others.

Rules: ids are minted now and times are claimed from the file; every row is accounted for: recorded, or named by line with
the reason; rows that could not be read make the exit code 7, events that the rules refused 1. The datasets of the log are
drafted in the catalogue first where they do not exist. Not here: how the log is read (see `permit_log`).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ledger.cli.append import ledger_now
from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.progress import Progress
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.settings import SettingError, Settings, state_folder
from ledger.cli.tables import table
from ledger.errors import LedgerError, NotFoundError

if TYPE_CHECKING:
    from ledger.cli.permit_log import PermitLog, Statement
    from ledger.client.http import NodeClient
    from ledger.client.request import Appended
    from ledger.core.event import Event
    from ledger.core.keys import Signer

BATCH: Final = 500
WINDOW: Final = 4_000  # statements sorted by author together, so that submissions are large
SHOWN_MAX: Final = 20
CATALOGUE: Final[dict[str, Any]] = {
    "name": "Permit case files",
    "items": ["case", "task", "applicant-channel"],
    "format": "case file",
    "frequency": "irregular",
    "sharing": "conditional",
    "methods": ["file"],
    "level": "general",
    "purposes": ["permit-handling"],
}


@dataclass(slots=True)
class Tally:
    """What became of the import."""

    outcomes: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    height: int = 0
    size: int = 0

    def add(self, answer: Appended) -> None:
        """Count one answer."""
        self.height, self.size = max(self.height, answer.height), max(self.size, answer.size)
        for event in answer.events:
            self.outcomes["duplicate" if event.duplicate else event.outcome] += 1
            for reason in event.verdict.get("reasons", []):
                self.reasons[" ".join(map(str, reason[:2]))] += 1


@command("permits")
@argument("file", type=click.Path())
@option("--keys", "keys", metavar="DIR", type=click.Path())
@option("--tag-key", "tag_key", metavar="FILE", type=click.Path())
@option("--dry-run", is_flag=True)
@option("--ack", type=click.Choice(["committed", "certified"]), default="committed")
@node_options
def permits(
    console: Console,
    file: str,
    keys: str | None,
    tag_key: str | None,
    dry_run: bool,
    ack: str,
    **connection: str | None,
) -> None:
    """Import a permit log."""
    from ledger.cli.permit_log import read_log, statements

    settings = open_settings(console, connection)
    log = read_log(Path(file))
    tally = Tally()
    for statement in statements(log):
        tally.stages[statement.body["stage"]] += 1
    if not dry_run:
        _import(console, settings, log, tally, keys, tag_key, ack)
    _tell(console, file, log, tally, dry_run=dry_run)


def _import(
    console: Console, settings: Settings, log: PermitLog, tally: Tally, keys: str | None, tag_key: str | None, ack: str
) -> None:
    from ledger.cli.permit_log import datasets, person_tag, slug, statements

    client = open_client(console, settings)
    now_ms = ledger_now(client.get_json(("v1", "status")))
    members = [slug(group) for group in log.groups]
    _check_members(client, members)
    sender = _sender(client, settings, members, keys, ack)
    secret = _tag_secret(tag_key, settings, console.environment)
    _draft(client, sender, datasets(log), now_ms, tally)
    total = tally.stages.total()
    with Progress(console, console.text("import.progress"), total) as progress:
        for member, batch in batches(statements(log)):
            events = [
                _event(each, now_ms, person_tag(secret, member, each.person) if each.person else None) for each in batch
            ]
            tally.add(sender.send(member, events))
            progress.advance(len(batch))


def batches(found: Iterable[Statement]) -> Iterator[tuple[str, list[Statement]]]:
    """Statements by author, in order within each, as large submissions as the limits allow."""
    window: list[Statement] = []
    for statement in found:
        window.append(statement)
        if len(window) == WINDOW:
            yield from _by_author(window)
            window = []
    yield from _by_author(window)


def _by_author(window: list[Statement]) -> Iterator[tuple[str, list[Statement]]]:
    authors: dict[str, list[Statement]] = {}
    for statement in window:
        authors.setdefault(statement.member, []).append(statement)
    for member, own in authors.items():
        for start in range(0, len(own), BATCH):
            yield member, own[start : start + BATCH]


class _Sender:
    """Has events recorded: signed here with members' keys, or by the local node."""

    def __init__(
        self, client: NodeClient, origin: str, signers: Mapping[str, Signer], token: str | None, ack: str
    ) -> None:
        self._client, self._origin, self._signers, self._token, self._ack = client, origin, signers, token, ack

    def send(self, member: str, events: list[Event]) -> Appended:
        """The node's answer."""
        from ledger.client.request import append_json, parse_appended, submit
        from ledger.core.submission import new_submission
        from ledger.framing import encode

        if member in self._signers:
            framed = encode(new_submission(self._origin, member, self._signers[member], events))
            return parse_appended(self._client.send(submit(framed, ack=self._ack)))
        if self._token is None:
            raise SettingError("no-signer-member", "no key of this member and no token", member=member)
        # The node mints id and salt of what it signs.
        items = [
            {
                "kind": event.kind,
                "refs": event.fields["refs"],
                "time": event.fields["time"],
                "body": {name: value for name, value in event.content.items() if name != "salt"},
            }
            for event in events
        ]
        return parse_appended(self._client.send(append_json(items, member, self._token, ack=self._ack)))


def _sender(client: NodeClient, settings: Settings, members: list[str], keys: str | None, ack: str) -> _Sender:
    from ledger.adapters.home.keyfile import read_key
    from ledger.adapters.home.nodefile import EVENT_KEY, KEYS
    from ledger.core.genesis import parse_genesis

    data = settings.get("data")
    folder = Path(keys) if keys is not None else Path(data) / KEYS if data is not None else None
    signers: dict[str, Signer] = {}
    for member in members if folder is not None else ():
        path = (folder or Path()) / f"{EVENT_KEY}-{member}.key"
        if path.exists():
            signers[member] = read_key(path, settings.passphrase())
    origin = parse_genesis(client.get_bytes(("v1", "genesis"))).origin
    return _Sender(client, origin, signers, settings.get("token"), ack)


def _check_members(client: NodeClient, members: list[str]) -> None:
    """Raise `NotFoundError` (code `import-members`) naming groups that are no members of the network."""
    missing: list[str] = []
    for member in members:
        try:
            client.get_json(("v1", "members", member))
        except NotFoundError:
            missing.append(member)
    if missing:
        raise NotFoundError("import-members", "groups of the log are no members", members=", ".join(missing))


def _draft(client: NodeClient, sender: _Sender, names: list[str], now_ms: int, tally: Tally) -> None:
    """Draft the catalogue entries that do not exist yet: an import names only datasets that the catalogue knows."""
    from ledger.client.recorder import mint

    for dataset in names:
        try:
            client.get_json(("v1", "datasets", dataset))
        except NotFoundError:
            event = mint("catalog.draft", {"dataset": dataset}, CATALOGUE, now_ms=now_ms)
            tally.add(sender.send(dataset.partition("/")[0], [event]))
            tally.stages["catalogue"] += 1


def _event(statement: Statement, now_ms: int, actor: str | None) -> Event:
    from ledger.client.recorder import mint

    body = statement.body if actor is None else {**statement.body, "actor": actor}
    return mint("import.batch", statement.refs, body, now_ms=now_ms, time_ms=statement.time)


def _tag_secret(path: str | None, settings: Settings, environment: Mapping[str, str]) -> bytes:
    """The secret of person tags: made once, kept 0600, so that a second import gives the same tags."""
    from ledger.adapters.home.keyfile import read_secret, write_secret

    data = settings.get("data")
    base = Path(data) / "keys" if data is not None else state_folder(environment)
    file = Path(path) if path is not None else base / "person-tags.secret"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_secret(file, os.urandom(32))
    secret = read_secret(file)
    if len(secret) != 32:
        raise LedgerError("tag-key", "the file holds no 32-byte secret", path=str(file))
    return secret


def _tell(console: Console, file: str, log: PermitLog, tally: Tally, *, dry_run: bool) -> None:
    recorded = tally.outcomes["accepted"] + tally.outcomes["irregular"] + tally.outcomes["duplicate"]
    refused = tally.outcomes["refused"]
    code = Exit.OPERATIONAL if refused else Exit.INCOMPLETE if log.bad else Exit.OK
    document: dict[str, Any] = {
        "file": file,
        "dry_run": dry_run,
        "rows": log.rows,
        "rows_read": len(log.tasks),
        "rows_bad": [{"line": bad.line, "reason": bad.reason} for bad in log.bad],
        "groups": len(log.groups),
        "statements": dict(tally.stages),
        "outcomes": dict(tally.outcomes),
        "reasons": dict(tally.reasons),
        "recorded": recorded,
        "height": tally.height,
        "size": tally.size,
    }
    values = {"rows": log.rows, "read": len(log.tasks), "bad": len(log.bad), "groups": len(log.groups)}
    lines = [console.text("import.rows", **values)]
    stages = [(console.text(f"stage.{stage}"), count) for stage, count in sorted(tally.stages.items())]
    lines.append(table(stages))
    if not dry_run:
        lines.append(console.text("import.recorded", recorded=recorded, refused=refused, height=tally.height))
        lines += [f"  {count} x {reason}" for reason, count in tally.reasons.most_common(SHOWN_MAX)]
    console.result(document, "\n".join(lines), code)
    for bad in log.bad[:SHOWN_MAX]:
        console.warn(console.text("import.bad-row", line=bad.line, reason=bad.reason))
    if len(log.bad) > SHOWN_MAX:
        console.warn(console.text("import.bad-more", count=len(log.bad) - SHOWN_MAX))
