"""When a validator's engine is put together: only on the chain in force, and only where that chain begins or has begun."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.adapters.home.comethome import HOME, comet_genesis, write_genesis
from ledger.adapters.home.datadir import DATABASE, LOG_STATE
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import LOG_KEY
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.moving import move_node
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.core.engine import chain_id
from ledger.core.keys import Signer
from ledger.errors import LedgerError
from ledger_node.alarms import Alarms
from ledger_node.comet.build import build_engine
from ledger_node.comet.engine import CometEngine
from tests.models.accept_all import AcceptAllRules, AcceptAllRuntime
from tests.models.moved import MovedLedger


@dataclass
class Options:
    """A node's options as far as an engine needs them."""

    data_dir: Path
    signers: Mapping[str, Signer] = field(default_factory=dict)
    keep_blocks: int = 0
    snapshots_every: int = 0
    comet: Path | None = Path("/nonexistent/cometbft")


@pytest.fixture
def ledger(tmp_path: Path) -> MovedLedger:
    """A ledger whose members have their keys."""
    made = MovedLedger(tmp_path)
    made.prepare()
    return made


@pytest.fixture
def build() -> Iterator[Callable[..., CometEngine]]:
    """Puts an engine together over a data directory; everything is closed afterwards."""
    opened: list[Application | SqliteReader] = []

    def make(folder: Path) -> CometEngine:
        store = SqliteStore.open(folder / DATABASE)
        app = Application(store, lambda _store, _head: (AcceptAllRules(), AcceptAllRuntime()))
        reader = SqliteReader(folder / DATABASE)
        opened.extend((reader, app))
        signer = read_key(folder / LOG_KEY)
        state = SignerState(folder / LOG_STATE, app.origin, signer.public.key_id)
        return build_engine(app, store, reader, signer, state, Options(folder), Alarms())

    yield make
    for each in opened:
        each.close()


def refused(build: Callable[..., CometEngine], folder: Path) -> str:
    """The code by which it is refused."""
    with pytest.raises(LedgerError) as caught:
        build(folder)
    return caught.value.code


def test_a_moved_node_gets_an_engine_of_its_chain(ledger: MovedLedger, build: Callable[..., CometEngine]) -> None:
    """SPEC R-N61: the chain id is that of the engine in force, not of the genesis."""
    ledger.move()
    ledger.certify()
    folder = ledger.write_store("ga")
    move_node(folder, ())
    engine = build(folder)
    assert engine.handler.chain_id == chain_id(ledger.origin, 1) and not engine.at_seam


def test_a_ledger_that_never_moved_has_no_such_engine(ledger: MovedLedger, build: Callable[..., CometEngine]) -> None:
    """SPEC R-N50: the role alone makes nobody a validator."""
    assert refused(build, ledger.write_store("ga")) == "engine-other"


@pytest.mark.parametrize(("chain", "expected"), [(None, "comet-genesis"), (0, "chain-id"), (2, "chain-id")])
def test_another_chain_is_refused(
    ledger: MovedLedger, build: Callable[..., CometEngine], chain: int | None, expected: str
) -> None:
    """SPEC R-N61: without genesis.json, or with that of an earlier or later chain, nothing starts."""
    ledger.move()
    ledger.certify()
    folder = ledger.write_store("ga")
    if chain is not None:
        named = chain_id(ledger.origin, chain)
        write_genesis(folder / HOME, comet_genesis(chain_id=named, time_ms=0, validators=[], origin=ledger.origin))
    assert refused(build, folder) == expected


@pytest.mark.parametrize(("certified", "more", "expected"), [(False, 0, "seam-uncertified"), (True, 1, "seam-height")])
def test_a_chain_begins_at_its_certified_seam_only(
    ledger: MovedLedger, build: Callable[..., CometEngine], certified: bool, more: int, expected: str
) -> None:
    """SPEC R-N61: settings and genesis.json in place do not help a ledger that stands elsewhere."""
    ledger.move()
    ledger.certify()
    for _ in range(more):
        ledger.block(ledger.submission("ga", [ledger.event()]))
    folder = ledger.write_store("ga", certified=certified)
    engine = ledger.app.engine
    genesis = comet_genesis(chain_id=engine.chain_id, time_ms=0, validators=[], origin=ledger.origin)
    write_genesis(folder / HOME, genesis)
    assert refused(build, folder) == expected
