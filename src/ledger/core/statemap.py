"""The authenticated state map as one import: an RFC 6962 tree over linear-hash buckets (SPEC, state map).

Names and values come from `mapkeys`, contents from `buckets`, the tree from `maptree`, proofs from `mapproof`.
Never reads storage and never decides what a value means.
"""

from __future__ import annotations

from ledger.core.buckets import (
    PAIR_BYTES,
    MapUpdate,
    ReadBuckets,
    bucket_count,
    bucket_index,
    bucket_leaf_hash,
    lookup,
    update,
)
from ledger.core.mapkeys import (
    EMPTY_VALUE_HASH,
    NS_BUNDLE,
    NS_CONFIG,
    NS_KEY,
    NS_MEMBER,
    NS_OBJECT,
    NS_STREAM,
    NS_TIMER,
    bundle_key,
    config_key,
    key_hash,
    key_key,
    member_key,
    next_blind,
    object_key,
    object_value,
    parse_object_value,
    stream_key,
    value_hash,
)
from ledger.core.mapproof import MapProof, Window, prove_map, verify_map
from ledger.core.maptree import MapTree, TreeUndo

__all__ = [
    "EMPTY_VALUE_HASH",
    "NS_BUNDLE",
    "NS_CONFIG",
    "NS_KEY",
    "NS_MEMBER",
    "NS_OBJECT",
    "NS_STREAM",
    "NS_TIMER",
    "PAIR_BYTES",
    "MapProof",
    "MapTree",
    "MapUpdate",
    "ReadBuckets",
    "TreeUndo",
    "Window",
    "bucket_count",
    "bucket_index",
    "bucket_leaf_hash",
    "bundle_key",
    "config_key",
    "key_hash",
    "key_key",
    "lookup",
    "member_key",
    "next_blind",
    "object_key",
    "object_value",
    "parse_object_value",
    "prove_map",
    "stream_key",
    "update",
    "value_hash",
    "verify_map",
]
