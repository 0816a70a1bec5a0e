"""The auditor's scratch state: what it holds in memory is bounded however long the ledger gets, and nothing is lost."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from unittest import mock

import pytest

from ledger.adapters.audit import scratch
from ledger.adapters.audit.eventindex import ENTRY_BYTES
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.runtime import memory
from ledger.core.mapkeys import object_key
from ledger.machine.block import StateRow
from ledger.verify.scratch import EventEntry

CACHE = 100_000
BLOCK = 50
KINDS = 4  # rows, objects, buckets, events


def _events(block: int) -> list[EventEntry]:
    return [
        (f"m{number % 3}", f"0192f5c2-0000-7000-8000-{block * BLOCK + number:012x}", _digest(block, number))
        for number in range(BLOCK)
    ]


def _digest(block: int, number: int) -> bytes:
    return sha256(b"%d %d" % (block, number)).digest()


def _block(state: ScratchState, block: int) -> None:
    """A block's worth of new things of every kind, and some that were there already."""
    numbers = range(block * BLOCK, (block + 1) * BLOCK)
    state.find_events([(member, name) for member, name, _ in _events(block)])
    state.add_events(_events(block))  # type: ignore[arg-type]
    state.read_rows([object_key(f"a/{number // 2}") for number in numbers])
    state.write_rows({object_key(f"a/{number}"): StateRow(b"v" * 90, b"r" * 64) for number in numbers})
    state.read_objects([f"a/{number // 2}" for number in numbers])
    state.write_objects({f"a/{number}": b"o" * 150 for number in numbers}, {f"timer/{number}": 1 for number in numbers})
    state.read_buckets([number // 2 for number in numbers])
    state.write_buckets(dict.fromkeys(numbers, b"b" * 600))


@contextmanager
def _traced() -> Iterator[None]:
    gc.collect()
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_ledger() -> None:
    """Ten times the events, rows, objects, buckets and timers take no more memory, counted and as Python allocates it."""
    with ScratchState(cache_bytes=CACHE) as state, _traced():
        held, allocated = [], []
        for block in range(400):
            _block(state, block)
            if block % 40 == 39:
                held.append(state.memory_bytes())
                allocated.append(tracemalloc.get_traced_memory()[0])
        one_block = BLOCK * 3_000
        assert max(held) <= KINDS * (2 * CACHE + one_block)
        assert max(allocated[1:]) <= allocated[0] + KINDS * CACHE
        # What is counted is what it takes, within a factor.
        assert max(allocated) <= 2 * max(held)
        # It was far more than that, and none of it is lost.
        assert 400 * BLOCK * ENTRY_BYTES > 10 * 2 * CACHE
        for block in (0, 199, 399):
            names = [(member, name) for member, name, _ in _events(block)]
            assert state.find_events(names) == {(member, name): [digest] for member, name, digest in _events(block)}
        assert state.read_objects(["a/0"]) == {"a/0": b"o" * 150}
        assert state.read_buckets([7]) == [b"b" * 600]
        assert len(state.due_timers(1, 10**6)) == 400 * BLOCK


def test_reading_alone_keeps_no_more_than_the_cache() -> None:
    """A walk over every row, as when a copy of the state is compared, does not bring the state into memory."""
    with ScratchState(cache_bytes=CACHE) as state:
        for block in range(60):
            _block(state, block)
        for first in range(0, 60 * BLOCK, 100):
            found = state.read_rows([object_key(f"a/{number}") for number in range(first, first + 100)])
            assert len(found) == 100
            assert state.memory_bytes() <= KINDS * (2 * CACHE + 100 * 3_000)


def test_free_memory_is_given_back_as_the_ledger_goes_on() -> None:
    """Each time that a generation of events is written out the free pages of the heap go back to the system."""
    with mock.patch.object(scratch, "give_back") as given, ScratchState(cache_bytes=CACHE) as state:
        for block in range(20):
            state.add_events(_events(block))  # type: ignore[arg-type]
        assert given.call_count == 20 * BLOCK // (CACHE // ENTRY_BYTES + BLOCK - (CACHE // ENTRY_BYTES) % BLOCK)


@pytest.mark.parametrize("library", [OSError(), None])
def test_other_systems_keep_what_is_free(library: OSError | None) -> None:
    """Where the C library cannot give memory back nothing happens."""
    memory._trim.cache_clear()
    try:
        with mock.patch.object(memory.ctypes, "CDLL", side_effect=library, return_value=object()):
            assert memory._trim() is None
            memory.give_back()
    finally:
        memory._trim.cache_clear()
