"""One matter of a city in real time, each step by its own department: catalogue to disposal, in some thirty events.

The Human Resources Bureau (rs) asks the Public Security Bureau (ga) for the household register and supplies it onward
without consent; the police ask the Health Commission (ws) for a list of hospitals and dispose of it in order. Every step
says what it should become, and `PLANTED` which findings the rules must raise. Not here: signing and sending.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ledger.core.event import Event
from ledger.core.ident import format_time
from ledger_node.demo.city import AUTHORITY, DEPARTMENTS, ITEMS, PERSONAL, PERSONAL_ITEMS
from ledger_node.demo.scenario import ACCEPTED, DAY_MS, IRREGULAR, REFUSED, Author, Step

VALID_DAYS: Final = 30
REGISTER, HOSPITALS = "ga/hukou", "ws/hospitals"
PURPOSE: Final = "pension-check"
OTHER_PURPOSE: Final = "housing-aid"
PLANTED: Final = {"D809/40-3": 1}
"""Findings that the story itself plants, by code: a supply onward."""
LIE_FINDING: Final = "D809/40-2"
"""What an access for another purpose raises."""

_QUALITY: Final = {"completeness": 9_800, "accuracy": 9_900, "consistency": 9_500, "timeliness": 9_000}


@dataclass(frozen=True, slots=True)
class Grant:
    """What was granted to whom: `id` of the grant, and of the copy that was delivered."""

    id: str
    dataset: str
    user: str
    copy: str


class Story:
    """The steps, in order, claimed to happen from `now` (unix ms) on; `register` is the grant that stays in use."""

    def __init__(self, now: int) -> None:
        self._author = Author(random.SystemRandom())
        self._clock = itertools.count(now)
        self._until = format_time(now + VALID_DAYS * DAY_MS)[:10]
        self.steps: list[Step] = []
        self._catalogue(REGISTER, sharing="conditional")
        self._catalogue(HOSPITALS, sharing="unconditional")
        self.register = self._granted(REGISTER, "rs", refused_first=True)
        hospitals = self._granted(HOSPITALS, "ga")
        for count in (12, 7):
            self.steps.append(self.access(self.register, next(self._clock), PURPOSE, count))
        self.steps.append(self.access(hospitals, next(self._clock), PURPOSE, 3))
        self._onward(self.register)
        self._disposal(hospitals)

    def access(self, grant: Grant, time: int, purpose: str, count: int) -> Step:
        """An access to `count` records under a grant; within it when it is for the purpose that was granted."""
        event = self._author.event(
            time, "use.access", {"dataset": grant.dataset, "grant": grant.id},
            actor=f"p:{self._author.below(40):02d}", purpose=purpose, items=["status"], count=count, method="api",
        )  # fmt: skip
        return Step(time, grant.user, "system", event, ACCEPTED if purpose == PURPOSE else IRREGULAR)

    def _step(
        self,
        member: str,
        key: str,
        kind: str,
        refs: dict[str, Any],
        body: dict[str, Any],
        expect: str = ACCEPTED,
        note: tuple[str, str] | None = None,
    ) -> Event:
        time = next(self._clock)
        event = self._author.event(time, kind, refs, **body)
        self.steps.append(Step(time, member, key, event, expect, note))
        return event

    def _catalogue(self, dataset: str, sharing: str) -> None:
        owner, _, name = dataset.partition("/")
        titles = {
            f"{each.id}/{named}": f"{zh} {en}"
            for each in DEPARTMENTS
            if each.id == owner
            for named, zh, en in each.datasets
        }
        refs = {"dataset": f"{owner}/{name}"}
        personal = dataset in PERSONAL
        body: dict[str, Any] = {
            "name": titles[dataset], "items": list(ITEMS), "format": "relational table", "frequency": "daily",
            "sharing": sharing, "methods": ["api", "batch"], "level": "general", "pi": "pi" if personal else "none",
        }  # fmt: skip
        if personal:
            body["pi_items"] = list(PERSONAL_ITEMS)
        if sharing == "conditional":
            body["purposes"] = [PURPOSE, OTHER_PURPOSE]
        self._step(owner, "office", "catalog.draft", refs, body)
        self._step(owner, "office", "quality.plan", refs, dict(_QUALITY))
        self._step(owner, "head", "catalog.submit", refs, {"attested": ["secrecy", "pi-impact", "no-secrets"]})
        self._step(AUTHORITY, "office", "catalog.publish", {**refs, "item": sorted(ITEMS)}, {})

    def _granted(self, dataset: str, user: str, *, refused_first: bool = False) -> Grant:
        """Application, approval, delivery and receipt; `refused_first`: the applicant tries to approve it itself."""
        provider = dataset.partition("/")[0]
        body: dict[str, Any] = {
            "basis": "《政务数据共享条例》第二十条", "purpose": PURPOSE, "items": ["name-tag", "status"], "method": "api",
            "until": self._until, "scenario": "跨部门业务协同 cross-department service",
        }  # fmt: skip
        if dataset in PERSONAL:
            body["pi_basis"] = "statutory-duty"
        application = self._step(user, "office", "share.apply", {"dataset": dataset}, body)
        refs: dict[str, Any] = {"application": f"{user}/{application.id}", "dataset": dataset}
        if refused_first:
            note = ("人社局自己批准自己的申请：拒绝", "The applicant approves its own application: refused")
            self._step(user, "office", "share.approve", refs, {}, REFUSED, note)
        approval = self._step(provider, "office", "share.approve", refs, {})
        grant = f"{provider}/{approval.id}"
        delivery = self._deliver(provider, "system", {"dataset": dataset, "grant": grant}, user, ACCEPTED, None)
        copy = f"{provider}/{delivery.id}"
        self._step(user, "system", "share.receive", {"copy": copy, "grant": grant}, {})
        return Grant(grant, dataset, user, copy)

    def _deliver(
        self, member: str, key: str, refs: dict[str, Any], to: str, expect: str, note: tuple[str, str] | None
    ) -> Event:
        body: dict[str, Any] = {"to": to, "method": "api", "volume": 100}
        if refs["dataset"] in PERSONAL:
            assessed = {"type": "pi-impact", "result": "passed", "until": self._until}
            event = self._step(member, "office", "assess.record", {"dataset": refs["dataset"]}, assessed)
            refs = {**refs, "assessment": [f"{member}/{event.id}"]}
            body["masking"] = [{"item": "name-tag", "profile": "pseudonym"}]
        return self._step(member, key, "share.deliver", refs, body, expect, note)

    def _onward(self, grant: Grant) -> None:
        note = ("未经同意转给卫健委：如实记录，并形成线索", "Supply onward without consent: recorded, and a finding")
        refs = {"dataset": grant.dataset, "copy": grant.copy, "grant": grant.id}
        self._deliver(grant.user, "system", refs, "ws", IRREGULAR, note)

    def _disposal(self, grant: Grant) -> None:
        refs = {"copy": grant.copy, "grant": grant.id}
        witnessed = {"method": "delete", "witness": "保密办 security office"}
        self._step(grant.user, "office", "purpose.end", {"grant": grant.id}, {"ground": "achieved"})
        self._step(grant.user, "system", "dispose.done", refs, witnessed)
        note = ("处置人自己核验处置：拒绝", "Disposal verified by the key that disposed: refused")
        gone = {**refs, "dataset": [grant.dataset]}
        self._step(grant.user, "system", "dispose.verify", gone, {}, REFUSED, note)
        self._step(grant.user, "verifier", "dispose.verify", gone, {})


def members_of(steps: list[Step]) -> Iterator[tuple[str, int]]:
    """(member, how many steps are its own), in order of the members."""
    for member in sorted({step.member for step in steps}):
        yield member, sum(step.member == member for step in steps)
