"""Small codecs of stored values: packed state rows, delta lists of log indexes, keys of the event index.

Rules: packing is lossless for any bytes (what has not the expected form is kept as it is), and unpacking raises
`FatalError` for bytes that packing cannot have made. Nothing here is ever hashed. Not here: compression (`frames`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgpack

from ledger.adapters.sqlite.faults import damaged
from ledger.core.hashing import DIGEST_BYTES
from ledger.machine.block import StateRow

CHUNK: Final = 256
"""Positions of a stream in one row, hashes in one tile."""

_NUMBER: Final = rb"(0|[1-9][0-9]{0,15})"
_STREAM: Final = re.compile(
    rb'\{"blind":"([0-9a-f]{64})","first":%b,"last":%b,"root":"([0-9a-f]{64})","size":%b,"time":%b\}' % ((_NUMBER,) * 4)
).fullmatch
_OBJECT: Final = re.compile(rb'\{"blind":"([0-9a-f]{64})","object":(.*)\}', re.DOTALL).fullmatch
_RAW: Final = b"\x00"
_PACKED_STREAM: Final = b"\x01"
_PACKED_OBJECT: Final = b"\x02"


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


def encode_deltas(seqs: Iterable[int], after: int = 0) -> bytes:
    """Ascending log indexes as differences; the first one from `after`."""
    deltas: list[bytes] = []
    for seq in seqs:
        deltas.append(encode_varint(seq - after))
        after = seq
    return b"".join(deltas)


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
    """The stored form of a state row: digests as bytes, and a stream's root left out where its range is the root."""
    value, tree = row.value, row.range
    if tree:
        match = _STREAM(value)
        if match is not None:
            blind, first, last, root, size, time = match.groups()
            start, count = int(first), int(size)
            root_bytes = bytes.fromhex(root.decode())
            return b"\x01%b%b%b%b%b%b%b" % (
                bytes.fromhex(blind.decode()),
                encode_varint(start),
                encode_varint(int(last) - start),
                encode_varint(count),
                encode_varint(int(time)),
                tree,
                b"" if tree == root_bytes else root_bytes,
            )
    else:
        match = _OBJECT(value)
        if match is not None:
            return b"\x02%b%b" % (bytes.fromhex(match[1].decode()), match[2])
    packed: bytes = msgpack.packb([value, tree])
    return _RAW + packed


def unpack_row(data: bytes) -> StateRow:
    """The state row that `pack_row` packed."""
    form = data[:1]
    blind = data[1 : 1 + DIGEST_BYTES]
    if form == _PACKED_OBJECT:
        return StateRow(b'{"blind":"%b","object":%b}' % (blind.hex().encode(), data[1 + DIGEST_BYTES :]))
    if form == _PACKED_STREAM:
        (first, span, size, time), at = decode_varints(data, 1 + DIGEST_BYTES, 4)
        behind = at + size.bit_count() * DIGEST_BYTES
        tree, root = data[at:behind], data[behind:]
        root = root or tree
        if len(root) != DIGEST_BYTES or len(tree) != behind - at:
            raise damaged("state row", size=len(data))
        value = b'{"blind":"%b","first":%d,"last":%d,"root":"%b","size":%d,"time":%d}' % (
            blind.hex().encode(),
            first,
            first + span,
            root.hex().encode(),
            size,
            time,
        )
        return StateRow(value, tree)
    try:
        value, tree = msgpack.unpackb(data[1:])
        return StateRow(bytes(value), bytes(tree))
    except (ValueError, TypeError) as error:
        raise damaged("state row", form=form) from error


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
