"""The ends of epochs as proofs carry them, read from a stored ledger (SPEC R-V12).

Rule: an end never changes, so it is read once; only its path to the next one, or to the checkpoint of the proof, is made
anew. Not here: what an end proves (see `ledger.core.proofepochs`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ledger.adapters.ordering.configs import Configs
from ledger.adapters.ordering.epochs import EpochEnd as Known
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.core.hashing import Digest
from ledger.core.header import parse_header
from ledger.core.keys import PublicKey
from ledger.core.leaf import TimerLeaf, parse_leaf
from ledger.core.mapkeys import stream_key
from ledger.core.merkle import consistency_nodes, inclusion_nodes, prove_consistency, prove_inclusion
from ledger.core.proof import EpochEnd, LeafPart
from ledger.core.proposal import proposal_of_timer
from ledger.core.quorum import Cosigner
from ledger.errors import FatalError, UnavailableError

_MADE: Final[dict[tuple[str, int, Digest], EpochEnd]] = {}
"""Ends by origin, size and root, without their paths; a ledger has few."""


def prove_ends(
    snap: Snapshot, configs: Configs, known: Sequence[Known], newest: Sequence[Cosigner], shown: int
) -> tuple[EpochEnd, ...]:
    """The `known` ends, all below the checkpoint of size `shown`, which the set `newest` signs.

    Raises `UnavailableError` where a certificate or a config is not here.
    """
    ends = []
    for number, end in enumerate(known):
        last = number + 1 == len(known)
        cosigners, following = (newest, shown) if last else (known[number + 1].cosigners, known[number + 1].size)
        made = _MADE.get((snap.origin, end.size, end.root))
        if made is None:
            made = _end(snap, configs, end, tuple(key for _, key in cosigners))
            _MADE[snap.origin, end.size, end.root] = made
        path = prove_consistency(end.size, following, snap.log_nodes(consistency_nodes(end.size, following)))
        ends.append(replace(made, path=tuple(path)))
    return tuple(ends)


def _end(snap: Snapshot, configs: Configs, end: Known, keys: tuple[PublicKey, ...]) -> EpochEnd:
    certificate = snap.certificates.of(end.size)
    if certificate is None:
        raise UnavailableError("epoch-end", "the certificate of an epoch's end is not here yet", retry_after_s=1)
    header_leaf = snap.block(end.height).header_leaf
    effect = _part(snap, end.size - 2, end.size)
    return EpochEnd(
        certificate=certificate,
        header=LeafPart(end.size - 1, header_leaf, _path(snap, end.size - 1, end.size)),
        config=configs.read(parse_header(header_leaf).config),
        announced=_part(snap, _announced(snap, effect), end.size),
        effect=effect,
        keys=keys,
        path=(),
    )


def _announced(snap: Snapshot, effect: LeafPart) -> int:
    """Where the first leaf of the timer stands that fired last in `effect`."""
    leaf = parse_leaf(effect.leaf)
    if not isinstance(leaf, TimerLeaf):
        raise FatalError("epoch-end", "the last leaf of an epoch is no timer's", seq=effect.index)
    key = stream_key("proposal", proposal_of_timer(leaf.key), False)
    stream = snap.stream(key)
    seqs = snap.stream_seqs(key, 0, stream.value.size) if stream is not None else []
    for seq in reversed([seq for seq in seqs if seq < effect.index]):
        found = parse_leaf(snap.leaves([seq])[0].leaf)
        if isinstance(found, TimerLeaf) and found.key == leaf.key:
            return seq
    raise FatalError("epoch-end", "no leaf announces the change of this epoch", seq=effect.index)


def _part(snap: Snapshot, index: int, size: int) -> LeafPart:
    return LeafPart(index, snap.leaves([index])[0].leaf, _path(snap, index, size))


def _path(snap: Snapshot, index: int, size: int) -> tuple[Digest, ...]:
    return tuple(prove_inclusion(index, size, snap.log_nodes(inclusion_nodes(index, size))))
