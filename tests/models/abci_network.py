"""Some nodes behind their ABCI handlers and a driver in CometBFT's place: seeded, in one process, any legal order of calls.

The driver keeps the mempools, the decided blocks and the validators, lets nodes or their engines crash at every call, also
while they are shown again what they lack, and compares each answer about a height with the first one that was given.
"""

from __future__ import annotations

import json
import random
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from ledger import framing
from ledger.adapters.home.comethome import comet_genesis
from ledger.adapters.memory import Fault
from ledger.core.hashing import Digest, sha256
from ledger.core.submission import Submission
from ledger.machine.block import Head
from ledger.machine.governance import carried_bundles
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet import transaction
from ledger_node.comet.handler import ABCI_VERSION, ACCEPT, REJECT
from tests.models.abci_events import Events, Keyring, may_sign
from tests.models.abci_peer import Crash, Peer
from tests.models.abci_starts import CHAIN, GENESIS, MEMBERS, NOTICE, START_MS, Start, begun, open_application
from tests.models.abci_votes import Votes
from tests.models.transactions import encode_transaction

STEPS_MS: Final = (0, 1, 50, 2_000, 9_000)
ROUNDS_MAX: Final = 40
"""Heights within which everything that waits is ordered."""


@dataclass(frozen=True)
class Block:
    """A block that was proposed."""

    height: int
    txs: tuple[bytes, ...]
    time_ms: int

    @property
    def hash(self) -> bytes:
        """In place of CometBFT's block hash."""
        return sha256(repr((self.height, self.txs, self.time_ms)).encode())


@dataclass(frozen=True)
class Answer:
    """What FinalizeBlock says of a height: app hash, and changes of the validators by key."""

    app_hash: bytes
    updates: tuple[tuple[bytes, int], ...]


@dataclass
class Chain:
    """The driver. `blocks` and `answers` are those of heights 1, 2, …; `sets` the powers of validators by height, from 0 on.

    `crash` is how likely a node, or its CometBFT, ends at a call; `seen` counts what happened that need not happen.
    """

    seed: int
    crash: float = 0.0
    start: Start = field(default_factory=begun)
    blocks: list[Block] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    sent: list[Submission] = field(default_factory=list)
    txs: list[bytes] = field(default_factory=list)
    bundles: dict[Digest, bytes] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    keys: Keyring = field(default_factory=Keyring)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        first = open_application(self.start.make())
        self.origin, self.now, self.first_hash = first.origin, first.head.time, first.info().app_hash
        self.votes = Votes(self.origin, self.random, self.keys)
        self.events = Events(self.origin, self.random, self.keys)
        self.members = self.keys.members
        begin = {key.raw: member for member, key in first.head.registry.validators()}
        self.members.update(begin)
        self.genesis = comet_genesis(
            chain_id=self.start.chain,
            time_ms=first.head.time,
            validators=first.head.registry.validators(),
            origin=self.origin,
        )
        named = json.loads(self.genesis)["validators"]
        self.sets = [{b64decode(each["pub_key"]["value"]): int(each["power"]) for each in named}] * 3
        self.power = max(self.sets[0].values())
        self.peers: dict[str, Peer] = {}
        for member in begin.values():
            self.join(member)

    # --- nodes come and go -------------------------------------------------------------------------------------------

    def join(self, member: str) -> None:
        """A node of `member` that has nothing of this chain yet."""
        peer = Peer(self.start.chain, self.start.make())
        peer.fault = self._fault(peer)
        peer.start()
        self.peers[member] = peer
        self.seen["joined late"] += bool(self.blocks)
        self.revive(peer, fresh=True)

    def _fault(self, peer: Peer) -> Fault:
        def fault(operation: str, _number: int) -> tuple[bool, Exception | None]:
            if operation == "genesis" or not self.chance(self.crash / 4):
                return True, None
            peer.usable = False  # killed while it writes: before or after the moment that counts
            self.seen["end: write"] += 1
            return self.chance(0.5), Crash()

        return fault

    def chance(self, probability: float) -> bool:
        """A throw of the dice."""
        return self.random.random() < probability

    @property
    def running(self) -> list[Peer]:
        """Nodes that answer, in any order."""
        return self.random.sample(found := [peer for peer in self.peers.values() if peer.up], len(found))

    @property
    def head(self) -> Head:
        """The newest that any node has written."""
        return max((peer.app.head for peer in self.peers.values()), key=lambda head: head.height)

    @contextmanager
    def mortal(self, peer: Peer) -> Iterator[None]:
        """What may end the node."""
        try:
            yield
        except Crash:
            peer.up = False

    def ask(self, peer: Peer, name: str, request: Message) -> Any:
        """A call that may be the last."""
        answer = peer.call(name, request)
        self.end(peer, name)
        return answer

    def end(self, peer: Peer, name: str) -> None:
        """Perhaps the end of a node, after a call that was answered."""
        if self.chance(self.crash):
            self.seen[f"end: {name}{'' if peer.shown else ', in a handshake'}"] += 1
            raise Crash

    def wake(self) -> None:
        """Some of the nodes that ended start again, and enough of them that validators decide."""
        for peer in list(self.peers.values()):
            if not peer.up and self.chance(0.4):
                self.revive(peer)
        voting = [self.members[key] for key in self.sets[len(self.blocks) + 1]]
        for member in voting:
            if member not in self.peers and self.chance(0.4):
                self.join(member)
        while 3 * sum(name in self.peers and self.peers[name].up for name in voting) <= 2 * len(voting):
            member = self.random.choice([name for name in voting if name not in self.peers or not self.peers[name].up])
            if member in self.peers:
                self.revive(self.peers[member])
            else:
                self.join(member)

    def revive(self, peer: Peer, *, fresh: bool = False) -> None:
        """Start a node, or its CometBFT alone, as often as it takes."""
        peer.up = False
        for attempt in range(6):
            with self.mortal(peer):
                if not peer.usable or fresh or self.chance(0.7):
                    peer.start()
                    peer.skips = self.random.choice((1, 3, 32))
                else:
                    peer.rest()  # CometBFT alone ended, and its mempool with it
                    self.seen["CometBFT alone"] += 1
                peer.mempool = []
                peer.up, peer.shown, fresh = True, False, False
                self.handshake(peer, self.crash / 3 if attempt < 5 else 0.0)
                peer.shown = True
                return
        raise AssertionError("a start without faults failed")

    def handshake(self, peer: Peer, crash: float) -> None:
        """Info, InitChain for a node that has nothing of the chain, and the blocks that it lacks; each may be the last."""
        crash, self.crash = self.crash, crash
        try:
            info = self.ask(peer, "info", pb.RequestInfo(abci_version=ABCI_VERSION))
            assert info.last_block_height <= len(self.blocks)
            if info.last_block_height == 0:
                self._init_chain(peer)
            else:
                assert info.last_block_app_hash == self.answers[info.last_block_height - 1].app_hash
            for height in range(info.last_block_height + 1, len(self.blocks) + 1):
                self.finalize(peer, height)
                self.ask(peer, "commit", pb.RequestCommit())
                if self.chance(0.7):
                    peer.rest()
        finally:
            self.crash = crash

    def _init_chain(self, peer: Peer) -> None:
        validators = [
            pb.ValidatorUpdate(pub_key=pb.PublicKey(ed25519=key), power=power) for key, power in self.sets[0].items()
        ]
        state = json.dumps(json.loads(self.genesis)["app_state"]).encode()
        request = pb.RequestInitChain(chain_id=self.start.chain, validators=validators, app_state_bytes=state)
        answer = self.ask(peer, "init_chain", request)
        assert answer.app_hash == self.first_hash
        assert not answer.validators and not answer.HasField("consensus_params")  # no vote extensions (R-N16)

    # --- a height ----------------------------------------------------------------------------------------------------

    def height(self) -> None:
        """Rounds until one decides, then the decision at every node that runs."""
        number = len(self.blocks) + 1
        self.blocks.append(self.agree(number))
        for peer in self.running:
            with self.mortal(peer):
                self.follow(peer, number)
        if number > len(self.answers):  # all of them ended before
            self.revive(self.random.choice(list(self.peers.values())))
        self.change_validators(number)

    def agree(self, number: int) -> Block:
        """Proposals, of which some are refused and some come to nothing; the one that is decided."""
        accepted: list[Block] = []
        while True:
            self.wake()
            self.now += self.random.choice(STEPS_MS) if self.chance(0.8) else NOTICE
            block, expected = self.proposal(number, accepted)
            if block is None:
                continue
            status = self.judge(block)
            assert status is None or status == (expected or status)
            if status == ACCEPT:
                accepted.append(block)
                self.seen["odd, and accepted"] += not expected
            if accepted and self.chance(0.6):
                found = self.random.choice(accepted[-2:])
                self.seen["decided in a later round"] += found is not block
                return found

    def proposal(self, number: int, accepted: list[Block]) -> tuple[Block | None, int]:
        """What somebody proposes, and what everybody thinks of it (0: whatever it is, all the same)."""
        kind = self.random.random()
        if kind < 0.1 and accepted:
            return self.random.choice(accepted), ACCEPT  # once more, in a later round
        if kind < 0.25:
            return Block(number, tuple(self.events.hostile(self.head, self.now)), self.now), REJECT
        if kind < 0.35 and self.txs:
            odd = self.random.choices(self.txs, k=self.random.randint(1, 4))  # recorded before, or twice, or too early
            return Block(number, tuple(odd), self.now), 0
        proposer = self.random.choice(self.running)
        with self.mortal(proposer):
            return Block(number, self.prepare(proposer, number), self.now), ACCEPT
        return None, 0

    def prepare(self, peer: Peer, number: int) -> tuple[bytes, ...]:
        """PrepareProposal, of all that waits or of the beginning; what it gives fits where that did."""
        txs = peer.mempool[: self.random.randint(0, 2)] if self.chance(0.1) else peer.mempool
        room = sum(map(len, txs))
        request = pb.RequestPrepareProposal(txs=txs, max_tx_bytes=room, height=number, time=stamp(self.now))
        answer = self.ask(peer, "prepare_proposal", request)
        assert sum(map(len, answer.txs)) <= room
        return tuple(answer.txs)

    def judge(self, block: Block) -> int | None:
        """ProcessProposal on some nodes, which answer alike; None where all of them ended."""
        request = pb.RequestProcessProposal(
            txs=block.txs, height=block.height, time=stamp(block.time_ms), hash=block.hash
        )
        statuses = set()
        for peer in self.running[: self.random.randint(1, len(self.peers))]:
            with self.mortal(peer):
                self.meanwhile(peer)
                status = self.ask(peer, "process_proposal", request).status
                statuses.add(status)
                assert status == REJECT or self.may_all_sign(peer, *block.txs)
                if self.chance(0.8):
                    peer.rest()
        assert len(statuses) <= 1
        return statuses.pop() if statuses else None

    def follow(self, peer: Peer, number: int) -> None:
        """FinalizeBlock and Commit, with what comes in between; a mempool is locked from Commit until it is asked again."""
        self.meanwhile(peer)
        self.finalize(peer, number)
        self.meanwhile(peer, info=False)
        self.ask(peer, "commit", pb.RequestCommit())
        if self.chance(0.7):
            peer.rest()
        left = [tx for tx in peer.mempool if tx not in self.blocks[number - 1].txs]
        peer.mempool = [
            tx for tx in left if peer.handler.check_tx(pb.RequestCheckTx(tx=tx, type=pb.CHECK_TX_RECHECK)).code == 0
        ]
        self.meanwhile(peer)

    def finalize(self, peer: Peer, number: int) -> None:
        """FinalizeBlock; every node says the same of a height, whenever it is asked."""
        block = self.blocks[number - 1]
        request = pb.RequestFinalizeBlock(txs=block.txs, height=number, time=stamp(block.time_ms), hash=block.hash)
        said = peer.call("finalize_block", request)
        assert len(said.tx_results) == len(block.txs) and not said.HasField("consensus_param_updates")
        updates = tuple((each.pub_key.ed25519, each.power) for each in said.validator_updates)
        if number > len(self.answers):
            self.answers.append(Answer(said.app_hash, updates))
        assert Answer(said.app_hash, updates) == self.answers[number - 1]
        self.end(peer, "finalize_block")

    def change_validators(self, number: int) -> None:
        """As CometBFT does, two heights on: nobody is taken out who is not in, nobody comes twice, somebody stays."""
        following = dict(self.sets[number + 1])
        self.seen["updates"] += bool(self.answers[number - 1].updates)
        for key, power in self.answers[number - 1].updates:
            assert power == (0 if key in following else self.power)
            if power:
                following[key] = power
            else:
                del following[key]
        assert following
        self.sets.append(following)
        for peer in self.peers.values():
            if peer.written == number:
                assert following == {key.raw: self.power for _, key in peer.registry.validators()}

    # --- the other connections ---------------------------------------------------------------------------------------

    def meanwhile(self, peer: Peer, *, info: bool = True) -> None:
        """What comes from elsewhere between two calls of consensus: it changes nothing, and sees what was committed."""
        if self.txs and self.chance(0.2):
            self.check(peer, self.random.choice(self.txs[-8:]))
            self.seen["checked before its commit"] += not info
        if self.chance(0.2):
            registry = self.head.registry
            asked = self.random.choice([*(peer_id for _, peer_id in registry.peer_ids()), "ab" * 20])
            known = any(asked == peer_id for _, peer_id in peer.registry.peer_ids())
            answer = peer.handler.query(pb.RequestQuery(path=f"/p2p/filter/id/{asked}"))
            assert (answer.code == 0) == known
        if self.chance(0.1):
            assert not peer.handler.list_snapshots(pb.RequestListSnapshots()).snapshots
        if info and self.chance(0.1):  # `abci_info`: the decision in hand is taken back and made again
            told = peer.handler.info(pb.RequestInfo(abci_version=ABCI_VERSION))
            before = told.last_block_height
            assert not before or told.last_block_app_hash == self.answers[before - 1].app_hash

    def check(self, peer: Peer, tx: bytes) -> None:
        """CheckTx at one node: whether all signers are members with a key in force after what it has written."""
        may = not peer.handler.retired and self.may_all_sign(peer, tx)
        assert (peer.handler.check_tx(pb.RequestCheckTx(tx=tx)).code == 0) == may
        if may and tx not in peer.mempool:
            peer.mempool.append(tx)

    def may_all_sign(self, peer: Peer, *txs: bytes) -> bool:
        """Whether all signers of these transactions may sign in the block after what a node has written."""
        submissions = [each for tx in txs for each in transaction.parse(tx).submissions]
        registry, height = peer.registry, peer.app.head.height + 1
        return all(may_sign(registry, each, height) for each in submissions)

    def send(self, submissions: list[Submission], bundles: dict[Digest, bytes] | None = None) -> None:
        """A transaction to some mempools."""
        self.sent.extend(submissions)
        self.bundles.update(bundles or {})
        tx = encode_transaction(self.random.randbytes(8), [framing.encode(each) for each in submissions], bundles)
        self.txs.append(tx)
        for peer in self.running[: self.random.randint(1, len(self.peers))]:
            self.check(peer, tx)

    def submit(self, timers: bool) -> None:
        """One to three submissions in a transaction, now and then with one that was sent before."""
        submissions = [self.events.submission(self.head, self.now, timers) for _ in range(self.random.randint(1, 3))]
        before = [each for each in self.sent if len(each.events) > 1 or each.events[0].fields["kind"] == "test.event"]
        if before and self.chance(0.3):
            submissions.append(self.random.choice(before))
        self.send(submissions)

    def vote(self) -> None:
        """A proposal with its votes, mostly together; or a member's new key, which needs none."""
        if self.chance(0.2):
            self.send([self.votes.rotate_own(self.head, self.now)])
            return
        submissions, bundles = self.votes.next(self.head, self.now)
        cut = len(submissions) if self.chance(0.8) else self.random.randint(1, len(submissions))
        self.send(submissions[:cut], bundles)
        if submissions[cut:]:
            self.send(submissions[cut:])

    def leave(self) -> None:
        """The members vote for the next chain; what waits there stays out of the log."""
        for attempt in range(ROUNDS_MAX):
            if attempt % 4 == 0:
                moves = max(peer.app.engine.moves for peer in self.peers.values()) + 1
                self.send(self.votes.move(self.head, self.now, moves))
                self.now += NOTICE + 1 if attempt else 0
            self.height()
            if self.left:
                return
        raise AssertionError("the vote did not take effect")

    @property
    def left(self) -> bool:
        """Whether the ledger has moved on from this chain."""
        return any(peer.handler.retired for peer in self.peers.values())

    # --- the end -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Nothing ends any more: everybody starts again, and what any node may still order is sent again and ordered."""
        self.crash = 0.0
        for peer in self.peers.values():
            peer.rest() if peer.up else self.revive(peer)
        for peer in self.peers.values():
            peer.mempool = []
        ordered = self.ordered
        for each in self.sent:
            if each.identity not in ordered:
                bundles = {digest: self.bundles[digest] for digest in carried_bundles((each,))}
                tx = encode_transaction(self.random.randbytes(8), [framing.encode(each)], bundles)
                for peer in self.peers.values():
                    self.check(peer, tx)
        for _ in range(ROUNDS_MAX):
            self.height()
            if not self.waiting():
                break
        for peer in self.peers.values():
            peer.rest()
        assert not self.waiting()

    def waiting(self) -> list[Submission]:
        """What stands in a mempool and may still be ordered."""
        txs = {tx: None for peer in self.peers.values() for tx in peer.mempool}
        head, ordered = self.head, self.ordered
        found = [each for tx in txs for each in transaction.parse(tx).submissions if each.identity not in ordered]
        return [each for each in found if not self.left and may_sign(head.registry, each, head.height + 1)]

    @property
    def ordered(self) -> set[Digest]:
        """What stands in a block that a node has written."""
        return {identity for peer in self.peers.values() for identity in peer.ordered}


def stamp(time_ms: int) -> Timestamp:
    """A protobuf timestamp of unix ms."""
    return Timestamp(seconds=time_ms // 1_000, nanos=time_ms % 1_000 * 1_000_000)


__all__ = ["CHAIN", "GENESIS", "MEMBERS", "START_MS", "Chain", "Peer", "open_application", "stamp"]
