"""Small codecs of stored values: packed state rows, delta lists of log indexes, keys of the event index.

Rules: packing is lossless for any bytes (what has not the expected form is kept as it is), and unpacking raises
`FatalError` for bytes that packing cannot have made. Nothing here is ever hashed. Not here: compression (`frames`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

import msgpack

from ledger.adapters.sqlite.faults import damaged
from ledger.core.hashing import DIGEST_BYTES
from ledger.machine.block import StateRow

CHUNK: Final = 256
"""Positions of a stream in one row, hashes in one tile."""

_STREAM: Final = re.compile(
    rb'\{"blind":"([0-9a-f]{64})","first":(0|[1-9]\d*),"last":(0|[1-9]\d*),"root":"([0-9a-f]{64})",'
    rb'"size":([1-9]\d*),"time":(0|[1-9]\d*)\}'
).fullmatch
_OBJECT: Final = re.compile(rb'\{"blind":"([0-9a-f]{64})","object":(.*)\}', re.DOTALL).fullmatch
_RAW, _PACKED_STREAM, _PACKED_OBJECT = b"\x00", b"\x01", b"\x02"


# --- varints ---------------------------------------------------------------------------------------------------------


def encode_varints(numbers: Iterable[int]) -> bytes:
    """LEB128, one number behind the other."""
    out = bytearray()
    for number in numbers:
        rest = number
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        out.append(rest)
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
    deltas: list[int] = []
    for seq in seqs:
        deltas.append(seq - after)
        after = seq
    return encode_varints(deltas)


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
            root_bytes = bytes.fromhex(root.decode())
            numbers = [int(first), int(last) - int(first), int(size), int(time)]
            if int(last) >= int(first) and len(tree) == numbers[2].bit_count() * DIGEST_BYTES:
                shown = b"" if tree == root_bytes else root_bytes
                return b"%b%b%b%b%b" % (
                    _PACKED_STREAM,
                    bytes.fromhex(blind.decode()),
                    encode_varints(numbers),
                    tree,
                    shown,
                )
    else:
        match = _OBJECT(value)
        if match is not None:
            return _PACKED_OBJECT + bytes.fromhex(match[1].decode()) + match[2]
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


def event_key(secret: bytes, member: str, event_id: str) -> int:
    """Place of an event in the index: time of its id, then 22 bits of a keyed hash of member and id.

    Ordered by time, so that inserts append; keyed, so that nobody can make many ids share a place.
    """
    time = int(event_id[:8] + event_id[9:13], 16) - INDEX_EPOCH_MS
    time = 0 if time < 0 else min(time, _TIME_MAX)
    digest = blake2b(f"{member}\0{event_id}".encode(), digest_size=3, key=secret).digest()
    return time << _HASH_BITS | int.from_bytes(digest, "big") >> 2


def id_time(event_id: str) -> int:
    """Unix ms in a UUIDv7 (RFC 9562, 5.7)."""
    return int(event_id[:8] + event_id[9:13], 16)
