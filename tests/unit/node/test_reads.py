"""The gate before readers and the record of what they read (rule C4): who may see what, and that it stands on the ledger."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.readertokens import Reader, make_reader, read_readers, remove_reader
from ledger.core import canonical, merkle
from ledger.core.ident import parse_time
from ledger.errors import MalformedError
from ledger_node.reads.journal import Journal
from ledger_node.reads.recorder import DATASETS_EVENT_MAX, ROWS_EVENT_MAX, split
from ledger_node.reads.sealing import Sealed, SealFolder, last_day
from ledger_node.settings import load_settings
from tests.models.live_node import LiveNode, live_node, tell_story
from tests.unit.cli.runner import ledger

HOUR_MS = 3_600_000


def token_of(live: LiveNode, name: str) -> dict[str, str]:
    """The header of a reader that the node knows from now on."""
    _, token = make_reader(live.folder, Reader(name, person="/" in name))
    return {"authorization": f"Bearer {token}"}


def read_events(live: LiveNode) -> list[dict[str, Any]]:
    """The `audit.read` events on the ledger, as an overseer sees them."""
    answer = live.client.get("/v1/events?kind=audit.read", headers=token_of(live, "sj"))
    return list(answer.json()["entries"])


def wait_for_batches(live: LiveNode, count: int) -> list[dict[str, Any]]:
    """The batches, once there are so many."""
    until = time.monotonic() + 30
    while len(found := read_events(live)) < count:
        assert time.monotonic() < until, found
        time.sleep(0.1)
    return found


def test_each_reads_what_the_law_gives_it_and_the_ledger_says_who_did(tmp_path: Path) -> None:
    """Rule C4: the authority reads all, provider and user what is theirs, nobody else anything; after an hour it stands
    on the ledger who read which entry how often, and how many were refused."""
    with live_node(tmp_path / "net", **{"reads.readers": "named"}) as live:
        tell_story(live)
        wait_for_batches(live, 1)  # the story's month has passed
        ids = live.ids
        get = live.client.get
        dataset, grant = "/v1/datasets/ga/hukou", f"/v1/grants/{ids['grant']}"
        assert get(dataset).status_code == 401
        assert get(dataset, headers={"authorization": "Bearer guess"}).json()["code"] == "reader"
        authority, user, own = token_of(live, "sj"), token_of(live, "rs"), live.token
        for url in (dataset, grant, "/v1/findings", f"{dataset}/lineage", f"/v1/events/{ids['access']}"):
            assert get(url, headers=authority).status_code == 200, url
        assert get(dataset, headers=own).status_code == 200  # ga provides it, and it is ga's node
        for url in (dataset, grant, "/v1/members/rs/events", f"/v1/events/{ids['access']}"):
            assert get(url, headers=user).status_code == 200, url  # it holds a copy
        refused = ("/v1/findings", "/v1/datasets", "/v1/members/sj/events", "/v1/objects/grant")
        for url in refused:
            answer = get(url, headers=user)
            assert (answer.status_code, answer.json()["code"]) == (403, "read-refused"), url
        assert get("/v1/proofs/completeness?kind=dataset&id=ga/hukou", headers=user).status_code == 200
        assert get("/v1/proofs/completeness?kind=member&id=sj", headers=user).status_code == 403
        assert get("/v1/checkpoint").status_code == 200  # nodes ask without a token
        stranger = token_of(live, "nobody")
        assert get(dataset, headers=stranger).status_code == 403
        assert remove_reader(live.folder, "nobody")
        assert get(dataset, headers=stranger).status_code == 401

        live.step(HOUR_MS)
        first = wait_for_batches(live, 2)[1]
        assert first["leaf"]["verdict"]["outcome"] == "accepted", first["leaf"]
        body = first["body"]
        rows = {(row["reader"], row["capacity"], row.get("dataset")): row["count"] for row in body["reads"]}
        assert rows["sj", "authority", "ga/hukou"] == 4
        assert rows["sj", "authority", None] >= 1
        assert rows["ga", "provider", "ga/hukou"] == 1
        assert rows["rs", "party", "ga/hukou"] == 4
        assert rows["rs", "party", None] == 1
        assert body["denied"] == len(refused) + 2
        assert (first["leaf"]["member"], first["head"]["refs"]) == ("ga", {"dataset": ["ga/hukou"]})
        leaves = [merkle.leaf_hash(canonical.encode(row)) for row in body["reads"]]
        assert body["root"] == merkle.root(leaves).hex()
        assert body["count"] == sum(rows.values())

        live.step(HOUR_MS)
        second = wait_for_batches(live, 3)[2]
        assert second["body"]["from"] == body["to"]  # without a gap
        assert {row["reader"] for row in second["body"]["reads"]} == {"sj"}  # those who looked for the batches


def test_every_member_reads_what_it_votes_on(tmp_path: Path) -> None:
    """A proposal, and the event that it is, are shown to each department, also by `ledger approve show`; a stranger sees the
    event as little as any other."""
    with live_node(tmp_path / "net", **{"reads.readers": "named"}) as live:
        live.step(1_000)
        key, env = tmp_path / "new.key", {"LEDGER_NODE": f"http://127.0.0.1:{live.port}"}
        assert ledger("key", "new", key).code == 0
        author = ("--member", "sj", "--key", live.folder / "keys" / "event-sj.key")
        parts = ("--ref", "member=rs", "--new-key", key, "--role", "system", "--reason", "a second system")
        made = ledger("approve", "propose", "sys.key.add", *parts, *author, "--json", env=env)
        assert made.code == 0, made.out + made.err
        (event,) = made.json["events"]
        name, height = f"{event['member']}/{event['id']}", live.node.head.height
        until = time.monotonic() + 30
        while live.node.certificates.certified().height < height:
            assert time.monotonic() < until
            time.sleep(0.05)
        for reader, status in (("rs", 200), ("sj", 200), ("nobody", 403)):
            assert live.client.get(f"/v1/events/{name}", headers=token_of(live, reader)).status_code == status, reader
        refused = ledger("approve", "show", name, env=env)
        assert refused.code == 1 and "reader" in refused.err
        token = token_of(live, "rs")["authorization"].removeprefix("Bearer ")
        shown = ledger("approve", "show", name, env={**env, "LEDGER_READER_TOKEN": token})
        assert shown.code == 0 and "a second system" in shown.out


def test_batch_that_was_sent_is_sent_again_unchanged(tmp_path: Path) -> None:
    """A crash between sending and knowing counts nothing twice: the same signed events go again, as duplicates."""
    with live_node(tmp_path / "net", **{"reads.readers": "named"}) as live:
        tell_story(live)
        wait_for_batches(live, 1)
        live.client.get("/v1/datasets/ga/hukou", headers=live.token)
        kept = live.folder / "reads" / "batch.submission"
        record = live.node.submit
        seen: list[bytes] = []

        def submit(submission: Any, framed: bytes | None = None) -> Any:
            if submission.events[0].fields["kind"] == "audit.read":
                seen.append(kept.read_bytes())
                future = record(submission, framed)
                if len(seen) == 1:
                    future.result(30)
                    raise OSError("cut off after it was recorded")
                return future
            return record(submission, framed)

        live.node.submit = submit  # type: ignore[method-assign]
        live.step(HOUR_MS)
        until = time.monotonic() + 30
        while len(seen) < 2 or kept.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        assert seen[0] == seen[1]
        assert len(read_events(live)) == 2


def test_lineage_shows_what_is_theirs_and_counts_the_rest(tmp_path: Path) -> None:
    """A party to the entry gets the nodes that it may see, the others as a number: no id, no state, no edge; provider and
    authority get everything; who may not see the object asked for gets nothing, and lists stay with the overseers."""
    with live_node(tmp_path / "net", **{"reads.readers": "named"}) as live:
        tell_story(live)
        wait_for_batches(live, 1)  # else the batch of the story's month may name the entry between two questions
        about = {"about": "ga", "scope": "annual"}
        seen = live.record("sj", "office", "inspect.record", {"dataset": "ga/hukou"}, **about)
        url = "/v1/datasets/ga/hukou/lineage"

        def ask(name: str) -> Any:
            return live.client.get(url, headers=token_of(live, name)).json()

        whole, theirs, own = ask("sj"), ask("rs"), ask("ga")
        assert "withheld" not in whole and "withheld" not in own and whole["nodes"] == own["nodes"]
        assert seen in {node["id"] for node in whole["nodes"]}
        assert theirs["withheld"] == 1 and seen not in json.dumps(theirs)
        assert theirs["nodes"] == [node for node in whole["nodes"] if node["id"] != seen]
        assert theirs["edges"] == [edge for edge in whole["edges"] if edge["to"] != f"inspection/{seen}"]
        for kind, identifier in (("inspection", seen), ("dataset", "ga/none")):
            answer = live.client.get(f"/v1/lineage/{kind}/{identifier}", headers=token_of(live, "rs"))
            assert answer.status_code == 403
        person = live.client.get(url, headers=token_of(live, "ga/t:9f"))
        assert person.status_code == 403
        for listed in ("/v1/datasets", "/v1/objects/grant", "/v1/events", "/v1/duties"):
            assert live.client.get(listed, headers=token_of(live, "ga")).status_code == 403
        env = {"LEDGER_READER_TOKEN": token_of(live, "rs")["authorization"].split()[1]}
        for language, words in (("en", "1 neighbour is not shown"), ("zh", "1 个相邻对象未显示")):
            node = f"http://127.0.0.1:{live.port}"
            ran = ledger("lineage", "show", "ga/hukou", "--node", node, "--lang", language, env=env)
            assert ran.code == 0 and words in ran.out, ran


SEALED = {
    "reads.readers": "named",
    "reads.sealed_readers": "rs",
    "reads.sealed_days": 1,
    "reads.sealed_ground": "案件侦查",
}


def test_sealed_batches_show_a_root_and_are_opened_when_their_day_has_passed(tmp_path: Path) -> None:
    """Who is named in the settings is on the ledger as a number and a root only; the day after the seal the node opens
    the batch under that root, in time for rule C4, and keeps nothing of it; others are recorded as ever."""
    with live_node(tmp_path / "net", **SEALED) as live:
        tell_story(live)
        wait_for_batches(live, 1)
        for name in ("rs", "rs", "sj"):
            assert live.client.get("/v1/datasets/ga/hukou", headers=token_of(live, name)).status_code == 200
        live.step(HOUR_MS)
        told = wait_for_batches(live, 3)[1:]
        (sealed,) = (each for each in told if "sealed" in each["body"])
        (other,) = (each for each in told if "sealed" not in each["body"])
        assert {row["reader"] for row in other["body"]["reads"]} == {"sj"}
        assert "rs" not in json.dumps(other["body"]) and other["head"]["refs"] == {"dataset": ["ga/hukou"]}
        assert sealed["body"]["count"] == 2 and "reads" not in sealed["body"] and sealed["head"]["refs"] == {}
        assert sealed["body"]["ground"] == "案件侦查" and sealed["leaf"]["verdict"]["outcome"] == "accepted"
        folder = live.folder / "reads" / "sealed"
        (kept,) = folder.glob("*.json")
        assert kept.stem == sealed["head"]["id"] and kept.stat().st_mode & 0o777 == 0o600
        (duty,) = sealed["leaf"]["verdict"]["duties"]
        assert (duty["rule"], duty["status"]) == ("C4", "open")

        live.step(48 * HOUR_MS)
        until = time.monotonic() + 30
        while not (opened := [each for each in read_events(live) if "readlog" in each["head"]["refs"]]):
            assert time.monotonic() < until
            time.sleep(0.1)
        (found,) = opened
        body = found["body"]
        assert found["head"]["refs"] == {"dataset": ["ga/hukou"], "readlog": f"ga/{kept.stem}"}
        assert body["reads"] == [{"capacity": "party", "count": 2, "dataset": "ga/hukou", "reader": "rs"}]
        assert {name: body[name] for name in ("from", "to", "count", "root")} == {
            name: sealed["body"][name] for name in ("from", "to", "count", "root")
        }
        rows = [canonical.encode(row) for row in body["reads"]]
        assert body["root"] == merkle.root([merkle.leaf_hash(leaf) for leaf in (body["salt"].encode(), *rows)]).hex()
        assert body["root"] != merkle.root([merkle.leaf_hash(leaf) for leaf in rows]).hex()  # no guess without the salt
        verdict = found["leaf"]["verdict"]
        assert verdict["outcome"] == "accepted" and [each["status"] for each in verdict["duties"]] == ["discharged"], (
            verdict
        )
        while list(folder.iterdir()):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_an_opening_that_was_cut_off_goes_again_unchanged(tmp_path: Path) -> None:
    """A crash between sending the opening and knowing sends the same signed event again, and only once is it recorded."""
    with live_node(tmp_path / "net", **SEALED) as live:
        tell_story(live)
        wait_for_batches(live, 1)
        live.client.get("/v1/datasets/ga/hukou", headers=token_of(live, "rs"))
        record, seen = live.node.submit, []

        def submit(submission: Any, framed: bytes | None = None) -> Any:
            future = record(submission, framed)
            if "readlog" in submission.events[0].fields["refs"]:
                seen.append(submission.identity)
                if len(seen) == 1:
                    future.result(30)
                    raise OSError("cut off after it was recorded")
            return future

        live.node.submit = submit  # type: ignore[method-assign]
        live.step(HOUR_MS)
        wait_for_batches(live, 3)
        live.step(48 * HOUR_MS)
        folder, until = live.folder / "reads" / "sealed", time.monotonic() + 30
        while len(seen) < 2 or list(folder.iterdir()):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert seen[0] == seen[1]
        assert len([each for each in read_events(live) if "readlog" in each["head"]["refs"]]) == 1


def test_a_batch_that_was_never_sent_leaves_no_seal(tmp_path: Path) -> None:
    """What was kept for events that no signature ever covered goes when the batch is made again; recorded ones stay."""
    (tmp_path / "reads").mkdir()
    folder = SealFolder(tmp_path)
    folder.add(Sealed("one", "2026-09-02", bytes(16), {"count": 1}, ("ga/hukou",)))
    folder.recorded()
    folder.add(Sealed("two", "2026-09-02", bytes(16), {"count": 1}, ()))
    folder.begin()
    last = Sealed("one", "2026-09-02", bytes(16), {"count": 1}, ("ga/hukou",))
    zone_ms, end = 8 * HOUR_MS, parse_time("2026-09-02T16:00:00.000Z")
    assert list(folder.ended(end - 1, zone_ms)) == [] and list(folder.ended(end, zone_ms)) == [last]
    assert last_day(end - 1, 0, zone_ms) == "2026-09-02" and last_day(end, 30, zone_ms) == "2026-10-03"
    folder.opened(last)
    assert list((tmp_path / "reads" / "sealed").iterdir()) == []


@pytest.mark.parametrize("left_out", ["reads.sealed_days", "reads.sealed_ground"])
def test_sealing_says_for_how_long_and_why(left_out: str, tmp_path: Path) -> None:
    """Readers to seal without a number of days or without a ground are no settings."""
    given = {name: value for name, value in SEALED.items() if name != left_out}
    with pytest.raises(MalformedError, match="sealed_readers needs"):
        load_settings(tmp_path / "node.toml", {}, given)


def test_anyone_reads_where_nothing_else_is_set(tmp_path: Path) -> None:
    """By default whoever reaches the loopback address reads, and nothing is recorded."""
    with live_node(tmp_path / "net") as live:
        tell_story(live)
        assert live.client.get("/v1/datasets/ga/hukou").status_code == 200
        assert not (live.folder / "reads").exists()


def test_person_reads_the_stream_of_its_own_tag_only(tmp_path: Path) -> None:
    """A person's token opens one stream, whatever else is asked, and only the pseudonym is recorded."""
    with live_node(tmp_path / "net", **{"reads.readers": "named"}) as live:
        tell_story(live)
        wait_for_batches(live, 1)
        person = token_of(live, "ga/t:9f")
        before = len((live.folder / "reads" / "current.jsonl").read_text().splitlines())
        assert live.client.get("/v1/streams/subject/ga/t:9f", headers=person).status_code in (200, 404)
        for url in ("/v1/streams/subject/ga/t:90", "/v1/datasets/ga/hukou", "/v1/events"):
            assert live.client.get(url, headers=person).status_code == 403
        lines = (live.folder / "reads" / "current.jsonl").read_text().splitlines()[before:]
        assert [json.loads(line)[:2] for line in lines] == [["t:9f", "person"], *[["t:9f", ""]] * 3]


def test_journal_survives_its_process(tmp_path: Path) -> None:
    """What was noted is there after a restart; a batch that was begun stays one batch; a cut line is dropped."""
    journal = Journal(tmp_path)
    journal.note("sj", "authority", ["ga/hukou"])
    journal.note("rs", "", [])
    journal.close()
    with (tmp_path / "reads" / "current.jsonl").open("ab") as file:
        file.write(b'["sj","auth')
    again = Journal(tmp_path)
    found = again.begin()
    assert (dict(found.rows), found.served, found.denied) == ({("sj", "authority", "ga/hukou"): 1}, 1, 1)
    again.note("sj", "authority", [])
    assert again.begin().served == 1  # still the one that was begun
    again.recorded()
    assert dict(again.begin().rows) == {("sj", "authority", ""): 1}
    again.close()


def test_long_batches_become_several_events(tmp_path: Path) -> None:
    """At most 64 rows and 32 entries an event; together they hold everything, refused readings once."""
    journal = Journal(tmp_path)
    for number in range(100):
        journal.note(f"m{number % 3}", "authority", [f"ga/d{number:03d}"])
    journal.note("x", "", [])
    parts = list(split(journal.begin()))
    journal.close()
    assert all(len(body["reads"]) <= ROWS_EVENT_MAX and len(refs) <= DATASETS_EVENT_MAX for body, refs in parts)
    assert sum(body["count"] for body, _ in parts) == 100 and next(body["denied"] for body, _ in parts) == 1
    assert sum(body["denied"] for body, _ in parts) == 1


def test_tokens_are_files_of_the_node_only(tmp_path: Path) -> None:
    """0600, one a reader, the newest counts; names that are none are refused; strange files are named."""
    path, old = make_reader(tmp_path, Reader("sj", person=False))
    _, new = make_reader(tmp_path, Reader("sj", person=False))
    assert path.stat().st_mode & 0o777 == 0o600 and old != new
    assert list(read_readers(tmp_path).values()) == [Reader("sj", False)]
    for bad in (Reader("../x", False), Reader("ga/t:1", False), Reader("sj", True)):
        with pytest.raises(MalformedError):
            make_reader(tmp_path, bad)
    (tmp_path / "readers" / "odd.json").write_text("{}")
    with pytest.raises(MalformedError):
        read_readers(tmp_path)
