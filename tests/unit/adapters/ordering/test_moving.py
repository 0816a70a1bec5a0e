"""A node's way over the seam: keys before the vote, its data directory at the certified seam, and all that is refused."""

from __future__ import annotations

import json
import stat
import tomllib
from pathlib import Path

import pytest

from ledger.adapters.home.comethome import (
    COMET_GENESIS,
    CONSENSUS_KEY,
    HOME,
    SIGNING_STATE,
    create_keys,
    create_signing_state,
    read_chain,
    read_keys,
    write_genesis,
)
from ledger.adapters.home.datadir import DATABASE, LOG_STATE
from ledger.adapters.home.joining import REGISTRATIONS
from ledger.adapters.home.nodefile import GENESIS, LOG_KEY, SETTINGS, CometSettings, edit_settings, read_settings
from ledger.adapters.ordering.certificates import CertificateBook
from ledger.adapters.ordering.moving import check_chain, keep_seam, move_node, prepare_move
from ledger.adapters.ordering.peers import Answer, Peer
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.store import SqliteStore
from ledger.core.engine import Engine, chain_id
from ledger.core.ident import format_time
from ledger.core.keys import parse_public_key, registration_message
from ledger.errors import FatalError, LedgerError, MalformedError, NotFoundError, UnavailableError
from tests.models.moved import NODE_TOML, MovedLedger
from tests.models.tiny_ledger import make_genesis
from tests.unit.cli.runner import ledger as run


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> MovedLedger:
    """A ledger that moved, with its certified seam."""
    made = MovedLedger(tmp_path_factory.mktemp("moved"))
    made.prepare()
    made.move()
    made.certify()
    return made


def code(data_dir: Path, *peers: str) -> str:
    """The code by which a move is refused."""
    with pytest.raises(LedgerError) as caught:
        move_node(data_dir, peers)
    return caught.value.code


def test_keys_are_made_once_before_the_vote(tmp_path: Path) -> None:
    """SPEC R-N62: keys with fresh states and registrations that hold; doing it again changes nothing."""
    ledger = MovedLedger(tmp_path)
    folder = ledger.folders["gx"]
    made = prepare_move(folder, "gx", "10.0.0.2:26656")
    assert set(made.registrations) == {"log", "p2p", "consensus"} and made.p2p.endswith("@10.0.0.2:26656")
    for use, document in made.registrations.items():
        key = parse_public_key(document["algorithm"], bytes.fromhex(document["public"]))
        key.verify(registration_message(ledger.origin, "gx", use), bytes.fromhex(document["proof"]))
        assert json.loads(made.files[use].read_bytes()) == document
    for name in (LOG_KEY, LOG_STATE, f"{HOME}/{CONSENSUS_KEY}", f"{HOME}/{SIGNING_STATE}"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert json.loads((folder / HOME / SIGNING_STATE).read_bytes())["height"] == "0"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert prepare_move(folder, "gx") == made
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    text = (folder / SETTINGS).read_text("utf-8")
    assert read_settings(folder).role == "follower" and text.startswith("# our node\n")


def test_a_log_key_of_before_is_kept_and_not_registered_again(tmp_path: Path) -> None:
    """SPEC R-N62: the sequencer's log key goes on, with what it signed."""
    ledger = MovedLedger(tmp_path)
    folder = ledger.folders["ga"]
    prepare_move(folder, "ga")
    for path in (folder / REGISTRATIONS).iterdir():
        path.unlink()
    key, state = (folder / LOG_KEY).read_bytes(), (folder / LOG_STATE).read_bytes()
    assert set(prepare_move(folder, "ga").registrations) == {"p2p", "consensus"}
    assert ((folder / LOG_KEY).read_bytes(), (folder / LOG_STATE).read_bytes()) == (key, state)


def test_a_consensus_key_without_its_state_gets_no_new_one(tmp_path: Path) -> None:
    """SPEC R-N62: a state that starts anew could sign a height twice."""
    folder = MovedLedger(tmp_path).folders["ga"]
    prepare_move(folder, "ga")
    (folder / HOME / SIGNING_STATE).unlink()
    with pytest.raises(FatalError) as caught:
        prepare_move(folder, "ga")
    assert caught.value.code == "signer-state-missing"


def test_nodes_at_the_certified_seam_become_validators_of_one_chain(ledger: MovedLedger) -> None:
    """SPEC R-N61, R-N63: every node writes the same genesis.json from the seam alone; moving again changes nothing."""
    peers = [ledger.prepared[member].p2p for member in sorted(ledger.folders)]
    written = set()
    for member in ("ga", "gx"):
        folder = ledger.write_store(member)
        made = move_node(folder, peers)
        assert made.votes and made.engine == ledger.app.engine and made.settings.role == "validator"
        assert made.settings.comet is not None
        assert set(made.settings.comet.p2p_peers) == set(peers) - {ledger.prepared[member].p2p}
        written.add((folder / HOME / COMET_GENESIS).read_bytes())
        before = (folder / SETTINGS).read_bytes()
        move_node(folder, [])
        assert (folder / SETTINGS).read_bytes() == before
        written.add((folder / HOME / COMET_GENESIS).read_bytes())
        check_chain(folder / HOME, made.engine, ledger.origin)
    assert len(written) == 1
    document = json.loads(written.pop())
    head = ledger.app.head
    assert document["chain_id"] == chain_id(ledger.origin, 1) and document["genesis_time"] == format_time(head.time)
    assert [each["name"] for each in document["validators"]] == [name for name, _ in head.registry.validators()]
    for member in ("ga", "gx"):
        (ledger.folders[member] / DATABASE).unlink()


def test_what_does_not_stand_at_the_certified_seam_does_not_move(tmp_path: Path) -> None:
    """SPEC R-N61: before the vote, below the seam, without its certificate, behind it, with unknown peers, without keys."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    below = ledger.app.head.height
    seam = ledger.move()
    folder = ledger.write_store("ga", below)
    assert code(folder) == "engine-stays"
    (folder / DATABASE).unlink()
    folder = ledger.write_store("ga", certified=False)
    assert code(folder) == "seam-uncertified"
    ledger.certify()
    store = SqliteStore.open(folder / DATABASE)
    store.write_certificates(ledger.certificates)
    store.close()
    assert code(folder, f"{'0' * 40}@10.0.0.1:1") == "move-peer"
    assert code(folder, "10.0.0.1:1") == "address"
    text = (folder / SETTINGS).read_text("utf-8")
    (folder / SETTINGS).write_text(NODE_TOML, "utf-8")
    assert code(folder) == "move-keys"
    (folder / SETTINGS).write_text(text, "utf-8")
    assert not (folder / HOME / COMET_GENESIS).exists() and read_settings(folder).role == "follower"
    ledger.block(ledger.submission("ga", [ledger.event()]))
    behind = ledger.write_store("gx")
    with pytest.raises(LedgerError) as caught:
        move_node(behind, ())
    assert caught.value.code == "seam-height" and caught.value.evidence["expected"] == seam.height


def test_a_certificate_of_too_few_or_over_another_tree_is_none(tmp_path: Path) -> None:
    """SPEC R-N61: the certificate is verified under the cosigners of the seam, not merely present."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    ledger.move()
    ledger.certify(("ga", "gx"))
    with pytest.raises(LedgerError):
        move_node(ledger.write_store("ga"), ())


def test_an_earlier_chain_is_set_aside_with_its_signing_state(tmp_path: Path) -> None:
    """SPEC R-N63: heights begin anew on the next chain, so its votes need a state of their own; keys stay."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    ledger.move()
    ledger.certify()
    folder = ledger.write_store("ga")
    move_node(folder, ())
    home = folder / HOME
    keys = read_keys(home)
    (home / SIGNING_STATE).write_text('{"height": "812", "round": 0, "step": 3}', "ascii")
    ledger.move(2)
    ledger.certify()
    (folder / DATABASE).unlink()
    store = SqliteStore.open(ledger.write_store("ga") / DATABASE)
    store.write_engine_height(812)
    store.close()
    made = move_node(folder, ())
    assert made.engine.moves == 2 and read_chain(home)[0] == chain_id(ledger.origin, 2)
    assert json.loads((home / SIGNING_STATE).read_bytes())["height"] == "0"
    aside = home / f"data-{chain_id(ledger.origin, 1)}"
    assert json.loads((aside / Path(SIGNING_STATE).name).read_bytes())["height"] == "812"
    assert read_keys(home).consensus.public == keys.consensus.public
    store = SqliteStore.open(folder / DATABASE)
    assert store.engine_height() == 0
    store.close()


def test_another_chain_s_genesis_is_refused(tmp_path: Path) -> None:
    """SPEC R-N61: a validator does not start with the genesis.json of another chain or ledger, or with none."""
    create_signing_state(tmp_path)
    create_keys(tmp_path)
    with pytest.raises(NotFoundError):
        read_chain(tmp_path)
    for data in (b"", b"[]", b'{"chain_id":1,"app_state":{"origin":"x"}}', b'{"chain_id":"c"}'):
        write_genesis(tmp_path, data)
        with pytest.raises(MalformedError) as caught:
            read_chain(tmp_path)
        assert caught.value.code == "comet-genesis"
    write_genesis(tmp_path, b'{"chain_id":"c","app_state":{"origin":"o"}}')
    check_chain(tmp_path, Engine("cometbft", "c", 3, 1), "o")
    for engine, origin, expected in (("d", "o", "chain-id"), ("c", "p", "chain-origin")):
        with pytest.raises(FatalError) as refused:
            check_chain(tmp_path, Engine("cometbft", engine, 3, 1), origin)
        assert refused.value.code == expected


@pytest.mark.parametrize(
    "text",
    [
        NODE_TOML,
        '[comet]\nbinary = "/opt/cometbft"\np2p_listen = "1.2.3.4:5"  # old\n[node]\nrole="follower"\n[http]\nport = 1\n',
        "[http]\nport = 1\n",
    ],
)
def test_settings_are_edited_and_nothing_else(text: str) -> None:
    """Role and addresses are exchanged; other settings, comments and their order stay."""
    comet = CometSettings("127.0.0.1:1", f"{'a' * 40}@127.0.0.1:1", (f"{'b' * 40}@127.0.0.1:2",))
    once = edit_settings(text, "validator", comet, "node.toml")
    document, before = tomllib.loads(once), tomllib.loads(text)
    assert document["node"]["role"] == "validator" and document["comet"]["p2p_peers"] == list(comet.p2p_peers)
    assert document["http"] == before["http"]
    assert document["comet"].get("binary") == before.get("comet", {}).get("binary")
    assert edit_settings(once, "validator", comet, "node.toml") == once


def test_settings_that_cannot_be_edited_by_line_are_refused() -> None:
    """A list over several lines is the operator's to change: nothing is written that says something else."""
    comet = CometSettings("127.0.0.1:1", "", ())
    text = '[comet]\np2p_peers = [\n  "x",\n]\n'
    with pytest.raises(MalformedError) as caught:
        edit_settings(text, "validator", comet, "node.toml")
    assert caught.value.code == "node-settings"


@pytest.mark.parametrize("step", ["_begin_chain", "comethome.write_genesis", "_write_settings", "check_seam"])
def test_a_move_that_was_cut_off_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """SPEC R-N61: the role is exchanged last, so that a node which was cut off starts as it was or as a whole validator."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    ledger.move()
    ledger.certify()
    folder = ledger.write_store("ga")

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(f"ledger.adapters.ordering.moving.{step}", fail)
        with pytest.raises(KeyboardInterrupt):
            move_node(folder, ())
    assert read_settings(folder).role == "follower"
    made = move_node(folder, ())
    assert made.votes and read_settings(folder).role == "validator"
    check_chain(folder / HOME, made.engine, ledger.origin)


class Notes(Peer):
    """Answers with one certificate, or not at all."""

    def __init__(self, note: bytes | None) -> None:
        super().__init__("http://127.0.0.1:9")
        self.note, self.asked = note, 0

    def request(self, *_: object, **__: object) -> Answer:
        self.asked += 1
        if self.note is None:
            raise UnavailableError("peer", "no answer")
        return Answer(200 if self.note else 404, self.note, "")


def test_who_comes_late_asks_for_the_certificate_of_the_seam(tmp_path: Path) -> None:
    """SPEC R-N61: a peer's word is checked; one that is silent, or shows too little or another tree, is passed over."""
    ledger = MovedLedger(tmp_path)
    ledger.prepare()
    earlier = ledger.certify()
    ledger.move()
    few, whole = ledger.certify(("ga", "gx")), ledger.certify()
    ledger.certificates.clear()
    reader = SqliteReader(ledger.write_store("ga", certified=False) / DATABASE)
    registry = ledger.app.head.registry
    book = CertificateBook(ledger.origin, registry.log_keys(), registry.cosigner_keys(ledger.app.head.config.cosigners))
    kept: list[tuple[int, bytes]] = []
    try:
        for notes in ([], [None, b"", b"nonsense", few, earlier]):
            keep_seam([Notes(n) for n in notes], reader, book, ledger.app.head, lambda *found: kept.append(found))
        assert kept == []
        peers = [Notes(few), Notes(whole), Notes(whole)]
        keep_seam(peers, reader, book, ledger.app.head, lambda *found: kept.append(found))
        assert kept == [(ledger.app.head.size, whole)] and [peer.asked for peer in peers] == [1, 1, 0]
        store = SqliteStore.open(ledger.folders["ga"] / DATABASE)
        store.write_certificates(kept)
        store.close()
        keep_seam(peers, reader, book, ledger.app.head, lambda *found: kept.append(found))
        assert len(kept) == 1 and peers[0].asked == 1
    finally:
        reader.close()


def test_a_network_of_simulated_time_does_not_move(tmp_path: Path) -> None:
    """Its block time is stepped by its sequencer, which no validator would follow."""
    genesis = make_genesis(clock="scenario")
    (tmp_path / "keys").mkdir()
    (tmp_path / GENESIS).write_bytes(genesis.data)
    (tmp_path / SETTINGS).write_text(NODE_TOML, "utf-8")
    with pytest.raises(LedgerError) as caught:
        prepare_move(tmp_path, "ga")
    assert caught.value.code == "move-clock" and not (tmp_path / LOG_KEY).exists()


@pytest.mark.parametrize(("language", "word"), [("en", "has a vote"), ("zh", "有投票权")])
def test_commands_say_what_was_made_and_what_comes_next(tmp_path: Path, language: str, word: str) -> None:
    """The operator sees address, registrations, chain and seam, and is told when the node has no vote yet."""
    ledger = MovedLedger(tmp_path / "town")
    given = {"LEDGER_LANG": language}
    shown = run("node", "prepare-move", ledger.folders["wj"], "--member", "wj", env=given, home=tmp_path)
    assert shown.code == 0 and "127.0.0.1:" in shown.out and "consensus.json" in shown.out
    assert "ledger node move" in shown.out + shown.err
    ledger.prepare()
    ledger.move()
    ledger.certify()
    moved = run("node", "move", ledger.write_store("wj"), env=given, home=tmp_path)
    assert moved.code == 0 and word in moved.out and ledger.app.engine.chain_id in moved.out
    refused = run("node", "move", ledger.write_store("gx", 3), env=given, home=tmp_path)
    assert refused.code == 1 and "docs/MOVING" in refused.out + refused.err
