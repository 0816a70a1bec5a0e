"""Batches whose entries stay closed up to a date: which readings they hold, what is kept of them, when they are opened.

Rules (rule C4, and the node's settings): readings of named readers go into batches of their own, of which the ledger is
told count, root and date. What they hold lies in `reads/sealed/` until the day after that date, when it is recorded with
the root it had. The first leaf under the root is the salt of the event that opens it, which nobody knows before: else a
few names and numbers could be guessed from the root. Not here: recording (see `recorder`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from ledger.core import canonical, merkle
from ledger.core.event import encode_salt
from ledger.core.ident import format_time
from ledger_node.reads.journal import Reads

DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1)
_PENDING: Final = ".pending"
_SEALED: Final = ".json"
_OPENING: Final = ".opening"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the settings ask for: whose readings are sealed, for how many days after the batch, and why."""

    readers: frozenset[str] = frozenset()
    days: int = 0
    ground: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """One sealed batch: the event that told of it, the last day of the seal, and the body and entries that open it."""

    event_id: str
    last: str
    salt: bytes
    body: dict[str, Any]
    datasets: tuple[str, ...]

    def ends(self, zone_ms: int) -> int:
        """When the seal has ended, unix ms: the last day is over in the rulebook's zone."""
        return ((date.fromisoformat(self.last) - _EPOCH).days + 1) * DAY_MS - zone_ms


def last_day(now: int, days: int, zone_ms: int) -> str:
    """The last day of a seal that begins `now` (unix ms)."""
    return (_EPOCH + timedelta(days=(now + zone_ms) // DAY_MS + days)).isoformat()


def parted(reads: Reads, readers: frozenset[str]) -> tuple[Reads, Reads]:
    """(open, sealed) readings of a batch; refused ones, which name nobody, are open."""
    mine = Counter({row: count for row, count in reads.rows.items() if row[0] in readers})
    rest = Counter({row: count for row, count in reads.rows.items() if row[0] not in readers})
    return replace(reads, rows=rest), Reads(mine)


def sealed_root(salt: bytes, rows: Sequence[dict[str, Any]]) -> str:
    """The root of a sealed batch: over the opening event's salt, as its body writes it, and the entries in order."""
    leaves = [encode_salt(salt).encode("ascii"), *(canonical.encode(row) for row in rows)]
    return merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]).hex()


class SealFolder:
    """Sealed batches below `reads/` of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "reads" / "sealed"

    def begin(self) -> None:
        """A new batch is made: what belongs to one that was never sent goes."""
        for path in self._folder.glob(f"*{_PENDING}"):
            path.unlink()

    def add(self, sealed: Sealed) -> None:
        """Keep a batch, durable before its event is sent."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        document = {
            "body": sealed.body, "datasets": list(sealed.datasets), "last": sealed.last, "salt": sealed.salt.hex(),
        }  # fmt: skip
        write_durable(self._folder / f"{sealed.event_id}{_PENDING}", json.dumps(document).encode("ascii"))

    def recorded(self) -> None:
        """The events of the batches that were added are on the ledger."""
        for path in self._folder.glob(f"*{_PENDING}"):
            path.replace(path.with_suffix(_SEALED))

    def ended(self, now: int, zone_ms: int) -> Iterator[Sealed]:
        """Recorded batches whose seal has ended by `now`, the oldest event first."""
        for path in sorted(self._folder.glob(f"*{_SEALED}")):
            found = json.loads(path.read_bytes())
            sealed = Sealed(
                path.stem, found["last"], bytes.fromhex(found["salt"]), found["body"], tuple(found["datasets"])
            )
            if sealed.ends(zone_ms) <= now:
                yield sealed

    def opening(self, sealed: Sealed) -> Path:
        """Where the signed event that opens it lies until it is recorded."""
        return self._folder / f"{sealed.event_id}{_OPENING}"

    def opened(self, sealed: Sealed) -> None:
        """It stands on the ledger; nothing of it is needed here any more."""
        (self._folder / f"{sealed.event_id}{_SEALED}").unlink(missing_ok=True)
        self.opening(sealed).unlink(missing_ok=True)


def write_durable(path: Path, data: bytes) -> None:
    """Replace `path` as a whole, on disk when this returns; readable by the owner only."""
    made = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    made.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sealed_body(body: dict[str, Any], last: str, ground: str) -> dict[str, Any]:
    """What the ledger is told of a sealed batch: no entries, but until when and why."""
    return {**{name: value for name, value in body.items() if name != "reads"}, "sealed": last, "ground": ground}


def times(since: int, now: int) -> dict[str, str]:
    """The time that a batch covers, as its body writes it."""
    return {"from": format_time(min(since, now)), "to": format_time(now)}
