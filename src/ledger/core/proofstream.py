"""Completeness and absence: these are all records of a stream up to a certified size, or there is no such stream.

Rules (SPEC R-V03, R-V04): the stream's size and root come from the state under the certified header; the entries of a range
[begin, end) are bound to that root by a range proof, so none can be left out, added or moved. The result tells how many
entries were shown at which level; it never says "complete" of what was withheld. Age is refused last, as `stale`.
Not here: filtering by kind or time, which the reader does over the verified entries.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.core import merkle
from ledger.core import proofjson as pj
from ledger.core.hashing import Digest
from ledger.core.mapkeys import key_hash, stream_key, value_hash
from ledger.core.mapproof import MapProof
from ledger.core.proofentry import Counts, Entry, EntryProof, StreamName, count_levels, parse_entry
from ledger.core.proofstate import NAMES, OPTIONAL, CertifiedState, StateProof, parse_state_proof
from ledger.core.prooftrust import Certification, Trust, check_freshness
from ledger.core.stream import StreamValue, parse_stream_value
from ledger.errors import VerificationError
from ledger.limits import PROOF_ENTRIES_MAX, PROOF_RANGE_PATH_MAX

COMPLETENESS = "completeness"
ABSENCE = "absence"


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream's value with its map proof, or the proof that there is none (`value` None)."""

    map: MapProof
    value: bytes | None = None

    def verify(self, stream: StreamName, state: CertifiedState) -> StreamValue | None:
        """What the state says of the stream; None if it has no record.

        Raises `MalformedError`, or `VerificationError`: the map proof, or `stream-value` (the state says otherwise).
        """
        held = state.look_up(key_hash(stream_key(stream.kind, stream.id, stream.refused)), self.map)
        if held != (None if self.value is None else value_hash(self.value)):
            raise VerificationError("stream-value", "the state says otherwise", kind=stream.kind, id=stream.id)
        return None if self.value is None else parse_stream_value(self.value)

    def encode(self) -> pj.Fields:
        """The fields {"map", "value"?}."""
        fields: pj.Fields = {"map": pj.encode_map_proof(self.map)}
        if self.value is not None:
            fields["value"] = self.value.decode("utf-8")
        return fields


@dataclass(frozen=True, slots=True)
class CompletenessResult:
    """All records [begin, end) of a stream that had `size` records in this checkpoint; `value` None: it had none.

    `whole` says that the range is the whole stream, `counts` how much of the entries was shown. `time` is the block time
    (unix ms) of the checkpoint's last block. Whoever needs bodies reads `counts` before saying anything of them.
    """

    certification: Certification
    stream: StreamName
    value: StreamValue | None
    begin: int
    end: int
    size: int
    entries: tuple[Entry, ...]
    counts: Counts
    height: int
    time: int
    not_checked: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether the range is the whole stream."""
        return (self.begin, self.end) == (0, self.size)


@dataclass(frozen=True, slots=True)
class Completeness:
    """A completeness proof as it stands in its file; nothing holds until `verify` returns."""

    state: StateProof
    stream: StreamName
    stream_state: StreamState
    begin: int
    end: int
    path: tuple[Digest, ...]
    entries: tuple[EntryProof, ...]

    def verify(self, trust: Trust) -> CompletenessResult:
        """What the proof shows to somebody with this trust.

        Raises `MalformedError`, or `VerificationError`: the certified state, the map proof, `range`, an entry's parts,
        `stale`.
        """
        state = self.state.verify(trust)
        value = self.stream_state.verify(self.stream, state)
        size, root = (0, merkle.EMPTY_ROOT) if value is None else (value.size, value.root)
        entries = tuple(entry.verify(self.stream) for entry in self.entries)
        merkle.verify_range(self.begin, self.end, size, [entry.leaf_hash for entry in entries], self.path, root)
        check_freshness(state.certification, trust)
        return CompletenessResult(
            certification=state.certification,
            stream=self.stream,
            value=value,
            begin=self.begin,
            end=self.end,
            size=size,
            entries=entries,
            counts=count_levels(entries),
            height=state.header.height,
            time=state.header.time,
            not_checked=state.not_checked,
        )

    def encode(self) -> bytes:
        """The file."""
        fields = self.state.encode()
        fields["stream"] = {
            "id": self.stream.id,
            "kind": self.stream.kind,
            "refused": self.stream.refused,
            **self.stream_state.encode(),
        }
        fields["range"] = {"begin": self.begin, "end": self.end, "path": pj.encode_path(self.path)}
        fields["entries"] = [entry.encode() for entry in self.entries]
        return pj.encode_document(COMPLETENESS, fields)


@dataclass(frozen=True, slots=True)
class AbsenceResult:
    """No stream of this name in this checkpoint; `refused` is what the state says of its `!refused` twin.

    A twin's value means: there are refused records, or ones whose refs resolved to nothing, that named it.
    """

    certification: Certification
    kind: str
    id: str
    refused: StreamValue | None
    height: int
    time: int
    not_checked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Absence:
    """An absence proof as it stands in its file; nothing holds until `verify` returns."""

    state: StateProof
    kind: str
    id: str
    plain: MapProof
    refused: StreamState

    def verify(self, trust: Trust) -> AbsenceResult:
        """What the proof shows to somebody with this trust; raises as `Completeness.verify` does."""
        state = self.state.verify(trust)
        StreamState(self.plain).verify(StreamName(self.kind, self.id), state)
        refused = self.refused.verify(StreamName(self.kind, self.id, refused=True), state)
        check_freshness(state.certification, trust)
        header = state.header
        return AbsenceResult(
            state.certification, self.kind, self.id, refused, header.height, header.time, state.not_checked
        )

    def encode(self) -> bytes:
        """The file."""
        fields = self.state.encode()
        fields["stream"] = {"id": self.id, "kind": self.kind}
        fields["plain"] = {"map": pj.encode_map_proof(self.plain)}
        fields["refused"] = self.refused.encode()
        return pj.encode_document(ABSENCE, fields)


def parse_completeness(fields: pj.Fields) -> Completeness:
    """The completeness proof of a file's fields."""
    pj.closed(fields, COMPLETENESS, f"{NAMES} entries range stream", OPTIONAL)
    stream = pj.closed(fields["stream"], "stream", "id kind map refused", "value")
    bounds = pj.closed(fields["range"], "range", "begin end path")
    entries = pj.items(fields["entries"], "entries", PROOF_ENTRIES_MAX)
    return Completeness(
        state=parse_state_proof(fields),
        stream=StreamName(
            pj.name(stream["kind"], "stream.kind"),
            pj.name(stream["id"], "stream.id"),
            pj.flag(stream["refused"], "stream.refused"),
        ),
        stream_state=_stream_state(stream, "stream"),
        begin=pj.number(bounds["begin"], "range.begin"),
        end=pj.number(bounds["end"], "range.end"),
        path=pj.path(bounds["path"], "range.path", PROOF_RANGE_PATH_MAX),
        entries=tuple(parse_entry(entry) for entry in entries),
    )


def parse_absence(fields: pj.Fields) -> Absence:
    """The absence proof of a file's fields."""
    pj.closed(fields, ABSENCE, f"{NAMES} plain refused stream", OPTIONAL)
    stream = pj.closed(fields["stream"], "stream", "id kind")
    return Absence(
        state=parse_state_proof(fields),
        kind=pj.name(stream["kind"], "stream.kind"),
        id=pj.name(stream["id"], "stream.id"),
        plain=pj.map_proof(pj.closed(fields["plain"], "plain", "map")["map"], "plain.map"),
        refused=_stream_state(pj.closed(fields["refused"], "refused", "map", "value"), "refused"),
    )


def _stream_state(fields: pj.Fields, what: str) -> StreamState:
    value = pj.document(fields["value"], f"{what}.value") if "value" in fields else None
    return StreamState(pj.map_proof(fields["map"], f"{what}.map"), value)
