"""`ledger network` and `ledger node init`: from a plan to folders that nodes start from."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.adapters.audit.sources import DataDirectorySource
from ledger.adapters.home.comethome import CONSENSUS_KEY, HOME, NEXT_KEY, SIGNING_STATE, read_key_file, read_keys
from ledger.adapters.home.datadir import DATABASE, SIGNER_STATE, load_rules
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.network import read_rulebook
from ledger.adapters.home.nodefile import COSIGN_KEY, read_settings
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.blockcodec import parse_block
from ledger.cli.exits import Exit
from ledger.cli.network import find_rulebook
from ledger.cli.proposing import Wishes, complete
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.header import parse_header
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, parse_public_key, registration_message
from ledger.errors import FatalError
from tests.models.real_ledger import real_ledger
from tests.unit.cli.runner import ledger
from tests.unit.cli.test_permit_log import LOG

ROOT = Path(__file__).resolve().parents[3]
RULEBOOK = ("--rulebook", ROOT / "contracts" / "data-sharing")
PLAN = """
name = "plan.test"
sequencer = "ga"
clock = "scenario"
time = "2026-09-01T00:30:00.000Z"
parameters = { skew_ms = 1000 }
[[member]]
id = "ga"
title = { zh = "公安局", en = "Public Security Bureau" }
roles = ["department"]
attributes = { level = "city" }
listen = "127.0.0.1:7401"
[[member.key]]
label = "office"
roles = ["office-head"]
[[member]]
id = "rs"
title = { zh = "人社局", en = "Human Resources Bureau" }
host = "ga"
"""


def test_a_plan_file_says_everything(tmp_path: Path) -> None:
    """Titles, roles, attributes, keys, hosts, clock, time and parameters of the plan stand in the genesis."""
    plan = tmp_path / "plan.toml"
    plan.write_text(PLAN, "utf-8")
    ran = ledger("network", "new", tmp_path / "net", "--plan", plan, *RULEBOOK, "--hand-over", "--json")
    assert ran.code == 0, ran.out
    genesis = parse_genesis((tmp_path / "net" / "genesis.json").read_bytes())
    assert genesis.origin == ran.json["origin"] and genesis.clock == "scenario" and genesis.time == 1_788_222_600_000
    assert genesis.parameters["skew_ms"] == 1000 and genesis.members[0].attributes == {"level": "city"}
    assert [(member, key.roles) for member, key in genesis.keys(EVENT)] and len(genesis.keys(COSIGN)) == 1
    assert read_settings(tmp_path / "net" / "ga").url == "http://127.0.0.1:7401" == ran.json["nodes"][0]["url"]
    made = ledger("node", "init", tmp_path / "data", "--from", tmp_path / "net" / "ga", "--json")
    assert made.code == 0 and made.json["role"] == "sequencer"
    again = ledger("node", "init", tmp_path / "data")
    assert again.code == Exit.CONFLICT and "[node-initialised]" in again.err


def test_members_may_be_given_on_the_command_line(tmp_path: Path) -> None:
    """--member with titles, --port for addresses, and the groups of a permit log as members of the first node."""
    log = tmp_path / "log.csv"
    log.write_text(LOG)
    ran = ledger(
        "network", "new", tmp_path / "net", "--name", "x.test", "--member", "ga=公安局/Police", "--member", "rs",
        "--port", "7501", "--permits", log, *RULEBOOK, "--hand-over", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.out
    assert [node["url"] for node in ran.json["nodes"]] == ["http://127.0.0.1:7501", "http://127.0.0.1:7502"]
    genesis = parse_genesis((tmp_path / "net" / "genesis.json").read_bytes())
    assert {member.id for member in genesis.members} == {"ga", "rs", "empty", "group-1", "group-2"}
    held = {path.name for path in (tmp_path / "net" / "ga" / "keys").iterdir()}
    assert {"event-group-1.key", "event-empty.key"} <= held
    title = next(member.title for member in genesis.members if member.id == "ga")
    assert title == {"zh": "公安局", "en": "Police"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("name = 'x'", "plan-missing"),
        ("nam = 'x'", "setting-unknown"),
        ("name = 'x'\n[[member]]\nid = 'a'", "plan"),
        ("name = 'x'\n[[member]]\nid = 'a'\ntitle = {zh='a',en='a'}\nroled = []", "setting-unknown"),
        ("name = [", "plan"),
    ],
)
def test_a_plan_with_a_mistake_makes_nothing(tmp_path: Path, text: str, code: str) -> None:
    """Unknown names, missing titles and broken TOML are usage errors before a key is made."""
    plan = tmp_path / "plan.toml"
    plan.write_text(text)
    ran = ledger("network", "new", tmp_path / "net", "--plan", plan, *RULEBOOK, "--json")
    assert ran.code == Exit.USAGE and ran.json["error"]["code"] == code
    assert not (tmp_path / "net").exists()


def test_the_shipped_rulebook_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a checkout the repository's own rulebook is used, wherever the command runs."""
    pytest.importorskip("ledger_node")
    monkeypatch.chdir(tmp_path)
    assert read_rulebook(find_rulebook(None)) == read_rulebook(ROOT / "contracts" / "data-sharing")


def test_starting_what_is_no_data_directory_is_exit_3(tmp_path: Path) -> None:
    """The error names the folder and how one is made."""
    ran = ledger("node", "start", tmp_path)
    assert ran.code == Exit.NOT_FOUND and str(tmp_path) in ran.err and "ledger network demo" in ran.err


def test_starting_without_the_node_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An auditor's install is told which package is missing."""
    import importlib.util

    (tmp_path / "node.toml").write_text("[http]\nport = 7601\n")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    ran = ledger("node", "start", tmp_path, "--json")
    assert ran.json["error"]["code"] == "node-package" and "suyuan-node" in ran.json["error"]["advice"]


def test_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    """Open modes, missing states, unreadable keys and a dead node are each named; exit 1; one document."""
    assert ledger("network", "new", tmp_path / "net", "--name", "d.test", "--member", "ga", *RULEBOOK).code == 0
    folder = tmp_path / "net" / "ga"
    (folder / "token").chmod(0o644)
    (folder / "signer.state").unlink()
    (folder / "keys" / "log.key").write_text("nonsense")
    ran = ledger("doctor", "--data", folder, "--timeout", "2", "--json")
    states = {}
    for check in ran.json["checks"]:
        states.setdefault(check["name"], []).append(check["state"])
    assert ran.code == Exit.OPERATIONAL and ran.json["healthy"] is False
    assert states["file-modes"] == ["fault"] and "fault" in states["signer-state"] and "fault" in states["node"]
    assert states["schema"] == ["ok"] and states["fsync"][0] in ("ok", "warning") and "fault" in states["keys"]
    plain = ledger("doctor", "--data", folder, "--timeout", "2", "--lang", "zh")
    assert "chmod 600" in plain.out and "故障" in plain.out


def test_the_trust_file_is_what_verify_wants(tmp_path: Path) -> None:
    """`network new` leaves a trust file that pins its origin."""
    from ledger.verify.trust import parse_trust

    ran = ledger(
        "network", "new", tmp_path / "net", "--name", "t.test", "--member", "ga", *RULEBOOK, "--hand-over", "--json"
    )
    assert parse_trust(Path(ran.json["trust"]).read_bytes()).origin == ran.json["origin"]
    assert json.loads(Path(ran.json["trust"]).read_text())["origin"] == ran.json["origin"]


VALIDATORS = """
name = "four.test"
engine = "cometbft"
[[member]]
id = "a"
title = { zh = "甲局", en = "Bureau A" }
roles = ["authority", "department"]
listen = "127.0.0.1:7801"
url = "http://10.0.0.1:80"
p2p = "10.0.0.1:26656"
[[member]]
id = "b"
title = { zh = "乙局", en = "Bureau B" }
[[member]]
id = "c"
title = { zh = "丙局", en = "Bureau C" }
[[member]]
id = "d"
title = { zh = "丁局", en = "Bureau D" }
[[member]]
id = "watch"
title = { zh = "审计局", en = "Audit Office" }
roles = ["auditor"]
validator = false
"""


def test_members_of_a_cometbft_network(tmp_path: Path) -> None:
    """One file names the departments, where they listen and who has a vote; each gets a folder that a node is made of."""
    file = tmp_path / "members.toml"
    file.write_text(VALIDATORS, "utf-8")
    ran = ledger("network", "new", tmp_path / "net", "--members", file, *RULEBOOK, "--hand-over", "--json")
    assert ran.code == 0, ran.out
    assert [(node["member"], node["role"]) for node in ran.json["nodes"]] == [
        ("a", "validator"), ("b", "validator"), ("c", "validator"), ("d", "validator"), ("watch", "observer"),
    ]  # fmt: skip
    assert ran.json["nodes"][0]["url"] == "http://10.0.0.1:80"
    a, b = (read_settings(tmp_path / "net" / member) for member in "ab")
    assert a.comet is not None and b.comet is not None and a.url == "http://127.0.0.1:7801"
    assert a.comet.p2p_listen == "10.0.0.1:26656" and a.comet.p2p_address in b.comet.p2p_peers
    assert "http://10.0.0.1:80" in b.peers
    made = ledger("node", "init", tmp_path / "data", "--from", tmp_path / "net" / "a", "--json")
    assert made.code == 0 and made.json["role"] == "validator"
    shown = ledger("network", "new", tmp_path / "again", "--members", file, *RULEBOOK, "--hand-over", "--lang", "zh")
    assert "ledger node init" in shown.err and "ledger node start" in shown.err and "validator" in shown.out


def test_fewer_than_four_validators_have_to_be_meant(tmp_path: Path) -> None:
    """Without the flag nothing is made; with it the reason is printed all the same."""
    new = ("network", "new", tmp_path / "net", "--name", "x.test", "--engine", "cometbft", *RULEBOOK, "--hand-over")
    few = [*new, "--member", "a", "--member", "b", "--member", "c"]
    ran = ledger(*few, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (Exit.USAGE, "validators-few"), ran.out
    assert not (tmp_path / "net").exists()
    ran = ledger(*few, "--few-validators", "--lang", "en")
    assert ran.code == 0 and "Four are the fewest that tolerate one fault" in ran.err, ran.err
    genesis = parse_genesis((tmp_path / "net" / "genesis.json").read_bytes())
    assert genesis.engine == "cometbft" and len(genesis.keys(COSIGN)) == 3


@pytest.mark.parametrize("command", ["new", "demo"])
def test_nobody_steps_the_clock_of_cometbft(tmp_path: Path, command: str) -> None:
    """A scenario clock under CometBFT is refused as usage before anything is made: validators go by their own clocks."""
    given = ["--engine", "cometbft", "--clock", "scenario", "--rulebook", "contracts/gdpr"]
    if command == "new":
        given += ["--name", "a.example", *(f"--member={name}=甲/{name}" for name in ("a1", "b1", "c1", "d1"))]
    ran = ledger("network", command, tmp_path / "net", *given, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (Exit.USAGE, "scenario-engine"), ran.out
    assert not (tmp_path / "net").exists()


def test_a_port_counts_engines_too(tmp_path: Path) -> None:
    """With --port the HTTP of all nodes comes first, then their engines."""
    ran = ledger("network", "demo", tmp_path / "net", "--engine", "cometbft", "--port", "7901", *RULEBOOK, "--json")
    assert ran.code == 0, ran.out
    settings = [read_settings(Path(node["folder"])) for node in ran.json["nodes"]]
    assert [each.port for each in settings] == [7901, 7902, 7903, 7904]
    assert [each.comet and each.comet.p2p_listen for each in settings] == [f"127.0.0.1:{7905 + at}" for at in range(4)]


@pytest.mark.parametrize("line", ["p2p = 1", "validator = 'no'", "url = []", "p2q = 'x'"])
def test_a_members_file_with_a_mistake(tmp_path: Path, line: str) -> None:
    """A value of another type, or a name nobody knows, is a usage error."""
    file = tmp_path / "members.toml"
    file.write_text(
        VALIDATORS + f"{line}\n" if "validator" not in line else VALIDATORS.replace("validator = false", line)
    )
    ran = ledger("network", "new", tmp_path / "net", "--members", file, *RULEBOOK, "--json")
    assert (ran.code, ran.json["error"]["code"]) in ((Exit.USAGE, "plan"), (Exit.USAGE, "setting-unknown")), ran.out
    assert not (tmp_path / "net").exists()


def test_a_department_joins_from_an_invitation(tmp_path: Path) -> None:
    """The folder is made, the registrations are those that a proposal takes, and both votes are told."""
    demo = ("network", "demo", tmp_path / "net", "--engine", "cometbft", *RULEBOOK, "--json")
    made = ledger(*demo)
    join = ("node", "join", tmp_path / "data", "--from", made.json["invitation"], "--member", "zr")
    wrong = ledger(*join, "--origin", "demo.local/" + "0" * 64, "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (Exit.INTEGRITY, "join-origin"), wrong.out
    other = f"{'ab' * 20}@10.0.0.7:26656"
    ran = ledger(*join, "--origin", made.json["origin"], "--peer", other, "--json")
    assert ran.code == 0 and ran.json["role"] == "validator", ran.out
    settings = read_settings(tmp_path / "data")
    assert settings.comet is not None and settings.comet.p2p_peers[0] == other and len(settings.comet.p2p_peers) == 5
    files = [str(tmp_path / "data" / "registrations" / f"{use}.json") for use in ("event", "cosign", "log", "p2p")]
    wishes = Wishes("zr", {"zh": "自然资源局", "en": "Natural Resources"}, ("department",), (), tuple(files))
    refs, args = complete("sys.member.admit", {}, {}, wishes, made.json["origin"])
    assert refs == {"member": "zr"} and [key["use"] for key in args["keys"]] == ["event", "cosign", "log", "p2p"]
    text = ledger(*join[:2], tmp_path / "more", *join[3:], "--lang", "en")
    assert "member.admit" in text.err and "set.change" in text.err and "registrations/p2p.json" in text.err
    empty = ledger("node", "join", tmp_path / "none", "--from", tmp_path / "net" / "sj", "--member", "zr", "--json")
    assert (empty.code, empty.json["error"]["code"]) == (Exit.NOT_FOUND, "invitation"), empty.out


@dataclass(frozen=True)
class Ended:
    """A ledger in a folder, and the checkpoint that was certified last."""

    folder: Path
    origin: str
    size: int
    root: bytes


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A certified ledger with a block that nobody certified any more."""
    made = real_ledger(tmp_path_factory.mktemp("ended") / "node", grants=1, uses=1)
    made.store = SqliteStore.open(made.folder / DATABASE)
    made.app = Application(made.store, load_rules("inline"))
    head = made.app.head
    user = made.workload.grants[0].user
    made.block([made.workload.submission(user, "office", made.workload.mix(user, 1))])
    made.close()
    return Ended(made.folder, made.genesis.origin, head.size, head.log.root())


def test_a_network_continues_one_that_ended(tmp_path: Path, ended: Ended) -> None:
    """SPEC R-G06: the last certified note, not the head, is pinned; verify shows it, and holds the old ledger to it."""
    new = ("network", "new", tmp_path / "net", "--name", "next.test", "--member", "ga", *RULEBOOK)
    ran = ledger(*new, "--continues", ended.folder, "--json")
    assert ran.code == 0, ran.out
    before = parse_genesis((tmp_path / "net" / "genesis.json").read_bytes()).continues
    assert before is not None and before.origin == ended.origin
    assert (before.checkpoint.size, before.checkpoint.root) == (ended.size, ended.root)
    with_state = DataDirectorySource(ended.folder)
    headers = [parse_header(parse_block(e).leaves[-1]) for piece in with_state.pieces() for e in piece.load().blocks]
    with_state.close()
    assert [each.state_root for each in headers if each.index + 1 == ended.size] == [before.state_root]
    assert ran.json["continues"]["origin"] == ended.origin
    checked = ledger("verify", tmp_path / "net" / "ga", "--no-remember", "--json", "--jobs", "1")
    assert checked.json["continues"] == {
        "origin": before.origin, "size": before.checkpoint.size, "root": before.checkpoint.root.hex(),
        "state_root": before.state_root.hex(),
    }  # fmt: skip
    text = ledger("verify", tmp_path / "net" / "ga", "--no-remember", "--jobs", "1")
    assert re.search(f"^continues +{before.origin}, .*not audited here$", text.out, re.MULTILINE), text.out
    old = ("verify", ended.folder, "--no-remember", "--runtime", "inline", "--jobs", "1", "--json")
    held = ledger(*old, "--trust", tmp_path / "net" / "predecessor.json")
    assert [each["size"] for each in held.json["agreed"]] == [before.checkpoint.size], held.out


def test_nothing_continues_what_does_not_verify(tmp_path: Path, ended: Ended) -> None:
    """A damaged predecessor is exit 6, one without a certificate exit 3, and no key is made."""
    broken, fresh, net = tmp_path / "broken", tmp_path / "fresh", tmp_path / "net"
    shutil.copytree(ended.folder, broken)
    with sqlite3.connect(broken / DATABASE) as connection:
        connection.execute("UPDATE blocks SET data = zeroblob(length(data)) WHERE height = 2")
    new = ("network", "new", net, "--name", "next.test", "--member", "ga", *RULEBOOK, "--json", "--continues")
    ran = ledger(*new, broken)
    assert (ran.code, ran.json["error"]["code"]) == (Exit.INTEGRITY, "predecessor-broken"), ran.out
    assert ledger("network", "new", fresh, "--name", "f.test", "--member", "ga", *RULEBOOK).code == 0
    ran = ledger(*new, fresh / "ga")
    assert (ran.code, ran.json["error"]["code"]) == (Exit.NOT_FOUND, "predecessor-uncertified"), ran.out
    assert not net.exists()


def test_a_node_gets_a_new_cosigner_key(tmp_path: Path) -> None:
    """SPEC R-Q31, R-K04: a fresh key and state that prove their registration; the old pair stays beside them, by number."""
    assert ledger("network", "new", tmp_path / "net", "--name", "n.test", "--member", "ga", *RULEBOOK).code == 0
    folder = tmp_path / "net" / "ga"
    genesis = parse_genesis((folder / "genesis.json").read_bytes())
    old = read_key(folder / COSIGN_KEY).public
    lock = DataDirLock(folder)
    assert ledger("node", "renew-cosigner", folder).code == Exit.UNREACHABLE  # the node runs
    lock.close()
    for number in (1, 2):
        ran = ledger("node", "renew-cosigner", folder, "--json")
        assert ran.code == 0, ran.out
        new = read_key(folder / COSIGN_KEY).public
        assert ran.json["member"] == "ga" and ran.json["key_id"] == new.key_id.hex()
        key = ran.json["key"]
        assert set(key) == {"algorithm", "proof", "public", "roles", "use"} and key["public"] == new.raw.hex()
        new.verify(registration_message(genesis.origin, "ga", COSIGN), bytes.fromhex(key["proof"]))
        state = SignerState(folder / SIGNER_STATE, genesis.origin, new.key_id)
        assert state.signed.size == 0
        state.close()
        assert read_key(folder / "keys" / f"cosign-{number}.key").public == old
        with pytest.raises(FatalError):  # the old key with the new state
            SignerState(folder / SIGNER_STATE, genesis.origin, old.key_id)
        SignerState(folder / f"signer-{number}.state", genesis.origin, old.key_id).close()
        old = new


def test_a_validator_gets_a_new_consensus_key(tmp_path: Path) -> None:
    """SPEC R-N52, R-K04: the next key proves its registration and signs nothing before the switch, which gives it a fresh
    state and keeps the old pair beside it; half done it can be done again, and never with the old key's state."""
    plan = ("--name", "n.test", "--member", "ga", "--engine", "cometbft", "--few-validators", *RULEBOOK)
    assert ledger("network", "new", tmp_path / "net", *plan).code == 0
    folder = tmp_path / "net" / "ga"
    home, origin = folder / HOME, parse_genesis((folder / "genesis.json").read_bytes()).origin
    first = old = read_keys(home).consensus.public
    ran = ledger("node", "renew-consensus", folder, "--switch", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (Exit.NOT_FOUND, "key-file")
    for number in (1, 2):
        lock = DataDirLock(folder)  # the node runs
        ran, again = (ledger("node", "renew-consensus", folder, "--json") for _ in range(2))
        assert ran.code == 0 and ran.json == again.json, ran.out
        assert read_keys(home).consensus.public == old and ran.json["old_key_id"] == old.key_id.hex()
        document = json.loads(Path(ran.json["registration"]).read_bytes())
        new = parse_public_key(document["algorithm"], bytes.fromhex(document["public"]))
        new.verify(registration_message(origin, "ga", CONSENSUS), bytes.fromhex(document["proof"]))
        assert ran.json["key_id"] == new.key_id.hex() and document == ran.json["key"]
        assert ledger("node", "renew-consensus", folder, "--switch").code == Exit.UNREACHABLE
        lock.close()
        (home / SIGNING_STATE).write_text('{"height": "7", "round": 0, "step": 3}')
        assert ledger("node", "renew-consensus", folder, "--switch").code == 0
        assert read_keys(home).consensus.public == new
        assert json.loads((home / SIGNING_STATE).read_bytes()) == {"height": "0", "round": 0, "step": 0}
        assert json.loads((home / f"data/priv_validator_state-{number}.json").read_bytes())["height"] == "7"
        assert read_key_file(home / f"config/priv_validator_key-{number}.json").public == old
        old = new
    assert old != first and not (home / NEXT_KEY).exists()
    # A switch that was killed when the old pair was set aside: nothing signs until it is run again.
    assert ledger("node", "renew-consensus", folder).code == 0
    for name in (SIGNING_STATE, CONSENSUS_KEY):
        (home / name).rename((home / name).with_suffix(".aside"))
    ran = ledger("node", "renew-consensus", folder, "--json")
    assert ran.json["old_key_id"] is None
    assert ledger("node", "renew-consensus", folder, "--switch").code == 0
    assert read_keys(home).consensus.public.key_id.hex() == ran.json["key_id"]


def test_a_node_that_lost_its_ledger_begins_again_with_its_keys_and_states(tmp_path: Path) -> None:
    """SPEC R-Q11, R-N21: block 0 is made anew, copies are set aside, every key and what it signed stay as they were;
    a key without its state, or a node that runs, changes nothing."""
    plan = ("--name", "n.test", "--member", "ga", "--engine", "cometbft", "--few-validators", *RULEBOOK)
    assert ledger("network", "new", tmp_path / "net", *plan).code == 0
    folder = tmp_path / "net" / "ga"
    home = folder / HOME
    (home / SIGNING_STATE).write_text('{"height": "7", "round": 0, "step": 3}')
    (home / "data/priv_validator_state-1.json").write_text("{}")
    state = folder / SIGNER_STATE
    signer = SignerState(state, parse_genesis((folder / "genesis.json").read_bytes()).origin, key_of(folder))
    signer.advance(5, sha256(b"root"), 1)
    signer.close()
    kept = {path: path.read_bytes() for path in folder.rglob("*") if path.suffix in (".key", ".state", ".json")}
    inode = state.stat().st_ino
    (home / "data" / "blockstore.db").mkdir()
    lock = DataDirLock(folder)
    assert ledger("node", "init", folder, "--again").code == Exit.UNREACHABLE
    lock.close()
    for number in (1, 2):
        ran = ledger("node", "init", folder, "--again", "--json")
        assert ran.code == 0 and ran.json["set_aside"].endswith(f"set-aside-{number}"), ran.out
        assert (folder / f"set-aside-{number}" / DATABASE).exists() and (folder / DATABASE).exists()
        assert {path: path.read_bytes() for path in kept} == kept and state.stat().st_ino == inode
    assert (folder / "set-aside-1" / HOME / "blockstore.db").is_dir() and not (home / "data/blockstore.db").exists()
    for lost in (home / SIGNING_STATE, state):
        lost.rename(tmp_path / lost.name)
        ran = ledger("node", "init", folder, "--again", "--json")
        assert ran.json["error"]["code"] == "signer-state-missing" and not (folder / "set-aside-3").exists()
        (tmp_path / lost.name).rename(lost)
    ran = ledger("node", "prepare-move", folder, "--json")
    assert ran.json["error"]["code"] == "move-already", "nor does it need the keys of a move"
    document = json.loads((home / "config/genesis.json").read_bytes())
    (home / "config/genesis.json").write_text(json.dumps({**document, "chain_id": "other-1"}))
    assert ledger("node", "init", folder, "--again", "--json").json["error"]["code"] == "again-moved"


@pytest.mark.parametrize("field", ["p2p", "listen"])
def test_a_plan_with_no_address_names_the_field(tmp_path: Path, field: str) -> None:
    """Which field of which member, and the form that it takes."""
    file = tmp_path / "members.toml"
    member = "id = 'a'\ntitle = {zh='a',en='a'}\nvalidator = true"
    file.write_text(f"name = 'x.test'\nengine = 'cometbft'\n[[member]]\n{member}\n{field} = 'nonsense'\n")
    ran = ledger("network", "new", tmp_path / "net", "--members", file, "--few-validators", *RULEBOOK)
    assert ran.code and f"{field} of a is no address: nonsense" in ran.err and "host:port" in ran.err


def key_of(folder: Path) -> Digest:
    """The id of a node's cosigner key."""
    return read_key(folder / COSIGN_KEY).public.key_id
