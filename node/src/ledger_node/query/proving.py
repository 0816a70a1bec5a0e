"""Builds the proof files of `core.proof` from one certified state: completeness, absence, receipts, consistency.

Rule: plan, read once, compute; what is built here verifies, or nothing is answered. Everything in one proof is of the one
checkpoint that the answer stands on. Not here: verification, which is the reader's (see `ledger.core.proof`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from ledger.adapters.sqlite.snapshot import Snapshot, StoredLeaf
from ledger.core.config import config_hash
from ledger.core.hashing import Digest
from ledger.core.keys import LOG
from ledger.core.mapkeys import config_key, key_hash, key_key
from ledger.core.mapproof import MapProof, prove_map
from ledger.core.merkle import (
    inclusion_nodes,
    leaf_hash,
    prove_inclusion,
    prove_range,
    range_proof_nodes,
    verify_range,
)
from ledger.core.proof import (
    Absence,
    Completeness,
    LogKey,
    Registration,
    StateProof,
    StreamName,
    StreamState,
)
from ledger.core.stream import StreamValue
from ledger.errors import FatalError, NotFoundError, VerificationError
from ledger_node.query.epochs import prove_epochs
from ledger_node.query.standing import Standing


def prove_state(standing: Standing) -> StateProof:
    """The certificate with the last header and the config in force."""
    state = standing.state
    config = standing.object(config_key())
    if config is None or config_hash(config) != state.header.config:
        # The block under this checkpoint changed the config: in force in it was the one that the state held before.
        config = standing.node.configs.read(state.header.config)
    path, epochs = _header_path(standing), prove_epochs(standing)
    return StateProof(state.note, state.header_leaf, path, config, epochs=epochs, logs=_prove_logs(standing))


def _prove_logs(standing: Standing) -> tuple[LogKey, ...]:
    """The keys for ordering that were registered by vote, as the certified state has them."""
    known = {key.public.key_id for _, key in standing.node.genesis.keys(LOG)}
    later = sorted({key.key_id for key in standing.node.registry.log_keys()} - known)
    rows = ((key_key(key_id), standing.row(key_key(key_id))) for key_id in later)
    return tuple(LogKey(row.value, prove_key(standing, key)) for key, row in rows if row is not None)


def prove_key(standing: Standing, key: bytes) -> MapProof:
    """What the certified state map says of a key: presence or absence."""
    _, packed, path = standing.state.bucket_path(key)
    return prove_map(key_hash(key), packed, path)


@dataclass(frozen=True, slots=True)
class Page:
    """Records [begin, end) of a stream as they are stored, and the range proof that ties them to its certified root."""

    begin: int
    end: int
    leaves: list[StoredLeaf]
    path: list[Digest]


def read_page(snap: Snapshot, key: bytes, value: StreamValue, begin: int, end: int) -> Page:
    """The records [begin, end) of a stream, checked against its root in the certified state.

    Raises `FatalError` where what is stored is not what was certified. Checking a page against the stream's root costs a
    few nodes; checking each leaf against the log would read a tile for each.
    """
    left, right = range_proof_nodes(begin, end, value.size)
    path = prove_range(begin, end, value.size, snap.stream_nodes(key, [*left, *right]))
    seqs = snap.stream_seqs(key, begin, end) if end > begin else []
    leaves = snap.leaves(seqs, places=False, checked=False)
    try:
        verify_range(begin, end, value.size, [leaf_hash(stored.leaf) for stored in leaves], path, value.root)
    except VerificationError as error:
        raise FatalError(
            "stored-page", "stored records are not those of the stream's root", reason=str(error)
        ) from error
    for stored in leaves:
        hashed = stored.event_hash
        if hashed is not None:
            # The event hash is a record's first field, so comparing the beginning is comparing the hash.
            claimed = b'\x01\x01{"event_hash":"%b"' % hashed.hex().encode()
            if not stored.leaf.startswith(claimed):
                raise FatalError("stored-event", "a stored event is not that of its record", seq=stored.seq)
    return Page(begin, end, leaves, path)


def prove_completeness(
    standing: Standing, stream: StreamName, key: bytes, value: StreamValue | None, begin: int, end: int
) -> bytes:
    """The proof file that these are all records [begin, end) of the stream; `value` is what the state says of it."""
    page = Page(begin, end, [], [])
    state_value = None
    if value is not None:
        page = read_page(standing.snap, key, value, begin, end)
        row = standing.row(key)
        state_value = None if row is None else row.value
    proof = Completeness(
        state=prove_state(standing),
        stream=stream,
        stream_state=StreamState(prove_key(standing, key), state_value),
        begin=begin,
        end=end,
        path=tuple(page.path),
        entries=(),
    )
    return splice_entries(proof.encode(), page.leaves)


def splice_entries(proof: bytes, leaves: Sequence[StoredLeaf]) -> bytes:
    """The proof file with its entries put in as bytes: what `Completeness.encode` makes of them, without parsing."""
    # Inside strings every quote is escaped, so this text stands where the empty list stands, and nowhere else.
    before, _, after = proof.partition(b'"entries":[]')
    return b'%b"entries":[%b]%b' % (before, b",".join(map(_encode_entry, leaves)), after)


def _encode_entry(stored: StoredLeaf) -> bytes:
    """See `EntryProof.encode`; of an erased body its hash is shown, and without that the record alone."""
    leaf, head, body = stored.leaf, stored.head, stored.body
    if head is not None and body is None and stored.body_hash is not None:
        return b'{"body_hash":"%b","head":%b,"leaf":%b,"type":%d}' % (
            stored.body_hash.hex().encode(),
            _quote(head),
            _quote(leaf[2:]),
            leaf[0],
        )
    if head is None or body is None:
        return b'{"leaf":%b,"type":%d}' % (_quote(leaf[2:]), leaf[0])
    return b'{"body":%b,"head":%b,"leaf":%b,"type":%d}' % (_quote(body), _quote(head), _quote(leaf[2:]), leaf[0])


def _quote(document: bytes) -> bytes:
    """Canonical JSON as a JSON string: it holds no control characters, so quotes and backslashes are all there is."""
    return b'"%b"' % document.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def prove_absence(standing: Standing, kind: str, identifier: str, plain: bytes, refused: bytes) -> Absence:
    """That no stream of this name exists; `plain` and `refused` are the map keys of the stream and its twin.

    Raises `NotFoundError` where there is one.
    """
    if standing.row(plain) is not None:
        raise NotFoundError("absence", "the stream exists, so its absence cannot be proved", kind=kind, id=identifier)
    row = standing.row(refused)
    return Absence(
        state=prove_state(standing),
        kind=kind,
        id=identifier,
        plain=prove_key(standing, plain),
        refused=StreamState(prove_key(standing, refused), None if row is None else row.value),
    )


def prove_registration(standing: Standing, key_id: Digest) -> Registration:
    """The registration of a key in the certified state."""
    key = key_key(key_id)
    row = standing.row(key)
    if row is None:
        raise NotFoundError("key", "no such key is registered", key_id=key_id)
    state = prove_state(standing)
    return Registration(state.header, state.path, state.config, row.value, prove_key(standing, key), state.logs)


def inclusion_path(standing: Standing, seq: int, size: int) -> list[Digest]:
    """The inclusion path of leaf `seq` in the tree of `size` leaves."""
    return prove_inclusion(seq, size, standing.snap.log_nodes(inclusion_nodes(seq, size)))


def _header_path(standing: Standing) -> tuple[Digest, ...]:
    size = standing.size
    nodes = inclusion_nodes(size - 1, size)
    return _cached_path(size, tuple(standing.snap.log_nodes(nodes).items()))


@lru_cache(maxsize=256)
def _cached_path(size: int, nodes: tuple[tuple[tuple[int, int], Digest], ...]) -> tuple[Digest, ...]:
    return tuple(prove_inclusion(size - 1, size, dict(nodes)))
