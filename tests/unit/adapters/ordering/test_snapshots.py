"""Snapshots as files: the same at every node whatever it went through, whole or not at all, only the newest kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.ordering import snapshots
from ledger.adapters.ordering.snapshots import FOLDER, MANIFEST, ChunkFiles, StateSnapshots
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.snapshot import Snapshot
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.genesis import COMETBFT
from ledger.core.hashing import sha256
from ledger.errors import UnavailableError
from tests.models.real_ledger import real_ledger


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A department's data directory."""
    return real_ledger(tmp_path_factory.mktemp("real") / "ga", engine=COMETBFT).folder


@contextmanager
def opened(folder: Path) -> Iterator[Snapshot]:
    """One read transaction on a data directory."""
    reader = SqliteReader(folder / DATABASE)
    try:
        with reader.snapshot() as snap:
            yield snap
    finally:
        reader.close()


def test_a_node_with_erased_bodies_makes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """SPEC R-N70: what a node erased, forgot or compressed otherwise is in no snapshot; the manifests are equal."""
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    store = SqliteStore.open(other / DATABASE)
    with opened(other) as snap:
        seqs = [each.seq for each in snap.leaves(range(1, snap.head_size)) if each.body is not None][:20]
    assert store.erase_bodies(seqs) == len(seqs) > 0
    store.close()
    manifests = []
    for number, each in enumerate((folder, other)):
        with opened(each) as snap:
            manifests.append(
                StateSnapshots(tmp_path / str(number)).write(10, snap) if _made(tmp_path / str(number)) else None
            )
    assert manifests[0] is not None and manifests[0] == manifests[1]
    assert manifests[0].chunks


def _made(path: Path) -> bool:
    path.mkdir()
    return True


def test_the_newest_two_stay_and_are_offered(folder: Path, tmp_path: Path) -> None:
    """SPEC R-N73: older ones go; what is listed can be read chunk by chunk and has the hashes of its manifest."""
    files = StateSnapshots(tmp_path)
    with opened(folder) as snap:
        for height in (10, 20, 30):
            files.write(height, snap)
        assert [height for height, _ in files.listed()] == [30, 20] == files.heights()
        manifest = files.listed()[0][1]
        assert (manifest.height, manifest.size) == (snap.head_height, snap.head_size)
        assert manifest.root == snap.root_at(snap.head_size)
    chunks = [files.chunk(30, number) for number in range(len(manifest.chunks))]
    assert tuple(sha256(chunk) for chunk in chunks) == manifest.chunks
    assert files.chunk(30, len(chunks)) == files.chunk(10, 0) == files.chunk(99, 0) == b""
    (tmp_path / FOLDER / "30" / MANIFEST).write_bytes(b"damaged")
    assert [height for height, _ in files.listed()] == [20]


def test_a_snapshot_that_is_fetched_stays_until_it_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC R-N73: it is offered no more, but its chunks are there while somebody asks for them, and of few such only."""
    files = StateSnapshots(tmp_path)
    with opened(folder) as snap:
        for height in (10, 20, 30, 40, 50):
            files.write(height, snap)
            assert files.chunk(height, 0)
        assert files.heights() == [50, 40, 30, 20] and files.chunk(20, 0) and not files.chunk(10, 0)
        assert [height for height, _ in files.listed()] == [50, 40]
        monkeypatch.setattr(snapshots, "FETCHED_S", -1.0)
        files.write(60, snap)
    assert files.heights() == [60, 50]


def test_what_is_given_up_or_cannot_be_written_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """SPEC R-N73: a stop in its midst and a disk that takes nothing end without half a snapshot."""
    files = StateSnapshots(tmp_path)
    with opened(folder) as snap:
        assert files.write(10, snap, lambda: True) is None
        assert not list((tmp_path / FOLDER).iterdir()) and not files.listed()
        shutil.rmtree(tmp_path / FOLDER)
        (tmp_path / FOLDER).write_bytes(b"")
        with pytest.raises(OSError, match="exists|directory"):
            files.write(20, snap)
    assert not files.heights()


def test_chunks_are_kept_only_as_the_manifest_names_them(folder: Path, tmp_path: Path) -> None:
    """SPEC R-N76: another chunk is not kept, one that changed on the disk is noticed, and so is one that is missing."""
    files = StateSnapshots(tmp_path)
    with opened(folder) as snap:
        manifest = files.write(10, snap)
        rows = dict(row for row in _rows(snap))
    assert manifest is not None
    fetched = ChunkFiles(tmp_path / "fetched", manifest)
    chunk = files.chunk(10, 0)
    assert not fetched.put(0, chunk + b"x") and not fetched.put(1, chunk) and not fetched.put(-1, chunk)
    with pytest.raises(UnavailableError) as missing:
        list(fetched.rows())
    assert fetched.put(0, chunk) and dict(fetched.rows()) == rows
    (tmp_path / "fetched" / "0").write_bytes(chunk[:-1] + b"\x00")
    with pytest.raises(UnavailableError) as changed:
        list(fetched.rows())
    assert missing.value.code == changed.value.code == "snapshot-chunk"
    fetched.clear()
    assert not (tmp_path / "fetched").exists()


def _rows(snap: Snapshot) -> list[tuple[bytes, bytes]]:
    return [(key, row.value) for key, row in snap.rows_with_prefix(b"", None, 1_000_000)]
