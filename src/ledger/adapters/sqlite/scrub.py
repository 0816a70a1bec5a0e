"""Searches a stored ledger for bytes that are not what was written, in every table, and names each place.

Rules: what hashes cover is recomputed from the leaves up (leaves, tiles, headers, events, submissions, buckets, state rows,
streams); what only serves look-ups (event index, timers, signers, authors) is compared with what it is derived from. It goes
on after a finding; what only a whole log or index can tell is left out behind a part that cannot be read, so that no place
is named that is sound. Not here: signatures, rules and certificates' quorums, which `ledger verify` checks.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Final

from ledger.adapters.sqlite.buckets import load_map
from ledger.adapters.sqlite.dictionaries import check_dictionary
from ledger.adapters.sqlite.events import index_secret, parse_seqs
from ledger.adapters.sqlite.faults import damaged, storage_error
from ledger.adapters.sqlite.load import check_row, is_registry_key, read_registry_keys
from ledger.adapters.sqlite.packing import CHUNK, encode_deltas, event_key, id_time, unpack_entry
from ledger.adapters.sqlite.query import rows, select_in
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.adapters.sqlite.tiles import LOG_TREE, TILE_LEVELS, split_hashes, tile_reader
from ledger.core import canonical, merkle, nativecommit
from ledger.core.buckets import bucket_count, bucket_index
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.checkpoint import app_hash, parse_checkpoint_text
from ledger.core.genesis import GENESIS_BYTES_MAX
from ledger.core.hashing import Digest, parse_hex_digest, sha256
from ledger.core.header import Header, parse_header
from ledger.core.keys import PublicKey
from ledger.core.leaf import Record, TimerLeaf, parse_leaf
from ledger.core.mapkeys import NS_STREAM, NS_TIMER, key_hash, key_key, object_key, parse_object_value
from ledger.core.merkle import EMPTY_RANGE, CompactRange
from ledger.core.note import parse_note
from ledger.core.registry import parse_key_entry
from ledger.core.submission import signed_message
from ledger.errors import FatalError, LedgerError, MalformedError

FINDINGS_MAX: Final = 1_000  # a file that is damaged everywhere need not be listed in full
_ROWS_AT_ONCE: Final = 1_000

Findings = Iterator[LedgerError]


def scrub(snapshot: Snapshot) -> Iterator[LedgerError]:
    """Every damage found, as the error that reading the place would deserve; at most 1,000. Nothing is raised."""
    return _Scrub(snapshot).run()


class _Scrub:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._connection = snapshot.connection
        self._log = EMPTY_RANGE
        self._levels: list[list[Digest]] = []
        self._tiles_seen = 0
        self._records = 0
        self._newest: dict[str, int] = {}
        self._header: Header | None = None
        self._followed = -1  # the last height up to which every leaf was read: only that far the log can be compared
        self._sound_tiles = True
        self._indexed = 0  # blocks whose records were compared with the event index

    def run(self) -> Findings:
        checks: list[Callable[[], Findings]] = [
            self._genesis,
            self._blocks,
            self._log_tiles,
            self._index_totals,
            self._state,
            self._streams,
            self._timers,
            self._certificates,
            self._natives,
            self._dictionaries,
            self._pages,
        ]
        if list(_guarded(self._head)):  # no leaf can be looked up then: that would be said of every part
            checks = [self._head, self._dictionaries, self._pages]
        found = 0
        for check in checks:
            for finding in _guarded(check):
                yield finding
                found += 1
                if found == FINDINGS_MAX:
                    return

    def _head(self) -> Findings:
        """The last block, which says how long the log is."""
        height = self._snapshot.head_height
        if height >= 0:
            yield from _guarded(partial(self._readable, height), height=height)

    def _readable(self, height: int) -> Findings:
        self._snapshot.block(height)
        yield from ()

    # --- genesis and blocks ------------------------------------------------------------------------------------------

    def _genesis(self) -> Findings:
        if self._snapshot.head_height < 0:
            return
        try:
            expected = parse_header(self._snapshot.block(0).header_leaf).genesis
        except LedgerError:
            return  # `_blocks` names it
        if sha256(self._snapshot.genesis()) != expected:
            yield damaged("genesis", expected=expected)
            return
        document = canonical.parse(self._snapshot.genesis(), bytes_max=GENESIS_BYTES_MAX)
        for name in ("rulebook", "calendar"):
            self._snapshot.bundle(parse_hex_digest(document[name]))
        for digest, data in rows(self._connection, "SELECT digest, data FROM bundles", (), (bytes, bytes)):
            try:
                if bundle_hash(parse_bundle(data)) != digest:
                    yield damaged("bundle", digest=digest)
            except MalformedError as error:
                yield damaged("bundle", digest=digest, reason=str(error))

    def _blocks(self) -> Findings:
        total = self._connection.execute("SELECT count(*) FROM blocks").fetchone()[0]
        if total != self._snapshot.head_height + 1:
            yield damaged("blocks", expected=self._snapshot.head_height + 1, got=total)
        for height in range(self._snapshot.head_height + 1):
            yield from _guarded(partial(self._block, height), height=height)

    def _block(self, height: int) -> Findings:
        snapshot = self._snapshot
        block = snapshot.block(height)
        header = self._header = parse_header(block.header_leaf)
        leaves = snapshot.block_leaves(height)
        if self._followed == height - 1:
            yield from self._follow(header, leaves, block.note)
        yield from self._events(height, header, leaves[:-1])

    def _follow(self, header: Header, leaves: list[bytes], note: bytes) -> Findings:
        """A block whose predecessors were all read: header and note name the log as its leaves make it."""
        height = header.height
        if (header.prev_size, header.prev_root) != (self._log.size, self._log.root()):
            yield damaged("block", height=height, reason="does not follow the block before")
        hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
        self._log = self._log.extend(hashes)
        yield from self._grow(0, hashes)
        self._followed = height
        if note:
            checkpoint = parse_checkpoint_text(parse_note(note).text)
            if (checkpoint.size, checkpoint.root) != (self._log.size, self._log.root()):
                yield damaged("note", height=height, expected=self._log.root(), got=checkpoint.root)

    def _events(self, height: int, header: Header, leaves: list[bytes]) -> Findings:
        """Records against heads and bodies, submissions against records, and the event index."""
        snapshot = self._snapshot
        records: dict[int, Record] = {}
        for position, leaf in enumerate(leaves):
            parsed = parse_leaf(leaf)
            if isinstance(parsed, Record):
                records[header.first_seq + position] = parsed
            if not isinstance(parsed, Record | TimerLeaf) or parsed.height != height:
                yield damaged("leaf", height=height, position=position)
        stored = snapshot.leaves(list(records), checked=False)
        for entry in stored:
            hashed = entry.event_hash
            if hashed is None:
                yield damaged("event", height=height, seq=entry.seq, reason="head or body is missing")
            elif hashed != records[entry.seq].event_hash:
                yield damaged("event", height=height, seq=entry.seq, reason="not the event of its record")
        by_submission: dict[int, list[Record]] = {}
        for entry in stored:
            if entry.place is not None:
                by_submission.setdefault(entry.place[0], []).append(records[entry.seq])
        for number in range(snapshot.submission_count(height)):
            member, key_id, signature, count, hashes = snapshot.submission_of(height, number)
            message = signed_message(snapshot.origin, member, key_id, count, merkle.root(hashes))
            own = by_submission.get(number, ())
            for record in own:
                if (record.member, record.key_id, record.submission) != (member, key_id, sha256(message)):
                    yield damaged("submission", height=height, number=number, reason="not that of its records")
            if not own:
                # Only duplicates: no record vouches for it, so its signature has to.
                self._public_key(key_id).verify(message, signature)
        yield from _guarded(partial(self._index, records), first_seq=header.first_seq)

    def _public_key(self, key_id: Digest) -> PublicKey:
        row = self._snapshot.row(key_key(key_id))
        if row is None:
            raise damaged("submission", reason="its key is not registered", key_id=key_id)
        return parse_key_entry(parse_object_value(row.value)[1]).public

    def _index(self, records: dict[int, Record]) -> Findings:
        secret = index_secret(self._connection)
        keys = {seq: event_key(secret, record.id) for seq, record in records.items()}
        stored = {
            key: parse_seqs(value)
            for key, value in select_in(
                self._connection,
                "SELECT k, seq FROM events WHERE k IN ({})",
                sorted(set(keys.values())),
                (int, object),
            )
        }
        for seq, record in records.items():
            if stored.get(keys[seq], []).count(seq) != 1:
                yield damaged("event index", seq=seq, member=record.member, id=record.id)
            self._newest[record.member] = max(id_time(record.id), self._newest.get(record.member, -1))
        self._records += len(records)
        self._indexed += 1

    # --- log tiles ---------------------------------------------------------------------------------------------------

    def _grow(self, level: int, hashes: list[Digest]) -> Findings:
        """Append nodes to a tile level, and compare each tile that becomes full."""
        while level >= len(self._levels):
            self._levels.append([])
        pending = self._levels[level]
        pending.extend(hashes)
        complete: list[Digest] = []
        while len(pending) >= CHUNK:
            tile, pending = pending[:CHUNK], pending[CHUNK:]
            index = (self._counted(level) - len(tile) - len(pending)) // CHUNK
            yield from _guarded(partial(self._compare, level, index, tile), level=level, index=index)
            complete.append(merkle.root(tile))
        self._levels[level] = pending
        if complete:
            yield from self._grow(level + 1, complete)

    def _counted(self, level: int) -> int:
        return self._log.size >> (TILE_LEVELS * level)

    def _compare(self, level: int, index: int, tile: list[Digest]) -> Findings:
        self._tiles_seen += 1
        sound, self._sound_tiles = self._sound_tiles, False
        if tile_reader(self._connection, LOG_TREE)(level, index) == b"".join(tile):
            self._sound_tiles = sound
        else:
            yield damaged("hash tile", level=level, index=index)

    def _log_tiles(self) -> Findings:
        """The partial tiles at the right edge, and that there are no others."""
        if self._followed < self._snapshot.head_height:
            return
        for level, pending in enumerate(self._levels):
            if pending:
                index = self._counted(level) // CHUNK
                yield from _guarded(partial(self._compare, level, index, pending), level=level, index=index)
        total = self._connection.execute("SELECT count(*) FROM tiles WHERE tree=0").fetchone()[0]
        if total != self._tiles_seen:
            yield damaged("hash tiles", expected=self._tiles_seen, got=total)

    def _index_totals(self) -> Findings:
        if self._indexed <= self._snapshot.head_height:
            return
        total = self._connection.execute(
            "SELECT coalesce(sum(1 + length(seq) - length(replace(seq, ',', ''))), 0) FROM events"
        ).fetchone()[0]
        if total != self._records:
            yield damaged("event index", expected=self._records, got=total)
        authors = dict(self._connection.execute("SELECT member, newest FROM authors"))
        if authors != self._newest:
            yield damaged("authors", expected=self._newest, got=authors)

    # --- state -------------------------------------------------------------------------------------------------------

    def _state(self) -> Findings:
        header = self._header
        if header is None or header.height != self._snapshot.head_height:
            return
        tree = load_map(self._connection).tree
        n = header.state_buckets
        if (tree.size, tree.root()) != (n, header.state_root) or n != bucket_count(header.state_keys):
            yield damaged("state map", expected=header.state_root, got=tree.root())
        for table in ("names", "state"):
            total = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            if total != header.state_keys:
                yield damaged(table, expected=header.state_keys, got=total)
        registry = set(read_registry_keys(self._connection))
        numbers: set[int] = set()
        for key, number, packed in self._rows(b"", None):
            if packed is None or number in numbers:
                yield damaged("state", key=key, reason="its value is missing")
                continue
            numbers.add(number)
            if is_registry_key(key) != (key in registry):
                yield damaged("registry", key=key, reason="not as listed")
            yield from _guarded(partial(self._row, key, packed, n), key=key)

    def _row(self, key: bytes, packed: bytes, n: int) -> Findings:
        index = bucket_index(key_hash(key), n)
        check_row(key, unpack_entry(packed).row.value, index, self._snapshot.bucket(index))
        yield from ()

    def _rows(self, first: bytes, behind: bytes | None) -> Iterator[tuple[bytes, int, bytes | None]]:
        """(key, number, packed value) of all keys from `first` on and before `behind`, in pages."""
        sql = (
            "SELECT n.key, n.id, s.value FROM names n LEFT JOIN state s ON s.id = n.id "
            "WHERE n.key > ? AND n.key < ? ORDER BY n.key LIMIT ?"
        )
        after, limit = first, behind if behind is not None else b"\xff" * 8
        while True:
            page = list(rows(self._connection, sql, (after, limit, _ROWS_AT_ONCE), (bytes, int, object)))
            for key, number, packed in page:
                yield key, number, packed if type(packed) is bytes else None
            if len(page) < _ROWS_AT_ONCE:
                return
            after = page[-1][0]

    # --- streams -----------------------------------------------------------------------------------------------------

    def _streams(self) -> Findings:
        if not self._sound_tiles:
            return  # the leaf hashes that a stream is made of are read from the tiles
        tiles = chunks = 0
        for key, _, _ in self._rows(bytes((NS_STREAM,)), bytes((NS_STREAM + 1,))):
            counted = [0, 0]
            yield from _guarded(partial(self._stream, key, counted), key=key)
            chunks, tiles = chunks + counted[0], tiles + counted[1]
        for table, expected in (("stream_seqs", chunks), ("tiles WHERE tree<>0", tiles)):
            total = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
            if total != expected:
                yield damaged(table, expected=expected, got=total)

    def _stream(self, key: bytes, counted: list[int]) -> Findings:
        """One stream: its log indexes give its root, its local range and its tiles."""
        stream, row = self._snapshot.stream(key), self._snapshot.row(key)
        if stream is None or row is None:
            return  # `_state` has named it
        value = stream.value
        tree: CompactRange = EMPTY_RANGE
        nodes: dict[int, list[Digest]] = {}
        last = -1
        for begin in range(0, value.size, CHUNK):
            seqs = stream.read_seqs(self._connection, begin, min(begin + CHUNK, value.size))
            if begin == 0 and seqs[0] != value.first:
                yield damaged("stream", key=key, reason="first record differs")
            if seqs[0] <= last or any(a >= b for a, b in pairwise(seqs)):
                yield damaged("stream", key=key, reason="not ascending", begin=begin)
            last = seqs[-1]
            tree, levels = tree.grow(self._snapshot.leaf_hashes(seqs))
            for level in range(TILE_LEVELS, len(levels), TILE_LEVELS):
                nodes.setdefault(level, []).extend(levels[level][1])
        counted[0] += value.size // CHUNK
        if last != value.last or tree.root() != value.root or tree.encode() != row.range:
            yield damaged("stream", key=key, reason="its records do not give its root")
        if value.size > 1 and stream.tail != encode_deltas(stream.last_chunk()):
            yield damaged("stream", key=key, reason="its tail has another spelling")
        read = tile_reader(self._connection, stream.number)
        for level, hashes in nodes.items():
            for index in range(-(-len(hashes) // CHUNK)):
                counted[1] += 1
                if split_hashes(read(level // TILE_LEVELS, index)) != hashes[index * CHUNK : (index + 1) * CHUNK]:
                    yield damaged("stream tile", key=key, level=level, index=index)

    # --- timers and certificates -------------------------------------------------------------------------------------

    def _timers(self) -> Findings:
        """Each armed timer is a live object that names the same time, where its object names one, and vice versa."""
        armed = dict(self._connection.execute("SELECT key, due FROM timers"))
        indexed = {
            key: due for due, key in self._connection.execute("SELECT due, key FROM timers INDEXED BY timers_due")
        }
        if armed != indexed:
            yield damaged("timers", reason="index and table differ")
        live = 0
        for key, _, packed in self._rows(bytes((NS_TIMER,)), bytes((NS_TIMER + 1,))):
            value = unpack_entry(packed).row.value if packed is not None else b""
            if value:
                live += 1
                name = "timer/" + key[3:].decode("ascii")
                due = canonical.parse(parse_object_value(value)[1]).get("due", armed.get(name))
                if armed.get(name) != due:
                    yield damaged("timers", key=name, expected=due, got=armed.get(name))
        for name in armed:
            row = self._snapshot.row(object_key(name))
            if row is None or not row.value:
                yield damaged("timers", key=name, reason="armed without an object")

    def _certificates(self) -> Findings:
        for (size,) in list(rows(self._connection, "SELECT size FROM certificates ORDER BY size", (), (int,))):
            try:
                note = self._snapshot.certificates.of(size)
                if note is None:
                    raise damaged("certificate", size=size)
                checkpoint = parse_checkpoint_text(parse_note(note).text)
                if checkpoint.size != size or (self._sound_tiles and checkpoint.root != self._snapshot.root_at(size)):
                    yield damaged("certificate", size=size, got=checkpoint.root)
            except LedgerError as error:
                yield damaged("certificate", size=size, reason=str(error))

    def _natives(self) -> Findings:
        for (size,) in list(rows(self._connection, "SELECT size FROM native ORDER BY size", (), (int,))):
            try:
                data = self._snapshot.natives.of(size)
                native = nativecommit.parse(data or b"")
                expected = app_hash(size, self._snapshot.root_at(size)) if self._sound_tiles else native.header.app_hash
                if native.header.app_hash != expected:
                    yield damaged("native commit", size=size, expected=expected, got=native.header.app_hash)
            except LedgerError as error:
                yield damaged("native commit", size=size, reason=str(error))

    def _pages(self) -> Findings:
        """SQLite's own check of its pages and indexes: what no query above happened to read."""
        for (said,) in self._connection.execute("PRAGMA integrity_check(10)"):
            if said != "ok":
                yield damaged("database page", reason=said)

    def _dictionaries(self) -> Findings:
        for number, data in rows(self._connection, "SELECT id, data FROM dictionaries", (), (int, bytes)):
            check_dictionary(number, data)
        yield from ()


def _guarded(check: Callable[[], Findings], **evidence: object) -> Findings:
    """The findings of `check`, and what ended it early as one more."""
    try:
        yield from check()
    except FatalError as error:
        yield type(error)(error.code, error.message, **{**evidence, **error.evidence})
    except LedgerError as error:
        yield damaged("ledger", reason=str(error), **evidence)
    except sqlite3.Error as error:
        yield storage_error(error, "searching for damage")
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        # Values of a wrong type in a damaged row; nothing else computes here.
        yield damaged("row", reason=repr(error), **evidence)
