"""Events are cut into submissions that every engine can order."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from ledger import framing
from ledger.client.batches import BATCH_BYTES, BATCH_EVENTS, batches
from ledger.core.event import new_event
from ledger.core.hashing import sha256
from ledger.core.ident import uuid7_at
from ledger.core.keys import Ed25519Signer
from ledger.core.submission import new_submission
from ledger.limits import JSON_BYTES_MAX, SUBMISSION_FRAMED_BYTES_MAX

ORIGIN = "test.example/" + "0" * 64


@given(sizes=st.lists(st.integers(0, 50), max_size=60), count_max=st.integers(1, 9), bytes_max=st.integers(1, 120))
def test_batches_keep_order_and_limits(sizes: list[int], count_max: int, bytes_max: int) -> None:
    """Everything comes once, in order; each batch keeps both limits unless it is one item, and could take no more."""
    items = list(enumerate(sizes))
    cut = list(batches(items, lambda item: item[1], count_max=count_max, bytes_max=bytes_max))
    assert [item for batch in cut for item in batch] == items
    for number, batch in enumerate(cut):
        total = sum(size for _, size in batch)
        assert batch
        assert len(batch) <= count_max
        assert len(batch) == 1 or total <= bytes_max
        if number + 1 < len(cut):
            assert len(batch) == count_max or total + cut[number + 1][0][1] > bytes_max


def test_a_full_batch_that_nothing_compresses_fits_a_frame() -> None:
    """The largest batches, of large events and of many small ones, stay below the limit of a framed submission."""
    signer = Ed25519Signer(sha256(b"key"))
    for bytes_each in (JSON_BYTES_MAX - 200, BATCH_BYTES // BATCH_EVENTS - 230):
        events = [
            new_event(
                event_id=uuid7_at(1_790_000_000_000, os.urandom(10)), kind="test.event", refs={},
                time_ms=1_790_000_000_000, salt=os.urandom(16), content={"noise": os.urandom(bytes_each // 2).hex()},
            )
            for _ in range(BATCH_EVENTS)
        ]  # fmt: skip
        for batch in batches(events, lambda event: len(event.head) + len(event.body)):
            framed = framing.encode(new_submission(ORIGIN, "ga", signer, batch))
            assert len(framed) <= SUBMISSION_FRAMED_BYTES_MAX
            # Hexadecimal digits compress to half; the worst case has the same bytes with nothing to gain.
            raw = sum(len(event.head) + len(event.body) for event in batch)
            assert raw + 16 * len(batch) + 1_000 <= SUBMISSION_FRAMED_BYTES_MAX


def test_items_are_taken_as_they_are_needed() -> None:
    """A batch is there before the items behind the next one are looked at."""
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    cut = batches(source(), lambda _: 1, count_max=3)
    assert next(cut) == [0, 1, 2]
    assert taken == [0, 1, 2, 3]
