"""Compressed frames: how leaves, heads, bodies and block data lie on disk.

Rules: a segment is msgpack `[dictionary id, frame, …]`; each frame is one zstd frame over a msgpack list of at most 8
entries, so that one entry costs little to open. Dictionaries are trained here once, kept for ever and never matter for
any hash. Reading is total: bytes that are no segment raise `FatalError`, with memory bounded by the declared size.
Not here: where segments are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack
import zstandard

from ledger.adapters.sqlite.faults import damaged
from ledger.limits import JSON_BYTES_MAX, LEAF_BYTES_MAX, NOTE_BYTES_MAX

FRAME_ENTRIES: Final = 8
SEGMENT_FRAMES: Final = 32
SEGMENT_ENTRIES: Final = FRAME_ENTRIES * SEGMENT_FRAMES
LEVEL: Final = 1  # measured on 600-byte events in frames of 32: smaller than 3 here, in half the time
# What one frame may expand to: 8 leaves with their heads, or the data of one block with 20,000 signatures.
EXPANDED_BYTES_MAX: Final = max(
    FRAME_ENTRIES * (LEAF_BYTES_MAX + JSON_BYTES_MAX + 32), NOTE_BYTES_MAX + 4 * 1024 * 1024
)

Dictionaries = Callable[[int], bytes]
"""The stored dictionary of an id; raises when there is none."""


class Compressor:
    """Compresses with one dictionary (0: none). Not shared between threads."""

    def __init__(self, dictionary_id: int = 0, dictionary: bytes = b"", level: int = LEVEL) -> None:
        self.dictionary_id = dictionary_id
        data = None
        if dictionary_id:
            data = zstandard.ZstdCompressionDict(dictionary)
            data.precompute_compress(level=level)
        # The id stands in the segment already; the checksum finds flipped bytes that no hash covers, such as signatures.
        self._zstd = zstandard.ZstdCompressor(
            level=level, dict_data=data, write_content_size=True, write_checksum=True, write_dict_id=False
        )

    def frame(self, entries: Sequence[Any]) -> bytes:
        """One frame over `entries`."""
        return self._zstd.compress(pack(entries))

    def segments(self, entries: Sequence[Any]) -> list[tuple[int, bytes]]:
        """(offset of the first entry, segment) for all `entries`."""
        found: list[tuple[int, bytes]] = []
        for start in range(0, len(entries), SEGMENT_ENTRIES):
            end = min(start + SEGMENT_ENTRIES, len(entries))
            frames = [self.frame(entries[at : min(at + FRAME_ENTRIES, end)]) for at in range(start, end, FRAME_ENTRIES)]
            found.append((start, pack([self.dictionary_id, *frames])))
        return found

    def single(self, value: Any) -> bytes:
        """A segment of one frame over one value."""
        return pack([self.dictionary_id, self.frame(value)])


class Decompressor:
    """Opens segments made with any stored dictionary. Used by one thread at a time."""

    def __init__(self, dictionaries: Dictionaries) -> None:
        self._dictionaries = dictionaries
        self._cache: dict[int, zstandard.ZstdDecompressor] = {}

    def split(self, segment: bytes) -> tuple[int, list[bytes]]:
        """Dictionary id and frames of a segment."""
        parts = unpack(segment)
        if not isinstance(parts, list) or len(parts) < 2 or type(parts[0]) is not int:
            raise damaged("segment", reason="not a dictionary id and frames")
        if not all(type(frame) is bytes for frame in parts[1:]):
            raise damaged("segment", reason="a frame is not bytes")
        return parts[0], parts[1:]

    def open(self, dictionary_id: int, frame: bytes) -> Any:
        """The value in one frame."""
        try:
            size = zstandard.frame_content_size(frame)
            if not 0 <= size <= EXPANDED_BYTES_MAX:
                raise damaged("frame", reason="size undeclared or too large", size=size)
            expanded = self._zstd(dictionary_id).decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise damaged("frame", reason=str(error)) from error
        return unpack(expanded)

    def entries(self, segment: bytes) -> list[Any]:
        """All entries of a segment."""
        dictionary_id, frames = self.split(segment)
        found: list[Any] = []
        for frame in frames:
            found.extend(self.open_list(dictionary_id, frame))
        return found

    def open_list(self, dictionary_id: int, frame: bytes) -> list[Any]:
        """The entries in one frame."""
        entries = self.open(dictionary_id, frame)
        if not isinstance(entries, list):
            raise damaged("frame", reason="not a list")
        return entries

    def single(self, segment: bytes) -> Any:
        """The value in a segment of one frame."""
        dictionary_id, frames = self.split(segment)
        if len(frames) != 1:
            raise damaged("segment", reason="not one frame", frames=len(frames))
        return self.open(dictionary_id, frames[0])

    def samples(self, segment: bytes, *, whole: bool) -> list[Any]:
        """What a segment gives to train from: its one value, or its entries that are there."""
        return [self.single(segment)] if whole else [entry for entry in self.entries(segment) if entry is not None]

    def _zstd(self, dictionary_id: int) -> zstandard.ZstdDecompressor:
        found = self._cache.get(dictionary_id)
        if found is None:
            data = zstandard.ZstdCompressionDict(self._dictionaries(dictionary_id)) if dictionary_id else None
            found = self._cache[dictionary_id] = zstandard.ZstdDecompressor(dict_data=data)
        return found


def pack(value: Any) -> bytes:
    """The msgpack form of a value."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(data: bytes) -> Any:
    """One msgpack value; `FatalError` for bytes that are none."""
    try:
        return msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise damaged("msgpack value", reason=str(error)) from error


def train(samples: Sequence[bytes], size: int) -> bytes:
    """A dictionary of at most `size` bytes from samples of what is to be compressed; b"" where they are too few."""
    try:
        return zstandard.train_dictionary(size, list(samples)).as_bytes()
    except zstandard.ZstdError:
        return b""
