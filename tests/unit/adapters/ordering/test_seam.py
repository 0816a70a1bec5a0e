"""Who orders and who follows at the seam of a move: the sequencer stops, a node with a vote waits, an observer goes on."""

from __future__ import annotations

import tomllib
from pathlib import Path
from threading import Event as Flag

import msgpack
import pytest

from ledger.adapters.home import joining
from ledger.adapters.home.comethome import HOME, read_chain
from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.home.joining import Invitation, join_node
from ledger.adapters.home.nodefile import SETTINGS
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.clock import ScenarioClock
from ledger.adapters.ordering.follower import Follower
from ledger.adapters.ordering.moving import move_node, prepare_move
from ledger.adapters.ordering.peers import Answer, Peer
from ledger.adapters.ordering.recovery import recover
from ledger.adapters.ordering.sequencer import Sequencer
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.blockcodec import encode_block
from ledger.core.engine import chain_id
from ledger.core.keys import COSIGN, LOG
from ledger.errors import UnavailableError
from ledger.machine.block import BlockInput
from tests.models.governed import Governed
from tests.models.moved import NOTICE, MovedLedger
from tests.models.tiny_ledger import BUNDLES, MEMBERS, signer


def sequencer(ledger: Governed, folder: Path) -> tuple[Sequencer, ScenarioClock]:
    """The ledger's application under a sequencer whose clock is stepped."""
    key = signer(MEMBERS[0], LOG)
    clock = ScenarioClock(ledger.app.head.time)
    state = SignerState.create(folder / "log.state", ledger.origin, key.public.key_id)
    return Sequencer(ledger.app, key, state, clock), clock


def test_the_sequencer_orders_up_to_the_seam_and_no_further(tmp_path: Path) -> None:
    """SPEC R-N60: what waits and what comes is answered `engine-moved`; the node goes on, and closes gracefully."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    ledger.propose_move()
    engine, clock = sequencer(ledger, tmp_path)
    engine.start()
    try:
        before = engine.submit(ledger.submission("ga", [ledger.event()])).result(10)
        waiting = ledger.submission("gx", [ledger.event()])
        engine.step_clock(clock, clock.now_ms() + NOTICE + 1).result(10)
        seam = ledger.app.head.height
        assert seam == before.height + 1 and ledger.app.engine.seam == seam and engine.at_seam
        with pytest.raises(UnavailableError) as caught:
            engine.submit(waiting)
        assert caught.value.code == "engine-moved" and caught.value.evidence["seam"] == seam
        engine.step_clock(clock, clock.now_ms() + NOTICE).result(10)
        assert engine.failure is None and ledger.app.head.height == seam
    finally:
        engine.close()
    assert engine.failure is None


def test_what_waited_at_the_seam_is_not_acknowledged(tmp_path: Path) -> None:
    """SPEC R-N60: a submission that came before the seam and was not ordered is refused, so that its sender keeps it."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    ledger.propose_move()
    engine, clock = sequencer(ledger, tmp_path)
    future = engine.submit(ledger.submission("ga", [ledger.event()]))
    clock.step(clock.now_ms() + NOTICE + 1)  # the seam's timer goes before all events
    engine.start()
    with pytest.raises(UnavailableError) as caught:
        future.result(10)
    assert caught.value.code == "engine-moved"
    engine.close()
    assert engine.failure is None and ledger.app.head.height == ledger.app.engine.seam


def test_an_application_that_is_opened_again_knows_its_engine(tmp_path: Path) -> None:
    """SPEC R-N50: the engine in force comes from the state, and what was taken back changes nothing."""
    ledger = MovedLedger(tmp_path)
    assert ledger.app.engine.name == "sequencer" and ledger.app.engine.seam == -1
    ledger.prepare()
    ledger.propose_move()
    head = ledger.app.head
    ledger.app.finalize(BlockInput(head.height + 1, head.time + NOTICE + 1))
    assert ledger.app.engine.name == "cometbft"
    ledger.app.discard()
    assert ledger.app.engine.name == "sequencer"
    assert ledger.block(ms=NOTICE + 1).height == ledger.app.engine.seam
    again = Application(ledger.store, lambda _store, _head: (ledger.app.rules, ledger.app.runtime))
    assert again.engine == ledger.app.engine and again.engine.name == "cometbft"


class Blocks(Peer):
    """Serves a ledger's blocks."""

    def __init__(self, ledger: Governed) -> None:
        super().__init__("http://127.0.0.1:9")
        self.ledger = ledger

    def request(self, method: str, path: str, *_: object, **__: object) -> Answer:
        first = int(path.partition("from=")[2].partition("&")[0])
        page = [encode_block(block) for block in self.ledger.blocks if block.height >= first][:50]
        return Answer(200, msgpack.packb(page), "")


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> tuple[MovedLedger, int]:
    """A ledger with two blocks behind its seam, and the seam's height."""
    ledger = MovedLedger(tmp_path_factory.mktemp("longer"))
    ledger.prepare()
    seam = ledger.move().height
    for _ in range(2):
        ledger.block(ledger.submission("ga", [ledger.event()]))
    return ledger, seam


@pytest.mark.parametrize("votes", [True, False])
def test_a_replica_with_a_vote_waits_at_the_seam(longer: tuple[MovedLedger, int], tmp_path: Path, votes: bool) -> None:
    """SPEC R-N60: it executes nothing behind the seam, whoever signed it; an observer follows what is ordered."""
    ledger, seam = longer
    replica = Governed()
    keys = [signer(MEMBERS[0], LOG).public]
    follower = Follower(replica.app, [Blocks(ledger)], keys, tmp_path / "evidence", stop_at_seam=votes)
    assert not follower.at_seam
    follower.start()
    try:
        expected = seam if votes else seam + 2
        until = Flag()
        for _ in range(400):
            if replica.app.head.height == expected:
                break
            until.wait(0.05)
        until.wait(0.5)
        assert replica.app.head.height == expected and follower.failure is None
        assert follower.at_seam is votes
        assert follower.call(lambda: "still there").result(5) == "still there"
    finally:
        follower.close()


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[MovedLedger, list[int]]:
    """A ledger that moved twice, with blocks behind each seam, and the heights of the seams."""
    ledger = MovedLedger(tmp_path_factory.mktemp("twice"))
    ledger.prepare()
    seams = []
    for moves in (1, 2):
        seams.append(ledger.move(moves).height)
        ledger.certify()
        for _ in range(2):
            ledger.block(ledger.submission("ga", [ledger.event()]))
    return ledger, seams


def follow(app: Application, ledger: MovedLedger, expected: int, evidence: Path, passes: int) -> Follower:
    """A follower with a vote, which has come to a height and rests there; to be closed."""
    keys = [signer(MEMBERS[0], LOG).public]
    follower = Follower(app, [Blocks(ledger)], keys, evidence, stop_at_seam=True, passes=lambda: passes)
    follower.start()
    until = Flag()
    for _ in range(400):
        if app.head.height == expected:
            break
        until.wait(0.05)
    until.wait(0.5)
    return follower


@pytest.mark.parametrize(("passes", "place"), [(0, 0), (1, 1), (2, None), (9, None)])
def test_who_joins_passes_the_seams_that_are_history(
    twice: tuple[MovedLedger, list[int]], tmp_path: Path, passes: int, place: int | None
) -> None:
    """SPEC R-N60: of several moves the first ones are walked through; it waits at the one behind them."""
    ledger, seams = twice
    replica = Governed()
    expected = ledger.app.head.height if place is None else seams[place]
    follower = follow(replica.app, ledger, expected, tmp_path / "evidence", passes)
    try:
        assert (replica.app.head.height, follower.failure) == (expected, None)
        assert follower.at_seam is (place is not None)
    finally:
        follower.close()


def test_a_joiner_of_a_ledger_that_moved_twice_becomes_a_validator(
    twice: tuple[MovedLedger, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC R-N60 to R-N63: joined as a follower it walks to the last seam, holds its certificate, and is moved there: it
    begins with the chain in force, though the ledger is two engines further than its genesis."""
    ledger, seams = twice
    folder = tmp_path / "data"

    def block_0(data_dir: Path, *_: object) -> None:
        """As `make_ledger`, which would compile the rulebook that this ledger has none of."""
        store = SqliteStore.create(data_dir / DATABASE)
        store.write_genesis(ledger.genesis.data, BUNDLES, ledger.sealed[0], b"")
        store.close()

    monkeypatch.setattr(joining, "make_ledger", block_0)
    moved = join_node(folder, Invitation(ledger.genesis, BUNDLES, ("http://127.0.0.1:9",), (), moves=2), "zx")
    assert (moved.settings.role, moved.settings.comet, set(moved.registrations)) == (
        "follower",
        None,
        {"cosign", "event"},
    )
    passes = tomllib.loads((folder / SETTINGS).read_text("utf-8"))["node"]["pass_seams"]
    assert passes == 1
    store = SqliteStore.open(folder / DATABASE)
    app = Application(store, lambda _store, _head: (ledger.app.rules, ledger.app.runtime))
    follower = follow(app, ledger, seams[1], tmp_path / "evidence", passes)
    follower.keep(*ledger.certificates[-1])
    follower.call(lambda: None).result(5)
    follower.close()
    prepare_move(folder, "zx")
    done = move_node(folder, [])
    assert (done.engine.moves, done.engine.seam, done.settings.role) == (2, seams[1], "validator")
    assert read_chain(folder / HOME)[0] == chain_id(ledger.origin, 2)


def test_a_sequencer_that_opens_again_executes_nothing_behind_the_seam(
    longer: tuple[MovedLedger, int], tmp_path: Path
) -> None:
    """SPEC R-N60, R-Q30: it recovers what it ordered, up to the seam, so that its directory can still be moved."""
    ledger, seam = longer
    replica = Governed()
    key = signer(MEMBERS[0], LOG)
    state = SignerState.create(tmp_path / "log.state", ledger.origin, key.public.key_id)
    cosigners = [(member, signer(member, COSIGN).public) for member in MEMBERS[:2]]  # so one peer has to answer
    book = CertificateBook(ledger.origin, [key.public], cosigners)
    recover(replica.app, [Blocks(ledger)], state, book, 5.0, Flag())
    assert replica.app.head.height == seam
