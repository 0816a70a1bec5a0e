"""Decides how many events go under one signature: as many as an engine can order at once, and no more.

Rules: order is kept; a batch holds at most `BATCH_EVENTS`, and `BATCH_BYTES` of heads and bodies unless it is one event.
That stays below the limit of a framed submission even where nothing compresses (CometBFT's RPC takes no larger one).
Not here: signing and sending.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

BATCH_EVENTS: Final = 500
BATCH_BYTES: Final = 650_000

T = TypeVar("T")


def batches(
    items: Iterable[T],
    size_of: Callable[[T], int],
    *,
    count_max: int = BATCH_EVENTS,
    bytes_max: int = BATCH_BYTES,
) -> Iterator[list[T]]:
    """`items` in order, cut into batches; `size_of` gives the bytes of one. Items are taken as they are needed."""
    batch: list[T] = []
    size = 0
    for item in items:
        more = size_of(item)
        if batch and (len(batch) == count_max or size + more > bytes_max):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += more
    if batch:
        yield batch
