"""Some nodes behind their ABCI handlers and a driver in CometBFT's place: seeded, in one process, any legal order of calls.

The driver keeps the mempools and the decided blocks, lets nodes crash at every call and start again on what they had
committed, and shows each node the blocks that it lacks, as CometBFT's handshake does.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp

from ledger import framing
from ledger.adapters.memory import Memory, MemoryStore
from ledger.app import Application
from ledger.core.engine import chain_id
from ledger.core.event import new_event
from ledger.core.genesis import VALIDATOR_USES, Genesis, new_genesis
from ledger.core.hashing import sha256
from ledger.core.ident import uuid7_at
from ledger.core.keys import CONSENSUS, EVENT, Ed25519Signer
from ledger.core.maptree import MapTree
from ledger.core.submission import Submission, new_submission
from ledger.errors import LedgerError
from ledger.machine.block import Sealed
from ledger.machine.seal import seal_genesis
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet import transaction
from ledger_node.comet.handler import ABCI_VERSION, Decided, Handler
from tests.models import accept_all
from tests.models.accept_all import START_MS, AcceptAllRules, AcceptAllRuntime, event_signer

MEMBERS = ("ga", "gx", "mz", "rs")


def make_genesis() -> Genesis:
    """Four members, each a validator."""
    members, sign = [], {}
    for member in MEMBERS:
        signers = [(event_signer(member), EVENT)]
        signers += [
            (Ed25519Signer(sha256(f"{use} key of {member}".encode())), use) for use in (*VALIDATOR_USES, CONSENSUS)
        ]
        keys = [
            {"algorithm": s.public.algorithm, "public": s.public.raw.hex(), "use": use, "roles": ["system"]}
            for s, use in dict(signers).items()
        ]
        sign.update({s.public.raw.hex(): s for s, _ in signers})
        title = {"en": f"Department {member}", "zh": f"部门{member}"}
        members.append({"attributes": {}, "id": member, "keys": keys, "roles": ["department"], "title": title})
    return new_genesis(
        name="test.example",
        time=START_MS,
        members=members,
        rulebook=accept_all.GENESIS.rulebook,
        calendar=accept_all.GENESIS.calendar,
        sign=sign,
        engine="cometbft",
    )


GENESIS = make_genesis()
CHAIN = chain_id(GENESIS.origin, 0)


def open_application(memory: Memory) -> Application:
    """The application over `memory`, with block 0 where it is empty."""
    store = MemoryStore(memory)
    if store.load_head() is None:
        sealed, _ = seal_genesis(GENESIS, accept_all.genesis_config(GENESIS), MapTree.empty())
        store.write_genesis(GENESIS.data, accept_all.BUNDLES, sealed, b"")
    return Application(store, lambda _store, _head: (AcceptAllRules(), AcceptAllRuntime()))


class Crash(Exception):
    """The node ends here."""


class Peer:
    """One node: what it has committed (`memory`) survives a crash, everything else does not."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.calls: list[str] = []
        self.mempool: list[bytes] = []
        self.gone: list[Submission] = []
        self.start()

    def start(self) -> None:
        """Open what was committed, as a new process."""
        self.app = open_application(self.memory)
        self.later: list[Callable[[], None]] = []
        self.handler = Handler(self.app, CHAIN, self, self.later.append)
        self.mempool = []

    def sealed(self, sealed: Sealed) -> None:
        del sealed

    def write(self, decided: Decided) -> None:
        if decided.sealed is None:
            self.app.store.write_engine_height(decided.height)
        else:
            note = accept_all.log_note(GENESIS.origin, decided.sealed.size, decided.sealed.root)
            self.app.commit(note, (), decided.height)

    def rest(self) -> None:
        """What is done between answers; a node may be killed before it."""
        while self.later:
            self.later.pop(0)()

    def misbehaved(self, height: int) -> None:
        del height

    def dropped(self, submission: Submission, error: LedgerError) -> None:
        del error
        self.gone.append(submission)

    def call(self, name: str, request: object) -> object:
        """One ABCI call, noted for the grammar."""
        self.calls.append(name)
        return getattr(self.handler, name)(request)


@dataclass
class Block:
    """A decided block."""

    txs: list[bytes]
    time_ms: int

    @property
    def hash(self) -> bytes:
        """In place of CometBFT's block hash."""
        return sha256(repr((self.txs, self.time_ms)).encode())


@dataclass
class Chain:
    """The driver: decided blocks, the nodes, and a clock. `hashes` are the app hashes after each height."""

    seed: int
    peers: list[Peer] = field(default_factory=lambda: [Peer() for _ in MEMBERS])
    blocks: list[Block] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    sent: list[Submission] = field(default_factory=list)
    now: int = START_MS

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        for peer in self.peers:
            self.handshake(peer)

    # --- what nodes are asked ------------------------------------------------------------------------------------------

    def handshake(self, peer: Peer) -> None:
        """Info, InitChain for an empty node, and the blocks that it lacks."""
        info = peer.call("info", pb.RequestInfo(abci_version=ABCI_VERSION))
        assert isinstance(info, pb.ResponseInfo)
        if info.last_block_height == 0:
            validators = [
                pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=key.raw), power=1)
                for _, key in peer.app.head.registry.validators()
            ]
            state = json.dumps({"origin": GENESIS.origin}).encode()
            peer.call("init_chain", pb.RequestInitChain(chain_id=CHAIN, validators=validators, app_state_bytes=state))
        else:
            assert info.last_block_app_hash == self.hashes[info.last_block_height - 1]
        for height in range(info.last_block_height + 1, len(self.blocks) + 1):
            assert self.finalize(peer, height, self.blocks[height - 1]) == self.hashes[height - 1]
            peer.call("commit", pb.RequestCommit())

    def finalize(self, peer: Peer, height: int, block: Block) -> bytes:
        """FinalizeBlock; the app hash."""
        request = pb.RequestFinalizeBlock(txs=block.txs, height=height, time=stamp(block.time_ms), hash=block.hash)
        answer = peer.call("finalize_block", request)
        assert isinstance(answer, pb.ResponseFinalizeBlock)
        assert len(answer.tx_results) == len(block.txs)
        return answer.app_hash

    # --- moves -------------------------------------------------------------------------------------------------------

    def submit(self, timers: bool) -> None:
        """One to three submissions in a transaction, now and then with one that was sent before, to some mempools."""
        submissions = [self._submission(timers) for _ in range(self.random.randint(1, 3))]
        if self.sent and self.random.random() < 0.3:
            submissions.append(self.random.choice(self.sent))
        self.sent.extend(submissions)
        data = transaction.encode(self.random.randbytes(8), [framing.encode(each) for each in submissions])
        for peer in self.random.sample(self.peers, self.random.randint(1, len(self.peers))):
            answer = peer.handler.check_tx(pb.RequestCheckTx(tx=data))
            assert answer.code == 0
            peer.mempool.append(data)

    def _submission(self, timers: bool) -> Submission:
        events = []
        for _ in range(self.random.randint(1, 3)):
            content: dict[str, object] = {"writes": {f"thing/{self.random.randint(1, 5)}": {"n": 1}}}
            if timers and self.random.random() < 0.5:
                key = f"timer/T1/thing/{self.random.randint(1, 5)}"
                content["timers"] = {key: self.now + self.random.randint(1, 20_000)}
            events.append(
                new_event(
                    event_id=uuid7_at(self.now, self.random.randbytes(10)),
                    kind="test.event",
                    refs={"thing": f"t{self.random.randint(1, 4)}"},
                    time_ms=self.now,
                    salt=self.random.randbytes(16),
                    content=content,
                )
            )
        member = self.random.choice(MEMBERS)
        return new_submission(GENESIS.origin, member, event_signer(member), events)

    def hostile(self) -> list[bytes]:
        """What a Byzantine proposer might put into a block."""
        submission = self._submission(timers=False)
        forged = Submission(
            submission.origin,
            submission.member,
            submission.key_id,
            submission.events,
            bytes(64),
            submission.root,
            submission.identity,
        )
        good = transaction.encode(bytes(8), [framing.encode(submission)])
        return self.random.choice(
            [
                [b""],
                [b"\x94\x01"],
                [good[:-1]],
                [good, self.random.randbytes(50)],
                [transaction.encode(bytes(8), [framing.encode(forged)])],
                [transaction.encode(bytes(8), [framing.encode(submission)], {sha256(b"x"): b"{}"})],
            ]
        )

    def round(self, crash: float) -> None:
        """One height: proposals until one is accepted, then the decision, with crashes in between."""
        self.now += self.random.choice((1, 50, 2_000, 9_000))
        height = len(self.blocks) + 1
        proposer = self.random.choice(self.peers)
        if self.random.random() < 0.3:
            self.judge(self.hostile(), height, expected=2)
        if self.random.random() < 0.2:  # a proposal of a round that comes to nothing
            waiting = self.random.choice(self.peers).mempool[:1]
            answer = proposer.call("prepare_proposal", pb.RequestPrepareProposal(txs=waiting, time=stamp(self.now)))
            assert isinstance(answer, pb.ResponsePrepareProposal)
            self.judge(list(answer.txs), height, expected=1)
        request = pb.RequestPrepareProposal(
            txs=proposer.mempool, max_tx_bytes=1_000_000, height=height, time=stamp(self.now)
        )
        answer = proposer.call("prepare_proposal", request)
        assert isinstance(answer, pb.ResponsePrepareProposal)
        block = Block(list(answer.txs), self.now)
        self.judge(block.txs, height, expected=1)
        self.blocks.append(block)
        hashes = set()
        restarted = []
        for peer in self.peers:
            if self.random.random() < crash:
                restarted.append(peer)
                continue
            if self.random.random() < 0.1:
                self.finalize(peer, height, block)  # again, as after a lost answer
                peer.calls.append("info")
                peer.handler.info(pb.RequestInfo(abci_version=ABCI_VERSION))
            hashes.add(self.finalize(peer, height, block))
            if self.random.random() < crash:
                restarted.append(peer)
                continue
            peer.call("commit", pb.RequestCommit())
            if self.random.random() < crash:
                restarted.append(peer)  # committed for CometBFT, and not written here
                continue
            if self.random.random() < 0.7:
                peer.rest()
            self.recheck(peer, block)
        if not hashes:
            hashes.add(self.finalize(self.peers[0], height, block))
            restarted.append(self.peers[0])
        assert len(hashes) == 1
        self.hashes.append(hashes.pop())
        for peer in restarted:
            peer.start()
            self.handshake(peer)

    def judge(self, txs: list[bytes], height: int, expected: int) -> None:
        """ProcessProposal on some nodes, which answer alike."""
        digest = Block(txs, self.now).hash
        request = pb.RequestProcessProposal(txs=txs, height=height, time=stamp(self.now), hash=digest)
        for peer in self.random.sample(self.peers, self.random.randint(1, len(self.peers))):
            answer = peer.call("process_proposal", request)
            if self.random.random() < 0.8:
                peer.rest()
            assert isinstance(answer, pb.ResponseProcessProposal)
            assert answer.status == expected

    def recheck(self, peer: Peer, block: Block) -> None:
        """What is left in the mempool is asked about again."""
        left = [tx for tx in peer.mempool if tx not in block.txs]
        peer.mempool = [
            tx for tx in left if peer.handler.check_tx(pb.RequestCheckTx(tx=tx, type=pb.CHECK_TX_RECHECK)).code == 0
        ]


def stamp(time_ms: int) -> Timestamp:
    """A protobuf timestamp of unix ms."""
    return Timestamp(seconds=time_ms // 1_000, nanos=time_ms % 1_000 * 1_000_000)
