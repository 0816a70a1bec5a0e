"""The follower: fetches blocks from any node, executes every one itself, and stops when it computes something else.

A block is accepted only with the sequencer's log signature over exactly the checkpoint that this node computed. Catching
up, start-up and normal operation are one loop. A follower that computes something else keeps the evidence and says what
differs. Not here: cosigning (see `cosigner`).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from pathlib import Path

import msgpack

from ledger.adapters.engine import Engine
from ledger.adapters.evidence import keep_evidence
from ledger.adapters.peers import Peer
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
QUEUE_BLOCKS = 400
PAGE_BLOCKS_MAX = 1_000


class Follower(Engine):
    """See the module. `upstream` is asked in order; `evidence` is the folder for what a lying node signed."""

    def __init__(
        self, app: Application, upstream: Sequence[Peer], log_keys: Sequence[PublicKey], evidence: Path
    ) -> None:
        super().__init__(app, name="follower")
        self._upstream, self._evidence = list(upstream), evidence
        self._verifiers = [NoteVerifier(app.origin, key) for key in log_keys]
        self._blocks: queue.Queue[BlockData] = queue.Queue(QUEUE_BLOCKS)
        self._fetcher = threading.Thread(target=self._fetch, name="fetch blocks", daemon=True)
        self._next_height = app.head.height + 1
        self.upstream_reachable = False

    def start(self) -> None:
        """Start fetching and executing."""
        self._fetcher.start()
        super().start()

    def step(self) -> None:
        """Execute the next fetched block, or wait a moment for one."""
        try:
            data = self._blocks.get(timeout=0.05)
        except queue.Empty:
            return
        self.execute(data)

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
        app.commit(data.note)
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

    # --- fetching ----------------------------------------------------------------------------------------------------

    def _fetch(self) -> None:
        """Hand blocks over in order; any node will do, for every block is checked."""
        while not self._closing.is_set() and self.failure is None:
            first, *others = self._upstream
            self.upstream_reachable = self._fetch_from(first, FETCH_WAIT_S)
            if self.upstream_reachable:
                continue
            # The ordering node is away: others may have more blocks than we do, but none of them waits for new ones.
            for peer in others:
                if self._closing.is_set() or self.failure is not None:
                    return
                self._fetch_from(peer, 0)
            self._closing.wait(RETRY_S)

    def _fetch_from(self, peer: Peer, wait_s: int) -> bool:
        try:
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
