"""Provenance over HTTP: what the answers say about a story that is known, and that their proofs verify."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from ledger.adapters.sqlite.frames import Compressor
from ledger.adapters.sqlite.snapshot import Snapshot, StoredLeaf
from ledger.archiveformat import parse_native
from ledger.blockcodec import parse_block
from ledger.core import merkle
from ledger.core.hashing import Digest, sha256
from ledger.core.merkle import verify_consistency, verify_inclusion
from ledger.core.proof import AbsenceResult, CompletenessResult, ReceiptResult, verify_proof
from ledger.core.quorum import verify_certificate
from tests.models.live_node import LiveNode
from tests.models.native_commits import consensus_signer, make_commit


def get(live: LiveNode, path: str, status: int = 200) -> Any:
    answer = live.client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


def digests(values: list[str]) -> list[Digest]:
    return [Digest(bytes.fromhex(value)) for value in values]


PROVENANCE = (
    "/v1/events", "/v1/datasets", "/v1/datasets/ga/hukou", "/v1/datasets/ga/hukou/timeline", "/v1/datasets/ga/hukou/lineage",
    "/v1/objects/grant", "/v1/streams/member/rs", "/v1/members", "/v1/members/ga", "/v1/members/ga/events", "/v1/findings",
    "/v1/duties", "/v1/timers", "/v1/timers?state=overdue", "/v1/search?q=ga", "/v1/proofs/inclusion?seq=0",
    "/v1/proofs/consistency?old=1",
)  # fmt: skip


@pytest.mark.parametrize("path", PROVENANCE)
def test_every_answer_carries_its_certificate(live: LiveNode, path: str) -> None:
    """The checkpoint in the answer verifies as a quorum certificate of this network and names its size."""
    checkpoint = get(live, path)["checkpoint"]
    trust = live.trust
    certified = verify_certificate(checkpoint["note"].encode(), trust.origin, trust.log_keys, trust.cosigners)
    assert certified.checkpoint.size == checkpoint["size"]
    assert checkpoint["origin"] == trust.origin
    assert checkpoint["clock"] == "scenario"


def test_timeline_tells_the_story_in_order(live: LiveNode) -> None:
    """All records of the dataset, oldest first, with block times and what was hashed."""
    page = get(live, "/v1/datasets/ga/hukou/timeline")
    kinds = [entry["head"]["kind"] if entry["head"] else entry["type"] for entry in page["entries"]]
    assert kinds[:4] == ["catalog.draft", "quality.plan", "catalog.submit", "catalog.publish"]
    assert kinds[-1] == "use.access"
    assert page["count"] == len(kinds) == page["stream"]["size"]
    assert page["next"] is None
    seqs = [entry["seq"] for entry in page["entries"]]
    assert seqs == sorted(seqs)
    assert page["entries"][-1]["time"] - page["entries"][0]["time"] == 30 * 86_400_000


@pytest.mark.parametrize("limit", [1, 2, 5, 1000])
@pytest.mark.parametrize("proof", ["none", "full"])
def test_pages_join_to_the_whole(live: LiveNode, limit: int, proof: str) -> None:
    """Following `next` shows every record once, and each page's proof shows exactly that page."""
    whole = [entry["seq"] for entry in get(live, "/v1/datasets/ga/hukou/timeline")["entries"]]
    found: list[int] = []
    after: int | None = 0
    while after is not None:
        page = get(live, f"/v1/datasets/ga/hukou/timeline?after={after}&limit={limit}&proof={proof}")
        if proof == "full":
            assert "entries" not in page
            result = verify_proof(
                json.dumps(page["proof"], ensure_ascii=False, separators=(",", ":")).encode(), live.trust
            )
            assert isinstance(result, CompletenessResult)
            assert (result.begin, result.end, result.size) == (page["begin"], page["end"], page["count"])
            assert result.counts.full == page["end"] - page["begin"]
            found.extend(range(page["begin"], page["end"]))
        else:
            found.extend(entry["seq"] for entry in page["entries"])
        after = page["next"]
    assert found == (list(range(len(whole))) if proof == "full" else whole)


@pytest.mark.parametrize("part", ["leaf", "head", "body"])
@pytest.mark.parametrize("proof", ["none", "full"])
def test_changed_records_are_never_served(
    live: LiveNode, monkeypatch: pytest.MonkeyPatch, part: str, proof: str
) -> None:
    """A stored byte that changed is 503 and named, with and without a proof; nothing of it is in the answer."""
    honest = Snapshot.leaves

    def damaged(self: Snapshot, seqs: Any, **named: Any) -> list[StoredLeaf]:
        first, *rest = honest(self, seqs, **named)
        data = bytearray(getattr(first, part))
        data[len(data) // 2] ^= 1
        return [replace(first, **{part: bytes(data)}), *rest]

    monkeypatch.setattr(Snapshot, "leaves", damaged)
    answer = live.client.get(f"/v1/datasets/ga/hukou/timeline?proof={proof}")
    assert answer.status_code == 503
    assert answer.json()["code"] in ("stored-page", "stored-event")
    assert "retry-after" not in answer.headers


def test_refused_records_have_a_timeline_of_their_own(live: LiveNode) -> None:
    """What was refused shows in the twin stream, with its reasons, and is counted beside the other."""
    page = get(live, "/v1/streams/dataset/ga/ghost?refused=true")
    outcomes = [entry["leaf"]["verdict"]["outcome"] for entry in page["entries"]]
    assert set(outcomes) == {"refused"}  # other tests ask this node for the same
    assert page["entries"][0]["leaf"]["verdict"]["reasons"]
    plain = get(live, "/v1/streams/dataset/ga/ghost")
    assert (plain["count"], plain["stream"]["refused_size"]) == (0, len(outcomes))


def test_what_never_was_is_an_answer_and_provable(live: LiveNode) -> None:
    """An unknown name has an empty timeline, a completeness proof of nothing, and a proof of absence."""
    page = get(live, "/v1/datasets/ga/never/timeline?proof=full")
    assert (page["count"], page["next"]) == (0, None)
    for path in ("completeness", "absence"):
        file = live.client.get(f"/v1/proofs/{path}?kind=dataset&id=ga/never").content
        result = verify_proof(file, live.trust)
        assert isinstance(result, CompletenessResult | AbsenceResult)
    assert get(live, "/v1/proofs/absence?kind=dataset&id=ga/hukou", 404)["code"] == "absence"


def test_receipt_stands_alone(live: LiveNode) -> None:
    """The receipt file verifies with the genesis alone; the latest certificate leaves nothing unchecked."""
    latest = verify_proof(live.client.get(f"/v1/events/{live.ids['access']}/receipt").content, live.trust)
    assert isinstance(latest, ReceiptResult)
    assert latest.not_checked == ()
    assert f"{latest.record.member}/{latest.record.id}" == live.ids["access"]
    first = verify_proof(
        live.client.get(f"/v1/events/{live.ids['access']}/receipt?certificate=first").content, live.trust
    )
    assert isinstance(first, ReceiptResult)
    assert first.certification.checkpoint.size < latest.certification.checkpoint.size
    assert first.not_checked == ("revocation",)


def test_event_is_found_by_name(live: LiveNode) -> None:
    """Head, body, record and verdict of one event."""
    found = get(live, f"/v1/events/{live.ids['application']}")
    assert found["entry"]["head"]["kind"] == "share.apply"
    assert found["entry"]["body"]["purpose"] == "pension-check"
    assert found["conflicts"] == []
    assert get(live, "/v1/events/rs/01a2027c-9bfd-7088-8ba3-6daed5f596db", 404)["code"] == "event"


def test_events_by_kind_and_member(live: LiveNode) -> None:
    """Filters narrow, counts are exact, and pages follow the leaf index."""
    everything = get(live, "/v1/events?limit=1000")
    assert everything["count"] == len(everything["entries"])
    accesses = get(live, "/v1/events?kind=use.access")
    assert {entry["head"]["kind"] for entry in accesses["entries"]} == {"use.access"}
    of_rs = get(live, "/v1/events?member=rs&limit=2")
    assert {entry["leaf"]["member"] for entry in of_rs["entries"]} == {"rs"}
    following = get(live, f"/v1/events?member=rs&limit=1000&after={of_rs['next']}")
    assert of_rs["count"] == len(of_rs["entries"]) + len(following["entries"])
    assert get(live, "/v1/events?kind=no.such")["count"] == 0
    both = get(live, "/v1/events?kind=share.apply&member=rs&limit=1000")
    assert {f"rs/{entry['head']['id']}" for entry in both["entries"]} >= {live.ids["application"], live.ids["refused"]}


def test_lineage_goes_both_ways(live: LiveNode) -> None:
    """Downstream of the dataset are application, grant and copy; upstream of the copy they are again."""
    down = get(live, "/v1/datasets/ga/hukou/lineage?direction=down&depth=5")
    names = {f"{node['kind']}/{node['id']}" for node in down["nodes"]}
    copy, grant = f"copy/{live.ids['copy']}", f"grant/{live.ids['grant']}"
    assert {"dataset/ga/hukou", f"application/{live.ids['application']}", grant, copy} <= names
    assert all(node["depth"] >= 0 for node in down["nodes"])
    up = get(live, f"/v1/lineage/copy/{live.ids['copy']}?direction=up&depth=5")
    depths = {f"{node['kind']}/{node['id']}": node["depth"] for node in up["nodes"]}
    assert depths[copy] == 0
    assert depths[grant] == depths["dataset/ga/hukou"] == -1
    edge = next(edge for edge in up["edges"] if edge["to"] == copy and edge["via"] == "grant")
    assert edge["from"] == grant
    entry = get(live, f"/v1/events/{live.ids['copy']}")["entry"]
    assert edge["seq"] == entry["seq"]


def test_lineage_is_bounded(live: LiveNode) -> None:
    """One hop by default; with fewer nodes than there are, the answer says that it is cut."""
    one = get(live, "/v1/datasets/ga/hukou/lineage?direction=down")
    assert max(node["depth"] for node in one["nodes"]) == 1
    cut = get(live, "/v1/datasets/ga/hukou/lineage?direction=down&nodes=2")
    assert (len(cut["nodes"]), cut["truncated"]) == (2, True)
    assert all(edge["to"] in {f"{node['kind']}/{node['id']}" for node in cut["nodes"]} for edge in cut["edges"])
    assert get(live, "/v1/datasets/ga/never/lineage", 404)["code"] == "object"


def test_the_overdue_reply_is_a_finding_and_an_overdue_duty(live: LiveNode) -> None:
    """The clock raised one finding about the provider; the duty behind it is overdue, the others are done."""
    findings = get(live, "/v1/findings?code=D809/39-4")
    assert findings["count"] == 1
    assert findings["items"][0]["finding"]["on"] == f"application/{live.ids['waiting']}"
    assert get(live, "/v1/findings?status=dismissed")["count"] == 0
    assert get(live, "/v1/findings?about=rs&code=D809/39-4")["count"] == 0
    overdue = get(live, "/v1/timers?state=overdue")
    assert [item["key"] for item in overdue["items"]] == [f"duty/A3/application/{live.ids['waiting']}"]
    assert overdue["items"][0]["due"] <= overdue["now"]
    assert get(live, "/v1/duties?status=overdue")["count"] == 1
    assert get(live, "/v1/duties?by=rs&status=discharged")["count"] == 1


def test_open_timers_are_sorted_by_due_time(live: LiveNode) -> None:
    """Armed timers with their objects; all lie in the future of the certified block."""
    page = get(live, "/v1/timers")
    dues = [item["due"] for item in page["items"]]
    assert dues == sorted(dues)
    assert page["count"] == len(dues) >= 1
    assert min(dues) > page["now"]


def test_objects_by_kind(live: LiveNode) -> None:
    """Datasets and grants as the certified state has them, with the size of their streams."""
    datasets = get(live, "/v1/datasets")
    assert "ga/hukou" in [item["id"] for item in datasets["items"]]
    assert datasets["count"] == len(datasets["items"])
    grant = get(live, f"/v1/grants/{live.ids['grant']}")
    assert (grant["object"]["dataset"], grant["object"]["user"]) == ("ga/hukou", "rs")
    assert get(live, f"/v1/objects/grant/{live.ids['grant']}")["object"] == grant["object"]
    assert get(live, "/v1/objects/nothing")["count"] == 0
    assert get(live, "/v1/datasets/ga/never", 404)["code"] == "object"


def test_members_with_keys(live: LiveNode) -> None:
    """Registry entries with titles, keys and counts of records."""
    members = get(live, "/v1/members")
    assert [item["id"] for item in members["items"]] == ["ga", "rs", "sj"]
    one = get(live, "/v1/members/rs")
    assert one["member"]["title"] == {"zh": "人社局", "en": "Human Resources Bureau"}
    assert {key["entry"]["use"] for key in one["keys"]} == {"event"}
    assert one["refused"] >= 1
    assert get(live, "/v1/members/xx", 404)["code"] == "member"


@pytest.mark.parametrize(
    ("text", "group", "name"),
    [
        ("户籍", "objects", "ga/hukou"),
        ("HOUSEHOLD", "objects", "ga/hukou"),
        ("ga/hu", "objects", "ga/hukou"),
        ("人社", "members", "rs"),
        ("human", "members", "rs"),
        ("共享申请", "kinds", None),
    ],
)
def test_search_finds_by_words_and_names(live: LiveNode, text: str, group: str, name: str | None) -> None:
    """Words in either language, beginnings of ids, titles of members and kinds."""
    found = get(live, f"/v1/search?q={text}")["found"]
    assert found[group]
    assert name is None or name in [item["id"] for item in found[group]]


def test_search_finds_events_by_id(live: LiveNode) -> None:
    """An event id alone is enough."""
    member, _, event_id = live.ids["access"].partition("/")
    found = get(live, f"/v1/search?q={event_id}")["found"]["events"]
    assert [(item["member"], item["id"]) for item in found] == [(member, event_id)]


@pytest.mark.parametrize("text", ["%", "_", "\\", "%%", "' OR 1=1 --", '"', "\x7f", "（", "*"])
def test_search_takes_every_text_literally(live: LiveNode, text: str) -> None:
    """Wildcards and quotes of SQL are only characters."""
    answer = live.client.get("/v1/search", params={"q": text})
    assert answer.status_code == 200
    assert answer.json()["found"]["objects"] == []


def test_inclusion_and_consistency_verify(live: LiveNode) -> None:
    """Paths for every leaf and every older size check against the roots they are given with."""
    size = get(live, "/v1/status")["certified_size"]
    for seq in (0, 1, size // 2, size - 1):
        found = get(live, f"/v1/proofs/inclusion?seq={seq}&size={size}")
        leaf, root = digests([found["leaf_hash"], found["root"]])
        verify_inclusion(leaf, seq, size, digests(found["path"]), root)
    for old in (0, 1, size - 1, size):
        found = get(live, f"/v1/proofs/consistency?old={old}&new={size}")
        roots = digests([found["old_root"], found["new_root"]])
        verify_consistency(old, roots[0], size, roots[1], digests(found["path"]))
    assert get(live, "/v1/proofs/inclusion?seq=100000", 404)["code"] == "leaf"
    assert get(live, f"/v1/proofs/inclusion?seq=0&size={size + 1000}", 404)["code"] == "size"
    assert get(live, f"/v1/proofs/consistency?old={size}&new=1", 422)["code"] == "sizes"


def test_tiles_hold_the_log(live: LiveNode) -> None:
    """A partial tile of level 0 is the leaf hashes; together they give the certified root."""
    size = get(live, "/v1/status")["certified_size"]
    tile = live.client.get(f"/tile/0/000.p/{size}")
    assert tile.headers["content-type"] == "application/octet-stream"
    hashes = [Digest(tile.content[at : at + 32]) for at in range(0, len(tile.content), 32)]
    assert len(hashes) == size
    root = get(live, f"/v1/proofs/inclusion?seq=0&size={size}")["root"]
    assert merkle.root(hashes).hex() == root
    for path in (
        "0/000",
        f"0/000.p/{size + 500}",
        "0/000.p/0",
        "0/0",
        "1/000.p/1",
        "9/000",
        "0/x000/000.p/1",
        "0/000.p/256",
        "x",
    ):
        assert live.client.get(f"/tile/{path}").status_code == 404, path


def test_blocks_are_whole_and_bounded(live: LiveNode) -> None:
    """Every block parses, heights follow, the leaves are the log's; beyond the head the page is empty."""
    import msgpack

    pages = msgpack.unpackb(live.client.get("/v1/blocks?from=0&limit=1000").content)
    blocks = [parse_block(page) for page in pages]
    assert [block.height for block in blocks] == list(range(len(blocks)))
    leaves = [leaf for block in blocks for leaf in block.leaves]
    assert merkle.root([merkle.leaf_hash(leaf) for leaf in leaves]) == live.node.head.log.root()
    assert len(msgpack.unpackb(live.client.get("/v1/blocks?from=2&limit=3").content)) == 3
    assert msgpack.unpackb(live.client.get("/v1/blocks?from=100000").content) == []


def test_checkpoint_polls(live: LiveNode) -> None:
    """The note comes at once, and again at once for a caller who has another; with the same one the wait runs out."""
    note = live.client.get("/v1/checkpoint")
    assert note.headers["content-type"].startswith("text/plain")
    other = live.client.get(f"/v1/checkpoint?wait=20&after={'0' * 64}")
    assert other.elapsed.total_seconds() < 5
    same = live.client.get(f"/v1/checkpoint?wait=1&after={sha256(note.content).hex()}")
    assert same.status_code == 200
    assert same.elapsed.total_seconds() >= 0.9 or same.content != note.content
    assert live.client.get("/checkpoint").status_code == 200


def test_genesis_bundles_and_what_is_in_force(live: LiveNode) -> None:
    """The genesis is byte for byte what the origin pins; its bundles are served by hash; declarations name every kind."""
    genesis = live.client.get("/v1/genesis").content
    assert sha256(genesis).hex() == live.node.origin.rsplit("/", 1)[1]
    in_force = get(live, "/v1/rulebooks")
    bundle = in_force["rulebooks"][0]["bundle"]
    assert live.client.get(f"/v1/bundles/{bundle}").status_code == 200
    assert live.client.get(f"/v1/bundles/{'0' * 64}").status_code == 404
    assert live.client.get("/v1/bundles/xyz").status_code == 422
    kinds = get(live, "/v1/kinds")
    assert kinds["kinds"]["share.apply"]["title"]["zh"]
    assert in_force["config_hash"] == live.node.config.hash.hex()


def test_health_readiness_status_metrics(live: LiveNode) -> None:
    """The process answers, every check is listed, and gauges follow the node."""
    assert live.client.get("/healthz").text == "ok\n"
    ready = get(live, "/readyz")
    assert ready["ready"] is True
    assert {"engine", "certificate", "index"} <= {check["name"] for check in ready["checks"]}
    status = get(live, "/v1/status")
    assert (status["role"], status["signs_for"]) == ("sequencer", ["ga", "rs", "sj"])
    live.client.get("/v1/datasets/nobody/thing/timeline")
    text = live.client.get("/metrics").text
    assert f"ledger_height {float(live.node.head.height)}" in text
    assert 'route="/v1/datasets/{id:path}/timeline"' in text


def test_a_method_that_a_path_lacks_is_told_what_it_has(live: LiveNode) -> None:
    """405 of every described path names in Allow, and in the evidence, exactly the methods of its description."""
    document = live.client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        there = {method.upper() for method in operations}
        answer = live.client.request("TRACE", re.sub(r"\{[^}]*\}", "1", path))
        assert answer.status_code == 405, path
        assert set(answer.headers["allow"].split(", ")) == there, path
        assert answer.json()["evidence"] == {"allow": answer.headers["allow"]}
    answer = live.client.delete("/v1/events")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def test_docs_page_loads_nothing(live: LiveNode) -> None:
    """The page has no script and no address of another machine, and its policy forbids both."""
    page = live.client.get("/docs")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<script" not in page.text
    # Addresses stand in examples, as text; what a browser would load or follow is the document alone.
    assert re.findall(r"(?:src|href|action|url)\s*[=(]\s*[\"']?([^\"'>]*)", page.text) == ["/openapi.json"]
    assert "/v1/submissions" in page.text
    assert "<details><summary>200 application/json</summary>" in page.text
    assert live.client.get("/openapi.json").json()["openapi"].startswith("3.")


def test_native_commits_are_served_by_size(live: LiveNode) -> None:
    """CometBFT's own commit over a checkpoint, byte for byte as stored; 404 where none is kept, as for any other name."""
    data = make_commit("suyuan-chain", bytes(32), [consensus_signer("ga")]).encode()
    with closing(sqlite3.connect(live.folder / "ledger.sqlite", timeout=30)) as connection, connection:
        connection.execute("INSERT INTO native VALUES (?, ?)", (7, Compressor().single(data)))
    answer = live.client.get("/v1/native/7")
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"].startswith("application/json")
    for name in ("8", "0", "-1", "07x", "seven", "1" * 17, "²"):
        problem = get(live, f"/v1/native/{name}", 404)
        assert problem["code"] == "native"
    assert live.client.get("/v1/native/7?more=1").status_code == 422
    with closing(sqlite3.connect(live.folder / "ledger.sqlite", timeout=30)) as connection, connection:
        connection.executemany("INSERT INTO native VALUES (?, ?)", [(n, Compressor().single(data)) for n in (9, 11)])
    for query, sizes in (("", [7, 9, 11]), ("?from=8", [9, 11]), ("?from=7&limit=2", [7, 9]), ("?from=12", [])):
        answer = live.client.get(f"/v1/native{query}")
        items = [parse_native(item) for item in msgpack.unpackb(answer.content)]
        assert (answer.status_code, items) == (200, [(size, data) for size in sizes])
    for query in ("?limit=0", "?limit=1001", "?from=-1", "?more=1"):
        assert live.client.get(f"/v1/native{query}").status_code == 422
