"""A follower on a history that no quorum stands by: it keeps the evidence and follows the certificate (SPEC R-Q31)."""

from __future__ import annotations

import copy
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgpack
import pytest

from ledger.adapters.home.datadir import DATABASE, EVIDENCE, load_rules
from ledger.adapters.ordering.certificates import CertificateBook, Certified
from ledger.adapters.ordering.crossing import COMPLETE, FOLDER, Crossing, finish_crossing
from ledger.adapters.ordering.epochs import EpochEnd
from ledger.adapters.ordering.follower import Follower
from ledger.adapters.ordering.peers import Answer, Peer
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.adapters.sqlite.stored import read_block
from ledger.app import Application
from ledger.blockcodec import encode_block
from ledger.core.keys import COSIGN, LOG
from ledger.core.proof import parse_proof, trust_genesis
from ledger.core.prooflog import Fork, ForkResult
from ledger.core.quorum import verify_certificate
from ledger.errors import ForkError, UnavailableError
from tests.models.epoch_proofs import Changed
from tests.models.real_ledger import RealLedger

pytestmark = pytest.mark.timeout(120)


class FolderPeer(Peer):
    """Answers as a node over a data directory would."""

    def __init__(self, folder: Path) -> None:
        super().__init__("http://127.0.0.1:9")
        self._folder = folder

    def request(self, method: str, path: str, *_: object, **__: object) -> Answer:
        """The certified note, or a page of blocks."""
        reader = SqliteReader(self._folder / DATABASE)
        try:
            with reader.snapshot() as snap:
                if path == "/checkpoint":
                    found = snap.certificates.latest()
                    return Answer(404, b"", "") if found is None else Answer(200, found[1], "text/plain")
                query = parse_qs(urlsplit(path).query)
                first, limit = int(query["from"][0]), int(query["limit"][0])
                last = min(snap.head_height, first + limit - 1)
                blocks = [encode_block(read_block(snap, height)) for height in range(first, last + 1)]
                return Answer(200, msgpack.packb(blocks), "application/msgpack")
        finally:
            reader.close()


def again(ledger: RealLedger, folder: Path) -> RealLedger:
    """The same network over a data directory of its own."""
    found = copy.copy(ledger)
    found.folder, found.store = folder, SqliteStore.open(folder / DATABASE)
    found.app = Application(found.store, load_rules("inline"))
    return found


def write(ledger: RealLedger, blocks: int) -> None:
    """Blocks of one event each."""
    user = ledger.workload.grants[0].user
    for _ in range(blocks):
        ledger.block([ledger.workload.submission(user, "office", ledger.workload.mix(user, 1))])


class Parted:
    """Two data directories of one network: `ours` and `theirs` share a certified past and nothing behind it."""

    def __init__(self, folder: Path) -> None:
        ledger = RealLedger(folder / "ours")
        for wave in ledger.workload.setup(2):
            ledger.block(wave)
        ledger.certify()
        self.shared = ledger.app.head.height
        ledger.close()
        shutil.copytree(folder / "ours", folder / "theirs")
        self.ours, self.theirs = again(ledger, folder / "ours"), again(ledger, folder / "theirs")
        genesis = ledger.genesis
        logs = [key.public for _, key in genesis.keys(LOG)]
        cosigners = [(member, key.public) for member, key in genesis.keys(COSIGN)]
        self.book = CertificateBook(genesis.origin, logs, cosigners)
        self.peer = FolderPeer(self.theirs.folder)
        self.crossing = Crossing(self.ours.folder, genesis, [self.peer], self.book, "inline")
        self.follower = Follower(self.ours.app, [self.peer], logs, self.ours.folder / EVIDENCE, self.crossing)

    def certified(self) -> bytes:
        """The certificate that the others show."""
        (note,) = self.crossing.ask()
        return note

    def fork(self) -> ForkResult:
        """What the kept fork proof shows to somebody who pinned the origin."""
        (path,) = (self.ours.folder / EVIDENCE).glob("fork-*.json")
        proof = parse_proof(path.read_bytes())
        assert isinstance(proof, Fork)
        return proof.verify(trust_genesis(self.ours.genesis, int(time.time())))

    def close(self) -> None:
        """Release both databases."""
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def parted(tmp_path: Path) -> Iterator[Parted]:
    made = Parted(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(("own_blocks", "their_blocks"), [(1, 1), (1, 3), (3, 1)])
def test_a_follower_crosses_to_the_certified_history(parted: Parted, own_blocks: int, their_blocks: int) -> None:
    """Shorter or longer branch: the replica becomes theirs, ours is kept, and the fork proof names the log key."""
    write(parted.ours, own_blocks)
    write(parted.theirs, their_blocks)
    parted.theirs.certify()
    parted.follower.suspect(parted.certified())
    with pytest.raises(ForkError) as caught:
        parted.follower.step()
    assert caught.value.code == "crossed"
    assert [name for name, _ in parted.fork().guilty] == [parted.ours.genesis.origin]
    abandoned = parted.ours.app.head
    parted.ours.close()
    (parted.ours.folder / "index.sqlite-wal").touch()
    kept = finish_crossing(parted.ours.folder, derived=["index.sqlite"])
    assert (
        kept is not None and not list(parted.ours.folder.glob("index*")) and not (parted.ours.folder / FOLDER).exists()
    )
    now = again(parted.ours, parted.ours.folder)
    assert now.app.info() == parted.theirs.app.info()
    now.close()
    shutil.copy(kept / DATABASE, parted.ours.folder / DATABASE)
    old = again(parted.ours, parted.ours.folder)
    assert old.app.head.log.root() == abandoned.log.root()
    old.close()


def test_a_diverged_follower_waits_for_a_certificate(parted: Parted) -> None:
    """It writes nothing and says why as long as nobody certified the other history, and crosses once somebody did."""
    write(parted.ours, 1)
    write(parted.theirs, 2)
    follower, before = parted.follower, parted.ours.app.info()
    reader = SqliteReader(parted.theirs.folder / DATABASE)
    with reader.snapshot() as snap:
        follower._blocks.put(read_block(snap, parted.shared + 2))
    reader.close()
    follower.step()
    assert isinstance(follower.failure, ForkError) and follower.failure.code == "diverged"
    follower.step()  # the shared certificate is all there is
    assert parted.ours.app.info() == before and not (parted.ours.folder / FOLDER).exists()
    parted.theirs.certify()
    with pytest.raises(ForkError, match="crossed"):
        follower.step()


def test_two_certified_histories_are_never_crossed(parted: Parted) -> None:
    """Certificates on both sides: the proof names every cosigner that signed both, and nothing is exchanged."""
    write(parted.ours, 1)
    parted.ours.certify()
    write(parted.theirs, 1)
    parted.theirs.certify()
    head = parted.ours.app.head
    reader = SqliteReader(parted.ours.folder / DATABASE)
    with reader.snapshot() as snap:
        _, note = snap.certificates.latest() or (0, b"")
    reader.close()
    book = parted.book
    book.committed(head.height, head.size, head.log.root(), note)
    book.add_note(note)
    book.restore(Certified(head.height, note, verify_certificate(note, book.origin, book.log_keys, book.cosigners)))
    parted.follower.suspect(parted.certified())
    with pytest.raises(ForkError) as caught:
        parted.follower.step()
    assert caught.value.code == "two-certificates"
    assert len(parted.fork().guilty) == 1 + len(book.cosigners)
    assert not (parted.ours.folder / FOLDER).exists()


def test_what_contradicts_nothing_moves_nothing(parted: Parted) -> None:
    """A certificate ahead of us, one that we have, and bytes that are none leave the replica as it is."""
    assert parted.crossing.cross(parted.certified()) is None
    write(parted.theirs, 1)
    parted.theirs.certify()
    assert parted.crossing.cross(parted.certified()) is None  # we are behind, on the same history
    write(parted.ours, 1)
    assert parted.crossing.cross(b"nothing") is None
    assert finish_crossing(parted.ours.folder) is None


def test_a_crossing_survives_a_crash(parted: Parted) -> None:
    """Half a replica is thrown away; a whole one is put in place even where the old one was moved already."""
    write(parted.ours, 1)
    write(parted.theirs, 1)
    parted.theirs.certify()
    assert parted.crossing.cross(parted.certified()) is not None
    folder, making = parted.ours.folder, parted.ours.folder / FOLDER
    with pytest.raises(UnavailableError):
        finish_crossing(folder)  # the node still runs
    parted.ours.close()
    marker = (making / COMPLETE).read_text("ascii")
    shutil.copytree(making, folder.parent / "whole")
    (making / COMPLETE).unlink()
    assert finish_crossing(folder) is None and not making.exists() and (folder / DATABASE).exists()
    shutil.move(folder.parent / "whole", making)
    kept = folder / EVIDENCE / marker
    kept.mkdir()
    (folder / DATABASE).rename(kept / DATABASE)
    assert finish_crossing(folder) == kept
    assert (kept / DATABASE).exists() and not making.exists()
    with sqlite3.connect(folder / DATABASE) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_certificates_count_under_the_set_of_their_size(tmp_path: Path) -> None:
    """SPEC R-G21, R-Q31: after a change of the set, certificates of both epochs move a node, each by its own set only."""
    made = Changed()
    genesis = made.ledger.genesis
    logs = [key.public for _, key in genesis.keys(LOG)]
    sets = [tuple((name, key.public) for name, key in each) for each in made.sets]
    book = CertificateBook(genesis.origin, logs, sets[0])
    for number, height in enumerate(made.ends):
        sealed = made.ledger.sealed[height]
        end = EpochEnd(height, sealed.size, sealed.root, b"", sets[number], certified=True)
        book.end_epoch(end, sets[number + 1])
    crossing = Crossing(tmp_path, genesis, [], book, "inline")
    for size, note in made.notes.items():
        found = crossing.certificate(note)
        assert found is not None and found.checkpoint.size == size
    made.sets.append(made.sets[0][1:])  # wj's first key is of no later set
    made.ledger.block(made.ledger.sign("ga", made.ledger.event()))
    made.certify()
    assert crossing.certificate(made.notes[made.size]) is None
