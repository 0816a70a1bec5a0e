"""The commands against a real node: append, look, prove, import, SDK."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import read_settings
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.cli.exits import Exit
from ledger.client import Recorder
from tests.unit.cli.runner import Ran, ledger
from tests.unit.cli.test_permit_log import LOG

pytestmark = pytest.mark.slow

live_node = pytest.importorskip("tests.models.live_node", reason="suyuan-node is not installed")
DRAFT = {
    "name": "土地登记", "items": '["status"]', "format": "table", "frequency": "daily", "sharing": "conditional",
    "methods": '["api"]', "level": "general", "purposes": '["pension-check"]',
}  # fmt: skip


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """One running node with a dataset that was published, lent and used."""
    with live_node.live_node(tmp_path_factory.mktemp("live") / "net") as made:
        live_node.tell_story(made)
        yield made


@pytest.fixture
def call(live: object, tmp_path: Path):
    """Runs a command against the node, with its data directory's token where `--data` is meant."""

    def run(*arguments: object, local: bool = False, **more: object) -> Ran:
        env = {"LEDGER_NODE": f"http://127.0.0.1:{live.port}"}  # type: ignore[attr-defined]
        if local:
            env["LEDGER_TOKEN"] = (live.folder / "token").read_text().strip()  # type: ignore[attr-defined]
        return ledger(*arguments, env={**env, **more.pop("env", {})}, home=tmp_path, **more)  # type: ignore[arg-type, dict-item]

    return run


def draft(dataset: str) -> list[str]:
    """Flags of a catalogue entry."""
    return ["--kind", "catalog.draft", "--ref", f"dataset={dataset}", *(f"--set={k}={v}" for k, v in DRAFT.items())]


def test_an_event_is_signed_here_and_its_receipt_checks_offline(live: object, call, tmp_path: Path) -> None:
    """--key signs on this side; the receipt is certified and holds without the node."""
    key = live.folder / "keys" / "event-rs.key"  # type: ignore[attr-defined]
    receipt = tmp_path / "receipt.json"
    flags = ["--member", "rs", "--key", key, "--receipt", receipt, "--json"]
    ran = call("event", "append", *draft("rs/land"), *flags)
    assert ran.code == 0, ran.out + ran.err
    document = ran.json
    assert document["certified"] is True and document["counts"]["accepted"] == 1
    event = document["events"][0]
    checked = ledger("proof", "verify", receipt, "--trust", live.folder, "--json")  # type: ignore[attr-defined]
    assert checked.code == 0 and checked.json["id"] == event["id"] and checked.json["seq"] == event["seq"]
    assert call("event", "append", *draft("rs/land"), *flags).json["error"]["code"] == "output-exists"
    shown = call("event", "get", f"rs/{event['id']}")
    assert shown.code == 0 and "土地登记" in shown.out and "accepted" in shown.out


def test_the_local_node_signs_with_a_token(call) -> None:
    """Without a key the events go as JSON; without a token either, the command says what is missing."""
    ran = call("event", "append", *draft("ga/roads"), "--member", "ga", local=True)
    assert ran.code == 0 and "accepted" in ran.out
    refused = call("event", "append", *draft("ga/roads"), "--member", "ga")
    assert refused.code == Exit.USAGE and "[no-signer]" in refused.err
    wrong = call("event", "append", *draft("ga/roads"), "--member", "ga", env={"LEDGER_TOKEN": "wrong"})
    assert wrong.code == Exit.OPERATIONAL and "[token]" in wrong.err


def test_a_refusal_is_told_with_its_article_and_exit_1(call) -> None:
    """A refused request names rule, code, text and article in the reader's language."""
    flags = ["--kind", "share.apply", "--ref", "dataset=ga/ghost", "--member", "rs"]
    ran = call("event", "append", *flags, local=True)
    assert ran.code == Exit.OPERATIONAL and "[refused]" in ran.out and "[ledger shape]" in ran.out
    own = ["--kind", "share.apply", "--ref", "dataset=ga/hukou", "--member", "ga", "--lang", "zh"]
    applied = call("event", "append", *own, local=True)
    assert applied.code == Exit.OPERATIONAL and "D809" in applied.out and "拒绝" in applied.out


def test_an_id_used_twice_is_exit_4_and_the_same_again_is_0(live: object, call, tmp_path: Path) -> None:
    """Same id and bytes: the first verdict again. Same id, other content: the recorded conflict."""
    event = live.event("record.note", {"dataset": "ga/hukou"}, x=1)  # type: ignore[attr-defined]
    path = tmp_path / "event.json"
    fields = {name: value for name, value in event.fields.items() if name != "v"}
    key = ("--member", "ga", "--key", live.folder / "keys" / "event-ga.key", "--file", path)  # type: ignore[attr-defined]
    path.write_text(json.dumps({**fields, "body": event.content}))
    first, again = (call("event", "append", *key, "--json") for _ in range(2))
    assert first.json["events"][0]["seq"] == again.json["events"][0]["seq"] and again.json["counts"]["duplicate"] == 1
    path.write_text(json.dumps({**fields, "body": {**event.content, "x": 2}}))
    conflict = call("event", "append", *key)
    assert conflict.code == Exit.CONFLICT and "[ledger conflict]" in conflict.out


def test_many_events_from_a_file_are_counted(call, tmp_path: Path) -> None:
    """NDJSON in, one summary out; a bad event names its number and nothing is recorded."""
    path = tmp_path / "events.ndjson"
    lines = [
        {"kind": "catalog.draft", "refs": {"dataset": f"ga/set-{number}"}, "body": {
            **{k: json.loads(v) if v[0] == "[" else v for k, v in DRAFT.items()}}}
        for number in range(30)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    ran = call("event", "append", "--file", path, "--member", "ga", "--json", local=True)
    assert ran.code == 0 and ran.json["counts"]["accepted"] == 30
    lines[7]["time"] = "yesterday"
    path.write_text("\n".join(map(json.dumps, lines)))
    bad = call("event", "append", "--file", path, "--member", "ga", "--json", local=True)
    assert bad.code == Exit.OPERATIONAL and bad.json["error"]["evidence"]["index"] == 7


def test_searching_lists_and_pages(call) -> None:
    """Lists carry counts and cursors; words find objects and members."""
    page = call("event", "search", "--kind", "use.access", "--limit", "1", "--json").json
    assert len(page["entries"]) == 1 and page["next"] is not None and page["count"] >= 2
    following = call("event", "search", "--kind", "use.access", "--after", page["next"], "--json").json
    assert following["entries"][0]["seq"] >= page["next"]
    assert "ga/hukou" in call("event", "search", "hukou").out
    assert call("event", "search", "--kind", "no.such").out.strip() == "No events."
    missing = call("event", "get", "ga/01a20283-5539-78fb-9fe4-7e160b57ea4a")
    assert missing.code == Exit.NOT_FOUND


def test_a_narrow_screen_keeps_the_names_of_events_whole(live: object, call) -> None:
    """What `event get` wants is never cut: on a screen too narrow for the table each event has two lines."""
    live.settle()  # type: ignore[attr-defined]
    names = [
        f"{entry['leaf']['member']}/{entry['leaf']['id']}"
        for entry in call("event", "search", "--json").json["entries"]
    ]
    narrow = call("event", "search", env={"COLUMNS": "80"}).out
    assert len(narrow.splitlines()) == 2 * len(names) and max(map(len, narrow.splitlines())) <= 80
    assert [line.split("  ")[1] for line in narrow.splitlines()[::2]] == names
    wide = call("event", "search", env={"COLUMNS": "200"}).out.splitlines()
    assert wide[0].split() == ["seq", "time", "kind", "event", "outcome", "about"] and names[0] in wide[2]


def test_status_shows_the_head_s_time_as_people_read_it(live: object, call) -> None:
    """The text has a date and a zone; the JSON document keeps milliseconds."""
    shown = call("node", "status")
    assert re.search(r"^time +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \+08:00$", shown.out, re.MULTILINE), shown.out
    chinese = call("node", "status", "--lang", "zh").out.splitlines()
    assert len(chinese) == len(shown.out.splitlines())
    for line in filter(None, chinese):
        assert re.search(r"[\u4e00-\u9fff]", line) or set(line) <= {"-", " "}, line
    assert call("node", "status", "--json").json["status"]["time"] == live.node.head.time  # type: ignore[attr-defined]


def test_an_export_over_an_address_ends_at_its_certificate(call, tmp_path: Path) -> None:
    """Nothing warns that nothing is certified where a node gives its blocks up to its newest certificate."""
    target = tmp_path / "export.tar"
    ran = call("export", "archive", target, "--json")
    assert ran.code == 0 and ran.json["certificates"] == 1
    assert "nothing is certified" not in ran.err


def test_outcomes_and_statuses_are_read_in_both_languages(call) -> None:
    """Lists name outcomes and statuses by their codes, in Chinese with the words before them."""
    outcomes, nodes = (
        call("event", "search", "--lang", "zh").out,
        call("lineage", "show", "ga/hukou", "--lang", "zh").out,
    )
    assert "接受 [accepted]" in outcomes and "已发布 [published]" in nodes
    assert (
        " [accepted]" not in call("event", "search").out
        and " [published]" not in call("lineage", "show", "ga/hukou").out
    )


def test_lineage_is_a_table_of_the_same_answer(live: object, call) -> None:
    """Every edge of the document is a row of the table."""
    ran, plain = call("lineage", "show", "ga/hukou", "--depth", "5", "--json"), call("lineage", "show", "ga/hukou")
    assert ran.code == plain.code == 0
    assert any(edge["to"] == f"grant/{live.ids['grant']}" for edge in ran.json["edges"])  # type: ignore[attr-defined]
    assert (
        live.ids["grant"] in plain.out
        and f"{len(ran.json['nodes'])} nodes"
        in call(  # type: ignore[attr-defined]
            "lineage", "show", "ga/hukou", "--depth", "5"
        ).out
    )


def test_proofs_fetched_are_proofs_that_hold(live: object, call, tmp_path: Path) -> None:
    """Completeness and absence files of a real node verify offline; streams that exist are never absent."""
    for number, names in enumerate((["completeness", "dataset", "ga/hukou"], ["absence", "dataset", "ga/nothing"])):
        path = tmp_path / f"{number}.json"
        assert call("proof", "get", *names, "--out", path).code == 0
        ran = ledger("proof", "verify", path, "--trust", live.folder, "--json")  # type: ignore[attr-defined]
        assert ran.code == 0 and ran.json["kind"] == names[0], ran.out
    assert call("proof", "get", "absence", "dataset", "ga/hukou").code == Exit.NOT_FOUND
    assert call("proof", "get", "inclusion", "1", "--json").json["proof"]["seq"] == 1
    assert "proof verify" not in call("proof", "get", "inclusion", "1", "--out", tmp_path / "path.json").err


def test_the_first_certificate_shows_the_earliest_time(live: object, call, tmp_path: Path) -> None:
    """`--first` gives a receipt with the earliest provable time, its key unchecked (7); the default shows event and key."""
    entry = min(call("event", "search", "--json").json["entries"], key=lambda each: each["seq"])
    name, told = f"{entry['leaf']['member']}/{entry['leaf']['id']}", []
    for more, code in ((["--first"], Exit.INCOMPLETE), ([], Exit.OK)):
        path = tmp_path / f"{len(more)}.json"
        assert call("proof", "get", "receipt", name, *more, "--out", path).code == 0
        ran = ledger("proof", "verify", path, "--trust", live.folder, "--json")  # type: ignore[attr-defined]
        assert ran.code == code and ran.json["seq"] == entry["seq"], ran.out
        told.append(
            (ran.json["certification"]["size"], ran.json["certification"]["recorded_by_s"], ran.json["not_checked"])
        )
    (size, time, gaps), (later_size, later_time, none) = told
    assert size < later_size and time <= later_time and gaps == ["revocation"] and none == []
    refused = call("proof", "get", "completeness", "dataset", "ga/hukou", "--first")
    assert refused.code == Exit.USAGE and "[proof-first]" in refused.err


def test_completeness_says_where_refused_records_stand(live: object, call, tmp_path: Path) -> None:
    """All records of a stream are not the refused ones that named it: the proof names the stream where they are proved."""
    assert (
        call("event", "append", "--kind", "catalog.submit", "--ref", "dataset=ga/hukou", local=True).code
        == Exit.OPERATIONAL
    )
    live.settle()  # type: ignore[attr-defined]
    for more, words in (([], "dataset/ga/hukou!refused (proof get"), (["--refused"], "Only refused records stand in")):
        path = tmp_path / f"{len(more)}.json"
        assert call("proof", "get", "completeness", "dataset", "ga/hukou", *more, "--out", path).code == 0
        ran = ledger("proof", "verify", path, "--trust", live.folder)  # type: ignore[attr-defined]
        assert ran.code == 0 and words in ran.out, ran.out


def test_consistency_of_two_certified_sizes_is_a_proof_that_holds(live: object, call, tmp_path: Path) -> None:
    """The file carries both certificates and verifies offline; a size that nobody certified has no proof."""
    with SqliteReader(live.folder / "ledger.sqlite").snapshot() as snap:  # type: ignore[attr-defined]
        old, new = snap.certificates.least(1)[0], snap.certificates.latest()[0]
    path = tmp_path / "consistency.json"
    assert call("proof", "get", "consistency", old, new, "--out", path).code == 0
    ran = ledger("proof", "verify", path, "--trust", live.folder, "--json")  # type: ignore[attr-defined]
    assert ran.code == 0 and ran.json["kind"] == "consistency", ran.out
    data = path.read_bytes()
    path.write_bytes(
        data.replace(b'"path":["', b'"path":["00', 1).replace(b'"path":[]', b'"path":["' + b"00" * 32 + b'"]')
    )
    assert ledger("proof", "verify", path, "--trust", live.folder).code == Exit.INTEGRITY  # type: ignore[attr-defined]
    assert call("proof", "get", "consistency", new + 1, new + 2).code == Exit.NOT_FOUND


def test_status_watch_and_doctor_are_content(live: object, call) -> None:
    """A healthy node is healthy by all three, and a scenario network says so."""
    assert call("node", "status", "--json").json["status"]["clock"] == "scenario"
    assert call("watch", "--once", "--trust", live.folder).code == 0  # type: ignore[attr-defined]
    doctor = call("doctor", "--data", live.folder, "--node", f"http://127.0.0.1:{live.port}", "--json")  # type: ignore[attr-defined]
    assert doctor.code == 0 and {"file-modes", "fsync", "schema", "clock", "node"} <= {
        check["name"] for check in doctor.json["checks"]
    }
    scrubbed = call("doctor", "--data", live.folder, "--node", f"http://127.0.0.1:{live.port}", "--scrub", "--json")  # type: ignore[attr-defined]
    (stored,) = [check for check in scrubbed.json["checks"] if check["name"] == "stored"]
    assert scrubbed.code == 0 and stored["state"] == "ok" and f"{live.node.head.size} leaves" in stored["found"]  # type: ignore[attr-defined]
    assert call("doctor", "--scrub").code == Exit.USAGE


def test_the_sdk_records_through_a_real_node(live: object, tmp_path: Path) -> None:
    """A recorder with the member's key ships to the node until the events are certified."""
    signer = read_key(live.folder / "keys" / "event-rs.key")  # type: ignore[attr-defined]
    url = f"http://127.0.0.1:{live.port}"  # type: ignore[attr-defined]
    clock = live.node.head.time  # type: ignore[attr-defined]
    with Recorder(url, tmp_path, member="rs", signer=signer, origin=live.node.origin, now_ms=lambda: clock) as made:  # type: ignore[attr-defined]
        refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}  # type: ignore[attr-defined]
        event_id = made.record("use.access", refs, {"purpose": "pension-check", "items": ["status"], "count": 2})
        result = made.wait(str(event_id), 30)
        made.flush(30)
    assert result.outcome in ("accepted", "irregular") and result.seq is not None


def test_a_permit_log_needs_its_groups_as_members(call, tmp_path: Path) -> None:
    """Groups that are no members are named before anything is recorded."""
    path = tmp_path / "log.csv"
    path.write_text(LOG)
    ran = call("import", "permits", path, "--json", local=True)
    assert ran.code == Exit.NOT_FOUND and "group-1" in ran.json["error"]["evidence"]["members"]


def test_a_department_joins_from_a_running_node(live: object, call, tmp_path: Path) -> None:
    """Genesis, bundles and addresses come from the node; beside a sequencer the new node follows it."""
    url = f"http://127.0.0.1:{live.port}"  # type: ignore[attr-defined]
    ran = call("node", "join", tmp_path / "joined", "--from", url, "--member", "zr", "--json")
    assert ran.code == 0, ran.out + ran.err
    assert ran.json["role"] == "follower" and sorted(ran.json["registrations"]) == ["cosign", "event"]
    made = read_settings(tmp_path / "joined")
    assert made.peers[0] == url and ran.json["origin"] == live.node.genesis.origin  # type: ignore[attr-defined]
