"""The gate before every answer that shows events or state: who asks, may they, and the note of it (rule C4).

Rule: a reading is judged before anything is answered, and noted before the answer leaves, refused ones too. Routes between
nodes (checkpoints, blocks, hash tiles) are not people's and stay open. Not here: the rules of entitlement (see
`reads.entitled`).
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi import Request

from ledger_node.http.body import header
from ledger_node.http.context import Context
from ledger_node.http.problems import HttpError
from ledger_node.query.lineage import Sight
from ledger_node.query.standing import Standing
from ledger_node.reads.entitled import Read, Target, entitle
from ledger_node.reads.journal import Journal
from ledger_node.reads.readers import Reader, Readers

_LINEAGE: Final = "/lineage"


class Gate:
    """A dependency of every gated route."""

    def __init__(self, context: Context, readers: Readers, journal: Journal) -> None:
        self._context, self._readers, self._journal = context, readers, journal

    async def __call__(self, request: Request) -> None:
        """Raise `HttpError` (`reader`, `read-refused`) unless the request may be answered."""
        reader, target = self._readers.of(header(request.scope, b"authorization")), target_of(request)
        if reader is None:
            raise HttpError("reader", "a reader's token is needed")
        loop = asyncio.get_running_loop()
        read = await loop.run_in_executor(self._context.pool, self._judge, reader, target)
        if read is None:
            raise HttpError("read-refused", "not for this reader", reader=reader.name)
        if not read.oversees:
            request.state.sees = self._sight(reader)

    def _sight(self, reader: Reader) -> Sight:
        """What else the reader may see, for answers that name neighbours."""
        registry = self._context.node.registry

        def sees(standing: Standing, kind: str, identifier: str) -> bool:
            return entitle(standing, registry, reader, Target(kind, identifier)) is not None

        return sees

    def _judge(self, reader: Reader, target: Target) -> Read | None:
        with self._context.standing() as standing:
            read = entitle(standing, self._context.node.registry, reader, target)
        name = reader.name.rpartition("/")[2] if reader.person else reader.name
        self._journal.note(name, "" if read is None else read.capacity, () if read is None else read.datasets)
        return read


def target_of(request: Request) -> Target:
    """What a request of a gated route asks for."""
    named, path = request.path_params, getattr(request.scope.get("route"), "path", "")
    if "event_id" in named:
        return Target("event", f"{named['member']}/{named['event_id']}", event=True)
    if "member" in named:
        return Target("member", named["member"], whole=path.endswith("/events"))
    if "id" in named:
        kind = named.get("kind") or ("grant" if path.startswith("/v1/grants") else "dataset")
        return Target(kind, named["id"], whole=_LINEAGE not in path, lineage=_LINEAGE in path)
    asked = request.query_params
    if asked.get("id") and path.startswith("/v1/proofs/"):
        return Target(asked.get("kind", ""), asked["id"])
    return Target()
