"""What the state map says of a stream, and how it advances: size, root, first and last record, time (SPEC R-S01, R-S04).

A stream is the RFC 6962 tree whose level 0 *are* the log's leaf hashes of its records, not hashed again. The compact
range that appending needs is local; the value is what the map commits to.
Rule: one value has one spelling, so its hash decides it. Not here: what of a block joins `!refused` streams, and findings
(see `machine.streams`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ledger.core.hashing import Digest
from ledger.core.mapkeys import next_blind
from ledger.core.merkle import CompactRange
from ledger.errors import MalformedError, invariant
from ledger.limits import INT_MAX

Stream = tuple[str, str]
"""(stream kind, id)."""

_NUMBER: Final = rb"(0|[1-9][0-9]{0,15})"
_DIGEST: Final = rb'"([0-9a-f]{64})"'
_VALUE: Final = re.compile(
    rb'\{"blind":' + _DIGEST + rb',"first":' + _NUMBER + rb',"last":' + _NUMBER
    + rb',"root":' + _DIGEST + rb',"size":' + _NUMBER + rb',"time":' + _NUMBER + rb"\}"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StreamValue:
    """The map value of a stream.

    `first` and `last` are the log indexes of its first and last record, `size` their number, `root` the RFC 6962 root
    over their leaf hashes, `time` the block time (unix ms) of the last, `blind` what keeps the value unguessable.
    """

    blind: Digest
    first: int
    last: int
    root: Digest
    size: int
    time: int

    def encode(self) -> bytes:
        """Canonical JSON, fields in code point order, digests in hex."""
        return (
            f'{{"blind":"{self.blind.hex()}","first":{self.first},"last":{self.last},'
            f'"root":"{self.root.hex()}","size":{self.size},"time":{self.time}}}'
        ).encode("ascii")


def parse_stream_value(data: bytes) -> StreamValue:
    """The stream value in canonical bytes; `MalformedError` (code `stream-value`) for every other input.

    A template with one spelling is as strict as the canonical parser, and quicker: this runs for each touched stream.
    """
    match = _VALUE.fullmatch(data)
    if match is None:
        raise MalformedError("stream-value", "not a stream value", size=len(data))
    first, last, size, time = (int(match[group]) for group in (2, 3, 5, 6))
    if max(first, last, size, time) > INT_MAX:
        raise MalformedError("stream-value", "integer out of range")
    # Records have distinct indexes, so `size` of them span at least that many; a stream begins with its first record.
    if size < 1 or last - first < size - 1 or (size == 1 and first != last):
        raise MalformedError("stream-value", "first, last and size disagree", first=first, last=last, size=size)
    return StreamValue(
        blind=Digest(bytes.fromhex(match[1].decode("ascii"))),
        first=first,
        last=last,
        root=Digest(bytes.fromhex(match[4].decode("ascii"))),
        size=size,
        time=time,
    )


def advance(
    previous: StreamValue | None,
    tree: CompactRange,
    seqs: Sequence[int],
    leaf_hashes: Sequence[Digest],
    time: int,
    touches: Sequence[Digest],
) -> tuple[StreamValue, CompactRange]:
    """The stream after one block's records: `seqs` their log indexes, ascending, `leaf_hashes` in the same order.

    `tree` is the compact range of the `previous` stream, the empty one where it is None. The blind takes one step for
    each of `touches`. `time` is block time, unix ms. Raises `FatalError` where the parts are not of one stream: what
    was stored locally is then not to be built upon.
    """
    invariant(bool(seqs) and len(seqs) == len(leaf_hashes) and bool(touches), "a stream advances by records")
    if previous is None:
        invariant(tree.size == 0, "compact range of another stream")
        blind, first = None, seqs[0]
    else:
        invariant(tree.size == previous.size and seqs[0] > previous.last, "compact range of another stream")
        blind, first = previous.blind, previous.first
    for touch in touches:
        blind = next_blind(blind, touch)
    grown = tree.append(leaf_hashes[0]) if len(leaf_hashes) == 1 else tree.extend(leaf_hashes)
    value = StreamValue(Digest(blind or b""), first, seqs[-1], grown.root(), grown.size, time)
    return value, grown


def event_streams(member: str, fields: Mapping[str, Any]) -> list[Stream]:
    """The streams that an event's record joins by author and head alone: author, refs, data subjects.

    `fields` is a checked head. A data subject's tag is keyed by the department, so its stream is named below the member:
    nobody else can join it. A record joins a stream once.
    """
    streams = {("member", member): None}
    for kind, value in fields["refs"].items():
        for identifier in value if isinstance(value, list) else (value,):
            streams[kind, identifier] = None
    for tag in fields.get("data_subjects", ()):
        streams["subject", f"{member}/{tag}"] = None
    return list(streams)
