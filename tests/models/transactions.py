"""Transactions of framed submissions, whatever these hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ledger.core.hashing import Digest
from ledger_node.comet import transaction


def encode_transaction(nonce: bytes, framed: Sequence[bytes], bundles: Mapping[Digest, bytes] | None = None) -> bytes:
    """The bytes of a transaction with these parts; bundles by hash."""
    return transaction.make(nonce, framed, (), bundles or {}).encode()
