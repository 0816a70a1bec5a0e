"""The state as it was at the last certified block, while newer blocks are already written (SPEC R-M08).

Each sealed block leaves a layer: what it overwrote. A `StateAt` reads the database's snapshot under the layers of the
blocks after its height. Layers up to the certified height are dropped. Thread-safe. Never changes state.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from ledger.adapters.sqlite.reader import Snapshot
from ledger.core.buckets import bucket_index, bucket_leaf_hash
from ledger.core.hashing import Digest
from ledger.core.header import Header, parse_header
from ledger.core.mapkeys import key_hash
from ledger.core.maptree import MapTree, TreeUndo
from ledger.core.merkle import verify_inclusion
from ledger.errors import UnavailableError, VerificationError
from ledger.limits import UNCERTIFIED_BLOCKS_MAX
from ledger.machine.block import Sealed, StateRow

LAYERS_MAX = UNCERTIFIED_BLOCKS_MAX + 200
TRIES = 12
# Below the certified height, for answers that began before the newest certificate: so many layers, while the rows in
# them are no more than this, and these few in any case.
LAYERS_KEPT = 128
LAYERS_LEAST = 8
ROWS_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Layer:
    """What one block overwrote: rows by map key, bucket contents, and the tree's undo layer."""

    old_rows: dict[bytes, StateRow | None]
    old_buckets: dict[int, bytes]
    undo: TreeUndo


class Layers:
    """Layers of the recent blocks by height."""

    def __init__(self, tree: MapTree) -> None:
        self.tree = tree
        self._lock = threading.Lock()
        self._layers: OrderedDict[int, Layer] = OrderedDict()

    def sealed(self, sealed: Sealed) -> None:
        """Keep the layer of a block; called before the block is written, so that no snapshot lacks a layer."""
        with self._lock:
            self._layers[sealed.height] = Layer(sealed.old_rows, sealed.old_buckets, sealed.undo)
            while len(self._layers) > LAYERS_MAX:
                self._layers.popitem(last=False)

    def certified(self, height: int) -> None:
        """Drop the layers that no proof needs any more; an answer in the making may still stand a little lower."""
        with self._lock:
            rows = 0
            for known in sorted((known for known in self._layers if known <= height), reverse=True):
                rows += len(self._layers[known].old_rows)
                if height - known >= (LAYERS_LEAST if rows > ROWS_KEPT else LAYERS_KEPT):
                    del self._layers[known]

    def first_after(self, height: int) -> TreeUndo | None:
        """The undo layer of the block after `height`, None while there is none."""
        with self._lock:
            layer = self._layers.get(height + 1)
        return None if layer is None else layer.undo

    def after(self, height: int, up_to: int) -> list[Layer]:
        """Layers of the blocks height+1 … up_to; raises `UnavailableError` when one is missing."""
        with self._lock:
            found = [self._layers[h] for h in range(height + 1, up_to + 1) if h in self._layers]
        if len(found) != up_to - height:
            raise UnavailableError("proof-height", "this height is too old to be proved from; try again", height=height)
        return found


class StateAt:
    """The state map after block `height`, as the snapshot and the layers give it; `note` certifies its checkpoint."""

    def __init__(self, layers: Layers, snap: Snapshot, height: int, note: bytes) -> None:
        self._layers, self.snap, self.height, self.note = layers, snap, height, note
        self._newer = layers.after(height, snap.head_height)
        self.header_leaf = snap.block(height).header_leaf
        self.header: Header = parse_header(self.header_leaf)
        self.size, self.time = self.header.index + 1, self.header.time

    def row(self, key: bytes) -> StateRow | None:
        """The row of a map key, None where it was absent."""
        for layer in self._newer:
            if key in layer.old_rows:
                return layer.old_rows[key]
        return self.snap.row(key)

    def bucket(self, index: int) -> bytes:
        """Packed contents of a bucket."""
        for layer in self._newer:
            if index in layer.old_buckets:
                return layer.old_buckets[index]
        return self.snap.bucket(index)

    def bucket_path(self, key: bytes) -> tuple[int, bytes, list[Digest]]:
        """(index, contents, inclusion path) of the bucket that holds `key` or would hold it."""
        header = self.header
        index = bucket_index(key_hash(key), header.state_buckets)
        packed = self.bucket(index)
        leaf = bucket_leaf_hash(packed)
        for attempt in range(TRIES):
            first = self._layers.first_after(self.height)
            path = self._layers.tree.inclusion_path(index, first)
            try:
                verify_inclusion(leaf, index, header.state_buckets, path, header.state_root)
            except VerificationError:
                # The next block was applied to the tree while we read it; its layer is there in a moment.
                time.sleep(0.002 * attempt)
                continue
            return index, packed, path
        raise UnavailableError("proof-height", "the state moved on while it was read; try again", height=self.height)
