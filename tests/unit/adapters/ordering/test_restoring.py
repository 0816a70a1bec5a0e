"""A ledger made from a snapshot and from blocks: the same as one that was decided, or none at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from ledger.adapters.home.datadir import DATABASE, load_rules
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.restoring import FOLDER, Restoring, standing
from ledger.adapters.ordering.snapshots import StateSnapshots
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.blockcodec import BlockData
from ledger.core.genesis import COMETBFT
from ledger.core.hashing import sha256
from ledger.errors import LedgerError, MalformedError, UnavailableError, VerificationError
from ledger.machine.block import BlockInput
from ledger.snapshotformat import Manifest, Row, encode_chunks
from tests.models.comet_network import verify
from tests.models.real_ledger import RealLedger, begin_ledger, real_ledger
from tests.models.snapshot_peer import StoredPeer

ENGINE_HEIGHT = 40


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A department's ledger with streams, grants and open timers."""
    return real_ledger(tmp_path_factory.mktemp("real") / "ga", uses=20, engine=COMETBFT)


@pytest.fixture(scope="module")
def begun(made: RealLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a node with block 0, to be copied."""
    return begin_ledger(tmp_path_factory.mktemp("begun"), made.genesis)


@pytest.fixture
def joiner(begun: Path, tmp_path: Path) -> Path:
    """The data directory of a node with block 0."""
    return Path(shutil.copytree(begun, tmp_path / "jy"))


@contextmanager
def opened(folder: Path) -> Iterator[Snapshot]:
    """One read transaction on a data directory."""
    reader = SqliteReader(folder / DATABASE)
    try:
        with reader.snapshot() as snap:
            yield snap
    finally:
        reader.close()


def manifest_of(folder: Path, change: Callable[[list[Row]], list[Row]] = list) -> tuple[Manifest, list[bytes]]:
    """What an honest node offers of the ledger in `folder`, or a liar that changes rows before it hashes them."""
    with opened(folder) as snap:
        rows = [(key, row.value) for key, row in snap.rows_with_prefix(b"", None, 1_000_000)]
        chunks = list(encode_chunks(change(rows)))
        size = snap.head_size
        return Manifest(snap.head_height, size, snap.root_at(size), tuple(map(sha256, chunks))), chunks


def restoring(folder: Path, *peers: StoredPeer) -> Restoring:
    """The restore of a data directory from these nodes."""
    return Restoring(folder, cast("list[Peer]", list(peers)))


def restore(found: Restoring, manifest: Manifest, chunks: list[bytes]) -> None:
    """All of it, as the last chunk starts it."""
    covered = found.cover(manifest)
    kept = found.chunks(manifest)
    for number, chunk in enumerate(chunks):
        assert kept.put(number, chunk)
    found.restore(kept, ENGINE_HEIGHT, covered)


def test_a_restored_ledger_is_the_one_that_was_decided(made: RealLedger, joiner: Path) -> None:
    """SPEC R-N76: every row, place in a stream, open timer, leaf, event and body is there; the next block is decided with
    the same result; the node knows what it did not decide; and the auditor replays all of it without a finding."""
    manifest, chunks = manifest_of(made.folder)
    found = restoring(joiner, StoredPeer(made.folder))
    restore(found, manifest, chunks)
    at = standing(joiner)
    assert (at.engine_height, at.size, at.root) == (ENGINE_HEIGHT, manifest.size, manifest.root)
    with opened(made.folder) as old, opened(joiner) as new:
        rows = old.rows_with_prefix(b"", None, 1_000_000)
        assert new.rows_with_prefix(b"", None, 1_000_000) == rows
        assert new.timers(None, 10_000) == old.timers(None, 10_000) != []
        for key, row in rows:
            stream = old.stream(key) if key[0] == 1 else None
            if stream is not None:
                size = stream.value.size
                assert new.stream_seqs(key, 0, size) == old.stream_seqs(key, 0, size), row
        seqs = range(old.head_size)
        assert new.leaves(seqs) == old.leaves(seqs)
        one = next(each for each in old.leaves(seqs) if each.head is not None)
        assert new.find_event(*name_of(one.leaf)) == old.find_event(*name_of(one.leaf)) == [one.seq]
    reader = SqliteReader(joiner / DATABASE)
    assert reader.restored_height == manifest.height
    reader.close()
    assert verify(joiner, made.genesis.origin) == ("intact", [])
    assert next_root(joiner, made) == next_root(made.folder, made)


def name_of(leaf: bytes) -> tuple[str, str]:
    """(member, id) of a record."""
    from ledger.core.leaf import Record, parse_leaf

    record = parse_leaf(leaf)
    assert isinstance(record, Record)
    return record.member, record.id


def next_root(folder: Path, made: RealLedger) -> tuple[int, bytes]:
    """Size and root of a block without events that is decided next, a year later: every timer falls due."""
    copy = folder.parent / f"{folder.name}-next"
    shutil.copytree(folder, copy)
    app = Application(SqliteStore.open(copy / DATABASE), load_rules("inline"))
    try:
        sealed = app.finalize(BlockInput(app.head.height + 1, app.head.time + 366 * 86_400_000))
        assert sealed.header.count > 0 and made.genesis.origin == app.origin
        return sealed.size, sealed.root
    finally:
        app.close()


def test_nodes_with_another_past_offer_the_same_snapshot(made: RealLedger, joiner: Path, tmp_path: Path) -> None:
    """SPEC R-N70: a node that was restored, and numbers its rows otherwise, makes the same bytes as one that decided."""
    manifest, chunks = manifest_of(made.folder)
    restore(restoring(joiner, StoredPeer(made.folder)), manifest, chunks)
    assert manifest_of(joiner) == (manifest, chunks)
    with opened(joiner) as snap:
        assert StateSnapshots(tmp_path).write(50, snap) == manifest


def _other_value(rows: list[Row]) -> list[Row]:
    *kept, (key, value) = rows
    return [*kept, (key, value[:-2] + bytes((value[-2] ^ 1,)) + value[-1:])]


def _other_stream(rows: list[Row]) -> list[Row]:
    at = next(number for number, (key, _) in enumerate(rows) if key[0] == 1)
    key, value = rows[at]
    return [*rows[:at], (key, value.replace(b'"time":1', b'"time":2')), *rows[at + 1 :]]


LIES: dict[str, Callable[[list[Row]], list[Row]]] = {
    "an object": _other_value,
    "a stream": _other_stream,
    "one row fewer": lambda rows: rows[:-2] + rows[-1:],
    "one row more": lambda rows: [*rows, (b"\x07\x00\x01a", b"")],
    "another key": lambda rows: [*rows[:-1], (rows[-1][0] + b"a", rows[-1][1])],
    "no member": lambda rows: [row for row in rows if row[0][0] != 4],
    "nothing but one row": lambda rows: rows[:1],
}


@pytest.mark.parametrize("lie", LIES)
def test_no_other_state_is_taken(made: RealLedger, joiner: Path, lie: str) -> None:
    """SPEC R-N76: a state that is not the one in the certified log's last header is refused, with the old ledger in place;
    an honest snapshot is taken afterwards, with the blocks that are there already."""
    peer = StoredPeer(made.folder)
    found = restoring(joiner, peer)
    with pytest.raises((VerificationError, MalformedError)) as caught:
        restore(found, *manifest_of(made.folder, LIES[lie]))
    assert caught.value.code in ("snapshot-state", "snapshot"), caught.value
    assert standing(joiner).engine_height == 0 and standing(joiner).size == 1
    peer.asked.clear()
    restore(found, *manifest_of(made.folder))
    assert standing(joiner).engine_height == ENGINE_HEIGHT
    assert not [each for each in peer.asked if each.startswith("blocks")]


def test_another_log_than_the_certified_one_is_not_taken(made: RealLedger, joiner: Path) -> None:
    """SPEC R-N74: a manifest with another root, or beyond what is certified, is refused before a chunk is fetched."""
    manifest, _ = manifest_of(made.folder)
    found = restoring(joiner, StoredPeer(made.folder))
    with pytest.raises(VerificationError) as other:
        found.cover(replace(manifest, root=sha256(b"another log")))
    smaller = replace(manifest, size=manifest.size - 1, root=sha256(b"another log"))
    with pytest.raises(VerificationError) as within:
        found.cover(smaller)
    assert other.value.code == within.value.code == "snapshot-root"
    with pytest.raises(UnavailableError) as beyond:
        found.cover(replace(manifest, size=manifest.size + 1))
    silent = StoredPeer(made.folder)
    silent.certificate = False
    with pytest.raises(UnavailableError) as none:
        restoring(joiner, silent).cover(manifest)
    assert beyond.value.code == none.value.code == "snapshot-uncertified"


def test_a_certificate_of_too_few_covers_nothing(made: RealLedger, joiner: Path, tmp_path: Path) -> None:
    """SPEC R-N74: a peer that shows its own signatures only is passed over."""
    alone = tmp_path / "alone"
    shutil.copytree(made.folder, alone)
    store = SqliteStore.open(alone / DATABASE)
    with opened(alone) as snap:
        size, root = snap.head_size, snap.root_at(snap.head_size)
    store.write_certificates([(size, made._note(size, root, ["ga"]))])
    store.close()
    manifest, _ = manifest_of(made.folder)
    with pytest.raises(UnavailableError) as caught:
        restoring(joiner, StoredPeer(alone)).cover(manifest)
    assert caught.value.code == "snapshot-uncertified" and "quorum" in str(caught.value)
    assert (
        restoring(joiner, StoredPeer(alone), StoredPeer(made.folder)).cover(manifest).checkpoint.size == manifest.size
    )


def _without_a_leaf(block: BlockData) -> BlockData:
    return replace(block, leaves=block.leaves[1:]) if block.height == 2 else block


def _other_verdict(block: BlockData) -> BlockData:
    leaves = (block.leaves[0].replace(b'"outcome":"accepted"', b'"outcome":"refused"'), *block.leaves[1:])
    return replace(block, leaves=leaves) if block.height == 2 else block


def _other_height(block: BlockData) -> BlockData:
    return replace(block, height=block.height + 1) if block.height == 2 else block


def _no_leaves(block: BlockData) -> BlockData:
    return replace(block, leaves=())


@pytest.mark.parametrize("change", [_without_a_leaf, _other_verdict, _other_height, _no_leaves])
def test_blocks_that_are_not_the_certified_ones_come_from_somebody_else(
    made: RealLedger, joiner: Path, change: Callable[[BlockData], BlockData]
) -> None:
    """SPEC R-N76: a peer whose blocks have another root is left, and the next one asked; alone it gives nothing."""
    manifest, chunks = manifest_of(made.folder)
    liar = StoredPeer(made.folder, change)
    with pytest.raises(UnavailableError) as caught:
        restore(restoring(joiner, liar), manifest, chunks)
    assert caught.value.code == "snapshot-log" and standing(joiner).size == 1
    restore(restoring(joiner, liar, StoredPeer(made.folder)), manifest, chunks)
    assert standing(joiner).root == manifest.root


def test_a_falsified_signature_is_found_by_the_audit(made: RealLedger, joiner: Path) -> None:
    """SPEC R-N77: no leaf holds a submission's signature, so only the audit notices another one; nothing is exchanged."""

    def forged(block: BlockData) -> BlockData:
        each = [
            replace(one, signature=one.signature[:-1] + bytes((one.signature[-1] ^ 1,))) for one in block.submissions
        ]
        return replace(block, submissions=tuple(each))

    manifest, chunks = manifest_of(made.folder)
    with pytest.raises(VerificationError) as caught:
        restore(restoring(joiner, StoredPeer(made.folder, forged)), manifest, chunks)
    assert caught.value.code == "snapshot-audit" and standing(joiner).size == 1


def test_an_interrupted_restore_keeps_the_blocks_it_has(made: RealLedger, joiner: Path) -> None:
    """SPEC R-N78: begun again it asks for the next block only; a database that cannot be read is begun anew."""
    manifest, chunks = manifest_of(made.folder)
    weak = StoredPeer(made.folder)
    weak.blocks_left = 2
    with pytest.raises(UnavailableError):
        restore(restoring(joiner, weak), manifest, chunks)
    peer = StoredPeer(made.folder)
    restore(restoring(joiner, peer), manifest, chunks)
    assert next(each for each in peer.asked if each.startswith("blocks")) == "blocks 3"
    assert standing(joiner).root == manifest.root

    again = restoring(joiner, peer)
    with pytest.raises(UnavailableError):
        restore(restoring(joiner, weak), manifest, chunks)
    for path in (joiner / FOLDER).glob(f"{DATABASE}*"):
        path.write_bytes(b"no database at all" * 1_000)
    restore(again, manifest, chunks)
    assert standing(joiner).root == manifest.root
    again.clear()
    assert not (joiner / FOLDER).exists()


def test_erased_bodies_are_taken_as_erased(made: RealLedger, joiner: Path, tmp_path: Path) -> None:
    """SPEC R-N70: a peer without some bodies gives their hashes; the ledger is whole but for them, and the audit says so."""
    poor = tmp_path / "poor"
    shutil.copytree(made.folder, poor)
    store = SqliteStore.open(poor / DATABASE)
    with opened(poor) as snap:
        seqs = [each.seq for each in snap.leaves(range(1, snap.head_size)) if each.body is not None][-3:]
    store.erase_bodies(seqs)
    store.close()
    restore(restoring(joiner, StoredPeer(poor)), *manifest_of(poor))
    with opened(joiner) as snap:
        found = snap.leaves(seqs)
        assert all(each.body is None and each.body_hash is not None and each.event_hash for each in found)
    verdict, findings = verify(joiner, made.genesis.origin)
    assert (verdict, findings) == ("incomplete", [])


def test_a_database_that_was_made_from_the_old_ledger_goes_with_it(made: RealLedger, joiner: Path) -> None:
    """SPEC R-N77: an index of the old ledger does not outlive it."""
    (joiner / "index.sqlite").write_bytes(b"old")
    found = Restoring(joiner, cast("list[Peer]", [StoredPeer(made.folder)]), derived=("index.sqlite",))
    restore(found, *manifest_of(made.folder))
    assert not (joiner / "index.sqlite").exists()


def test_what_peers_answer_is_bounded_and_checked(made: RealLedger, joiner: Path) -> None:
    """SPEC R-N74: answers that are no JSON, no path or no note are passed over and named."""
    manifest, _ = manifest_of(made.folder)

    class Odd(StoredPeer):
        answers: dict[str, bytes]

        def request(self, method: str, path: str, *rest: object, **named: object) -> Any:
            for part, body in self.answers.items():
                if path.startswith(part):
                    return type(super().request("GET", "/v1/proofs/epochs"))(200, body, "")
            return super().request(method, path, *rest, **named)

    for part, body in (
        ("/checkpoint", b"not a note"), ("/v1/proofs/epochs", b"[]"), ("/v1/proofs/epochs", b"{"),
        ("/v1/proofs/epochs", b'{"epochs":{}}'), ("/v1/proofs/epochs", b"[" * 5_000),
    ):  # fmt: skip
        odd = Odd(made.folder)
        odd.answers = {part: body}
        with pytest.raises(LedgerError) as caught:
            restoring(joiner, odd).cover(manifest)
        assert caught.value.code == "snapshot-uncertified"
