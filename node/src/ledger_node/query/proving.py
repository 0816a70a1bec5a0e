"""Builds the proof files of `core.proof` from one certified state: completeness, absence, receipts, consistency.

Rule: plan, read once, compute; what is built here verifies, or nothing is answered. Everything in one proof is of the one
checkpoint that the answer stands on. Not here: verification, which is the reader's (see `ledger.core.proof`).
"""

from __future__ import annotations

from functools import lru_cache

from ledger.core.config import config_hash
from ledger.core.hashing import Digest
from ledger.core.mapkeys import config_key, key_hash, key_key
from ledger.core.mapproof import MapProof, prove_map
from ledger.core.merkle import inclusion_nodes, prove_inclusion, prove_range, range_proof_nodes
from ledger.core.proof import (
    Absence,
    Completeness,
    EntryProof,
    Registration,
    StateProof,
    StreamName,
    StreamState,
)
from ledger.core.stream import StreamValue
from ledger.errors import NotFoundError, UnavailableError
from ledger_node.query.standing import Standing


def prove_state(standing: Standing) -> StateProof:
    """The certificate with the last header and the config in force."""
    state = standing.state
    config = standing.object(config_key())
    if config is None or config_hash(config) != state.header.config:
        # The block under this checkpoint changed the config, so its own config stands in the state before it.
        raise UnavailableError(
            "proof-config", "the config changes here; the next checkpoint is provable", retry_after_s=1
        )
    return StateProof(state.note, state.header_leaf, _header_path(standing), config)


def prove_key(standing: Standing, key: bytes) -> MapProof:
    """What the certified state map says of a key: presence or absence."""
    _, packed, path = standing.state.bucket_path(key)
    return prove_map(key_hash(key), packed, path)


def prove_completeness(
    standing: Standing, stream: StreamName, key: bytes, value: StreamValue | None, begin: int, end: int
) -> Completeness:
    """That the records [begin, end) of the stream are exactly these; `value` is what the state says of it."""
    state_value = None
    path: list[Digest] = []
    entries: tuple[EntryProof, ...] = ()
    if value is not None:
        row = standing.row(key)
        state_value = None if row is None else row.value
        left, right = range_proof_nodes(begin, end, value.size)
        path = prove_range(begin, end, value.size, standing.snap.stream_nodes(key, [*left, *right]))
        seqs = standing.snap.stream_seqs(key, begin, end) if end > begin else []
        entries = tuple(
            EntryProof(stored.leaf, stored.head if stored.body is not None else None, stored.body)
            for stored in standing.snap.leaves(seqs, places=False)
        )
    return Completeness(
        state=prove_state(standing),
        stream=stream,
        stream_state=StreamState(prove_key(standing, key), state_value),
        begin=begin,
        end=end,
        path=tuple(path),
        entries=entries,
    )


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
    return Registration(state.header, state.path, state.config, row.value, prove_key(standing, key))


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
