"""Which validators a ledger has on record for two votes, each shown by a receipt that is checked and kept (SPEC R-N54).

Rules: a node's list is only a hint; what counts is the receipt, under what the caller pinned. A receipt is kept once, under
the name of its event; one that does not hold is for the caller to keep as evidence. A node may hide a record: ask several.
Not here: whether the votes hold (the ledger decided that when it accepted the event).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ledger.errors import LedgerError, MalformedError, NotFoundError, RejectedError, UnavailableError

if TYPE_CHECKING:
    from ledger.client.http import NodeClient
    from ledger.client.receipt import Pinned

KIND: Final = "sys.misbehaviour"
PAGE: Final = 100


class ReceiptError(LedgerError):
    """A receipt that does not hold: `data` is what came."""


@dataclass(frozen=True, slots=True)
class Accusation:
    """One that is recorded and accepted; `path` is where its receipt lies, `fresh` whether it was not there before."""

    accused: str
    height: int
    event: str
    path: Path
    fresh: bool

    def document(self) -> dict[str, Any]:
        """As part of a JSON document."""
        return {"accused": self.accused, "height": self.height, "event": self.event, "receipt": str(self.path)}


class Accusations:
    """Asks nodes for accusations behind the last one that each has shown."""

    def __init__(self, pinned: Pinned, folder: Path) -> None:
        # Guilt does not age: a receipt counts under however old a certificate.
        self._pinned, self._folder = replace(pinned, max_age_s=None), folder
        self._after: dict[str, int] = {}
        self._known: set[str] = set()

    def look(self, client: NodeClient) -> list[Accusation]:
        """What `client` shows that no node has shown before. Raises `ReceiptError`, `MalformedError` for another answer."""
        found: list[Accusation] = []
        for seq, member, event_id in self._listed(client):
            name = f"{member}/{event_id}"
            if name not in self._known:
                try:
                    data = client.get_bytes(("v1", "events", member, event_id, "receipt"))
                except (NotFoundError, RejectedError, UnavailableError):
                    return found  # not certified yet, or not for this reader: asked again from here
                made = self._checked(data, member, event_id)
                self._known.add(name)
                if made is not None:
                    found.append(made)
            self._after[client.url] = seq
        return found

    def _listed(self, client: NodeClient) -> list[tuple[int, str, str]]:
        """(leaf index, member, event id) of what the node lists; nothing where it has no index or does not tell us."""
        query = {"kind": KIND, "limit": PAGE, "after": self._after.get(client.url)}
        try:
            entries = client.get_json(("v1", "events"), query)["entries"]
        except (NotFoundError, RejectedError, UnavailableError):
            return []
        except (KeyError, TypeError):
            raise MalformedError("node-answer", "not a list of events") from None
        try:
            return [(int(each["seq"]), str(each["leaf"]["member"]), str(each["leaf"]["id"])) for each in entries]
        except (KeyError, TypeError, ValueError):
            raise MalformedError("node-answer", "not a list of events") from None

    def _checked(self, data: bytes, member: str, event_id: str) -> Accusation | None:
        """The accusation of a receipt, None for one that was refused. Raises `ReceiptError`."""
        from ledger.client.receipt import check_receipt
        from ledger.core import canonical

        try:
            result = check_receipt(data, self._pinned, int(time.time()), member=member, event_id=event_id)
            accepted = canonical.parse(result.record.verdict)["outcome"] == "accepted"
        except LedgerError as error:
            raise ReceiptError(error.code, error.message, data=data) from error
        if result.head["kind"] != KIND or not accepted or result.body is None:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        accused = str(result.head["refs"]["member"])
        path = self._folder / f"misbehaviour-{accused}-{event_id}.json"
        fresh = not path.exists()
        if fresh:
            path.write_bytes(data)
        return Accusation(accused, int(result.body["height"]), f"{member}/{event_id}", path, fresh)
