"""Messages are cut from the stream as a slow reference cuts them, however the stream is divided into reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import MalformedError
from ledger.limits import ABCI_MESSAGE_BYTES_MAX
from ledger_node.comet.framing import Frames, encode_varint

MOST = 20_000  # small enough to meet, large enough for three bytes of length


def reference(stream: bytes, most: int) -> tuple[list[bytes], str]:
    """The messages, and how it ends: complete, open or refused. Reads one byte after the other."""
    messages: list[bytes] = []
    at = 0
    while at < len(stream):
        length, digits = 0, 0
        while True:
            if at == len(stream):
                return messages, "open"
            byte = stream[at]
            at += 1
            length += byte % 128 * 128**digits
            digits += 1
            if length > most or digits > 10 or (byte == 0 and digits > 1):
                return messages, "refused"
            if byte < 128:
                break
        if at + length > len(stream):
            return messages, "open"
        messages.append(stream[at : at + length])
        at += length
    return messages, "complete"


def cut(reads: list[bytes], most: int) -> tuple[list[bytes], str]:
    """The same by `Frames`."""
    frames = Frames(most)
    messages: list[bytes] = []
    for read in reads:
        try:
            messages += frames.feed(read)
        except MalformedError as error:
            return messages, {"abci-frame": "refused"}[error.code]
    return messages, "open" if frames.waiting else "complete"


def divide(stream: bytes, places: list[int]) -> list[bytes]:
    """`stream` in parts that end at `places`."""
    ends = sorted({place % (len(stream) + 1) for place in places} | {len(stream)})
    return [stream[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def frame(message: bytes) -> bytes:
    """Length and message."""
    return encode_varint(len(message)) + message


messages_strategy = st.lists(st.binary(max_size=40) | st.integers(0, MOST).map(bytes), max_size=8)


@given(messages_strategy, st.lists(st.integers(0, 60_000), max_size=12))
def test_every_division_of_the_stream_gives_the_messages(messages: list[bytes], places: list[int]) -> None:
    """What was framed comes out, in order and whole, wherever the reads end."""
    stream = b"".join(map(frame, messages))
    assert cut(divide(stream, places), MOST) == (messages, "complete")


@given(
    st.lists(st.sampled_from([b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff", b"\x80\x01", b"\x80\x80\x01", b"abc"]))
    | st.lists(st.binary(max_size=6)),
    st.lists(st.integers(0, 200), max_size=6),
)
def test_any_bytes_are_cut_as_the_reference_cuts_them(parts: list[bytes], places: list[int]) -> None:
    """Any stream ends as it does for the reference; whole messages before a fault in the same read are dropped with it."""
    stream = b"".join(parts)
    expected, end = reference(stream, MOST)
    got, got_end = cut(divide(stream, places), MOST)
    assert got_end == end
    assert got == expected[: len(got)]
    if end != "refused":
        assert got == expected


@given(st.integers(0, 2**63 - 1))
def test_varint_is_that_of_protobuf(value: int) -> None:
    """A length is written as protobuf writes an unsigned number."""
    expected, rest = bytearray(), value
    while True:
        rest, digit = divmod(rest, 128)
        expected.append(digit + (128 if rest else 0))
        if not rest:
            break
    assert encode_varint(value) == bytes(expected)


def test_one_byte_at_a_time() -> None:
    """A message of 300 bytes that comes byte by byte is given with its last byte and not before."""
    stream = frame(bytes(range(256)) + bytes(44))
    frames = Frames()
    given = [frames.feed(stream[at : at + 1]) for at in range(len(stream))]
    assert given[:-1] == [[]] * (len(stream) - 1)
    assert given[-1] == [stream[2:]]
    assert frames.waiting == 0


@pytest.mark.parametrize("most", [5, 127, 128, 300, ABCI_MESSAGE_BYTES_MAX])
def test_length_above_the_bound_is_refused_before_its_bytes_come(most: int) -> None:
    """The longest message is waited for; one byte more is refused with the length alone."""
    assert Frames(most).feed(encode_varint(most)) == []
    with pytest.raises(MalformedError) as caught:
        Frames(most).feed(encode_varint(most + 1))
    assert caught.value.code == "abci-frame"
    assert caught.value.evidence == {"length": most + 1, "most": most}


@pytest.mark.parametrize("stream", [b"\x80\x00", b"\x85\x00", b"\x80" * 11, b"\xff" * 9 + b"\x01"])
def test_unusual_lengths_are_refused(stream: bytes) -> None:
    """A length with an idle last group, without end, or of 64 bits is no length."""
    with pytest.raises(MalformedError) as caught:
        Frames().feed(stream)
    assert caught.value.code == "abci-frame"
