"""The gate before readers and the record of what they read (rule C4): who may see what, and that it stands on the ledger."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.readertokens import Reader, make_reader, read_readers, remove_reader
from ledger.core import canonical, merkle
from ledger.errors import MalformedError
from ledger_node.reads.journal import Journal
from ledger_node.reads.recorder import DATASETS_EVENT_MAX, ROWS_EVENT_MAX, split
from tests.models.live_node import LiveNode, live_node, tell_story

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
        refused = ("/v1/findings", f"{dataset}/lineage", "/v1/members/sj/events", "/v1/objects/grant")
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
