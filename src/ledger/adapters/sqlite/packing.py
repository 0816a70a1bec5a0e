"""Small codecs of stored values: values of the state map, delta lists of log indexes, keys of the event index.

Rules: packing is lossless for any bytes (what has not the expected form is kept as it is), and unpacking raises
`FatalError` for bytes that packing cannot have made. Nothing here is ever hashed. Not here: compression (`frames`).
"""

from __future__ import annotations

import re
from binascii import hexlify, unhexlify
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import msgpack

from ledger.adapters.sqlite.faults import damaged
from ledger.adapters.sqlite.frames import unpack
from ledger.core.hashing import DIGEST_BYTES
from ledger.machine.block import StateRow

CHUNK: Final = 256
"""Positions of a stream in one row, hashes in one tile."""

_NUMBER: Final = rb"(0|[1-9][0-9]{0,15})"
_STREAM: Final = re.compile(
    rb'\{"blind":"([0-9a-f]{64})","first":%b,"last":%b,"root":"([0-9a-f]{64})","size":%b,"time":%b\}' % ((_NUMBER,) * 4)
).fullmatch
_OBJECT: Final = re.compile(rb'\{"blind":"([0-9a-f]{64})","object":(.*)\}', re.DOTALL).fullmatch
# Forms of a packed entry: as it is; stream; object; stream of one record.
_RAW: Final = b"\x00"
_PACKED_STREAM: Final = b"\x01"
_PACKED_OBJECT: Final = b"\x02"
_PACKED_SINGLE: Final = b"\x03"
_NUMBER_END: Final = 1 << 48  # log indexes and times of packed rows
_SIZE_END: Final = 1 << 32


# --- varints ---------------------------------------------------------------------------------------------------------

_SMALL: Final = [bytes((n,)) if n < 0x80 else bytes((n & 0x7F | 0x80, n >> 7)) for n in range(1 << 12)]


def encode_varint(number: int) -> bytes:
    """LEB128 of a non-negative number; most are small and come from a table."""
    if number < 1 << 12:
        return _SMALL[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def decode_varints(data: bytes, at: int = 0, count: int = -1) -> tuple[list[int], int]:
    """`count` numbers (all there are where negative) from offset `at` on, and the offset behind them."""
    numbers: list[int] = []
    end = len(data)
    while len(numbers) != count and at < end:
        number = shift = 0
        while True:
            if at == end or shift > 56:
                raise damaged("list of numbers", at=at)
            byte = data[at]
            at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        numbers.append(number)
    if count >= 0 and len(numbers) != count:
        raise damaged("list of numbers", expected=count, got=len(numbers))
    return numbers, at


def encode_deltas(seqs: Sequence[int], after: int = 0) -> bytes:
    """Ascending log indexes as differences; the first one from `after`."""
    if not seqs:
        return b""
    first = encode_varint(seqs[0] - after)
    if len(seqs) == 1:
        return first
    if seqs[-1] - seqs[0] < len(_SMALL):
        return first + b"".join([_SMALL[b - a] for a, b in pairwise(seqs)])
    return first + b"".join([encode_varint(b - a) for a, b in pairwise(seqs)])


def decode_deltas(data: bytes) -> list[int]:
    """The log indexes of one row."""
    total = 0
    seqs: list[int] = []
    for delta in decode_varints(data)[0]:
        total += delta
        seqs.append(total)
    return seqs


# --- values of the state map -----------------------------------------------------------------------------------------


@dataclass(slots=True)  # not frozen, which would triple the cost of making one for each touched key
class Entry:
    """What is stored of a key of the state map: its row, and for a stream the log indexes behind its last full chunk.

    A stream of one record has no tail: its first log index stands in the value. `size` and `last` are a stream's, as its
    value says too.
    """

    row: StateRow
    tail: bytes = b""
    size: int = 0
    last: int = 0


def pack_entry(entry: Entry) -> bytes:
    """The stored form: digests as bytes, numbers in a few, and a root left out where it is the range."""
    row, tail = entry.row, entry.tail
    value, tree = row.value, row.range
    if row.parsed is not None:
        # Just sealed: the numbers are at hand. They fit whenever the block's own do.
        stream = row.parsed[0]
        start, span, when = stream.first, stream.last - stream.first, stream.time
        if max(stream.last, when) < _NUMBER_END and stream.size < _SIZE_END:
            if stream.size == 1 and not tail:
                return b"\x03%b%b%b" % (stream.blind, (start << 48 | when).to_bytes(12, "big"), tree)
            numbers = (((start << 48 | span) << 48 | when) << 32 | stream.size).to_bytes(22, "big")
            return b"\x01%b%b%b%b%b" % (stream.blind, stream.root, numbers, tree, tail)
    if tree:
        match = _STREAM(value)
        if match is not None:
            blind, first, last, root, size, time = match.groups()
            start, span, count, when = int(first), int(last), int(size), int(time)
            span -= start
            if span >= 0 and max(start, span, when) < _NUMBER_END and count < _SIZE_END:
                root_bytes = unhexlify(root)
                if count == 1 and span == 0 and tree == root_bytes and not tail:
                    return b"\x03%b%b%b" % (unhexlify(blind), (start << 48 | when).to_bytes(12, "big"), tree)
                if len(tree) == count.bit_count() * DIGEST_BYTES:
                    numbers = (((start << 48 | span) << 48 | when) << 32 | count).to_bytes(22, "big")
                    return b"\x01%b%b%b%b%b" % (unhexlify(blind), root_bytes, numbers, tree, tail)
    elif not tail:
        match = _OBJECT(value)
        if match is not None:
            return b"\x02%b%b" % (unhexlify(match[1]), match[2])
    packed: bytes = msgpack.packb([value, tree, tail])
    return b"\x00" + packed


def unpack_entry(data: bytes) -> Entry:
    """The entry that `pack_entry` packed."""
    form, rest = data[:1], data[1:]
    if form == _PACKED_OBJECT and len(rest) >= DIGEST_BYTES:
        return Entry(StateRow(b'{"blind":"%b","object":%b}' % (hexlify(rest[:32]), rest[32:])))
    if form == _PACKED_STREAM and len(rest) > 86:
        numbers = int.from_bytes(rest[64:86], "big")
        size, time = numbers & (_SIZE_END - 1), numbers >> 32 & (_NUMBER_END - 1)
        first, span = numbers >> 128, numbers >> 80 & (_NUMBER_END - 1)
        end = 86 + size.bit_count() * DIGEST_BYTES
        if end <= len(rest):
            row = _stream_row(rest[:32], first, first + span, rest[32:64], size, time, rest[86:end])
            return Entry(row, rest[end:], size, first + span)
    if form == _PACKED_SINGLE and len(rest) == 76:
        numbers = int.from_bytes(rest[32:44], "big")
        first = numbers >> 48
        row = _stream_row(rest[:32], first, first, rest[44:], 1, numbers & (_NUMBER_END - 1), rest[44:])
        return Entry(row, b"", 1, first)
    if form == _RAW:
        parts = unpack(rest)
        if isinstance(parts, list) and [type(part) for part in parts] == [bytes] * 3:
            return Entry(StateRow(parts[0], parts[1]), parts[2])
    raise damaged("value of the state", form=form, size=len(data))


def _stream_row(blind: bytes, first: int, last: int, root: bytes, size: int, time: int, tree: bytes) -> StateRow:
    value = b'{"blind":"%b","first":%d,"last":%d,"root":"%b","size":%d,"time":%d}' % (
        hexlify(blind),
        first,
        last,
        hexlify(root),
        size,
        time,
    )
    return StateRow(value, tree)


# --- event index -----------------------------------------------------------------------------------------------------

INDEX_EPOCH_MS: Final = 1_577_836_800_000  # 2020-01-01: 41 bits of milliseconds reach the year 2089
_TIME_MAX: Final = (1 << 41) - 1
_HASH_BITS: Final = 22
_RANDOM_BITS: Final = 80  # of a UUID behind its 48 bits of time, version and variant included
SECRET_BYTES: Final = _RANDOM_BITS // 8


def event_key(secret: int, event_id: str) -> int:
    """Place of an event in the index: time of its id, then 22 bits of a hash of the rest under the store's secret.

    Ordered by time, so that inserts append. Multiply-shift with a secret odd factor is universal: without the secret
    nobody can choose ids that share a place, and where some do, the record decides.
    """
    number = int(event_id.replace("-", ""), 16)
    time = (number >> _RANDOM_BITS) - INDEX_EPOCH_MS
    if not 0 <= time <= _TIME_MAX:
        time = 0 if time < 0 else _TIME_MAX
    mixed = (number * secret) & ((1 << _RANDOM_BITS) - 1)
    return time << _HASH_BITS | mixed >> (_RANDOM_BITS - _HASH_BITS)


def id_time(event_id: str) -> int:
    """Unix ms in a UUIDv7 (RFC 9562, 5.7)."""
    return int(event_id[:8] + event_id[9:13], 16)
