"""A ledger that moved from a sequencer to CometBFT, taken over from a snapshot behind the seam."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from ledger.adapters.home.comethome import COMET_GENESIS, HOME, parse_chain, write_genesis
from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.home.nodefile import GENESIS
from ledger.adapters.ordering import restoring
from ledger.adapters.ordering.moving import check_seam, move_node
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.restoring import Restoring, check_begun, standing
from ledger.adapters.ordering.snapshots import FOLDER as SNAPSHOTS
from ledger.adapters.ordering.snapshots import StateSnapshots
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.engine import chain_id
from ledger.core.genesis import SEQUENCER
from ledger.errors import FatalError, LedgerError, RejectedError
from tests.models import governed
from tests.models import moved as moved_ledger
from tests.models.governed import NEW_CALENDAR, NEW_RULEBOOK, loading
from tests.models.moved import MovedLedger
from tests.models.snapshot_peer import StoredPeer
from tests.models.tiny_ledger import make_genesis

ENGINE_HEIGHT = 12
DATA = [encode_bundle(files) for files in (NEW_RULEBOOK, NEW_CALENDAR)]
RULEBOOK, CALENDAR = (bundle_hash(files) for files in (NEW_RULEBOOK, NEW_CALENDAR))
BUNDLES = {RULEBOOK: DATA[0], CALENDAR: DATA[1]}


@pytest.fixture(scope="module", autouse=True)
def bundles() -> Iterator[None]:
    """Bundles that an auditor can read; the rules in them are those that accept all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(governed, "make_genesis", partial(make_genesis, bundles=(RULEBOOK, CALENDAR)))
        patch.setattr(moved_ledger, "BUNDLES", BUNDLES)
        patch.setattr(restoring, "rules_loader", lambda _runtime: loading)
        yield


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> tuple[MovedLedger, Path, bytes]:
    """A ledger with two blocks behind its seam, a node that has all of it, and genesis.json as each node wrote it."""
    ledger = MovedLedger(tmp_path_factory.mktemp("moved"))
    ledger.prepare()
    ledger.move()
    ledger.certify()
    at_seam = ledger.write_store("ga")
    move_node(at_seam, [])
    genesis = (at_seam / HOME / COMET_GENESIS).read_bytes()
    for _ in range(2):
        ledger.block(ledger.submission("ga", [ledger.event()]))
    ledger.certify()
    return ledger, ledger.write_store("gx"), genesis


@pytest.fixture
def joiner(moved: tuple[MovedLedger, Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with block 0 and the chain's genesis.json."""
    ledger, _, genesis = moved
    folder = tmp_path / "jy"
    folder.mkdir()
    (folder / GENESIS).write_bytes(ledger.genesis.data)
    store = SqliteStore.create(folder / DATABASE)
    store.write_genesis(ledger.genesis.data, BUNDLES, ledger.sealed[0], b"")
    store.close()
    write_genesis(folder / HOME, genesis)
    monkeypatch.setattr(restoring, "read_pinned", lambda _folder: (ledger.genesis, BUNDLES))
    return folder


def take_over(joiner: Path, source: Path) -> None:
    """The snapshot of the ledger in `source`, with the log from it, in place of block 0."""
    offered = StateSnapshots(joiner / "offered")
    (joiner / "offered").mkdir()
    reader = SqliteReader(source / DATABASE)
    with reader.snapshot() as snap:
        manifest = offered.write(ENGINE_HEIGHT, snap)
    reader.close()
    assert manifest is not None
    found = Restoring(joiner, cast("list[Peer]", [StoredPeer(source)]))
    covered = found.cover(manifest)
    chunks = found.chunks(manifest)
    for number in range(len(manifest.chunks)):
        assert chunks.put(number, offered.chunk(ENGINE_HEIGHT, number))
    found.restore(chunks, ENGINE_HEIGHT, covered)
    shutil.rmtree(joiner / "offered")


def test_a_snapshot_behind_the_seam_is_taken_over(moved: tuple[MovedLedger, Path, bytes], joiner: Path) -> None:
    """SPEC R-N74, R-N76, R-N77: the log with the sequencer's blocks and the seam in it, the engine in force, and everything
    that the auditor checks; the chain that CometBFT joined is the one that the state names, begun at the seam."""
    ledger, source, _ = moved
    assert ledger.genesis.engine == SEQUENCER
    take_over(joiner, source)
    at = standing(joiner)
    head = ledger.app.head
    assert (at.engine_height, at.size, at.root) == (ENGINE_HEIGHT, head.size, head.log.root())
    assert [key for _, key in at.registry.validators()] == [key for _, key in head.registry.validators()]
    check_begun(joiner)
    reader = SqliteReader(joiner / DATABASE)
    with reader.snapshot() as snap, pytest.raises(RejectedError) as behind:
        check_seam(snap, ledger.genesis, ledger.app.engine, head)
    reader.close()
    assert behind.value.code == "seam-height"  # so only a chain that goes on, never one that begins, may run here


def _chain(document: dict[str, Any]) -> None:
    document["chain_id"] = document["chain_id"][:-2] + "-2"


def _origin(document: dict[str, Any]) -> None:
    document["app_state"]["origin"] = "other.test/" + "ab" * 32


def _time(document: dict[str, Any]) -> None:
    document["genesis_time"] = "2026-01-01T00:00:00.000Z"


def _stranger(document: dict[str, Any]) -> None:
    one = document["validators"][0]
    key = "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik="
    one["pub_key"]["value"] = key
    from base64 import b64decode
    from hashlib import sha256

    one["address"] = sha256(b64decode(key)).digest()[:20].hex().upper()


def _nobody(document: dict[str, Any]) -> None:
    document["validators"] = []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_chain, "chain-id"), (_origin, "chain-origin"), (_time, "chain-validators"), (_stranger, "chain-validators"),
        (_nobody, "chain-validators"),
    ],
)  # fmt: skip
def test_a_chain_that_did_not_begin_at_the_seam_is_refused(
    moved: tuple[MovedLedger, Path, bytes], joiner: Path, change: Callable[[dict[str, Any]], None], code: str
) -> None:
    """SPEC R-N61, R-N63, R-N78: whatever genesis.json other nodes handed over, the certified ledger says which it is."""
    _, source, genesis = moved
    document = json.loads(genesis)
    change(document)
    write_genesis(joiner / HOME, json.dumps(document).encode())
    assert parse_chain(json.dumps(document).encode()).document() == document
    take_over(joiner, source)
    with pytest.raises(FatalError) as caught:
        check_begun(joiner)
    assert caught.value.code == code


def test_a_genesis_of_another_form_is_none(moved: tuple[MovedLedger, Path, bytes]) -> None:
    """SPEC R-N63: whoever names one says chain, time, validators and origin; all else in it is the same everywhere."""
    ledger, _, genesis = moved
    chain = parse_chain(genesis)
    assert (chain.chain_id, chain.origin) == (chain_id(ledger.origin, 1), ledger.origin)
    assert chain.encode() == genesis
    document = json.loads(genesis)
    for name, value in (("initial_height", "2"), ("consensus_params", {}), ("validators", None), ("more", 1)):
        with pytest.raises(LedgerError) as caught:
            parse_chain(json.dumps({**document, name: value}).encode())
        assert caught.value.code == "comet-genesis"
    for data in (b"", b"null", b"[]", b"{}", b"[" * 100_000, genesis[:-9]):
        with pytest.raises(LedgerError):
            parse_chain(data)


def test_snapshots_of_the_chain_before_are_offered_no_more(tmp_path: Path) -> None:
    """SPEC R-N63, R-N73: heights begin anew with each chain, so those of the last one would pass for the newest."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    ledger.move()
    ledger.certify()
    folder = ledger.write_store("ga")
    kept = folder / SNAPSHOTS / "9000"
    kept.mkdir(parents=True)
    move_node(folder, [])
    assert kept.exists()  # nothing was there before: whatever this is, it is of no other chain
    (folder / DATABASE).unlink()
    ledger.block(ledger.submission("ga", [ledger.event()]))
    ledger.move(2)
    ledger.certify()
    ledger.write_store("ga")
    move_node(folder, [])
    assert not kept.parent.exists()
