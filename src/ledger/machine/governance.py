"""Governance on the ledger: the `sys.*` kinds, decided by the ledger itself and effective from the next block.

In this protocol version a member may revoke its own keys (`sys.key.revoke`); every other `sys.*` kind is refused
with reason `shape`, as an unknown kind of a rulebook is. Not here: proposals and votes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from ledger.core.config import Config
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.keys import EVENT
from ledger.core.mapkeys import key_key
from ledger.core.registry import Registry
from ledger.errors import MalformedError
from ledger.machine.admit import Admitted
from ledger.machine.block import ACCEPTED, REFUSED, Head, Item

PREFIX: Final = "sys."


def is_governance(fields: dict[str, Any]) -> bool:
    """True for kinds that the ledger decides itself."""
    return bool(fields["kind"].startswith(PREFIX))


class Governance:
    """Members, keys and config while a block is decided; `writes` are (map key, object bytes, touching event hash)."""

    def __init__(self, head: Head, height: int) -> None:
        self.registry: Registry = head.registry
        self.config: Config = head.config
        self.writes: list[tuple[bytes, bytes, Digest]] = []
        self._height = height

    def decide(self, entry: Admitted) -> Item:
        """The item of one governance event."""
        if entry.event.fields["kind"] == "sys.key.revoke":
            code = self._revoke(entry)
        else:
            code = "shape"
        verdict = b'{"outcome":"accepted"}' if code is None else _refusal(code)
        return Item(
            verdict=verdict,
            outcome=ACCEPTED if code is None else REFUSED,
            refused_streams=code is not None,
            extra_streams=(),
            writes=[],
            timers=[],
            streams=entry.streams,
            event=entry.event,
            member=entry.member,
            place=entry.place,
        )

    def _revoke(self, entry: Admitted) -> str | None:
        """End a key of the signer's own member with this block (R-K05); None, or the reason code of the refusal.

        The last event key of a member cannot be revoked by itself: nobody could speak for the member afterwards.
        """
        fields = entry.event.fields
        if set(fields["refs"]) != {"member", "key"} or fields["refs"]["member"] != entry.member or "intent" in fields:
            return "shape"
        try:
            key_id = parse_hex_digest(fields["refs"]["key"])
        except MalformedError:
            return "shape"
        found = self.registry.keys.get(key_id)
        if found is None or found.member != entry.member:
            return "key-unknown"
        if found.until_height is not None:
            return "key-revoked"
        others = [
            key
            for key in self.registry.keys.values()
            if key.member == entry.member and key.use == EVENT and key.until_height is None and key is not found
        ]
        if found.use == EVENT and not others:
            return "key-last"
        ended = replace(found, until_height=self._height)
        self.registry = self.registry.with_key(ended)
        self.writes.append((key_key(key_id), ended.encode(), entry.event.hash))
        return None


def _refusal(code: str) -> bytes:
    return b'{"outcome":"refused","reasons":[["ledger","%b",{}]]}' % code.encode()
