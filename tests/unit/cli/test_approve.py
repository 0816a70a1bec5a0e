"""`ledger approve` against a real node: proposals, votes, what takes effect, and the auditor's view of all of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.core.proof import Completeness, parse_proof
from tests.unit.cli.runner import Ran, ledger

pytestmark = pytest.mark.slow

live_node = pytest.importorskip("tests.models.live_node", reason="suyuan-node is not installed")
HOUR_MS = 3_600_000
NEW_KIND = """
["catalog.note"]
type = "act"
title = { zh = "目录备注", en = "A note" }
retention = "catalogue"

["catalog.note".refs]
dataset = { opaque = true }

["catalog.note".body]
text = { type = "text", max = 100, title = { zh = "内容", en = "Text" } }
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One running node of three members; sj is the authority, ga orders and cosigns."""
    with live_node.live_node(tmp_path_factory.mktemp("approve") / "net") as made:
        made.step(1_000)
        yield made


@pytest.fixture
def call(live: Any, tmp_path: Path):
    """Runs a command against the node, signed by the event key of `by`."""

    def run(*arguments: object, by: str = "") -> Ran:
        signed = ["--member", by, "--key", live.folder / "keys" / f"event-{by}.key"] if by else []
        env = {"LEDGER_NODE": f"http://127.0.0.1:{live.port}"}
        return ledger(*arguments, *signed, env=env, home=tmp_path)

    return run


def proposed(ran: Ran) -> str:
    """The name of a proposal from the answer to `approve propose --json`."""
    assert ran.code == 0, ran.out + ran.err
    event = ran.json["events"][0]
    return f"{event['member']}/{event['id']}"


def effect(live: Any) -> None:
    """Let what passed take effect, and its block be certified."""
    live.step(1_000)
    height = live.node.head.height
    live_node._await(lambda: live.node.certificates.certified().height >= height, "the head is certified")


def certified(live: Any) -> None:
    """Wait until what is written is certified, for answers stand on that."""
    height = live.node.head.height
    live_node._await(lambda: live.node.certificates.certified().height >= height, "the head is certified")


def test_key_is_added_and_speaks(live: Any, call, tmp_path: Path) -> None:
    """Propose, list, show, sign; a moment later the new key records events, before it does not."""
    file = tmp_path / "event-new.key"
    assert call("key", "new", file).code == 0
    parts = ["sys.key.add", "--ref", "member=rs", "--new-key", file, "--role", "system", "--reason", "a second system"]
    name = proposed(call("approve", "propose", *parts, "--json", by="sj"))
    certified(live)
    listed = call("approve", "list", "--status", "open")
    assert listed.code == 0 and name in listed.out and "sys.key.add" in listed.out
    shown = call("approve", "show", name)
    assert shown.code == 0 and "a second system" in shown.out and "0 of 1 votes for it, 1 needed" in shown.out
    assert "0 票" not in shown.out
    event = ["event", "append", "--kind", "none.such", "--member", "rs", "--key", file, "--json"]
    assert call(*event).json["error"]["code"] == "key-unknown"
    refused = call("approve", "sign", name, by="rs")
    assert refused.code == 1 and "author" in refused.out
    assert call("approve", "sign", name, by="sj").code == 0
    again = call("approve", "sign", name, "--reject", by="sj")
    assert again.code == 1 and "decided already" in again.out
    effect(live)
    assert call(*event).json["counts"]["refused"] == 1  # recorded, though the rulebook knows no such kind
    assert "in force" in call("approve", "show", name).out
    missing = call("approve", "show", name[:-1] + ("1" if name.endswith("0") else "0"))
    assert missing.code == 3


def test_rulebook_is_amended_while_the_node_runs(live: Any, call, tmp_path: Path) -> None:
    """A changed rulebook is compiled here, travels to the node, and decides from its effect on; the auditor follows."""
    folder = tmp_path / "amended"
    shutil.copytree(live_node.ROOT / "contracts" / "data-sharing", folder)
    manifest = folder / "rulebook.toml"
    text = manifest.read_text("utf-8")
    version = live.node.rules.book.version
    manifest.write_text(text.replace(f'version = "{version}"', 'version = "9.9"', 1), "utf-8")
    with (folder / "kinds" / "catalog.toml").open("a", encoding="utf-8") as kinds:
        kinds.write(NEW_KIND)
    assert call("approve", "propose", "sys.rulebook.amend", "--bundle", tmp_path / "none", by="sj").code == 2
    before = live.node.config
    name = proposed(call("approve", "propose", "sys.rulebook.amend", "--bundle", folder, "--json", by="sj"))
    certified(live)
    assert live.node.rules.book.version == version
    early = live.post(live.sign("ga", [live.event("catalog.note", {"dataset": "ga/hukou"}, text="seen")]))
    assert early.json()["events"][0]["outcome"] == "refused"
    assert call("approve", "sign", name, by="sj").code == 0
    effect(live)
    # The checkpoint of the very block that changed the config is provable, under the config that was in force in it.
    proof = parse_proof(live.client.get("/v1/proofs/completeness", params={"kind": "proposal", "id": name}).content)
    assert isinstance(proof, Completeness) and proof.state.config == before.encode()
    shown = proof.verify(live.trust)
    assert shown.height == live.node.head.height and shown.counts.timers == 1
    live.record("ga", "event", "catalog.note", {"dataset": "ga/hukou"}, text="seen")
    assert live.node.rules.book.version == "9.9" and live.node.config.program != before.program
    certified(live)
    served = live.client.get("/v1/rulebooks").json()
    assert served["rulebooks"][0]["version"] == "9.9"
    document = ledger("verify", f"http://127.0.0.1:{live.port}", "--json", home=tmp_path).json
    assert document["findings"] == [] and document["counts"]["replayed_blocks"] == live.node.head.height + 1


def test_next_years_calendar_is_published_and_the_old_bundle_retired(live: Any, call, tmp_path: Path) -> None:
    """The years so far and a new one take effect by vote, the bundle before them never comes back; the auditor follows."""
    shipped = live_node.ROOT / "contracts" / "data-sharing" / "calendars"
    folder = tmp_path / "calendars"
    shutil.copytree(shipped, folder)
    last = json.loads((folder / "2026.json").read_text("utf-8"))
    off = ["2027-01-01", ["2027-02-05", "2027-02-11"], ["2027-10-01", "2027-10-07"]]
    coming = {**last, "off": off, "source": "a test", "worked": ["2027-02-14"], "year": 2027}
    (folder / "2027.json").write_text(json.dumps(coming), "utf-8")
    publish = ("approve", "propose", "calendar.publish", "--bundle")
    (folder / "2026.json").rename(tmp_path / "2026.json")
    gap = call(*publish, folder, by="sj")
    assert gap.code == 1 and "file=2027.json, where=year" in gap.err
    (tmp_path / "2026.json").rename(folder / "2026.json")
    before = live.node.config
    name = proposed(call(*publish, folder, "--reason", "the holidays of 2027", "--json", by="sj"))
    certified(live)
    assert live.node.config == before
    said = call("approve", "show", name, "--json").json["proposal"]["args"]
    assert "the holidays of 2027" in call("approve", "show", name).out
    assert json.loads(live.client.get(f"/v1/bundles/{said['bundle']}").json()["2027.json"]) == coming
    assert call("approve", "sign", name, by="sj").code == 0
    effect(live)
    now = live.node.config
    assert now.rulebook == before.rulebook and now.calendar.hex() == said["bundle"]
    assert now.program.hex() == said["program"] != before.program.hex()
    assert call("approve", "list", "--status", "enacted").out.count(name) == 1
    retire = ("approve", "propose", "rulebook.retire", "--set")
    refused = call(*retire, f"bundle={now.calendar.hex()}", by="sj")
    assert refused.code == 1 and "in force already" in refused.out
    name = proposed(call(*retire, f"bundle={before.calendar.hex()}", "--json", by="sj"))
    certified(live)
    assert call("approve", "sign", name, by="sj").code == 0
    effect(live)
    assert "in force" in call("approve", "show", name).out
    again = call(*publish, shipped, by="sj")
    assert again.code == 1 and "retired" in again.out
    certified(live)
    document = ledger("verify", f"http://127.0.0.1:{live.port}", "--json", home=tmp_path).json
    assert document["findings"] == [] and document["counts"]["replayed_blocks"] == live.node.head.height + 1


def test_parameters_need_the_cosigner(live: Any, call) -> None:
    """A change of parameters waits for the cosigner's own signature, and then for its notice."""
    for wrong in ("timers_block=0", "timers_block=true", "timers=900"):
        refused = call("approve", "propose", "param.set", "--set", wrong, by="sj")
        assert refused.code == 2 and "parameter" in refused.out + refused.err
    assert call("approve", "propose", "param.set", by="sj").code == 2
    name = proposed(call("approve", "propose", "param.set", "--set", "timers_block=900", "--json", by="sj"))
    certified(live)
    voted = call("approve", "sign", name, by="sj")
    assert voted.code == 0 and "--cosign-key" in voted.err
    certified(live)
    assert "0 of 1 cosigners signed it, 1 needed" in call("approve", "show", name).out
    assert call("approve", "sign", name, "--cosign-key", live.folder / "keys" / "cosign.key", by="ga").code == 0
    live.step(23 * HOUR_MS)
    assert live.node.config.parameters["timers_block"] == 1_000
    live.step(24 * HOUR_MS + 1)
    assert live.node.config.parameters["timers_block"] == 900


def test_member_is_admitted_without_writing_json(live: Any, call, tmp_path: Path) -> None:
    """A newcomer prints its key's registration, the authority names it and admits it; then it is listed and speaks."""
    file, line = tmp_path / "event-zx.key", tmp_path / "zx.registration"
    assert call("key", "new", file).code == 0
    printed = call("key", "show", file, "--register", "zx", "--origin", live.node.origin, "--role", "system")
    assert printed.code == 0 and "PRIVATE" not in printed.out
    line.write_text(printed.out)
    named = ["--id", "zx", "--title-zh", "征信办", "--title-en", "Credit Office", "--role", "department"]
    lacking = call("approve", "propose", "member.admit", *named, by="sj")
    assert lacking.code == 2 and "member-admit" in lacking.out + lacking.err
    other = call("approve", "propose", "member.admit", "--id", "zy", *named[2:], "--registration", line, by="sj")
    assert other.code == 2 and "another member" in other.out + other.err
    parts = [*named, "--attribute", "level=county", "--registration", line]
    name = proposed(call("approve", "propose", "member.admit", *parts, "--json", by="sj"))
    certified(live)
    assert call("approve", "sign", name, by="sj").code == 0
    effect(live)
    listed = call("member", "list")
    assert listed.code == 0 and "Credit Office" in listed.out and "active" in listed.out
    shown = call("member", "show", "zx", "--json")
    assert shown.json["member"]["attributes"] == {"level": "county"} and len(shown.json["keys"]) == 1
    assert "system" in call("member", "show", "zx").out
    signed = ["--member", "zx", "--key", file]
    spoken = ledger(
        *("event", "append", "--kind", "none.such", *signed, "--json"),
        env={"LEDGER_NODE": f"http://127.0.0.1:{live.port}"},
        home=tmp_path,
    )
    assert spoken.json["counts"]["refused"] == 1 and spoken.json["events"][0]["member"] == "zx"


def test_a_forged_registration_is_not_proposed(live: Any, call, tmp_path: Path) -> None:
    """A registration whose proof is another network's, or no proof at all, is refused before anybody votes."""
    file = tmp_path / "event-zw.key"
    assert call("key", "new", file).code == 0
    elsewhere = call("key", "show", file, "--register", "zw", "--origin", "other/" + "0" * 64)
    changed = call("key", "show", file, "--register", "zw", "--origin", live.node.origin).out.replace('"zw"', '"zv"')
    for line, why in ((elsewhere.out, "another network"), (changed, "proof"), ("{}", "key show --register")):
        ran = call("approve", "propose", "key.add", "--registration", line.strip(), by="sj")
        assert ran.code == 2 and why in ran.out + ran.err, ran.out + ran.err


def test_a_fetched_proof_is_tied_to_the_anchor(live: Any, call, tmp_path: Path) -> None:
    """SPEC R-V06: with a trust file that has an anchor, the fetched proof shows one history with it; without, it is told."""
    trust, file = tmp_path / "trust.json", tmp_path / "proof.json"
    anchor = live.node.certificates.certified().note.decode()
    trust.write_text(json.dumps({"origin": live.node.origin, "anchor": anchor}))
    (tmp_path / "genesis.json").write_bytes(live.node.genesis.data)
    assert call("event", "append", "--kind", "none.such", by="rs").code in (0, 1)
    effect(live)
    wanted = ("proof", "get", "completeness", "member", "ga", "--out", file)
    assert call(*wanted, "--trust", trust).code == 0
    ran = call("proof", "verify", file, "--trust", trust, "--json")
    assert (ran.code, ran.json["not_checked"]) == (0, []), ran.out + ran.err
    file.unlink()
    assert call(*wanted).code == 0
    ran = call("proof", "verify", file, "--trust", trust, "--json")
    assert (ran.code, ran.json["not_checked"]) == (7, ["history"])
