"""Cuts the byte stream of an ABCI socket into messages: an unsigned varint length, then that many bytes.

Rules: the varint is protobuf's (base 128, low group first, not zigzag) in its shortest form; a length above the bound is
refused as soon as it is read, so that memory stays bounded by what one message may have. The cut does not depend on how
the stream was divided into reads.
Not here: what the bytes of a message mean.
"""

from __future__ import annotations

from ledger.errors import MalformedError
from ledger.limits import ABCI_MESSAGE_BYTES_MAX

_ONE_BYTE = [bytes((value,)) for value in range(0x80)]


class Frames:
    """Collects what the socket delivers and gives the messages that are complete."""

    def __init__(self, bytes_max: int = ABCI_MESSAGE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._buffer = bytearray()
        self._wanted = 0  # bytes the buffer must hold before another look at it can give something

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes, in order.

        Raises `MalformedError` (`abci-frame`) where the stream cannot go on; it must be closed then.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            if len(buffer) < self._wanted:
                return []
        source = buffer or data
        messages: list[bytes] = []
        index, size = 0, len(source)
        with memoryview(source) as view:
            while index < size:
                begin, length = index + 1, source[index]
                if length > 0x7F:
                    begin, length = self._long(source, index)
                elif length > self._bytes_max:
                    raise _too_long(length, self._bytes_max)
                end = begin + length
                if begin == index or end > size:
                    self._wanted = end - index
                    break
                messages.append(bytes(view[begin:end]))
                index = end
        if source is buffer:
            del buffer[:index]
        else:
            buffer += data[index:]
        return messages

    def _long(self, source: bytes | bytearray, index: int) -> tuple[int, int]:
        """Begin and length of the message whose length has several bytes; (index, more bytes wanted) in their midst."""
        length = shift = 0
        for position in range(index, len(source)):
            byte = source[position]
            length |= (byte & 0x7F) << shift
            if length > self._bytes_max or shift > 63:
                raise _too_long(length, self._bytes_max)
            if byte <= 0x7F:
                if byte == 0:
                    raise MalformedError("abci-frame", "length not in its shortest form", length=length)
                return position + 1, length
            shift += 7
        return index, len(source) - index + 1


def _too_long(length: int, most: int) -> MalformedError:
    return MalformedError("abci-frame", "message too long", length=length, most=most)


def encode_varint(value: int) -> bytes:
    """`value` >= 0 as an unsigned varint in its shortest form."""
    if value <= 0x7F:
        return _ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
