"""Layers under the newest blocks: enough of them for answers in the making, and no more than a bounded number of rows."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ledger.adapters.ordering.layers import LAYERS_KEPT, LAYERS_LEAST, ROWS_KEPT, Layers
from ledger.core.maptree import MapTree, TreeUndo
from ledger.errors import UnavailableError
from ledger.machine.block import Sealed, StateRow


def _layers(blocks: int, rows: int) -> Layers:
    """After blocks 1 … `blocks`, each of which overwrote so many rows."""
    layers = Layers(MapTree.empty())
    old: dict[bytes, Any] = dict.fromkeys((n.to_bytes(4, "big") for n in range(rows)), StateRow(b"v"))
    for height in range(1, blocks + 1):
        block = SimpleNamespace(height=height, old_rows=old, old_buckets={}, undo=TreeUndo(1))
        layers.sealed(cast("Sealed", block))
    return layers


@pytest.mark.parametrize(("rows", "kept"), [(10, LAYERS_KEPT), (ROWS_KEPT, LAYERS_LEAST), (ROWS_KEPT // 20, 20)])
def test_layers_below_the_certified_height_are_bounded_by_their_rows(rows: int, kept: int) -> None:
    """Small blocks keep many layers, large ones a few, and every layer above the certified height stays."""
    layers = _layers(LAYERS_KEPT + 40, rows)
    certified = LAYERS_KEPT + 30
    layers.certified(certified)
    first = certified - kept + 1
    assert len(layers.after(first - 1, LAYERS_KEPT + 40)) == kept + 10
    with pytest.raises(UnavailableError, match="too old"):
        layers.after(first - 2, LAYERS_KEPT + 40)
