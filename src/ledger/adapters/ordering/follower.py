"""The follower: fetches blocks from any node, executes every one itself, and stops when it computes something else.

A block is accepted only with the sequencer's log signature over exactly the checkpoint that this node computed. Catching
up, start-up and normal operation are one loop. A follower that computes something else keeps the evidence, says what
differs, and writes no more; then it looks for a certificate of the other history, which it follows (SPEC R-Q31).
Not here: cosigning (see `cosigner`), and the other replica (see `crossing`).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgpack

from ledger.adapters.ordering.engine import Engine
from ledger.adapters.ordering.evidence import keep_evidence
from ledger.adapters.ordering.peers import FAULT_S, Peer
from ledger.app import Application
from ledger.blockcodec import BlockData, parse_block, to_submission
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.keys import PublicKey
from ledger.core.note import NoteVerifier, open_note, parse_note
from ledger.errors import ForkError, LedgerError, MalformedError, UnavailableError, VerificationError
from ledger.machine.block import BlockInput, Sealed

FETCH_WAIT_S = 10
FETCH_LIMIT = 200
RETRY_S = 0.2
SEEK_S = 1.0  # how often a follower that is parted from the others looks for a certificate
SEAM_S = 0.2  # how often a follower that stands at a seam looks for tasks
QUEUE_BLOCKS = 400
PAGE_BLOCKS_MAX = 1_000
SUSPECTS_MAX = 16

log = logging.getLogger("ledger.ordering")


class Cross(Protocol):
    """How a follower gets to another history (see `crossing`)."""

    def ask(self) -> list[bytes]:
        """Valid certificates that peers show."""
        ...

    def cross(self, note: bytes) -> Path | None:
        """Make the replica that `note` certifies; the fork proof, None where it changes nothing. Raises `ForkError`."""
        ...


class Follower(Engine):
    """See the module. `upstream` is asked in order; `evidence` is the folder for what a lying node signed.

    Without `crossing` a follower that computes something else stops. With it, it waits for a certificate of the other
    history, makes that replica and calls `on_crossed` last: the node has to be opened again. With `stop_at_seam` it
    executes nothing behind the block in which the ledger moves to another engine, for a node with a vote signs there only
    what that engine ordered (SPEC R-N60); of several moves the first `passes()` are history, and passed.
    """

    def __init__(
        self,
        app: Application,
        upstream: Sequence[Peer],
        log_keys: Sequence[PublicKey],
        evidence: Path,
        crossing: Cross | None = None,
        *,
        stop_at_seam: bool = False,
        passes: Callable[[], int] = int,
    ) -> None:
        super().__init__(app, name="follower")
        self._crossing = crossing
        self._suspects: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._rivals: queue.SimpleQueue[BlockData] = queue.SimpleQueue()
        self._compared_at = -FETCH_WAIT_S * 1.0
        self.on_crossed: list[Callable[[], None]] = []
        self._upstream, self._evidence = list(upstream), evidence
        self._verifiers = [NoteVerifier(app.origin, key) for key in log_keys]
        self._blocks: queue.Queue[BlockData] = queue.Queue(QUEUE_BLOCKS)
        self._fetcher = threading.Thread(target=self._fetch, name="fetch blocks", daemon=True)
        self._next_height = app.head.height + 1
        self.upstream_reachable = False
        self.stop_at_seam, self._passes = stop_at_seam, passes

    def know_log_keys(self, keys: Sequence[PublicKey]) -> None:
        """Blocks from here on may be signed by keys that were registered meanwhile."""
        self._verifiers = [NoteVerifier(self.app.origin, key) for key in keys]

    @property
    def at_seam(self) -> bool:
        """Whether this replica stands at a seam (or was led behind one by a certificate) and waits for its operator."""
        engine, head = self.app.engine, self.app.head
        return self.stop_at_seam and engine.moves > self._passes() and head.height >= engine.seam

    def start(self) -> None:
        """Start fetching and executing."""
        self._fetcher.start()
        super().start()

    def step(self) -> None:
        """Execute the next fetched block, or wait a moment for one; once parted from the others, seek a certificate."""
        if self.failure is not None:
            self._seek()
            return
        if self._crossing is not None and not self._suspects.empty():
            self._seek()
        try:
            if not self._rivals.empty():
                raise self._rival(self._rivals.get())
            if self.at_seam:
                self._wake.wait(SEAM_S)
                self._wake.clear()
                return
            data = self._blocks.get(timeout=0.05)
            self.execute(data)
        except queue.Empty:
            return
        except ForkError as error:
            if self._crossing is None:
                raise
            self.failure = error

    def suspect(self, note: bytes) -> None:
        """A peer showed a checkpoint that contradicts this node's tree (any thread): it may be a certificate."""
        if self._crossing is not None and self._suspects.qsize() < SUSPECTS_MAX:
            self._suspects.put(note)

    def _seek(self) -> None:
        """Cross to what is certified, if anything is. Raises `ForkError` once that is done, or can never be done."""
        crossing = self._crossing
        if crossing is None:
            return
        notes = crossing.ask()
        while not self._suspects.empty():
            notes.append(self._suspects.get())
        for note in notes:
            if self._closing.is_set():
                return
            proof = crossing.cross(note)
            if proof is not None:
                for listener in self.on_crossed:
                    listener()
                raise ForkError(
                    "crossed", "a certificate names another history, which this node follows", evidence=proof.name
                )
        if self.failure is not None:
            self._closing.wait(SEEK_S)

    def execute(self, data: BlockData) -> Sealed | None:
        """Execute one block and commit it when it is what the sequencer signed; None for one that we have.

        Raises `VerificationError` for a block without a valid log signature, `ForkError` (with evidence written) for one
        whose signed checkpoint is not what we computed.
        """
        app = self.app
        if data.height <= app.head.height:
            return None
        checkpoint, sealed = compute(app, data, self._verifiers)
        if (sealed.size, sealed.root) != (checkpoint.size, checkpoint.root):
            raise self._diverged(data, checkpoint, sealed)
        self.sealed(sealed)
        app.commit(data.note, self.take_certificates())
        self.committed(sealed, data.note)
        return sealed

    def _diverged(self, data: BlockData, checkpoint: Checkpoint, sealed: Sealed) -> ForkError:
        """Keep what was signed and what we computed; the error says where they part."""
        first = next(
            (n for n, (ours, theirs) in enumerate(zip(sealed.leaves, data.leaves, strict=False)) if ours != theirs),
            min(len(sealed.leaves), len(data.leaves)),
        )
        ours = sealed.leaves[first] if first < len(sealed.leaves) else b""
        theirs = data.leaves[first] if first < len(data.leaves) else b""
        facts = {
            "height": data.height,
            "first_different_leaf": sealed.header.first_seq + first,
            "ours": {"size": sealed.size, "root": sealed.root.hex(), "leaf": ours.hex()},
            "theirs": {"size": checkpoint.size, "root": checkpoint.root.hex(), "leaf": theirs.hex()},
        }
        path = keep_evidence(self._evidence, "diverged", data.note, facts)
        return ForkError(
            "diverged",
            "this node computed another block than the sequencer signed",
            height=data.height,
            seq=sealed.header.first_seq + first,
            evidence=path.name,
        )

    def _rival(self, data: BlockData) -> ForkError:
        """Keep the other block that was signed for the height of our head."""
        head = self.app.head
        theirs = signed_checkpoint(data.note, self.app.origin, self._verifiers)
        facts = {
            "height": data.height,
            "ours": {"size": head.size, "root": head.log.root().hex()},
            "theirs": {"size": theirs.size, "root": theirs.root.hex()},
        }
        path = keep_evidence(self._evidence, "diverged", data.note, facts)
        return ForkError(
            "diverged", "another block was signed for the height of our head", height=data.height, evidence=path.name
        )

    # --- fetching ----------------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        while not self._closing.is_set() and self.failure is None:
            try:
                self._fetch_round()
            except Exception:  # whatever one round brings, the next one is asked
                log.exception("fetch blocks")
                self._closing.wait(FAULT_S)

    def _fetch_round(self) -> None:
        """Hand blocks over in order; any node will do, for every block is checked."""
        if self.at_seam or not self._upstream:
            self._closing.wait(SEEK_S)
            return
        first, *others = self._upstream
        # The first question is not a long one: a follower of an idle ledger is ready as soon as it was answered.
        self.upstream_reachable = self._fetch_from(first, FETCH_WAIT_S if self.upstream_reachable else 0)
        if self.upstream_reachable:
            return
        # The ordering node is away: others may have more blocks than we do, but none of them waits for new ones.
        for peer in others:
            if self._closing.is_set() or self.failure is not None:
                return
            self._fetch_from(peer, 0)
        self._closing.wait(RETRY_S)

    def _fetch_from(self, peer: Peer, wait_s: int) -> bool:
        try:
            self._compare(peer)
            blocks = read_page(peer.blocks(self._next_height, wait_s, FETCH_LIMIT))
        except (UnavailableError, MalformedError):
            return False
        for data in blocks:
            if data.height != self._next_height:
                return False
            try:
                signed_checkpoint(data.note, self.app.origin, self._verifiers)
            except LedgerError:
                return False
            while not self._closing.is_set() and self.failure is None:
                try:
                    self._blocks.put(data, timeout=0.5)
                    break
                except queue.Full:
                    continue
            self._next_height = data.height + 1
        return True

    def _compare(self, peer: Peer) -> None:
        """Look whether a peer has another block at the height of our head: on an idle ledger nothing else would tell.

        At start and then now and again, while nothing waits to be executed.
        """
        head, now = self.app.head, time.monotonic()
        if not head.height or head.height + 1 != self._next_height or now - self._compared_at < FETCH_WAIT_S:
            return
        page = read_page(peer.blocks(head.height, 0, 1))
        if not page or page[0].height != head.height:
            return
        self._compared_at = now
        try:
            theirs = signed_checkpoint(page[0].note, self.app.origin, self._verifiers)
        except LedgerError:
            return  # nobody signed it
        if (theirs.size, theirs.root) != (head.size, head.log.root()) and self._rivals.empty():
            self._rivals.put(page[0])


def compute(app: Application, data: BlockData, verifiers: Sequence[NoteVerifier]) -> tuple[Checkpoint, Sealed]:
    """What was signed for a block and what `app` computes from its inputs; nothing is written. Compare the two."""
    checkpoint = signed_checkpoint(data.note, app.origin, verifiers)
    submissions = tuple(to_submission(each, app.origin) for each in data.submissions)
    block = BlockInput(data.height, data.time, submissions, data.attachments)
    app.process(block)
    return checkpoint, app.finalize(block)


def signed_checkpoint(note: bytes, origin: str, verifiers: Sequence[NoteVerifier]) -> Checkpoint:
    """The checkpoint in a log-signed note of `origin`; raises `MalformedError` or `VerificationError`."""
    opened = open_note(parse_note(note), verifiers)
    checkpoint = parse_checkpoint_text(opened.text)
    if checkpoint.origin != origin:
        raise VerificationError("origin", "a note of another network", got=checkpoint.origin)
    return checkpoint


def read_page(body: bytes) -> list[BlockData]:
    """The blocks of a `GET /v1/blocks` answer: a msgpack list of encoded blocks. Raises `MalformedError`."""
    try:
        page = msgpack.unpackb(body, raw=True, max_array_len=PAGE_BLOCKS_MAX, max_ext_len=0, max_map_len=0)
    except (ValueError, msgpack.UnpackException) as error:
        raise MalformedError("blocks", "not a page of blocks") from error
    if not isinstance(page, list) or not all(isinstance(entry, bytes) for entry in page):
        raise MalformedError("blocks", "not a page of blocks")
    return [parse_block(entry) for entry in page]
