"""Routes of the log: checkpoint, blocks, proofs, tiles, genesis and bundles. Nothing here needs a right or a rulebook."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from ledger.core.hashing import parse_hex_digest
from ledger.errors import NotFoundError, UnavailableError
from ledger_node.http.asking import (
    AskAbsence,
    AskBlocks,
    AskCheckpoint,
    AskCompleteness,
    AskConsistency,
    Asked,
    AskInclusion,
    AskNatives,
)
from ledger_node.http.context import BINARY, Context, answer, answer_with
from ledger_node.http.documented import ok, raw
from ledger_node.http.models import ConsistencyBody, EpochsBody, InclusionBody, ProofFile
from ledger_node.http.polling import poll_note
from ledger_node.query import log
from ledger_node.query.epochs import prove_epochs
from ledger_node.query.streams import prove_no_stream, prove_range_of

TEXT: Final = "text/plain; charset=utf-8"
MSGPACK: Final = "application/msgpack"
IMMUTABLE: Final = {"cache-control": "public, max-age=31536000, immutable"}


def routes(context: Context) -> APIRouter:
    """The router."""
    router = APIRouter(tags=["log"])
    _notes_and_blocks(router, context)
    _proofs(router, context)
    _files(router, context)
    return router


def _notes_and_blocks(router: APIRouter, context: Context) -> None:
    node = context.node

    @router.get(
        "/v1/checkpoint",
        response_class=Response,
        responses=raw("text/plain", "The C2SP checkpoint note with every verified line.", 404),
    )
    async def checkpoint(asked: Annotated[AskCheckpoint, Query()]) -> Response:
        """The proposed checkpoint with the cosignatures gathered so far; `wait` polls for another one than `after`, or for a
        larger one than `above`."""
        note = await poll_note(context, asked.wait, asked.after, asked.above)
        if not note:
            raise NotFoundError("checkpoint", "this node has no checkpoint yet")
        return answer(note, TEXT)

    @router.get(
        "/checkpoint",
        response_class=Response,
        responses=raw("text/plain", "The latest certified checkpoint (C2SP tlog-tiles)."),
    )
    def certified_checkpoint(asked: Annotated[Asked, Query()]) -> Response:
        """The latest certified checkpoint, under the path that tlog-tiles clients expect."""
        del asked
        found = node.certificates.certified()
        if found is None:
            raise UnavailableError("uncertified", "no checkpoint is certified yet", retry_after_s=1)
        return answer(found.note, TEXT)

    @router.get(
        "/v1/blocks",
        response_class=Response,
        responses=raw(MSGPACK, "A msgpack list of encoded blocks, empty when none came in time.", 404),
    )
    async def blocks(asked: Annotated[AskBlocks, Query()]) -> Response:
        """Inputs, leaves and log-signed notes of blocks, for followers and auditors; waits for the first one."""

        def there() -> bool | None:
            return True if node.published >= asked.first else None

        await context.running_watcher.wait_for(there, asked.wait)
        loop = asyncio.get_running_loop()
        return answer(await loop.run_in_executor(None, log.read_blocks, node, asked.first, asked.limit), MSGPACK)


def _proofs(router: APIRouter, context: Context) -> None:
    @router.get("/v1/proofs/inclusion", responses=ok(InclusionBody, 404))
    def inclusion(asked: Annotated[AskInclusion, Query()]) -> Response:
        """RFC 6962: leaf `seq` stands in the tree of `size` leaves."""
        with context.standing() as standing:
            return answer_with(standing.encode(), log.inclusion(standing, asked.seq, asked.size))

    @router.get("/v1/proofs/consistency", responses=ok(ConsistencyBody, 404))
    def consistency(asked: Annotated[AskConsistency, Query()]) -> Response:
        """RFC 6962: the tree of `new` leaves begins with that of `old`."""
        with context.standing() as standing:
            return answer_with(standing.encode(), log.consistency(standing, asked.old, asked.new))

    @router.get("/v1/proofs/epochs", responses=ok(EpochsBody))
    def epochs(asked: Annotated[Asked, Query()]) -> Response:
        """How the cosigners changed: the ends of all epochs, each certified by the set that left."""
        del asked
        with context.standing() as standing:
            return answer_with(standing.encode(), {"epochs": [end.encode() for end in prove_epochs(standing)]})

    gated = context.gated

    @router.get("/v1/proofs/completeness", dependencies=gated, responses=ok(ProofFile, 401, 403, proof=True))
    def completeness(asked: Annotated[AskCompleteness, Query()]) -> Response:
        """These are all records [begin, end) of the stream; an empty stream is proved empty."""
        with context.standing() as standing:
            return answer(prove_range_of(standing, asked.kind, asked.id, asked.refused, asked.begin, asked.end))

    @router.get("/v1/proofs/absence", dependencies=gated, responses=ok(ProofFile, 401, 403, 404, proof=True))
    def absence(asked: Annotated[AskAbsence, Query()]) -> Response:
        """No accepted record ever joined a stream of this name; 404 where one did."""
        with context.standing() as standing:
            return answer(prove_no_stream(standing, asked.kind, asked.id).encode())


def _files(router: APIRouter, context: Context) -> None:
    node = context.node

    @router.get(
        "/tile/{path:path}",
        response_class=Response,
        responses=raw(BINARY, "SHA-256 hashes, one behind the other.", 404),
    )
    def tile(path: str, asked: Annotated[Asked, Query()]) -> Response:
        """A hash tile of C2SP tlog-tiles: `<L>/<N>` or `<L>/<N>.p/<W>`, of the certified tree."""
        del asked
        name = log.parse_tile_path(path)
        with context.standing() as standing:
            return Response(log.read_tile(standing, name), media_type=BINARY, headers=IMMUTABLE)

    @router.get("/v1/native/{size}", responses=ok(ProofFile, 404, text="A CometBFT header with the votes over it."))
    def native(size: str, asked: Annotated[Asked, Query()]) -> Response:
        """CometBFT's own commit over the checkpoint of exactly this size, where one is kept."""
        del asked
        return answer(log.read_native(node, size))

    @router.get(
        "/v1/native",
        response_class=Response,
        responses=raw(MSGPACK, "A msgpack list of u64 size and native commit, by rising size; empty behind the last."),
    )
    def natives(asked: Annotated[AskNatives, Query()]) -> Response:
        """CometBFT's own commits over checkpoints, as an export holds them: a second proof beside the certificates."""
        return answer(log.read_natives(node, asked.first, asked.limit), MSGPACK)

    @router.get("/v1/genesis", responses=ok(ProofFile, text="The genesis document, byte for byte."))
    def genesis(asked: Annotated[Asked, Query()]) -> Response:
        """The document that the origin pins."""
        del asked
        return answer(node.genesis.data)

    @router.get(
        "/v1/bundles/{digest}", response_class=Response, responses=raw(BINARY, "A rulebook or calendar bundle.", 404)
    )
    def bundle(digest: str, asked: Annotated[Asked, Query()]) -> Response:
        """A bundle by its hash."""
        del asked
        return Response(log.read_bundle(node, parse_hex_digest(digest)), media_type=BINARY, headers=IMMUTABLE)
