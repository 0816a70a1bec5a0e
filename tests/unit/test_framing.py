"""Framing: what bytes on the wire are a submission, and how every bound is met before memory is taken."""

from __future__ import annotations

import threading
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ledger import framing
from ledger.core import submission
from ledger.errors import MalformedError, VerificationError
from ledger.limits import JSON_BYTES_MAX, SUBMISSION_EXPANDED_BYTES_MAX, SUBMISSION_FRAMED_BYTES_MAX
from tests.unit.core import samples
from tests.unit.core.samples import ORIGIN, assert_each_refused, signer

GOOD = samples.submission(3)
FLAT = [part for each in GOOD.events for part in (each.head, each.body)]


def frame(content: bytes, **options: Any) -> bytes:
    """One zstd frame."""
    return zstandard.ZstdCompressor(**{"level": 3, "write_content_size": True, **options}).compress(content)


def framed(**changes: Any) -> bytes:
    """The good submission with some fields of the envelope replaced."""
    fields = {
        "version": 1,
        "origin": ORIGIN,
        "member": "ga",
        "key_id": GOOD.key_id,
        "events": frame(msgpack.packb(FLAT)),
        "signature": GOOD.signature,
    }
    return msgpack.packb([*{**fields, **changes}.values()])


def refusal(data: bytes) -> MalformedError:
    """The error that parsing raises."""
    with pytest.raises(MalformedError) as caught:
        framing.parse(data)
    return caught.value


@pytest.mark.parametrize("count", [1, 3, 40])
def test_round_trip(count: int) -> None:
    """A submission comes back whole, whatever the compression."""
    made = samples.submission(count)
    for level in (1, 3, 19):
        assert framing.parse(framing.encode(made, level=level)) == made


def test_identity_does_not_depend_on_framing() -> None:
    """Other compression, a checksum, longer msgpack forms: the same submission with the same identity."""
    content = msgpack.packb(FLAT)
    long_list = (
        b"\xdd"
        + len(FLAT).to_bytes(4, "big")
        + b"".join(b"\xc6" + len(part).to_bytes(4, "big") + part for part in FLAT)
    )
    for events in (frame(content, level=19), frame(content, write_checksum=True), frame(long_list)):
        assert framing.parse(framed(events=events)) == GOOD


def test_every_damaged_frame_is_refused() -> None:
    """Flipped, truncated, extended and swapped bytes are malformed, or the signature no longer verifies."""
    data = framing.encode(GOOD)

    def parse_and_verify(broken: bytes) -> None:
        parsed = framing.parse(broken)
        if parsed == GOOD:  # the framing is not signed: a frame's free bits may change
            raise MalformedError("same", "the same submission")
        submission.verify_signature(parsed, signer(1).public)

    assert_each_refused(data, parse_and_verify, (MalformedError, VerificationError))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": True},
        {"version": "1"},
        {"origin": ORIGIN.encode()},
        {"origin": "demo"},
        {"member": b"ga"},
        {"member": "GA"},
        {"member": None},
        {"key_id": GOOD.key_id.hex()},
        {"key_id": GOOD.key_id[:31]},
        {"signature": b""},
        {"signature": GOOD.signature.hex()},
        {"events": FLAT},
        {"events": ""},
        {"events": b""},
        {"events": {"a": 1}},
        {"member": msgpack.Timestamp(1, 0)},
        {"member": msgpack.ExtType(5, b"ga")},
        {"extra": 1},
    ],
    ids=str,
)
def test_misshapen_envelopes_are_refused(changes: dict[str, Any]) -> None:
    """Each field has exactly one type, there are exactly six, and no maps or extension types."""
    assert refusal(framed(**changes)).code in {"framing", "origin", "identifier", "submission"}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x96",
        b"\x90",
        b"\xc0",
        b"\x01",
        b"\x80",
        b"\x91" * 3000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xa1\xff",
    ],
    ids=repr,
)
def test_odd_msgpack_is_refused(data: bytes) -> None:
    """Unfinished, deep, huge or meaningless msgpack is refused as framing, without taking memory for it."""
    assert refusal(data).code == "framing"


@pytest.mark.parametrize(
    "content",
    [
        [],
        FLAT[:1],
        FLAT[:3],
        [FLAT],
        [*FLAT[:1], "text"],
        [*FLAT[:1], None],
        {},
        None,
        [b"x" * (JSON_BYTES_MAX + 1), FLAT[1]],
        FLAT * 334,
    ],
    ids=["empty", "one part", "odd", "nested", "text", "nil", "map", "nil alone", "long part", "1002 events"],
)
def test_misshapen_event_lists_are_refused(content: Any) -> None:
    """The content of the frame is a flat list of pairs of bytes, at most 1,000 of them."""
    assert refusal(framed(events=frame(msgpack.packb(content)))).code == "framing"
    assert refusal(framed(events=frame(msgpack.packb(content) + b"\0"))).code == "framing"


def test_a_bad_event_is_named_by_index() -> None:
    """The index of the first bad event is in the evidence, beside the parser's own."""
    error = refusal(framed(events=frame(msgpack.packb([*FLAT[:3], b"{}", *FLAT[4:]]))))
    assert (error.code, error.evidence["index"]) == ("salt", 1)
    error = refusal(framed(events=frame(msgpack.packb([*FLAT[:4], b"[]", FLAT[5]]))))
    assert (error.code, error.evidence["index"]) == ("canonical", 2)


def test_frames_outside_the_profile_are_refused() -> None:
    """No undeclared size, dictionary, large window, skippable or second frame, trailing bytes or lying size."""
    content = msgpack.packb(FLAT)
    good = frame(content)
    dictionary = zstandard.train_dictionary(1024, [samples.event(n).head + samples.event(n).body for n in range(200)])
    declared_9_mib = b"\x28\xb5\x2f\xfd\xa0" + (9 * 2**20).to_bytes(4, "little") + b"\x01\x00\x00"
    frames = {
        "undeclared": frame(content, write_content_size=False),
        "dictionary": frame(content, dict_data=dictionary),
        "window": b"\x28\xb5\x2f\xfd\x40" + bytes((14 << 3,)) + (300).to_bytes(2, "little") + b"\x01\x00\x00",
        "too large": declared_9_mib,
        "skippable": b"\x50\x2a\x4d\x18\x00\x00\x00\x00",
        "skippable first": b"\x50\x2a\x4d\x18\x00\x00\x00\x00" + good,
        "second frame": good + good,
        "trailing": good + b"\0",
        "truncated": good[:-1],
        "header only": good[:6],
        "magic only": good[:4],
        "empty content": frame(b""),
        "not zstd": content,
        "declares more": b"\x28\xb5\x2f\xfd\x60" + (len(content) - 256 + 1).to_bytes(2, "little") + good[7:],
        "declares less": b"\x28\xb5\x2f\xfd\x60" + (len(content) - 256 - 1).to_bytes(2, "little") + good[7:],
    }
    assert good[4] == 0x60  # single segment, two bytes of content size: the last two really lie
    for what, each in frames.items():
        assert refusal(framed(events=each)).code == "framing", what
    for what, words in {
        "undeclared": "undeclared",
        "dictionary": "dictionary",
        "window": "window",
        "too large": "too large",
    }.items():
        assert words in refusal(framed(events=frames[what])).message


def test_a_bomb_is_refused_by_its_header() -> None:
    """A small frame that expands beyond the limit is refused from its header alone."""
    bomb = frame(bytes(SUBMISSION_EXPANDED_BYTES_MAX + 1))
    assert len(bomb) < 2000
    assert "too large" in refusal(framed(events=bomb)).message
    largest = frame(bytes(SUBMISSION_EXPANDED_BYTES_MAX))
    assert "msgpack" in refusal(framed(events=largest)).message


def test_sizes_are_bounded_both_ways() -> None:
    """Framed bytes over the limit are neither read nor made, and expanded bytes over theirs are not made."""
    assert "too large" in refusal(bytes(SUBMISSION_FRAMED_BYTES_MAX + 1)).message
    noise = "".join(samples.digest(n).hex() for n in range(920))
    wide = submission.new_submission(
        ORIGIN, "ga", signer(1), [samples.event(n, content={"x": noise[n:]}) for n in range(150)]
    )
    with pytest.raises(MalformedError, match="events too large"):
        framing.encode(wide)
    dense = [
        samples.event(n, content={"x": "".join(samples.digest(1000 * n + m).hex() for m in range(900))})
        for n in range(30)
    ]
    with pytest.raises(MalformedError, match="submission too large"):
        framing.encode(submission.new_submission(ORIGIN, "ga", signer(1), dense))


def test_threads_do_not_share_decompressors() -> None:
    """Many threads parse at once and all get the same answer."""
    data = framing.encode(samples.submission(40))
    expected = framing.parse(data)
    wrong: list[object] = []

    def work() -> None:
        wrong.extend(number for number in range(20) if framing.parse(data) != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


packable = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=3) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
)


@given(
    st.binary(max_size=60) | packable.map(msgpack.packb) | st.lists(packable, min_size=6, max_size=6).map(msgpack.packb)
)
def test_any_bytes_are_malformed(data: bytes) -> None:
    """No bytes make parse raise anything but MalformedError."""
    refusal(data)


@given(st.binary(max_size=80) | packable.map(msgpack.packb).map(frame))
def test_any_content_is_malformed(events: bytes) -> None:
    """Nor do any bytes in place of the frame, or in it."""
    refusal(framed(events=events))
