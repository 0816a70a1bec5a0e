"""Transcripts of the HTTP interface over a known story, kept in tests/golden/http: what a reader of it would see.

What differs from run to run (keys, ids, hashes, signatures) is replaced by names numbered in order of appearance, so that
equal things stay equal. `LEDGER_GOLDEN=write` writes the transcripts anew; read the difference before you keep it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.models.live_node import LiveNode, live_node, tell_story

FOLDER = Path(__file__).parent / "http"
HEADERS = ("content-type", "content-language", "retry-after", "allow", "www-authenticate", "x-content-type-options")
ASKED = {"purpose": "pension-check", "items": ["status"], "count": 2}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A node with a story that nobody else adds to."""
    with live_node(tmp_path_factory.mktemp("golden") / "net") as found:
        tell_story(found)
        yield found


def get(path: str, **headers: str) -> Callable[[LiveNode], httpx.Response]:
    return lambda live: live.client.get(path.format(**live.ids), headers=headers)


def post_json(path: str, value: Any, *, token: bool = True) -> Callable[[LiveNode], httpx.Response]:
    return lambda live: live.client.post(
        path, json=value(live) if callable(value) else value, headers=live.token if token else {}
    )


def draft(live: LiveNode) -> dict[str, Any]:
    return {
        "kind": "use.access",
        "member": "rs",
        "refs": {"dataset": "ga/hukou", "grant": live.ids["grant"]},
        "body": ASKED,
    }


def conflict(live: LiveNode) -> httpx.Response:
    refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}
    event_id = live.ids["late"].rpartition("/")[2]
    return live.post(live.sign("rs", [live.event("use.access", refs, event_id=event_id, **ASKED)]))


# In this order: those that write come last.
TRANSCRIPTS: dict[str, Callable[[LiveNode], httpx.Response]] = {
    "dataset": get("/v1/datasets/ga/hukou"),
    "dataset-timeline": get("/v1/datasets/ga/hukou/timeline?limit=2&after=3"),
    "dataset-lineage": get("/v1/datasets/ga/hukou/lineage?direction=down&depth=3"),
    "grant": get("/v1/grants/{grant}"),
    "event": get("/v1/events/{application}"),
    "event-receipt": get("/v1/events/{access}/receipt"),
    "events-by-kind": get("/v1/events?kind=catalog.publish"),
    "stream-refused": get("/v1/streams/dataset/ga/ghost?refused=true"),
    "member": get("/v1/members/rs"),
    "findings": get("/v1/findings"),
    "duties": get("/v1/duties?status=overdue"),
    "timers-open": get("/v1/timers"),
    "timers-overdue": get("/v1/timers?state=overdue"),
    "search": get("/v1/search?q=户籍"),
    "inclusion": get("/v1/proofs/inclusion?seq=3&size=9"),
    "consistency": get("/v1/proofs/consistency?old=5&new=9"),
    "completeness": get("/v1/proofs/completeness?kind=grant&id={grant}&begin=0&end=1"),
    "absence": get("/v1/proofs/absence?kind=dataset&id=ga/never"),
    "status": get("/v1/status"),
    "peers": get("/v1/peers"),
    "problem-not-found-en": get("/v1/datasets/ga/never", **{"accept-language": "en"}),
    "problem-not-found-zh": get("/v1/datasets/ga/never", **{"accept-language": "zh-CN,zh;q=0.9"}),
    "problem-query": get("/v1/events?limit=0&colour=red"),
    "problem-identifier": get("/v1/datasets/GA%20HUKOU?lang=zh"),
    "problem-path": get("/v1/nothing"),
    "problem-method": lambda live: live.client.put("/v1/events"),
    "problem-token": post_json("/v1/events", {"kind": "use.access"}, token=False),
    "problem-draft": post_json("/v1/events", {"kind": "use.access", "member": "rs", "colour": "red"}),
    "events-post": post_json("/v1/events?ack=certified", draft),
    "submissions-conflict": conflict,
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_transcript(live: LiveNode, name: str) -> None:
    """The answer is the one that was kept, but for what no two networks have in common."""
    answer = TRANSCRIPTS[name](live)
    shown = {
        "request": f"{answer.request.method} {answer.request.url.raw_path.decode()}",
        "status": answer.status_code,
        "headers": {key: answer.headers[key] for key in HEADERS if key in answer.headers},
        "body": answer.json(),
    }
    text = json.dumps(Mask().mask(shown), ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    file = FOLDER / f"{name}.json"
    if os.environ.get("LEDGER_GOLDEN") == "write":
        file.write_text(text, encoding="utf-8")
    assert text == file.read_text(encoding="utf-8")


def test_no_transcript_is_left_over() -> None:
    """Each kept file belongs to a request above."""
    assert {file.stem for file in FOLDER.glob("*.json")} == set(TRANSCRIPTS)


# Values that are replaced whole, by the name of their field.
WHOLE = {
    "note": "note", "checkpoint": "note", "certificate": "note", "salt": "salt", "map": "map proof", "version": "version",
}  # fmt: skip


class Mask:
    """Replaces what differs between networks, the same thing by the same name throughout one transcript."""

    PATTERNS = (
        ("id", re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")),
        ("signature", re.compile(r"\b[0-9a-f]{128}\b")),
        ("digest", re.compile(r"\b[0-9a-f]{64}\b")),
        ("mark", re.compile(r"(?<=t~)[0-9a-f]{32}")),
        ("request", re.compile(r"(?<=request:)[0-9a-f]{10}-[0-9a-f]+")),
        ("salt", re.compile(r'(?<="salt":")[A-Za-z0-9_-]{22}')),
    )

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def mask(self, value: Any, key: str = "") -> Any:
        """The value with names in place."""
        if isinstance(value, dict):
            if key == "map":
                return f"<{WHOLE[key]}>"
            return {self.mask(name): self.mask(item, name) for name, item in sorted(value.items())}
        if isinstance(value, list):
            return [self.mask(item) for item in value]
        if not isinstance(value, str):
            return value
        if key in WHOLE:
            return f"<{WHOLE[key]}>"
        for kind, pattern in self.PATTERNS:
            value = pattern.sub(lambda match, kind=kind: self._name(kind, match[0]), value)
        return value

    def _name(self, kind: str, found: str) -> str:
        if found not in self._names:
            number = 1 + sum(name.startswith(f"<{kind} ") for name in self._names.values())
            self._names[found] = f"<{kind} {number}>"
        return self._names[found]
