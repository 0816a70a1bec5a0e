"""One entry of a complete answer: what of it is shown, what that proves, and whether it belongs to the stream.

Rules (SPEC R-S02, R-S03, R-V03): an entry is record + head + body, record + head, record, or hash only; each is bound
by its leaf hash, so what is shown is true whatever is withheld. A record belongs to its author's stream, to those of its
refs and data subjects, and to its extra streams; a refused one to `!refused` instead, except for the extra ones.
Not here: that the entries are all (see `proofstream`), and filtering, which is the reader's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ledger.core import canonical, merkle
from ledger.core import proofjson as pj
from ledger.core.event import event_hash_parts, parse_event, parse_head
from ledger.core.hashing import Digest, parse_hex_digest, sha256
from ledger.core.leaf import LEAF_VERSION, TYPE_RECORD, TYPE_TIMER, Record, TimerLeaf, parse_leaf, timer_streams
from ledger.core.stream import event_streams
from ledger.errors import MalformedError, VerificationError

FULL: Final = "full"
HEAD: Final = "head"
RECORD: Final = "record"
HASH: Final = "hash"
LEVELS: Final = (FULL, HEAD, RECORD, HASH)
"""How much of an entry is shown: record + head + body (a timer leaf has neither), record + head, record, hash only."""

_OUTCOME: Final = b'{"outcome":"'
_REFUSED: Final = b'{"outcome":"refused"'


@dataclass(frozen=True, slots=True)
class StreamName:
    """A stream: kind, id, and whether it is the `!refused` twin."""

    kind: str
    id: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class EntryProof:
    """What is shown of one entry; nothing holds until `verify` returns.

    `leaf` is the whole leaf or None; `head` and `body` belong to a record leaf; `body_hash` stands for a withheld body;
    `leaf_hash` is given where the leaf is not.
    """

    leaf: bytes | None = None
    head: bytes | None = None
    body: bytes | None = None
    body_hash: Digest | None = None
    leaf_hash: Digest | None = None

    @property
    def hash(self) -> Digest:
        """The entry's leaf hash, computed where the leaf is shown."""
        if self.leaf is not None:
            return merkle.leaf_hash(self.leaf)
        if self.leaf_hash is None:
            raise MalformedError("proof", "an entry has neither leaf nor hash", field="entries")
        return self.leaf_hash

    def verify(self, stream: StreamName) -> Entry:
        """The entry, once its parts agree with each other and with the stream.

        Raises `MalformedError`, or `VerificationError`: `event-hash`, `event-id` (head and record differ) or
        `stream-member` (what is shown says that it is in another stream).
        """
        digest = self.hash
        if self.leaf is None:
            return Entry(HASH, digest)
        leaf = parse_leaf(self.leaf)
        if isinstance(leaf, bytes):
            raise VerificationError("stream-member", "a block header joins no stream", stream=_name(stream))
        if isinstance(leaf, TimerLeaf):
            _check_member(stream, (*timer_streams(leaf.key), *leaf.extra_streams), None, shown=True)
            return Entry(FULL, digest, leaf)
        head, body = self._event(leaf)
        joined = [("member", leaf.member)] if head is None else event_streams(leaf.member, head)
        _check_member(stream, joined, leaf, shown=head is not None)
        level = RECORD if head is None else HEAD if body is None else FULL
        return Entry(level, digest, leaf, head, body)

    def _event(self, record: Record) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Head and body fields as far as they are shown, bound to the record."""
        if self.head is None:
            return None, None
        return verify_event_parts(record, self.head, self.body, self.body_hash)

    def encode(self) -> pj.Fields:
        """The entry's fields: {"hash"} or {"leaf", "type", "head"?, "body"? | "body_hash"?}."""
        if self.leaf is None:
            return {"hash": self.hash.hex()}
        fields: pj.Fields = {"leaf": self.leaf[2:].decode("utf-8"), "type": self.leaf[0]}
        if self.head is not None:
            fields["head"] = self.head.decode("utf-8")
            fields.update(encode_body(self.body, self.body_hash))
        return fields


@dataclass(frozen=True, slots=True)
class Entry:
    """A verified entry: its level, leaf hash, leaf, and the parsed head and body as far as they were shown."""

    level: str
    leaf_hash: Digest
    leaf: Record | TimerLeaf | None = None
    head: dict[str, Any] | None = None
    body: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many entries were shown at each level; `timers` are those of `full` that are timer leaves."""

    full: int = 0
    head: int = 0
    record: int = 0
    hash: int = 0
    timers: int = 0


def count_levels(entries: Iterable[Entry]) -> Counts:
    """The four counts, and the timers among the first."""
    found = dict.fromkeys(LEVELS, 0)
    timers = 0
    for entry in entries:
        found[entry.level] += 1
        timers += isinstance(entry.leaf, TimerLeaf)
    return Counts(found[FULL], found[HEAD], found[RECORD], found[HASH], timers)


def verify_event_parts(
    record: Record, head: bytes, body: bytes | None, body_hash: Digest | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The fields of head and body (None where only its hash is given), once they are those of the record.

    Raises `MalformedError`, or `VerificationError` (codes `event-hash`, `event-id`).
    """
    content = None
    if body is not None:
        event = parse_event(head, body)
        fields, content, digest = event.fields, event.content, event.hash
    elif body_hash is not None:
        fields, digest = parse_head(head), event_hash_parts(sha256(head), body_hash)
    else:
        raise MalformedError("proof", "a head without body or body hash", field="head")
    if digest != record.event_hash:
        raise VerificationError("event-hash", "head and body are not the record's", expected=record.event_hash)
    if fields["id"] != record.id:
        raise VerificationError("event-id", "head and record differ", expected=record.id, got=fields["id"])
    return fields, content


def encode_body(body: bytes | None, body_hash: Digest | None) -> pj.Fields:
    """`body` where it is shown, else `body_hash`."""
    if body is not None:
        return {"body": body.decode("utf-8")}
    return {} if body_hash is None else {"body_hash": body_hash.hex()}


def parse_entry(value: object) -> EntryProof:
    """One item of `entries`."""
    if isinstance(value, dict) and "hash" in value:
        return EntryProof(leaf_hash=parse_hex_digest(pj.closed(value, "entries", "hash")["hash"]))
    fields = pj.closed(value, "entries", "leaf type", "head body body_hash")
    kind = pj.number(fields["type"], "entries.type")
    if kind not in {TYPE_RECORD, TYPE_TIMER} or (kind == TYPE_TIMER and "head" in fields):
        raise MalformedError("proof", "not a record or timer leaf", field="entries.type", got=kind)
    leaf = bytes((kind, LEAF_VERSION)) + pj.document(fields["leaf"], "entries.leaf")
    head = pj.document(fields["head"], "entries.head") if "head" in fields else None
    return EntryProof(leaf, head, *parse_body_or_hash(fields, "entries", wanted=head is not None))


def parse_body_or_hash(fields: pj.Fields, what: str, *, wanted: bool) -> tuple[bytes | None, Digest | None]:
    """Exactly one of `body` and `body_hash` where a head is shown, none of them otherwise."""
    if ("body" in fields) + ("body_hash" in fields) != wanted:
        raise MalformedError("proof", "a head goes with a body or its hash", field=what)
    body = pj.document(fields["body"], f"{what}.body") if "body" in fields else None
    return body, parse_hex_digest(fields["body_hash"]) if "body_hash" in fields else None


def _check_member(stream: StreamName, joined: Iterable[tuple[str, str]], record: Record | None, *, shown: bool) -> None:
    """Refuse an entry of which everything is shown that decides, and which says that it joined another stream."""
    name = (stream.kind, stream.id)
    if record is None:  # a timer leaf: the ledger's own, never refused
        belongs = not stream.refused and name in joined
    else:
        if not stream.refused and name in record.extra_streams:
            return
        refused = _is_refused(record.verdict)
        # What joins `!refused` also includes records with a ref that resolves to nothing, whatever their outcome.
        fits = stream.refused or not refused
        belongs = fits and (name in joined or not shown)
    if not belongs:
        raise VerificationError("stream-member", "an entry of another stream", stream=_name(stream))


def _is_refused(verdict: bytes) -> bool:
    """Whether a verdict in canonical JSON says refused; mostly it begins with its outcome."""
    if verdict.startswith(_OUTCOME):
        return verdict.startswith(_REFUSED)
    return bool(canonical.parse(verdict)["outcome"] == "refused")


def _name(stream: StreamName) -> str:
    return f"{stream.kind}/{stream.id}" + ("!refused" if stream.refused else "")
