"""Answers CometBFT while a node joins a running chain from a snapshot, until the ledger is there (SPEC R-N74 to R-N78).

Rules: CometBFT finds snapshots and chunks at its peers and checks the app hash with its light client; what a snapshot says
is checked here too, under a certificate of the ledger's own. When CometBFT asks the first question of consensus, its state
is written: the voters it names must be validators of the restored registry, then it is over.
Not here: running CometBFT, and again where it failed (see `syncing`); making the ledger (see
`ledger.adapters.ordering.restoring`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

import structlog

from ledger.adapters.ordering.restoring import Covered, Restoring, Standing, check_begun, standing
from ledger.adapters.ordering.snapshots import ChunkFiles
from ledger.core.checkpoint import app_hash
from ledger.core.keys import CONSENSUS
from ledger.errors import FatalError, LedgerError, MalformedError, UnavailableError, VerificationError
from ledger.limits import SNAPSHOT_CHUNKS_MAX
from ledger.snapshotformat import FORMAT, Manifest, parse_manifest
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.handler import ABCI_VERSION, FILTER_ADDR, FILTER_ID, OK, REFUSED

COVER_TRIES: Final = 5
COVER_PAUSE_S: Final = 1.0
Offer, Apply = pb.ResponseOfferSnapshot, pb.ResponseApplySnapshotChunk


class Log(Protocol):
    """Where it is told how the sync goes."""

    def info(self, event: str, **fields: object) -> object:
        """Something that had to come."""

    def warning(self, event: str, **fields: object) -> object:
        """Something that somebody may have to look at."""


class StateSync:
    """The ABCI application of a node that joins from a snapshot. `done`: CometBFT goes on by itself."""

    def __init__(self, restoring: Restoring, data_dir: Path, peer_ids: Iterable[str], log: Log | None = None) -> None:
        """`peer_ids` are the node ids that may connect meanwhile: the registry that says so is not here yet."""
        self._restoring, self._data_dir = restoring, data_dir
        self._peer_ids = {each.lower() for each in peer_ids}
        self._chunks: ChunkFiles | None = None
        self._covered: Covered | None = None
        self._height = 0
        self._applied: set[int] = set()
        self._at: Standing = standing(data_dir)
        self._log: Log = log or structlog.get_logger("state-sync")
        self.done = False
        self.again = ""
        """Why CometBFT has to be started again: it was told to give up. Empty where it goes on."""
        self.trace: Callable[[str], None] | None = None
        """Told of every ABCI call, by tests."""

    @property
    def fetching(self) -> bool:
        """True while chunks of a snapshot that was accepted are on their way."""
        return self._chunks is not None

    @property
    def restored(self) -> int:
        """CometBFT's height of the snapshot that is the ledger now; 0 before."""
        return self._at.engine_height

    # --- what every connection asks --------------------------------------------------------------------------------

    def info(self, request: pb.RequestInfo) -> pb.ResponseInfo:
        """Where the database stands: nowhere until it was restored."""
        if request.abci_version and request.abci_version != ABCI_VERSION:
            raise FatalError("abci-version", "CometBFT speaks another ABCI", got=request.abci_version)
        at = self._at
        return pb.ResponseInfo(
            data="suyuan",
            version="1",
            app_version=1,
            last_block_height=at.engine_height,
            last_block_app_hash=app_hash(at.size, at.root) if at.engine_height else b"",
        )

    def query(self, request: pb.RequestQuery) -> pb.ResponseQuery:
        """Whether a peer may connect: one that this node was told to call, or one of the restored registry."""
        if request.path.startswith(FILTER_ADDR):
            return pb.ResponseQuery(code=OK)
        wanted = request.path.removeprefix(FILTER_ID).lower()
        known = self._peer_ids | {peer for _, peer in self._at.registry.peer_ids()}
        return pb.ResponseQuery(code=OK if request.path.startswith(FILTER_ID) and wanted in known else REFUSED)

    def check_tx(self, request: pb.RequestCheckTx) -> pb.ResponseCheckTx:
        """Nothing is taken in yet."""
        del request
        return pb.ResponseCheckTx(code=REFUSED, log="this node joins")

    # --- snapshots ---------------------------------------------------------------------------------------------------

    def list_snapshots(self, request: pb.RequestListSnapshots) -> pb.ResponseListSnapshots:
        """None."""
        del request
        return pb.ResponseListSnapshots()

    def load_snapshot_chunk(self, request: pb.RequestLoadSnapshotChunk) -> pb.ResponseLoadSnapshotChunk:
        """None."""
        del request
        return pb.ResponseLoadSnapshotChunk()

    def offer_snapshot(self, request: pb.RequestOfferSnapshot) -> pb.ResponseOfferSnapshot:
        """Take a snapshot whose manifest is one, has the app hash that the chain has, and is covered by a certificate."""
        offered = request.snapshot
        self._chunks, self._covered = None, None
        self._applied.clear()
        if offered.format != FORMAT:
            return Offer(result=Offer.REJECT_FORMAT)
        try:
            manifest = parse_manifest(offered.metadata)
            if (manifest.hash, len(manifest.chunks)) != (offered.hash, offered.chunks):
                raise MalformedError("snapshot", "its hash is not that of its manifest")
            if app_hash(manifest.size, manifest.root) != request.app_hash:
                raise VerificationError("snapshot-root", "the chain has another app hash", size=manifest.size)
            self._covered = self._cover(manifest)
        except UnavailableError as error:
            self._log.warning("snapshot.waits", height=offered.height, reason=str(error))
            self.again = str(error)
            return Offer(result=Offer.ABORT)
        except LedgerError as error:
            self._log.warning("snapshot.rejected", height=offered.height, reason=str(error))
            return Offer(result=Offer.REJECT)
        self._height, self._chunks = offered.height, self._restoring.chunks(manifest)
        self._log.info("snapshot.accepted", height=offered.height, size=manifest.size, chunks=len(manifest.chunks))
        return Offer(result=Offer.ACCEPT)

    def _cover(self, manifest: Manifest) -> Covered:
        for left in reversed(range(COVER_TRIES)):
            try:
                return self._restoring.cover(manifest)
            except UnavailableError:
                if not left:
                    raise
                time.sleep(COVER_PAUSE_S)
        raise FatalError("invariant", "unreachable")

    def apply_snapshot_chunk(self, request: pb.RequestApplySnapshotChunk) -> pb.ResponseApplySnapshotChunk:
        """Keep a chunk; with the last one make the ledger."""
        chunks, covered = self._chunks, self._covered
        if chunks is None or covered is None or request.index >= SNAPSHOT_CHUNKS_MAX:
            self.again = "a chunk of no snapshot that was accepted"
            return Apply(result=Apply.ABORT)
        if not chunks.put(request.index, request.chunk):
            self._log.warning("snapshot.chunk", index=request.index, sender=request.sender, reason="another chunk")
            senders = [request.sender] if request.sender else []
            return Apply(result=Apply.RETRY, refetch_chunks=[request.index], reject_senders=senders)
        self._applied.add(request.index)
        if len(self._applied) < len(chunks.manifest.chunks):
            return Apply(result=Apply.ACCEPT)
        try:
            self._restoring.restore(chunks, self._height, covered)
        except UnavailableError as error:
            self._log.warning("snapshot.waits", height=self._height, reason=str(error))
            self.again = str(error)
            return Apply(result=Apply.ABORT)
        except (MalformedError, VerificationError) as error:
            self._log.warning("snapshot.rejected", height=self._height, reason=str(error))
            self._chunks = None
            return Apply(result=Apply.REJECT_SNAPSHOT)
        check_begun(self._data_dir)
        self._at, self._chunks = standing(self._data_dir), None
        self._log.info("snapshot.restored", height=self._height, size=self._at.size)
        return Apply(result=Apply.ACCEPT)

    # --- what ends it ------------------------------------------------------------------------------------------------

    def init_chain(self, request: pb.RequestInitChain) -> pb.ResponseInitChain:
        """Never: a chain that begins has no snapshot."""
        raise FatalError("state-sync", "CometBFT begins the chain instead of joining it", chain_id=request.chain_id)

    def prepare_proposal(self, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        """The chain goes on: propose nothing."""
        self._voted(vote.validator.address for vote in request.local_last_commit.votes)
        return pb.ResponsePrepareProposal()

    def process_proposal(self, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        """The chain goes on: the node answers the next question."""
        self._voted(vote.validator.address for vote in request.proposed_last_commit.votes)
        raise Over

    def finalize_block(self, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        """The chain goes on: the node decides this block."""
        self._voted(vote.validator.address for vote in request.decided_last_commit.votes)
        raise Over

    def extend_vote(self, request: pb.RequestExtendVote) -> pb.ResponseExtendVote:
        """Not enabled (R-N16)."""
        raise FatalError("vote-extension", "vote extensions are not part of this network", height=request.height)

    def verify_vote_extension(self, request: pb.RequestVerifyVoteExtension) -> pb.ResponseVerifyVoteExtension:
        """Not enabled (R-N16)."""
        raise FatalError("vote-extension", "vote extensions are not part of this network", height=request.height)

    def commit(self, request: pb.RequestCommit) -> pb.ResponseCommit:
        """Never: nothing was decided here."""
        del request
        raise FatalError("engine-order", "commit without a decided block")

    def _voted(self, addresses: Iterable[bytes]) -> None:
        """Whoever voted for the block of the snapshot is a validator of the restored registry: CometBFT's light client
        followed our chain, not one that somebody made up from an app hash of ours."""
        voted = set(addresses)
        entries = self._at.registry.keys.values()
        known = {sha256(entry.public.raw).digest()[:20] for entry in entries if entry.use == CONSENSUS}
        if not self._at.engine_height or not voted or not voted <= known:
            raise FatalError(
                "snapshot-validators", "others vote on this chain than the ledger's validators", got=len(voted)
            )
        self.done = True


class Over(Exception):
    """The application has done what it was there for."""
