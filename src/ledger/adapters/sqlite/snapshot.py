"""What one read transaction answers: blocks, submissions, leaves, streams, state rows, hash nodes and certificates.

Rules: bulk reads touch each stored frame once; what cannot be what was written raises `FatalError` with its place, what does
not exist `NotFoundError`. A body that was archived or erased reads as None. Not here: proofs (see `ledger.core.proof`).
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from ledger import framing
from ledger.adapters.sqlite import buckets, load, query
from ledger.adapters.sqlite.blocks import BlockData, BlockReader, Body, Erased, StoredSubmission
from ledger.adapters.sqlite.cache import Cache
from ledger.adapters.sqlite.certificates import CertificateReader
from ledger.adapters.sqlite.events import find_records, index_secret
from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.leaves import LeafReader
from ledger.adapters.sqlite.packing import CHUNK, unpack_entry
from ledger.adapters.sqlite.streams import StoredStream, split_nodes
from ledger.adapters.sqlite.tiles import LOG_TREE, read_nodes, tile_reader
from ledger.core import canonical, merkle
from ledger.core.buckets import bucket_index
from ledger.core.event import Event, event_hash_parts
from ledger.core.genesis import GENESIS_BYTES_MAX
from ledger.core.hashing import ZERO_DIGEST, Digest, sha256
from ledger.core.header import Header, parse_header
from ledger.core.leaf import Record, parse_leaf
from ledger.core.mapkeys import key_hash
from ledger.core.merkle import Node
from ledger.core.stream import parse_stream_value
from ledger.core.submission import Submission
from ledger.errors import NotFoundError
from ledger.machine.block import StateRow

BLOCKS_CACHED: Final = 256


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """One block as stored: `size` is its checkpoint's, `note` the log-signed note (b"" where there is none)."""

    height: int
    time: int
    first_seq: int
    count: int
    size: int
    header_leaf: bytes
    note: bytes


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """One leaf with its event, where it has one; `place` = (submission, position) within its block.

    Of an erased body only `body_hash` = H(body) is left.
    """

    seq: int
    leaf: bytes
    head: bytes | None = None
    body: bytes | None = None
    place: tuple[int, int] | None = None
    body_hash: Digest | None = None

    @property
    def event_hash(self) -> Digest | None:
        """The hash of its event, also where the body was erased; None for a timer and where a part is not here."""
        body_hash = sha256(self.body) if self.body is not None else self.body_hash
        if self.head is None or body_hash is None:
            return None
        return event_hash_parts(sha256(self.head), body_hash)


class StoredEvent(NamedTuple):
    """Head and body of an event; of an erased body only `body_hash` = H(body) is left (None where the body is there)."""

    head: bytes
    body: bytes | None
    body_hash: Digest | None


@dataclass(frozen=True, slots=True)
class BlockContent:
    """A whole block in one read: `leaves` with the header last, and each submission with its events.

    Events that made no leaf are among the submissions' events.
    """

    block: StoredBlock
    leaves: list[bytes]
    submissions: list[tuple[StoredSubmission, list[StoredEvent]]]
    attachments: list[bytes]


class Snapshot:
    """Made by `SqliteReader.snapshot` and valid within it; used by one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._blocks = BlockReader(connection)
        self._leaf_reader = LeafReader(connection, self._blocks)
        self.certificates = CertificateReader(connection, self._blocks.decompressor, "certificates")
        self.natives = CertificateReader(connection, self._blocks.decompressor, "native")
        self._cache: Cache[int, tuple[Header, BlockData]] = Cache(BLOCKS_CACHED)
        row = connection.execute("SELECT max(height) FROM blocks").fetchone()
        self.head_height: int = -1 if row[0] is None else int(row[0])
        self._origin = ""  # a cached_property has one lock for all instances before Python 3.12, which holds up readers

    @property
    def head_size(self) -> int:
        """Leaves in the log."""
        return self._block(self.head_height)[0].index + 1 if self.head_height >= 0 else 0

    @property
    def origin(self) -> str:
        """The network's name: `name/hex(H(genesis))`."""
        if not self._origin:
            data = self.genesis()
            self._origin = f"{canonical.parse(data, bytes_max=GENESIS_BYTES_MAX)['name']}/{sha256(data).hex()}"
        return self._origin

    def genesis(self) -> bytes:
        """The genesis document."""
        return load.read_genesis(self.connection)

    def bundle(self, digest: Digest) -> bytes:
        """A rulebook or calendar bundle by hash."""
        return load.read_bundle(self.connection, digest)

    # --- blocks ------------------------------------------------------------------------------------------------------

    def block(self, height: int) -> StoredBlock:
        """The block at `height`."""
        header, data = self._block(height)
        return StoredBlock(
            height, header.time, header.first_seq, header.count, header.index + 1, data.header_leaf, data.note
        )

    def block_of(self, seq: int) -> StoredBlock:
        """The block that holds leaf `seq`."""
        return self.block(self._height_of(seq))

    def block_leaves(self, height: int) -> list[bytes]:
        """All leaves of a block, the header last."""
        header, data = self._block(height)
        records = self._blocks.records(header.first_seq, header.count)
        return [*(leaf for leaf, _ in records), data.header_leaf]

    def content(self, height: int) -> BlockContent:
        """Everything of a block, each stored frame opened once; nothing is framed, parsed or checked."""
        header, data = self._block(height)
        records = self._blocks.records(header.first_seq, header.count)
        events = iter(self._events_of(header, data, records))
        submissions = [(stored, [next(events) for _ in range(stored.count)]) for stored in data.submissions]
        leaves = [*(leaf for leaf, _ in records), data.header_leaf]
        return BlockContent(self.block(height), leaves, submissions, self.attachments(height))

    def attachments(self, height: int) -> list[bytes]:
        """Attachments of a block, in order."""
        self._block(height)
        packed = query.value(self.connection, "SELECT data FROM attachments WHERE height=?", (height,), bytes)
        found = self._blocks.decompressor.single(packed) if packed is not None else []
        if not isinstance(found, list) or not all(type(attachment) is bytes for attachment in found):
            raise damaged("attachments", height=height)
        return found

    def _block(self, height: int) -> tuple[Header, BlockData]:
        found = self._cache.get(height)
        if found is None:
            row = query.row(
                self.connection, "SELECT first_seq, data FROM blocks WHERE height=?", (height,), (int, bytes)
            )
            if row is None:
                raise NotFoundError("block", "no such block is stored", height=height)
            data = self._blocks.data(row[1])
            header = parse_header(data.header_leaf)
            if header.height != height or header.first_seq != row[0]:
                raise damaged("block row", reason="not where it says it is", height=height)
            found = header, data
            self._cache.put(height, found)
        return found

    def _height_of(self, seq: int) -> int:
        if not 0 <= seq < self.head_size:
            raise NotFoundError("leaf", "beyond the end of the log", seq=seq, size=self.head_size)
        sql = "SELECT height FROM blocks WHERE first_seq<=? ORDER BY first_seq DESC LIMIT 1"
        height: int | None = query.value(self.connection, sql, (seq,), int)
        if height is None:
            raise damaged("blocks", reason="the first one is missing", seq=seq)
        return height

    # --- submissions -------------------------------------------------------------------------------------------------

    def submissions(self, height: int) -> list[bytes]:
        """The block's submissions, framed again; raises `NotFoundError` (code `body-archived`) where a body is gone."""
        header, data = self._block(height)
        if not data.submissions:
            return []
        pairs = iter(self._block_events(header, data))
        framed: list[bytes] = []
        for stored in data.submissions:
            events: list[Event] = []
            for _ in range(stored.count):
                head, body = next(pairs)
                if body is None:
                    raise NotFoundError("body-archived", "the body of an event is not here", height=height)
                # Framing reads heads and bodies only; whoever parses the frame computes the hashes anew.
                events.append(Event(head, body, {}, {}, ZERO_DIGEST))
            submission = Submission(
                self.origin, stored.member, stored.key_id, tuple(events), stored.signature, ZERO_DIGEST, ZERO_DIGEST
            )
            framed.append(framing.encode(submission))
        return framed

    def submission_count(self, height: int) -> int:
        """Number of submissions in a block."""
        return len(self._block(height)[1].submissions)

    def submission_of(self, height: int, number: int) -> tuple[str, Digest, bytes, int, list[Digest]]:
        """(member, key id, signature, count, event hashes) of a block's submission."""
        header, data = self._block(height)
        if not 0 <= number < len(data.submissions):
            raise NotFoundError("submission", "no such submission in the block", height=height, number=number)
        stored: StoredSubmission = data.submissions[number]
        start = sum(other.count for other in data.submissions[:number])
        hashes = self._event_hashes(header, data, start, stored.count)
        return stored.member, stored.key_id, stored.signature, stored.count, hashes

    def _block_events(self, header: Header, data: BlockData) -> list[tuple[bytes, bytes | None]]:
        events = self._events_of(header, data, self._blocks.records(header.first_seq, header.count))
        return [(event.head, event.body) for event in events]

    def _events_of(
        self, header: Header, data: BlockData, records: list[tuple[bytes, bytes | None]]
    ) -> list[StoredEvent]:
        """All events of a block in submission order."""
        if not data.submissions:
            return []
        bodies = self._blocks.bodies(header.first_seq, header.count)
        own = iter([(head, body) for (_, head), body in zip(records, bodies, strict=True) if head is not None])
        extras = iter(self._blocks.extras(header.height))
        duplicates = set(data.duplicates)
        total = sum(stored.count for stored in data.submissions)
        try:
            pairs = [next(extras) if at in duplicates else next(own) for at in range(total)]
        except StopIteration:
            raise damaged("submissions", height=header.height, reason="events are missing") from None
        return [StoredEvent(head, *_body_parts(body)) for head, body in pairs]

    def _event_hashes(self, header: Header, data: BlockData, start: int, count: int) -> list[Digest]:
        duplicates = sorted(data.duplicates)
        extras: dict[int, Digest] = {}
        if any(start <= at < start + count for at in duplicates):
            pairs = self._blocks.extras(header.height)
            extras = {at: _hash_of(head, body) for at, (head, body) in zip(duplicates, pairs, strict=True)}
        positions = _event_positions(data, header.count)
        wanted = {at: header.first_seq + positions[at] for at in range(start, start + count) if at not in extras}
        leaves = self._leaf_reader.read_leaves(list(wanted.values()))
        hashes: list[Digest] = []
        for at in range(start, start + count):
            if at in extras:
                hashes.append(extras[at])
                continue
            record = parse_leaf(leaves[wanted[at]])
            if not isinstance(record, Record):
                raise damaged("submissions", height=header.height, reason="an event's leaf is no record")
            hashes.append(record.event_hash)
        return hashes

    # --- leaves ------------------------------------------------------------------------------------------------------

    def leaves(
        self, seqs: Sequence[int], *, bodies: bool = True, places: bool = True, checked: bool = True
    ) -> list[StoredLeaf]:
        """Leaves in the order asked for, with head, body and place of their events.

        `checked` compares each leaf with its hash tile and each event with its record, and raises `FatalError`.
        """
        records = self._leaf_reader.read_records(seqs)
        content = self._leaf_reader.read_bodies(seqs) if bodies else {}
        found: dict[int, StoredLeaf] = {}
        place: dict[int, tuple[int, int]] = {}
        if places:
            place = self._places(seq for seq, entry in records.items() if entry is not None and entry[1] is not None)
        for seq, entry in records.items():
            if entry is None:  # no segment holds it
                found[seq] = StoredLeaf(seq, self._leaf_reader.header_leaf(seq))
            else:
                body, body_hash = _body_parts(content.get(seq))
                found[seq] = StoredLeaf(seq, entry[0], entry[1], body, place.get(seq), body_hash)
        if checked:
            self._check_leaves(found)
        return [found[seq] for seq in seqs]

    def leaf_hashes(self, seqs: Sequence[int]) -> list[Digest]:
        """RFC 6962 leaf hashes by log index, from the hash tiles."""
        nodes = read_nodes([(0, seq) for seq in seqs], tile_reader(self.connection, LOG_TREE))
        return [nodes[0, seq] for seq in seqs]

    def find_event(self, member: str, event_id: str) -> list[int]:
        """Log indexes of the records of (member, id), ascending: more than one where content conflicted."""
        name = (member, event_id)
        secret = index_secret(self.connection)
        found = find_records(self.connection, secret, [name], self._leaf_reader.read_leaves)
        return [seq for seq, _ in found.get(name, [])]

    def _check_leaves(self, leaves: dict[int, StoredLeaf]) -> None:
        for (seq, stored), expected in zip(leaves.items(), self.leaf_hashes(list(leaves)), strict=True):
            if merkle.leaf_hash(stored.leaf) != expected:
                raise damaged("leaf", seq=seq, reason="not the leaf of its hash tile")
            hashed = stored.event_hash
            if hashed is not None:
                # The record's first field is the event hash, so equal bytes are enough.
                claimed = b'\x01\x01{"event_hash":"%b"' % hashed.hex().encode()
                if not stored.leaf.startswith(claimed):
                    raise damaged("event", seq=seq, reason="not the event of its record")

    def _places(self, seqs: Iterable[int]) -> dict[int, tuple[int, int]]:
        """(submission, position) of the events at `seqs`, which are records in ascending order."""
        places: dict[int, tuple[int, int]] = {}
        block: tuple[Header, BlockData] | None = None
        starts: list[int] = []
        for seq in seqs:
            if block is None or seq > block[0].index:
                block = self._block(self._height_of(seq))
                starts = [0, *accumulate(stored.count for stored in block[1].submissions)]
            header, data = block
            position = seq - header.first_seq
            at = position - bisect_left(data.timers, position)
            for duplicate in data.duplicates:
                if duplicate > at:
                    break
                at += 1
            number = bisect_right(starts, at) - 1
            if number >= len(data.submissions):
                raise damaged("submissions", height=header.height, reason="a record has no place")
            places[seq] = number, at - starts[number]
        return places

    # --- log and streams ---------------------------------------------------------------------------------------------

    def log_nodes(self, nodes: Collection[Node]) -> dict[Node, Digest]:
        """Hashes of complete subtrees of the log."""
        return read_nodes(nodes, tile_reader(self.connection, LOG_TREE))

    def root_at(self, size: int) -> Digest:
        """RFC 6962 root of the log's first `size` leaves."""
        nodes = merkle.range_nodes(0, size)
        found = self.log_nodes(nodes)
        return merkle.fold([found[node] for node in nodes])

    def stream_seqs(self, map_key: bytes, begin: int, end: int) -> list[int]:
        """Log indexes at positions [begin, end) of a stream."""
        return self._stream(map_key).read_seqs(self.connection, begin, end)

    def stream_nodes(self, map_key: bytes, nodes: Collection[Node]) -> dict[Node, Digest]:
        """Hashes of complete subtrees of a stream's tree, whose level 0 are log leaves."""
        stream = self._stream(map_key)
        low, high = split_nodes(nodes)
        found = read_nodes(high, tile_reader(self.connection, stream.number))
        size = stream.value.size
        chunks: dict[int, list[Digest]] = {}
        for level, index in low:
            chunk, offset = divmod(index << level, CHUNK)
            if index < 0 or (index + 1) << level > size:
                raise NotFoundError("node", "the stream has no such complete node", level=level, index=index)
            if chunk not in chunks:
                seqs = stream.read_seqs(self.connection, chunk * CHUNK, min((chunk + 1) * CHUNK, size))
                chunks[chunk] = self.leaf_hashes(seqs)
            found[level, index] = merkle.root(chunks[chunk][offset : offset + (1 << level)])
        return found

    def stream(self, map_key: bytes) -> StoredStream | None:
        """A stream's number, value and tail; None where no record joined it."""
        sql = "SELECT n.id, s.value FROM names n JOIN state s ON s.id = n.id WHERE n.key=?"
        found = query.row(self.connection, sql, (map_key,), (int, bytes))
        if found is None:
            self._check(map_key, None)
            return None
        entry = unpack_entry(found[1])
        self._check(map_key, entry.row.value)
        return StoredStream(found[0], parse_stream_value(entry.row.value), entry.tail)

    def _stream(self, map_key: bytes) -> StoredStream:
        stream = self.stream(map_key)
        if stream is None:
            raise NotFoundError("stream", "no such stream", key=map_key)
        return stream

    # --- state -------------------------------------------------------------------------------------------------------

    def row(self, map_key: bytes) -> StateRow | None:
        """The state row of a key, None where it was never written; checked against its bucket, absence too."""
        sql = "SELECT s.value FROM names n JOIN state s ON s.id = n.id WHERE n.key=?"
        packed = query.value(self.connection, sql, (map_key,), bytes)
        row = unpack_entry(packed).row if packed is not None else None
        self._check(map_key, row.value if row is not None else None)
        return row

    def rows_with_prefix(self, prefix: bytes, after: bytes | None, limit: int) -> list[tuple[bytes, StateRow]]:
        """At most `limit` rows whose key starts with `prefix` and is greater than `after`, by key; each checked."""
        lower = prefix if after is None or after < prefix else after
        upper = _after_prefix(prefix)
        sql = (
            "SELECT n.key, s.value FROM names n JOIN state s ON s.id = n.id WHERE n.key {} ? {} ORDER BY n.key LIMIT ?"
        )
        compare = ">" if lower is after else ">="
        bounds = [lower] if upper is None else [lower, upper]
        rows = query.rows(
            self.connection,
            sql.format(compare, "" if upper is None else "AND n.key < ?"),
            [*bounds, limit],
            (bytes, bytes),
        )
        found = [(key, unpack_entry(packed).row) for key, packed in rows]
        for key, row in found:
            self._check(key, row.value)
        return found

    def bucket(self, index: int) -> bytes:
        """Packed pairs of a bucket of the state map; b"" beyond the map's end."""
        return buckets.read_bucket(self.connection, index)

    def timers(self, after: tuple[int, str] | None, limit: int) -> list[tuple[int, str]]:
        """At most `limit` armed timers (due, key) in order, behind `after`."""
        rows = query.rows(
            self.connection,
            "SELECT due, key FROM timers WHERE (due, key) > (?, ?) ORDER BY due, key LIMIT ?",
            (*(after or (-1, "")), limit),
            (int, str),
        )
        return [(due, key) for due, key in rows]

    def _check(self, map_key: bytes, value: bytes | None) -> None:
        if self.head_height >= 0:
            index = bucket_index(key_hash(map_key), self._block(self.head_height)[0].state_buckets)
            load.check_row(map_key, value, index, self.bucket(index))


def _body_parts(body: Body) -> tuple[bytes | None, Digest | None]:
    """(body, None), (None, hash of an erased one) or (None, None)."""
    return (None, body.hash) if isinstance(body, Erased) else (body, None)


def _hash_of(head: bytes, body: Body) -> Digest:
    if body is None:
        raise damaged("extras", reason="a body is missing")
    return event_hash_parts(sha256(head), body.hash if isinstance(body, Erased) else sha256(body))


def _event_positions(data: BlockData, count: int) -> dict[int, int]:
    """Leaf position of each event of a block, by its number among the submitted events; duplicates have none."""
    timers, duplicates = set(data.timers), set(data.duplicates)
    total = sum(stored.count for stored in data.submissions)
    leaves: Callable[[], int] = iter([at for at in range(count) if at not in timers]).__next__
    try:
        return {at: leaves() for at in range(total) if at not in duplicates}
    except StopIteration:
        raise damaged("submissions", reason="fewer leaves than events") from None


def _after_prefix(prefix: bytes) -> bytes | None:
    """The smallest bytes greater than everything that starts with `prefix`; None where there is no such."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None
