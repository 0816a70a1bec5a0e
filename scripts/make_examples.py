"""Writes node/src/ledger_node/http/examples.json: a real request and its answers for every operation of the interface.

    python -m scripts.make_examples           write the file
    python -m scripts.make_examples --check   write nothing; exit 1 when the file is not what this program makes

A node with a short story (`example_story`) is asked each question once, with every parameter that the operation has.
Deterministic: the same code and the same rulebook make the same bytes; a changed rulebook changes its hash, and with it
every hash below. Long lists are cut where `shorten` says so, of the metrics one is kept; nothing else is touched.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import httpx

from ledger.adapters.home.network import read_rulebook
from ledger.core.bundle import encode_bundle
from ledger.errors import UnavailableError
from ledger_node.http.context import JSON
from ledger_node.http.problems import PROBLEM_JSON, HttpError, problem_of
from scripts.example_story import DAY_MS, ROOT, Story, base64_of, framed, open_story, real_commit, time_text

FILE: Final = ROOT / "node" / "src" / "ledger_node" / "http" / "examples.json"
NDJSON: Final = "application/x-ndjson"
MSGPACK: Final = "application/msgpack"
REQUEST_ID: Final = {"x-request-id": "019a2f6e"}
PAGE: Final = {"after": 0, "limit": 2}
NEVER: Final = "019a2f6e-0000-7000-8000-000000000000"
NO_DIGEST: Final = "0" * 64
METRIC: Final = "ledger_height"  # the one metric that is shown; others count what this program does
Json = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """One request: `path` holds the names of path parameters. `missing` are path or query values that nothing has.

    `bodies` by media type; the first is the one whose answer is shown. `shorten` keeps so many members of each object or
    list below these names of the answer.
    """

    operation: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Any] = field(default_factory=dict)
    missing: Mapping[str, Any] = field(default_factory=dict)
    bodies: Mapping[str, Any] = field(default_factory=dict)
    shorten: Mapping[str, int] = field(default_factory=dict)
    token: bool = False


def questions(story: Story) -> Iterator[Ask]:
    """Every operation once; those that write come last."""
    yield from _log(story)
    yield from _records(story)
    yield from _things(story)
    yield from _lists()
    yield from _governance(story)
    for path in ("/healthz", "/readyz", "/metrics", "/v1/status", "/v1/peers"):
        yield Ask(f"GET {path}")
    yield from _writes(story)


def _log(story: Story) -> Iterator[Ask]:
    size, stream = story.ids["size"], {"kind": "dataset", "id": "ga/hukou"}
    digest = story.node.genesis.rulebook.hex()
    yield Ask("GET /v1/checkpoint", query={"wait": 0, "after": NO_DIGEST, "above": 1})
    yield Ask("GET /checkpoint")
    yield Ask("GET /v1/blocks", query={"from": 1, "wait": 0, "limit": 1})
    yield Ask("GET /v1/proofs/inclusion", query={"seq": 4, "size": size}, missing={"size": 10**9})
    yield Ask("GET /v1/proofs/consistency", query={"old": 4, "new": size}, missing={"new": 10**9})
    yield Ask("GET /v1/proofs/epochs")
    yield Ask("GET /v1/proofs/completeness", query={**stream, "refused": "false", "begin": 0, "end": 1})
    yield Ask("GET /v1/proofs/absence", query={"kind": "dataset", "id": "ga/never"}, missing={"id": "ga/hukou"})
    yield Ask("GET /tile/{path}", {"path": f"0/000.p/{min(int(size), 255)}"}, missing={"path": "0/001"})
    yield Ask("GET /v1/native/{size}", {"size": size}, missing={"size": "7"})
    yield Ask("GET /v1/native", query={"from": int(size), "limit": 2})
    yield Ask("GET /v1/native", query={"from": 0, "limit": 10})
    yield Ask("GET /v1/comet")
    yield Ask("GET /v1/genesis")
    yield Ask("GET /v1/bundles/{digest}", {"digest": digest}, missing={"digest": NO_DIGEST})
    yield Ask("GET /v1/certificates/{size}", {"size": size}, missing={"size": "1000000"})


def _records(story: Story) -> Iterator[Ask]:
    member, _, event_id = story.ids["access"].partition("/")
    place, absent = {"member": member, "event_id": event_id}, {"event_id": NEVER}
    yield Ask("GET /v1/events", query={**PAGE, "kind": "share.apply", "member": "rs"})
    yield Ask("GET /v1/events/{member}/{event_id}", place, missing=absent)
    yield Ask("GET /v1/events/{member}/{event_id}/receipt", place, {"certificate": "latest"}, missing=absent)


def _things(story: Story) -> Iterator[Ask]:
    """Objects, streams, lineage and members."""
    dataset, grant, unknown = {"id": "ga/hukou"}, story.ids["grant"], {"id": "ga/never"}
    page = {**PAGE, "proof": "none", "refused": "false"}
    graph = {"direction": "both", "depth": 2, "nodes": 50}
    yield Ask("GET /v1/datasets", query=PAGE)
    yield Ask("GET /v1/datasets/{id}", dataset, missing=unknown)
    yield Ask("GET /v1/datasets/{id}/timeline", dataset, {**page, "proof": "full", "limit": 1})
    yield Ask("GET /v1/datasets/{id}/lineage", dataset, graph, missing=unknown)
    yield Ask("GET /v1/grants/{id}", {"id": grant}, missing={"id": f"ga/{NEVER}"})
    yield Ask("GET /v1/objects/{kind}", {"kind": "application"}, PAGE)
    yield Ask("GET /v1/objects/{kind}/{id}", {"kind": "copy", "id": story.ids["copy"]}, missing=unknown)
    yield Ask("GET /v1/streams/{kind}/{id}", {"kind": "grant", "id": grant}, page)
    yield Ask("GET /v1/lineage/{kind}/{id}", {"kind": "copy", "id": story.ids["copy"]}, graph, missing=unknown)
    yield Ask("GET /v1/members")
    yield Ask("GET /v1/members/{member}", {"member": "rs"}, missing={"member": "xx"})
    yield Ask("GET /v1/members/{member}/events", {"member": "rs"}, page)


def _lists() -> Iterator[Ask]:
    yield Ask("GET /v1/findings", query={**PAGE, "code": "D809/39-4", "status": "raised", "about": "ga"})
    yield Ask("GET /v1/duties", query={**PAGE, "by": "ga", "status": "overdue"})
    yield Ask("GET /v1/timers", query={**PAGE, "state": "open"})
    yield Ask("GET /v1/search", query={"q": "户籍", "limit": 5})
    yield Ask("GET /v1/rulebooks", shorten={"sources": 2})
    yield Ask("GET /v1/kinds", shorten={"kinds": 2, "objects": 1, "texts": 2})


def _governance(story: Story) -> Iterator[Ask]:
    yield Ask("GET /v1/proposals", query={**PAGE, "status": "open"})
    yield Ask("GET /v1/proposals/{name}", {"name": story.ids["proposal"]}, missing={"name": f"sj/{NEVER}"})
    _, calendars = read_rulebook(ROOT / "contracts" / "data-sharing")
    yield Ask("POST /v1/bundles", bodies={JSON: json.loads(encode_bundle(calendars))})


def _writes(story: Story) -> Iterator[Ask]:
    refs = {"dataset": "ga/hukou", "grant": story.ids["grant"]}
    draft = {
        "kind": "use.access", "member": "rs", "refs": refs,
        "body": {"purpose": "pension-check", "items": ["status"], "count": 12},
    }  # fmt: skip
    event = story.event("use.access", refs, purpose="pension-check", items=["status"], count=1)
    signed = framed(story.sign("rs", event, "event"))
    yield Ask("POST /v1/submissions", query={"ack": "certified", "receipt": "compact"}, bodies={MSGPACK: signed})
    yield Ask(
        "POST /v1/events", query={"ack": "certified"}, bodies={JSON: draft, NDJSON: json.dumps(draft, ensure_ascii=False)},
        token=True,
    )  # fmt: skip
    yield Ask("POST /v1/clock", bodies={JSON: {"time": time_text(story.node.head.time + DAY_MS)}}, token=True)


def make() -> bytes:
    """The file."""
    with tempfile.TemporaryDirectory() as folder, open_story(Path(folder) / "net") as story:
        operations = {ask.operation: _asked(story, ask) for ask in questions(story)}
        _conflicts(story, operations)
        problems = _problems(story)
        operations["POST /v1/comet"] = _light(story)
        operations["GET /readyz"]["answers"]["503"] = {JSON: story.starting}
    found = {"operations": operations, "problems": problems}
    text = json.dumps(found, ensure_ascii=False, sort_keys=True, indent=1)
    return text.encode("utf-8") + b"\n"


def _asked(story: Story, ask: Ask) -> Json:
    """What the file says of one operation."""
    story.settle()
    found: Json = {"parameters": {**ask.path, **ask.query, "lang": "en"}, "answers": {}}
    if ask.missing:
        answer = _send(story, ask, {**ask.path, **ask.query, **ask.missing})
        if answer.status_code == 404:
            found["answers"]["404"] = {PROBLEM_JSON: answer.json()}
    for media_type in ask.bodies or [""]:
        answer = _send(story, ask, {**ask.path, **ask.query}, media_type)
        if answer.status_code not in (200, 201):
            raise SystemExit(f"{ask.operation}: {answer.status_code} {answer.text}")
        story.settle()
        shown, content_type = _shown(answer, ask)
        if shown is not None:
            found["answers"].setdefault(str(answer.status_code), {})[content_type] = shown
    if ask.bodies:
        found["bodies"] = {
            name: base64_of(value) if isinstance(value, bytes) else value for name, value in ask.bodies.items()
        }
    return found


def _send(story: Story, ask: Ask, values: Mapping[str, Any], media_type: str = "") -> httpx.Response:
    method, _, path = ask.operation.partition(" ")
    query = {name: value for name, value in values.items() if "{" + name + "}" not in path}
    headers = {**REQUEST_ID, **(story.token if ask.token else {})}
    content = ask.bodies.get(media_type)
    if media_type:
        headers["content-type"] = media_type
        content = _bytes(content)
    where = path.format_map(values)
    return story.client.request(method, where, params={**query, "lang": "en"}, headers=headers, content=content)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    # A bundle has to be canonical JSON; no other route minds.
    text = (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    )
    return text.encode("utf-8")


def _shown(answer: httpx.Response, ask: Ask) -> tuple[Any, str]:
    """(example, media type) of an answer; None for bytes that nobody could read."""
    content_type = answer.headers["content-type"].partition(";")[0]
    if content_type in (MSGPACK, "application/octet-stream"):
        return None, content_type
    if content_type != JSON:
        lines = answer.text.splitlines(keepends=True)
        return "".join(line for line in lines if METRIC in line or ask.operation != "GET /metrics"), content_type
    value = answer.json()
    return _shortened(value, ask.shorten) if ask.shorten else value, content_type


def _shortened(value: Any, shorten: Mapping[str, int]) -> Any:
    if isinstance(value, dict):
        return {name: _cut(_shortened(inner, shorten), shorten.get(name)) for name, inner in value.items()}
    return [_shortened(inner, shorten) for inner in value] if isinstance(value, list) else value


def _cut(value: Any, count: int | None) -> Any:
    if count is None:
        return value
    return dict(islice(value.items(), count)) if isinstance(value, dict) else value[:count]


def _conflicts(story: Story, operations: Json) -> None:
    """The answers 409: the id of an event that stands there, with other content."""
    member, _, event_id = story.ids["access"].partition("/")
    refs = {"dataset": "ga/hukou", "grant": story.ids["grant"]}
    event = story.event("use.access", refs, event_id=event_id, purpose="pension-check", items=["status"], count=4)
    draft = {"kind": "use.access", "member": member, "id": event_id, "refs": refs, "body": {"count": 5}}
    signed = framed(story.sign(member, event, "event"))
    certified = {"ack": "certified"}  # else the answer depends on which comes first
    for ask in (
        Ask("POST /v1/submissions", query=certified, bodies={MSGPACK: signed}),
        Ask("POST /v1/events", query=certified, bodies={JSON: draft}, token=True),
    ):
        answer = _send(story, ask, ask.query, *ask.bodies)
        if answer.status_code != 409:
            raise SystemExit(f"{ask.operation}: {answer.status_code} {answer.text}")
        operations[ask.operation]["answers"]["409"] = {JSON: answer.json()}
        story.settle()


def _light(story: Story) -> Json:
    """A light client's question. No CometBFT runs beside this node, so the answer is one that a real one gave."""
    known = real_commit()["answer"]
    height = known["signed_header"]["header"]["height"]
    question = {"id": 1, "method": "commit", "params": {"height": height}}
    refused = _send(story, Ask("POST /v1/comet", bodies={JSON: question}), {}, JSON)
    if refused.status_code != 404:
        raise SystemExit(f"POST /v1/comet: {refused.status_code} {refused.text}")
    answered = {"id": 1, "jsonrpc": "2.0", "result": known}
    answers = {"200": {JSON: answered}, "404": {PROBLEM_JSON: refused.json()}}
    return {"parameters": {"lang": "en"}, "bodies": {JSON: question}, "answers": answers}


def _problems(story: Story) -> Json:
    """One problem of each status that any operation may answer."""
    client = story.client
    answers: Iterable[httpx.Response] = (
        client.post("/v1/events", headers=REQUEST_ID, json={}),
        client.get("/v1/members/xx", headers=REQUEST_ID),
        client.post("/v1/bundles", headers={**REQUEST_ID, "content-type": JSON}, content=b" " * 9_000_000),
        client.post("/v1/bundles", headers={**REQUEST_ID, "content-type": "text/plain"}, content=b"x"),
        client.get("/v1/status", headers={**REQUEST_ID, "host": "evil.example"}),
        client.get("/v1/events", headers=REQUEST_ID, params={"limit": "many"}),
    )
    found = {str(answer.status_code): answer.json() for answer in answers}
    # No client here is slow, no queue full and no reader a stranger: these are made of the errors that say so.
    slow = HttpError("body-slow", "the body did not arrive in time", timeout_s=20)
    full = UnavailableError("queue-full", "more events wait than the node can hold", retry_after_s=1)
    refused = HttpError("read-refused", "not for this reader", reader="ws")
    for error in (slow, full, refused):
        problem = problem_of(error)
        found[str(problem.status)] = problem.document("en", REQUEST_ID["x-request-id"])
    return found


def main() -> int:
    """Write the file, or say whether it is current."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the file differs")
    check: bool = parser.parse_args().check
    new = make()
    if FILE.exists() and FILE.read_bytes() == new:
        return 0
    print(f"{'differs' if check else 'written'}: {FILE.relative_to(ROOT)}, {hashlib.sha256(new).hexdigest()[:12]}")
    if not check:
        FILE.write_bytes(new)
    return int(check)


if __name__ == "__main__":
    sys.exit(main())
