"""A node that joins a simulated chain from a snapshot: one that offers it, the sync in between, and the node afterwards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ledger.adapters.home.comethome import HOME, write_genesis
from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.home.handover import write_pinned
from ledger.adapters.ordering.peers import Peer as LedgerPeer
from ledger.adapters.ordering.restoring import Restoring
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.core.checkpoint import Checkpoint, app_hash, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import COSIGN, LOG
from ledger.core.note import encode_note, sign_note
from ledger.core.registry import Registry
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.handler import Handler
from ledger_node.comet.snapshots import SnapshotTaker
from ledger_node.comet.statesync import Apply, Offer, Over, StateSync
from tests.models.abci_network import Chain, Peer
from tests.models.accept_all import AcceptAllRules, AcceptAllRuntime
from tests.models.governed import loading
from tests.models.snapshot_peer import StoredPeer
from tests.models.tiny_ledger import signer

CHUNK_BYTES = 4_000
"""So that a small state has several."""


class StoredNode(Peer):
    """A node over a data directory."""

    def __init__(self, chain: str, folder: Path) -> None:
        self.folder, self.store = folder, SqliteStore.open(folder / DATABASE)
        super().__init__(chain)

    def start(self) -> None:
        """See `Peer`."""
        self.store.close()
        self.store = SqliteStore.open(self.folder / DATABASE)
        self.app = Application(self.store, lambda _store, _head: (AcceptAllRules(), AcceptAllRuntime()))
        self.later = []
        self.handler = Handler(self.app, self.chain, self, self.later.append)
        self.mempool = []
        self.usable = True

    @property
    def written(self) -> int:
        """See `Peer`."""
        return self.store.engine_height()

    @property
    def ordered(self) -> list[Digest]:
        """Left to the nodes that decided all of it."""
        return []

    @property
    def registry(self) -> Registry:
        """See `Peer`."""
        return self.app.head.registry


class Offering:
    """A node's data directory with a snapshot after `height`, a height at which a block was made."""

    def __init__(self, chain: Chain, height: int, folder: Path) -> None:
        self.height, self.folder = height, folder
        folder.mkdir()
        memory = next(iter(chain.peers.values())).memory
        self.first, self.genesis = memory.blocks[0][0], parse_genesis(memory.genesis)
        at = [
            n
            for n, (sealed, _) in enumerate(memory.blocks)
            if app_hash(sealed.size, sealed.root) == chain.answers[height - 1].app_hash
        ]
        self.bundles = {each: memory.bundles[each] for each in (self.genesis.rulebook, self.genesis.calendar)}
        store = SqliteStore.create(folder / DATABASE)
        store.write_genesis(memory.genesis, self.bundles, self.first, b"")
        reader = SqliteReader(folder / DATABASE)
        taker = SnapshotTaker(folder, reader, height)
        for number, (sealed, note) in enumerate(memory.blocks):
            if number:
                store.write(sealed, note)
            if number == at[0]:
                taker.after(height)
                assert taker._thread is not None
                taker._thread.join()
        store.write_certificates([(memory.blocks[-1][0].size, certificate(chain))])
        store.close()
        (self.listed,) = taker.list().snapshots
        self.chunks = [
            taker.load(pb.RequestLoadSnapshotChunk(height=height, format=self.listed.format, chunk=number)).chunk
            for number in range(self.listed.chunks)
        ]
        taker.close()
        reader.close()


def certificate(chain: Chain) -> bytes:
    """What all cosigners certify: the head."""
    head = chain.head
    text = encode_checkpoint(Checkpoint(chain.origin, head.size, head.log.root()))
    lines = [sign_note(text, chain.origin, signer("ga", LOG))]
    lines += [
        sign_cosignature(text, name, signer(name, COSIGN), head.time // 1_000 + 1) for name, _ in head.config.cosigners
    ]
    return encode_note(text, lines)


def join(chain: Chain, offering: Offering, folder: Path, patch: pytest.MonkeyPatch) -> StoredNode:
    """Have a node join, killed once on the way, until it answers as any other; it is shown nothing yet."""
    seconds = chain.head.time // 1_000 + 2
    patch.setattr("ledger.adapters.ordering.restoring.rules_loader", lambda _runtime: loading)
    patch.setattr(
        "ledger.adapters.ordering.restoring.time",
        SimpleNamespace(time=lambda: seconds, time_ns=lambda: seconds * 10**9),
    )
    folder.mkdir()
    write_pinned(folder, offering.genesis, offering.bundles)
    store = SqliteStore.create(folder / DATABASE)
    store.write_genesis(offering.genesis.data, offering.bundles, offering.first, b"")
    store.close()
    (folder / HOME).mkdir()
    write_genesis(folder / HOME, chain.genesis)
    peers = cast("list[LedgerPeer]", [StoredPeer(offering.folder)])
    calls = []
    for last in (chain.random.randint(0, offering.listed.chunks - 1), offering.listed.chunks):
        sync = StateSync(Restoring(folder, peers), folder, [])
        calls += take(chain, offering, sync, last)
    return _over(chain, offering, sync, calls, folder)


def take(chain: Chain, offering: Offering, sync: StateSync, last: int) -> list[str]:
    """OfferSnapshot and the first chunks, in any order, one of them damaged at first; the calls."""
    calls = ["offer_snapshot"]
    height = offering.height
    assert not sync.info(pb.RequestInfo()).last_block_height
    request = pb.RequestOfferSnapshot(snapshot=offering.listed, app_hash=chain.answers[height - 1].app_hash)
    assert sync.offer_snapshot(request).result == Offer.ACCEPT
    order = chain.random.sample(range(offering.listed.chunks), offering.listed.chunks)[:last]
    for number in order:
        chunk = offering.chunks[number]
        for sent in ([chunk[:-1]] if chain.chance(0.3) else []) + [chunk]:
            calls.append("apply_snapshot_chunk")
            answer = sync.apply_snapshot_chunk(pb.RequestApplySnapshotChunk(index=number, chunk=sent, sender="peer"))
            assert answer.result == (Apply.ACCEPT if sent == chunk else Apply.RETRY)
    return calls


def _over(chain: Chain, offering: Offering, sync: StateSync, calls: list[str], folder: Path) -> StoredNode:
    """Info, and the first question of consensus, which ends the sync; then the node."""
    height = offering.height
    told = sync.info(pb.RequestInfo())
    assert (told.last_block_height, told.last_block_app_hash) == (height, chain.answers[height - 1].app_hash)
    votes = [pb.VoteInfo(validator=pb.Validator(address=sha256(key)[:20])) for key in chain.sets[height]]
    with pytest.raises(Over):
        sync.finalize_block(pb.RequestFinalizeBlock(decided_last_commit=pb.CommitInfo(votes=votes)))
    assert sync.done
    node = StoredNode(chain.start.chain, folder)
    node.calls = [*calls, "info", "finalize_block"]
    return node
