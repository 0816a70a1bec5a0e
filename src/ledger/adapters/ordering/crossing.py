"""Takes a follower from a history that no quorum stands by to the one that a valid certificate names (SPEC R-Q31).

Rules: a certificate moves a node only where it contradicts blocks of its own that are not certified, and only to a tree
that the node computed itself from shared blocks and those of peers, up to exactly the certified root. The old replica is
never changed: it becomes evidence, with a fork proof of the keys that signed both. The two are exchanged when the node
opens, by one rename, which a crash leaves to the next opening.
Not here: who may cosign afterwards (see `cosigner`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.adapters.home import datadir
from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.configs import Configs
from ledger.adapters.ordering.epochproofs import prove_ends
from ledger.adapters.ordering.evidence import keep_proof
from ledger.adapters.ordering.follower import compute, read_page, signed_checkpoint
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.adapters.sqlite.store import SqliteStore
from ledger.adapters.sqlite.stored import read_block
from ledger.app import Application
from ledger.blockcodec import BlockData
from ledger.core import merkle
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.genesis import Genesis
from ledger.core.note import NoteVerifier, parse_note
from ledger.core.proof import EpochEnd, Fork
from ledger.core.quorum import CertifiedCheckpoint, verify_certificate
from ledger.errors import FatalError, ForkError, LedgerError, UnavailableError, VerificationError
from ledger.limits import NOTE_BYTES_MAX

FOLDER: Final = "crossing"  # below the data directory: the replica that is being made
COMPLETE: Final = "complete"
ABANDONED: Final = "abandoned"  # below the evidence: the replica that was left
PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Crossing:
    """What crossing needs of a node: its folder, its peers, what it knows to be certified, and how rules are loaded."""

    data_dir: Path
    genesis: Genesis
    peers: Sequence[Peer]
    book: CertificateBook
    runtime: str

    @property
    def evidence(self) -> Path:
        """Where the old replica and the fork proof go."""
        return self.data_dir / datadir.EVIDENCE

    def certificate(self, note: bytes) -> CertifiedCheckpoint | None:
        """What `note` certifies, None where it is no valid certificate of this network."""
        try:
            size = parse_checkpoint_text(parse_note(note).text).size
            return verify_certificate(note, self.book.origin, self.book.log_keys, self.book.cosigners_at(size))
        except LedgerError:
            return None

    def ask(self) -> list[bytes]:
        """The newest certified notes that peers show, valid ones only."""
        notes: list[bytes] = []
        for peer in self.peers:
            try:
                answer = peer.request("GET", "/checkpoint", bytes_max=NOTE_BYTES_MAX)
            except UnavailableError:
                continue
            if answer.status == 200 and self.certificate(answer.body) is not None:
                notes.append(answer.body)
        return notes

    def cross(self, note: bytes) -> Path | None:
        """Make the replica that the certificate `note` names; the path of the fork proof, with the replica ready.

        None where the certificate does not contradict this node, or no peer gives blocks that lead to it. Raises
        `ForkError` (code `two-certificates`) with the proof written when both histories are certified: then nobody
        can say which is true, and the origin ends (SPEC R-G06).
        """
        certified = self.certificate(note)
        if certified is None:
            return None
        reader = SqliteReader(self.data_dir / datadir.DATABASE)
        try:
            with reader.snapshot() as snap:
                for peer in self.peers:
                    try:
                        proof = self._cross_with(snap, peer, note, certified)
                    except (ForkError, FatalError):
                        raise
                    except LedgerError:
                        continue  # another peer may have the blocks that this one lacks or falsified
                    if proof is not None:
                        return proof
            return None
        finally:
            reader.close()

    def _cross_with(self, snap: Snapshot, peer: Peer, note: bytes, certified: CertifiedCheckpoint) -> Path | None:
        shared = self._shared(snap, peer)
        size = snap.block(shared).size
        if shared == snap.head_height or certified.checkpoint.size <= size:
            return None
        folder = self.data_dir / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        bundles = {digest: snap.bundle(digest) for digest in (self.genesis.rulebook, self.genesis.calendar)}
        datadir.create_ledger(folder, self.genesis, bundles)
        app = Application(SqliteStore.open(folder / datadir.DATABASE), datadir.load_rules(self.runtime))
        configs = Configs(self.data_dir)
        app.on_config.append(lambda config: configs.keep(config.encode()))
        try:
            for height in range(1, shared + 1):
                self._execute(app, read_block(snap, height))
            self._fetch(app, peer, certified.checkpoint)
            app.store.write_certificates([(certified.checkpoint.size, note)])
        finally:
            app.close()
        proof = keep_proof(self.evidence, "fork", self._fork(snap, folder, note, certified.checkpoint).encode())
        ours = self.book.certified()
        if ours is not None and ours.result.checkpoint.size > size:
            shutil.rmtree(folder)
            raise ForkError(
                "two-certificates", "two histories were certified; this origin cannot go on", evidence=proof.name
            )
        _complete(folder, _free_name(self.evidence))
        return proof

    def _shared(self, snap: Snapshot, peer: Peer) -> int:
        """The largest height up to which the peer's signed chain is ours: each block binds all before it."""
        low, high = 0, snap.head_height
        while low < high:
            middle = (low + high + 1) // 2
            page = read_page(peer.blocks(middle, 0, 1))
            block = page[0] if page and page[0].height == middle else None
            if block is not None and self._checkpoint(block.note) == self._checkpoint(snap.block(middle).note):
                low = middle
            else:
                high = middle - 1
        return low

    def _fetch(self, app: Application, peer: Peer, wanted: Checkpoint) -> None:
        while app.head.size < wanted.size:
            page = read_page(peer.blocks(app.head.height + 1, 0, PAGE))
            if not page:
                raise UnavailableError("peer", "no blocks up to the certificate", peer=peer.url, size=app.head.size)
            for data in page:
                self._execute(app, data)
                if app.head.size >= wanted.size:
                    break
        if (app.head.size, app.head.log.root()) != (wanted.size, wanted.root):
            raise VerificationError("diverged", "the blocks lead to another tree than the certificate's", **_at(app))

    def _execute(self, app: Application, data: BlockData) -> None:
        checkpoint, sealed = compute(app, data, self._verifiers())
        if (sealed.size, sealed.root) != (checkpoint.size, checkpoint.root):
            raise VerificationError("diverged", "this node computes another block than was signed", **_at(app))
        app.commit(data.note)

    def _checkpoint(self, note: bytes) -> Checkpoint:
        return signed_checkpoint(note, self.book.origin, self._verifiers())

    def _verifiers(self) -> list[NoteVerifier]:
        return [NoteVerifier(self.book.origin, key) for key in self.book.log_keys]

    def _fork(self, snap: Snapshot, folder: Path, theirs: bytes, certified: Checkpoint) -> Fork:
        """The proof that some keys signed both: our newest note with all its lines against the certificate."""
        shown = self.book.note()
        ours = snap.block(snap.head_height).note
        own = parse_checkpoint_text(parse_note(ours).text)
        if shown and parse_note(shown).text == parse_note(ours).text:
            ours = shown  # the same checkpoint, with cosignatures
        epochs = self._epochs(snap, min(own.size, certified.size))
        if own.size > certified.size:
            return _fork_of(theirs, certified, ours, own, snap, epochs)
        reader = SqliteReader(folder / datadir.DATABASE)
        try:
            with reader.snapshot() as made:
                return _fork_of(ours, own, theirs, certified, made, epochs)
        finally:
            reader.close()

    def _epochs(self, snap: Snapshot, size: int) -> tuple[EpochEnd, ...]:
        """The ends of the epochs that lead to the set of `size`, as far as they can be shown here."""
        known = [end for end in self.book.epoch_ends() if end.size < size]
        try:
            return prove_ends(snap, Configs(self.data_dir), known, self.book.cosigners_at(size), size)
        except UnavailableError:
            return ()  # the notes are evidence without them too


def finish_crossing(data_dir: Path, derived: Sequence[str] = ()) -> Path | None:
    """Put a complete replica in place of the old one, which becomes evidence; its new folder, None where nothing waits.

    Called before the store is opened. `derived` are names of databases that were made from the old replica: they go first,
    so that none of them outlives it. Raises `UnavailableError` where another process writes the folder.
    """
    folder = data_dir / FOLDER
    if not folder.exists():
        return None
    lock = DataDirLock(data_dir)
    try:
        kept = None
        if (folder / COMPLETE).exists():  # else it was made halfway, and is made again when it is still needed
            kept = data_dir / datadir.EVIDENCE / (folder / COMPLETE).read_text("ascii")
            made = folder / datadir.DATABASE
            if made.exists():
                for path in [path for name in derived for path in data_dir.glob(f"{name}*")]:
                    path.unlink()
                kept.mkdir(mode=0o700, exist_ok=True)
                for path in sorted(data_dir.glob(f"{datadir.DATABASE}*")):
                    path.rename(kept / path.name)
                _sync(kept)
                made.rename(data_dir / datadir.DATABASE)
                _sync(data_dir)
        shutil.rmtree(folder)
        return kept
    finally:
        lock.close()


def _free_name(evidence: Path) -> str:
    """`abandoned`, or with a number when a replica was left before."""
    number = 1
    while (evidence / (name := ABANDONED if number == 1 else f"{ABANDONED}-{number}")).exists():
        number += 1
    return name


def _complete(folder: Path, abandoned: str) -> None:
    """Mark the replica in `folder` as whole, with where the old one goes.

    A database that its last writer closed has no log beside it, so one rename moves all of it.
    """
    SqliteStore.open(folder / datadir.DATABASE).close()  # a reader left its log
    for name in ("-wal", "-shm"):
        if (folder / f"{datadir.DATABASE}{name}").exists():
            raise UnavailableError("store-open", "the new replica is still open", path=str(folder))
    fd = os.open(folder / COMPLETE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, abandoned.encode("ascii"))
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync(folder)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _fork_of(
    first: bytes,
    small: Checkpoint,
    second: bytes,
    large: Checkpoint,
    larger: Snapshot,
    epochs: tuple[EpochEnd, ...],
) -> Fork:
    """The fork proof over two sizes: the smaller tree's leaves as they are in the larger tree, read from `larger`."""
    if small.size == large.size:
        return Fork(first, second, epochs=epochs)
    inside, rest = merkle.range_nodes(0, small.size), merkle.range_nodes(small.size, large.size)
    nodes = larger.log_nodes([*inside, *rest])
    subtrees, path = tuple(nodes[node] for node in inside), tuple(nodes[node] for node in rest)
    return Fork(first, second, subtrees, path, epochs)


def _at(app: Application) -> dict[str, object]:
    return {"height": app.head.height, "size": app.head.size}
