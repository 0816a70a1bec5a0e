"""Small codecs of stored values: packed state rows, delta lists of log indexes, keys of the event index.

Rules: packing is lossless for any bytes (what has not the expected form is kept as it is), and unpacking raises
`FatalError` for bytes that packing cannot have made. Nothing here is ever hashed. Not here: compression (`frames`).
"""

from __future__ import annotations

import re
from binascii import hexlify, unhexlify
from collections.abc import Sequence
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
# Forms of a packed state row: as it is; stream; object; stream of one record.
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
    if len(seqs) == 1:
        return encode_varint(seqs[0] - after)
    return encode_varint(seqs[0] - after) + b"".join([encode_varint(b - a) for a, b in pairwise(seqs)]) if seqs else b""


def decode_deltas(data: bytes) -> list[int]:
    """The log indexes of one row."""
    total = 0
    seqs: list[int] = []
    for delta in decode_varints(data)[0]:
        total += delta
        seqs.append(total)
    return seqs


# --- state rows ------------------------------------------------------------------------------------------------------


def pack_row(row: StateRow) -> bytes:
    """The stored form of a state row: digests as bytes, numbers in a few, and a root left out where it is the range."""
    value, tree = row.value, row.range
    if tree:
        match = _STREAM(value)
        if match is not None:
            blind, first, last, root, size, time = match.groups()
            start, span, count, when = int(first), int(last), int(size), int(time)
            span -= start
            if span >= 0 and max(start, span, when) < _NUMBER_END and count < _SIZE_END:
                root_bytes = unhexlify(root)
                if count == 1 and span == 0 and tree == root_bytes:
                    return _PACKED_SINGLE + unhexlify(blind) + (start << 48 | when).to_bytes(12, "big") + tree
                numbers = ((start << 48 | span) << 48 | when) << 32 | count
                return _PACKED_STREAM + unhexlify(blind) + root_bytes + numbers.to_bytes(22, "big") + tree
    else:
        match = _OBJECT(value)
        if match is not None:
            return _PACKED_OBJECT + unhexlify(match[1]) + match[2]
    packed: bytes = msgpack.packb([value, tree])
    return _RAW + packed


def unpack_row(data: bytes) -> StateRow:
    """The state row that `pack_row` packed."""
    form = data[:1]
    if form == _PACKED_OBJECT and len(data) > DIGEST_BYTES:
        return StateRow(b'{"blind":"%b","object":%b}' % (hexlify(data[1:33]), data[33:]))
    if form == _PACKED_STREAM and len(data) > 87:
        numbers = int.from_bytes(data[65:87], "big")
        size, time = numbers & (_SIZE_END - 1), numbers >> 32 & (_NUMBER_END - 1)
        first, span = numbers >> 128, numbers >> 80 & (_NUMBER_END - 1)
        return _stream_row(data[1:33], first, first + span, data[33:65], size, time, data[87:])
    if form == _PACKED_SINGLE and len(data) == 77:
        numbers = int.from_bytes(data[33:45], "big")
        first = numbers >> 48
        return _stream_row(data[1:33], first, first, data[45:], 1, numbers & (_NUMBER_END - 1), data[45:])
    if form == _RAW:
        parts = unpack(data[1:])
        if isinstance(parts, list) and [type(part) for part in parts] == [bytes, bytes]:
            return StateRow(*parts)
    raise damaged("state row", form=form, size=len(data))


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
