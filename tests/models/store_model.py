"""What a store must answer, computed plainly from the sealed blocks it was given: no files, no hashing, no caches."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.core.mapkeys import stream_key
from ledger.machine.block import Sealed, StateRow


class StoreModel:
    """The contents after `blocks`, which begin with height 0."""

    def __init__(self, blocks: Sequence[Sealed]) -> None:
        self.rows: dict[bytes, StateRow] = {}
        self.objects: dict[str, bytes] = {}
        self.events: dict[tuple[str, str], list[bytes]] = {}
        self.event_seqs: dict[tuple[str, str], list[int]] = {}
        self.streams: dict[tuple[str, str], None] = {}
        self.stream_seqs: dict[bytes, list[int]] = {}
        self.timers: dict[str, int] = {}
        self.leaves: list[bytes] = []
        self.hashes: list[bytes] = []
        for sealed in blocks:
            self._apply(sealed)

    def _apply(self, sealed: Sealed) -> None:
        self.rows.update(sealed.rows)
        for item in sealed.decision.items:
            seq = len(self.leaves)
            self.leaves.append(sealed.leaves[seq - sealed.header.first_seq])
            self.objects.update(item.writes)
            if item.event is not None:
                name = (item.member, item.event.id)
                self.events.setdefault(name, []).append(item.event.hash)
                self.event_seqs.setdefault(name, []).append(seq)
            if item.timer_key:
                self.timers.pop(item.timer_key, None)
            for key, due in item.timers:
                self.timers.pop(key, None)
                if due is not None:
                    self.timers[key] = due
            joined = [(*stream, item.refused_streams) for stream in item.streams]
            joined += [(*stream, False) for stream in item.extra_streams]
            for kind, name, refused in dict.fromkeys(joined):
                self.streams[kind, name] = None
                self.stream_seqs.setdefault(stream_key(kind, name, refused), []).append(seq)
        self.leaves.append(sealed.leaves[-1])
        self.hashes.extend(sealed.leaf_hashes)
