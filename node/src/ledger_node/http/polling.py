"""`GET /v1/checkpoint` as peers ask it, many times a second: the same answers as the documented route, without its cost.

Rule: only the very form of query that nodes send is answered here; everything else, errors included, is left to the route.
"""

from __future__ import annotations

import re
from typing import Final

from ledger.core.hashing import sha256
from ledger.limits import HTTP_WAIT_S_MAX
from ledger_node.http.body import Receive, Scope
from ledger_node.http.context import Context
from ledger_node.http.edge import Answer

PATH: Final = "/v1/checkpoint"
TEXT: Final = b"text/plain; charset=utf-8"
_QUERY: Final = re.compile(rb"wait=([1-9][0-9]?)(?:&after=([0-9a-f]{64}))?(?:&above=(0|[1-9][0-9]{0,14}))?").fullmatch


class PollCheckpoint:
    """The hot route."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def __call__(self, scope: Scope, receive: Receive) -> Answer | None:
        """The note, as soon as it is another one, or a larger one; None where the documented route shall answer."""
        del receive
        asked = _QUERY(scope["query_string"])
        if asked is None or int(asked[1]) > HTTP_WAIT_S_MAX:
            return None
        after, above = asked[2].decode("ascii") if asked[2] else None, int(asked[3]) if asked[3] else None
        note = await poll_note(self._context, int(asked[1]), after, above)
        return Answer(200, note, TEXT) if note else None


async def poll_note(context: Context, wait_s: int, after: str | None, above: int | None) -> bytes:
    """The note to show: within `wait_s` one of a checkpoint larger than `above`, where that is given, or another one than
    `after` (SHA-256 hex); with both, another one of the same checkpoint once nothing larger came for a second. Then
    whatever there is, empty where there is none yet."""
    book = context.node.certificates

    def changed() -> bytes | None:
        if above is not None:
            return book.note_above(above, after)
        note = book.note()
        return note if note and sha256(note).hex() != after else None

    return await context.running_watcher.wait_for(changed, wait_s) or book.note()
