"""The append mix: 60 datasets, 200 grants, 90 % use.access, 8 % use.record, 2 % share.apply; about 700 bytes an event.

Everything is built and signed before the clock starts, so that the load generator only sends bytes. Not here: sending.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ledger import framing
from ledger.core.event import Event, new_event
from ledger.core.ident import format_time, uuid7_at
from ledger.core.keys import Signer
from ledger.core.submission import Submission, new_submission

MEMBERS: Final = ("ga", "rs", "sj", "ws")
AUTHORITY: Final = "sj"
KEYS: Final = {"system": ("system",), "office": ("authority", "dept-head", "office-head")}
DATASETS: Final = 60
GRANTS: Final = 200
PURPOSES: Final = ("pension-check", "school-enrolment", "housing-aid", "medical-settlement", "business-licence")
ITEMS: Final = ("name-tag", "id-tag", "status", "date", "amount", "address-code", "level", "source")
SETUP_BATCH: Final = 100
CAPTURE: Final = {
    "system": "全国一体化政务大数据体系 市级节点",
    "method": "gateway log, parsed and signed at the source",
    "storage": "write-once volume until chaining",
    "witness": "platform operator",
}
RECORD: Final = {
    "scenario": "社会救助对象经济状况核对 means test",
    "process": "接口核验,人工复核 checked over the interface, reviewed by a person",
    "effect": "减少群众提交材料 fewer papers asked for",
    "storage": "不落地,当日清除 not stored, cleared the same day",
}


@dataclass(frozen=True, slots=True)
class Grant:
    """One grant of the mix."""

    id: str
    dataset: str
    user: str
    purpose: str


class Workload:
    """Mints events for one network. `signers` are (member, key label) → signer."""

    def __init__(self, origin: str, signers: Mapping[tuple[str, str], Signer], seed: int = 1) -> None:
        self._origin, self._signers = origin, signers
        self.ahead_ms = 0  # of the machine's clock: for a mix that does not depend on the hour it is made in
        self._random = random.Random(seed)
        self.grants: list[Grant] = []
        self.datasets = [f"{MEMBERS[n % len(MEMBERS)]}/dataset-{n:02d}" for n in range(DATASETS)]

    def now(self) -> int:
        """The time of events made now, unix ms."""
        return time.time_ns() // 1_000_000 + self.ahead_ms

    def event(self, kind: str, refs: Mapping[str, Any], **content: Any) -> Event:
        """One event of now."""
        now = self.now()
        return new_event(
            event_id=uuid7_at(now, os.urandom(10)),
            kind=kind,
            refs=refs,
            time_ms=now,
            salt=os.urandom(16),
            content=content,
        )

    def submission(self, member: str, label: str, events: Sequence[Event]) -> Submission:
        """Signed by one key."""
        return new_submission(self._origin, member, self._signers[member, label], events)

    def setup(self, grants: int = GRANTS) -> Iterator[list[Submission]]:
        """Waves of submissions that make the catalogue and the grants; each wave needs the one before recorded."""
        catalogue = [(dataset, dataset.split("/")[0]) for dataset in self.datasets]
        body = {
            "name": "基准数据集 benchmark", "items": list(ITEMS), "format": "table", "frequency": "daily",
            "sharing": "conditional", "methods": ["api", "batch"], "level": "general", "purposes": list(PURPOSES),
        }  # fmt: skip
        yield self._wave((o, self.event("catalog.draft", {"dataset": d}, **body)) for d, o in catalogue)
        targets = {"completeness": 9800, "accuracy": 9900, "consistency": 9500, "timeliness": 9000}
        yield self._wave((o, self.event("quality.plan", {"dataset": d}, **targets)) for d, o in catalogue)
        attested = ["secrecy", "pi-impact", "no-secrets"]
        yield self._wave((o, self.event("catalog.submit", {"dataset": d}, attested=attested)) for d, o in catalogue)
        named = {"item": sorted(ITEMS)}
        yield self._wave((AUTHORITY, self.event("catalog.publish", {"dataset": d, **named})) for d, _ in catalogue)
        applied: list[tuple[str, str, str, str, str]] = []
        wave = []
        for number in range(grants):
            dataset, provider = catalogue[number % DATASETS]
            user = MEMBERS[(MEMBERS.index(provider) + 1 + number // DATASETS % 3) % len(MEMBERS)]
            purpose = PURPOSES[number % len(PURPOSES)]
            event = self._apply(dataset, purpose)
            wave.append((user, event))
            applied.append((f"{user}/{event.id}", dataset, provider, user, purpose))
        yield self._wave(iter(wave))
        wave = []
        for application, dataset, provider, user, purpose in applied:
            event = self.event("share.approve", {"application": application, "dataset": dataset})
            wave.append((provider, event))
            self.grants.append(Grant(f"{provider}/{event.id}", dataset, user, purpose))
        yield self._wave(iter(wave))
        deliver = [
            (
                g.dataset.split("/")[0],
                self.event("share.deliver", {"dataset": g.dataset, "grant": g.id}, to=g.user, method="api"),
            )
            for g in self.grants
        ]
        yield self._wave(iter(deliver))

    def _wave(self, events: Iterator[tuple[str, Event]]) -> list[Submission]:
        grouped: dict[str, list[Event]] = {}
        for member, event in events:
            grouped.setdefault(member, []).append(event)
        return [
            self.submission(member, "office", part[at : at + SETUP_BATCH])
            for member, part in grouped.items()
            for at in range(0, len(part), SETUP_BATCH)
        ]

    def _apply(self, dataset: str, purpose: str) -> Event:
        return self.event(
            "share.apply", {"dataset": dataset},
            basis="《政务数据共享条例》第二十条", purpose=purpose, items=list(ITEMS[:4]), method="api", until="2099-12-31",
        )  # fmt: skip

    def mix(self, member: str, count: int) -> list[Event]:
        """`count` events of the mix by one member."""
        own = [grant for grant in self.grants if grant.user == member]
        return [self._mixed(self._random.choice(own)) for _ in range(count)]

    def _mixed(self, grant: Grant) -> Event:
        refs = {"dataset": grant.dataset, "grant": grant.id}
        chance = self._random.random()
        if chance < 0.90:
            return self.event(
                "use.access", refs, actor=f"p:{self._random.getrandbits(64):016x}", purpose=grant.purpose,
                items=list(ITEMS[:4]), count=self._random.randrange(1, 400), method="api",
                platform_ref=f"GZPT-{self._random.getrandbits(48):012x}",
                capture=CAPTURE,
            )  # fmt: skip
        if chance < 0.98:
            return self.event(
                "use.record", refs, actor=f"p:{self._random.getrandbits(64):016x}", **RECORD,
                covers=format_time(self.now())[:10],
                documents_saved=self._random.randrange(30),
            )  # fmt: skip
        return self._apply(grant.dataset, grant.purpose)

    def framed(self, batch: int, count: int) -> list[bytes]:
        """`count` signed and framed submissions of `batch` events, members in turn."""
        framed = []
        for number in range(count):
            member = MEMBERS[number % len(MEMBERS)]
            label = "office"  # one key may sign the whole mix
            framed.append(framing.encode(self.submission(member, label, self.mix(member, batch))))
        return framed
