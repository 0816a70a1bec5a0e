"""A year of a city, generated: departments share data as the law wants it, but for breaches that are planted and known.

Everything follows from the seed. `plan` gives the steps in order of time and what must be found of them; `Played` plays them
through an application under scenario time, an hour of working time a block. Breaches of sharing and of the catalogue's
clocks are planted among the ordinary grants here; all other sorts stand in `city_breaches` and `city_oversight`.
"""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ledger.adapters.home.datadir import create_ledger, load_rules, read_bundle_folder
from ledger.adapters.ordering.engine import log_note
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.event import Event, new_event
from ledger.core.genesis import Genesis, new_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.ident import format_time, parse_time, uuid7_at
from ledger.core.keys import COSIGN, EVENT, LOG, Ed25519Signer
from ledger.core.submission import Submission, new_submission
from tests.models import city_breaches, city_oversight
from tests.models.city_scene import ATTESTED, AUTHORITY, COMPANY, COUNTY, GOVERNMENT, SICHUAN, UNTIL, Scene

CONTRACT = Path(__file__).parents[2] / "contracts" / "data-sharing"
HOUR, DAY = 3_600_000, 86_400_000
FIRST_DAY, LAST_DAY = "2026-01-05", "2026-12-18"
LABELS = {
    "office": ("dept-head", "office-head"),
    "system": ("system",),
    "verifier": ("verifier",),
    "vendor": ("processor",),
}
AUTHORITY_LABELS = {"authority": ("authority", "office-head"), "deputy": ("authority", "office-head")}
PURPOSES = ("school", "pension", "housing", "licence")
ITEMS = ("name", "address", "status", "date")

LATE_REPLY, LATE_DELIVERY, BEYOND_SCOPE, ONWARD, NO_RECORD, NO_DISPOSAL, AFTER_END = range(7)
GRANT_BREACHES = 7
LATE_UPDATE, LATE_REVIEW, LATE_CORRECTION = range(3)

Found = tuple[str, str, str]
"""(code, about whom, on which object)."""
Refused = tuple[str, ...]
"""(kind, `<rule> <code>` of each reason)."""


@dataclass(frozen=True, slots=True, order=True)
class Step:
    """One event: when it is recorded (unix ms), a number that keeps the order within one moment, and what it says."""

    time: int
    number: int
    member: str = field(compare=False)
    label: str = field(compare=False)
    event: Event = field(compare=False)


class Calendar:
    """Working days of 2026 in Beijing, from the rulebook's own calendar."""

    def __init__(self) -> None:
        year = json.loads((CONTRACT / "calendars" / "2026.json").read_text("utf-8"))
        zone = 8 * HOUR
        start = parse_time("2026-01-01T00:00:00.000Z") - zone
        off = {day for first, last in year["off"] for day in range(_day(first), _day(last) + 1)}
        worked = {_day(text) for text in year["worked"]}
        first, last = _day(FIRST_DAY), _day(LAST_DAY)
        new_year = _day("2026-01-01")
        self.days = [
            start + (number - new_year) * DAY
            for number in range(first, last + 1)
            if number in worked or ((number + 3) % 7 < 5 and number not in off)
        ]

    def at(self, working_day: int, hour: float) -> int:
        """Unix ms of an hour (Beijing) on the n-th working day."""
        return self.days[working_day] + int(hour * HOUR)


def _day(text: str) -> int:
    """Number of a day since 1970-01-01."""
    return parse_time(f"{text}T00:00:00.000Z") // DAY


@dataclass(slots=True)
class City:
    """The plan of a year: `steps` in order, `expected` findings, `refused` events, and the `alerts` of planted sorts.

    `registry` holds what is registered of a member beside its keys: attributes, and roles where it is no department.
    """

    members: tuple[str, ...]
    registry: dict[str, dict[str, Any]] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    expected: Counter[Found] = field(default_factory=Counter)
    refused: Counter[Refused] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)


class Planner:
    """Writes the plan; `departments` share, `calendar` knows their working days."""

    def __init__(self, seed: int, departments: int, datasets: int, events: int) -> None:
        self.random = random.Random(seed)
        self.calendar = Calendar()
        self.departments = [f"d{number:02d}" for number in range(1, departments + 1)]
        place = {"level": "city", "territory": "510100"}
        registry: dict[str, dict[str, Any]] = dict.fromkeys((AUTHORITY, *self.departments), place)
        registry[GOVERNMENT] = {**place, "roles": ["government"]}
        registry[COMPANY] = {}
        registry[COUNTY] = {"level": "county", "territory": "510104"}
        registry[SICHUAN] = {**place, "jurisdiction": "cn-sc", "authority": AUTHORITY}
        self.city = City(tuple(registry), registry)
        self.datasets = datasets
        self.events = events
        self.rounds = max(1, datasets // 24)  # how often each sort is planted; among the ordinary grants twice at least

    def step(self, day: int, hour: float, who: tuple[str, str], kind: str, refs: dict[str, Any], **content: Any) -> str:
        """Add an event at an hour of a working day; what it creates is called `<member>/<event id>`."""
        member, label = who
        time = self.calendar.at(day, hour)
        event = new_event(
            event_id=uuid7_at(time, self.random.randbytes(10)),
            kind=kind,
            refs=refs,
            time_ms=time,
            salt=self.random.randbytes(16),
            content=content,
        )
        self.city.steps.append(Step(time, len(self.city.steps), member, label, event))
        return f"{member}/{event.id}"

    def expect(self, code: str, about: str, on: str) -> None:
        """A finding that must be made."""
        self.city.expected[code, about, on] += 1

    def run(self) -> City:
        """The year: ordinary grants, the scenes of each sort, and use until the number of events is reached."""
        breaches = max(2, self.rounds) * GRANT_BREACHES
        last = len(self.calendar.days) - 1
        planted = 0
        grants: list[tuple[str, str, str, int, int]] = []
        for number in range(self.datasets):
            provider = self.departments[number % len(self.departments)]
            dataset = f"{provider}/set{number:03d}"
            published = self.random.randint(1, 11)
            self.publish(dataset, published - 1, unconditional=number % 5 == 0)
            others = [each for each in self.departments if each != provider]
            for user in self.random.sample(others, 2):
                breach = planted if planted < breaches and number % 3 == 0 else -1
                planted += breach >= 0
                grants.append(
                    self.grant(dataset, provider, user, published, breach % GRANT_BREACHES if breach >= 0 else -1)
                )
            if number % 7 == 0:
                self.catalogue(number // 7, dataset, provider, user, grants[-1][0])
        for sort in city_breaches.SORTS + city_oversight.SORTS:
            for number in range(self.rounds):
                for guilty in (True, False):
                    sort(Scene(self, sort.__name__, number, planted=guilty))
        # Whatever is left of the events is use, spread over the live grants.
        left = max(0, self.events - len(self.city.steps))
        live = [each for each in grants if each[4] - each[3] > 10]
        for number in range(left):
            grant, dataset, user, first, end = live[number % len(live)]
            day = self.random.randint(first, min(end, last))
            self.use(grant, dataset, user, day)
        self.city.steps.sort()
        return self.city

    # --- the catalogue -----------------------------------------------------------------------------------------------

    def draft(self, dataset: str, day: int, *, unconditional: bool = False, **fields: Any) -> None:
        """Draft an entry at nine; `fields` differ from the ordinary."""
        said = {**described(unconditional=unconditional), **fields}
        self.step(day, 9, (dataset.split("/", maxsplit=1)[0], "office"), "catalog.draft", {"dataset": dataset}, **said)

    def publish(self, dataset: str, day: int, *, unconditional: bool = False, **fields: Any) -> str:
        """Announce a dataset, published on the next working day; the plan of its quality."""
        head = (dataset.split("/", maxsplit=1)[0], "office")
        self.draft(dataset, day, unconditional=unconditional, **fields)
        plan = self.step(
            day, 10, head, "quality.plan", {"dataset": dataset},
            completeness=9800, accuracy=9900, consistency=9500, timeliness=9000,
        )  # fmt: skip
        self.step(day, 11, head, "catalog.submit", {"dataset": dataset}, attested=ATTESTED)
        named = {"dataset": dataset, "item": sorted(fields.get("items", ITEMS))}
        self.step(day + 1, 10, (AUTHORITY, "authority"), "catalog.publish", named)
        return plan

    def catalogue(self, number: int, dataset: str, provider: str, user: str, grant: str) -> None:
        """What happens to an entry: a change of the law, and a correction; some of it late."""
        day = self.random.randint(150, 170)
        late = number % 4
        head, authority = (provider, "office"), (AUTHORITY, "authority")
        self.step(day, 9, authority, "catalog.trigger", {"dataset": dataset}, cause="law", explanation="法规变化")
        answer = day + (15 if late == 1 + LATE_UPDATE else 5)
        if late == 1 + LATE_UPDATE:
            self.expect("D809/39-1", provider, f"dataset/{dataset}")
        self.step(
            answer, 9, head, "catalog.update", {"dataset": dataset}, changes="依法更新",
            **described(unconditional=int(dataset[-3:]) % 5 == 0),
        )  # fmt: skip
        review = answer + (5 if late == 1 + LATE_REVIEW else 1)
        if late == 1 + LATE_REVIEW:
            self.expect("D809/41-3", AUTHORITY, f"dataset/{dataset}")
        self.step(review, 9, authority, "catalog.publish", {"dataset": dataset, "item": sorted(ITEMS)})
        day = self.random.randint(60, 100)
        correction = self.step(
            day, 9, (user, "office"), "correct.apply", {"dataset": dataset, "grant": grant},
            ground="use", items=["name"], problem="姓名与证件不符",
        )  # fmt: skip
        if late == 1 + LATE_CORRECTION:
            self.expect("D809/39-6", provider, f"correction/{correction}")
        self.step(
            day + (14 if late == 1 + LATE_CORRECTION else 4), 9, head, "correct.result",
            {"correction": correction, "dataset": dataset}, outcome="rejected", reason="与登记一致", answer="已核对",
        )  # fmt: skip

    # --- sharing and use ---------------------------------------------------------------------------------------------

    def grant(
        self, dataset: str, provider: str, user: str, published: int, breach: int
    ) -> tuple[str, str, str, int, int]:
        """An application and what follows; (grant, dataset, user, first and last working day of ordinary use)."""
        chance = self.random
        day = published + chance.randint(1, 25)
        head, owner = (user, "office"), (provider, "office")
        application = self.step(
            day, 9, head, "share.apply", {"dataset": dataset},
            basis="法定职责", purpose="school", items=list(ITEMS[:3]), method="api", until=UNTIL,
        )  # fmt: skip
        unconditional = int(dataset[-3:]) % 5 == 0
        day += 14 if breach == LATE_REPLY else 1 if unconditional else chance.randint(1, 8)
        if breach == LATE_REPLY:
            self.expect("D809/39-4", provider, f"application/{application}")
        grant = self.step(day, 11, owner, "share.approve", {"application": application, "dataset": dataset})
        day += 25 if breach == LATE_DELIVERY else chance.randint(1, 15)
        if breach == LATE_DELIVERY:
            self.expect("D809/39-4", provider, f"grant/{grant}")
        refs = {"dataset": dataset, "grant": grant}
        copy = self.step(day, 14, (provider, "system"), "share.deliver", refs, to=user, method="api")
        self.step(day + 1, 9, (user, "system"), "share.receive", {"copy": copy, "grant": grant})
        first, end = day + 2, chance.randint(140, 200)
        self.records(grant, dataset, user, first, end, kept=breach != NO_RECORD)
        if breach == BEYOND_SCOPE:
            self.use(grant, dataset, user, first + 3, items=["date"])
            self.expect("D809/40-2", user, f"grant/{grant}")
        if breach == ONWARD:
            third = next(each for each in self.departments if each not in (user, provider))
            onward = {**refs, "copy": copy}
            self.step(first + 3, 10, (user, "system"), "share.deliver", onward, to=third, method="batch")
            self.expect("D809/40-3", user, f"copy/{copy}")
        self.end(grant, dataset, user, provider, copy, end, breach)
        return grant, dataset, user, first, end - 1

    def records(self, grant: str, dataset: str, user: str, first: int, end: int, *, kept: bool) -> None:
        """Use on the first day, then records of use once a week; the last covers the end, with effect and storage."""
        self.use(grant, dataset, user, first)
        if not kept:
            self.expect("D809/40-5", user, f"grant/{grant}")
            return
        for day in [*range(first + 4, end, 5), end]:
            covers = _date(self.calendar.days[day])
            effect = {"effect": "减少材料一份", "storage": "专用库存放"} if day == end else {}
            self.step(
                day, 17, (user, "office"), "use.record", {"dataset": dataset, "grant": grant},
                scenario="业务办理", process="比对", covers=covers, **effect,
            )  # fmt: skip

    def end(self, grant: str, dataset: str, user: str, provider: str, copy: str, end: int, breach: int) -> None:
        """The purpose ends; the copy goes, with a second key for the check, or stays against the instruction."""
        self.step(end, 18, (user, "office"), "purpose.end", {"grant": grant}, ground="achieved")
        refs = {"copy": copy, "grant": grant, "dataset": dataset}
        if breach == ONWARD:
            return  # the copy that was handed on keeps the grant open: an alert, for the law names no term
        done = end + 3
        if breach == NO_DISPOSAL:
            instruct = {"method": "delete", "days": 5}
            self.step(end + 1, 9, (provider, "office"), "dispose.instruct", {"grant": grant}, **instruct)
            self.expect("D809/40-4", user, f"grant/{grant}")
            done = end + 15
        del refs["dataset"]
        self.step(done, 9, (user, "system"), "dispose.done", refs, method="delete")
        if breach == AFTER_END:
            self.step(done, 10, (user, "system"), "dispose.verify", {**refs, "dataset": [dataset]})
            self.city.refused["dispose.verify", "C2 same-key"] += 1  # the key that disposed does not verify
        self.step(done + 1, 9, (user, "verifier"), "dispose.verify", {**refs, "dataset": [dataset]})
        if breach == AFTER_END:
            self.use(grant, dataset, user, done + 3)
            self.expect("D809/40-2", user, f"grant/{grant}")

    def use(self, grant: str, dataset: str, user: str, day: int, items: list[str] | None = None) -> None:
        """One access during working hours."""
        self.step(
            day, self.random.randint(9, 16), (user, "system"), "use.access", {"dataset": dataset, "grant": grant},
            purpose="school", items=items or ["name"], count=self.random.randint(1, 9),
        )  # fmt: skip


def described(*, unconditional: bool = False) -> dict[str, Any]:
    """What an ordinary entry says of itself."""
    entry = {
        "name": "数据集", "items": list(ITEMS), "format": "json", "frequency": "irregular", "level": "general", "pi": "none",
        "sharing": "unconditional" if unconditional else "conditional", "methods": ["api", "batch"],
    }  # fmt: skip
    return entry if unconditional else {**entry, "purposes": list(PURPOSES)}


def _date(ms: int) -> str:
    return format_time(ms + 8 * HOUR)[:10]


def plan(seed: int = 809, *, departments: int = 12, datasets: int = 300, events: int = 100_000) -> City:
    """The year's plan."""
    return Planner(seed, departments, datasets, events).run()


class Played:
    """A ledger in `folder` that the plan is played into; what the rules said is `findings`, `refused` and `alerts`."""

    def __init__(self, folder: Path, city: City) -> None:
        self.folder, self.city = folder, city
        self.genesis, stored = _genesis(city)
        folder.mkdir(parents=True)
        create_ledger(folder, self.genesis, stored)
        self.app = Application(SqliteStore.open(folder / "ledger.sqlite"), load_rules("inline"))
        self.findings: Counter[Found] = Counter()
        self.refused: list[Refused] = []
        self.alerts: Counter[str] = Counter()
        self.events = 0

    def play(self) -> None:
        """Play the whole plan; then let half a year pass, so that everything that was due is."""
        last = 0
        for time, steps in groupby(self.city.steps, key=lambda step: step.time):
            self.block(time, list(self._submissions(list(steps))))
            last = time
        for days in (1, 30, 60, 120, 180):
            self.block(last + days * DAY, [])

    def block(self, time: int, submissions: list[Submission]) -> None:
        """Blocks at `time`: timers alone while too many are due, then the submissions."""
        while self.app.timers_waiting(time):
            self._commit(time, [])
        if submissions or self.app.timer_due(time):
            self._commit(time, submissions)

    def close(self) -> None:
        """Release the database."""
        self.app.close()

    def _commit(self, time: int, submissions: list[Submission]) -> None:
        block, left_out = self.app.prepare(submissions, time)
        assert not left_out, left_out[0][1]
        sealed = self.app.finalize(block)
        self.app.commit(log_note(_signer(AUTHORITY, LOG), self.genesis.origin, sealed.size, sealed.root))
        for item in sealed.decision.items:
            self.events += item.event is not None
            verdict = json.loads(item.verdict)
            if verdict["outcome"] == "refused" and item.event is not None:
                reasons = [f"{rule} {code}" for rule, code, _ in verdict.get("reasons", ())]
                self.refused.append((item.event.kind, *reasons))
            self.alerts.update(f"{alert['rule']} {alert['code']}" for alert in verdict.get("alerts", ()))
            for found in verdict.get("findings", ()):
                if "repeats" not in found:
                    self.findings[found["code"], found["about"], found.get("on", "")] += 1

    def _submissions(self, steps: list[Step]) -> Iterator[Submission]:
        by_key: dict[tuple[str, str], list[Event]] = defaultdict(list)
        for step in steps:
            by_key[step.member, step.label].append(step.event)
        for (member, label), events in sorted(by_key.items()):
            yield new_submission(self.genesis.origin, member, _signer(member, label), events)


def _signer(member: str, label: str) -> Ed25519Signer:
    return Ed25519Signer(sha256(f"city {member} {label}".encode()))


def _genesis(city: City) -> tuple[Genesis, dict[Digest, bytes]]:
    files = read_bundle_folder(CONTRACT)
    calendar = {name[10:]: data for name, data in files.items() if name.startswith("calendars/")}
    rulebook = {name: data for name, data in files.items() if not name.startswith(("calendars/", "cases/"))}
    sign: dict[str, Ed25519Signer] = {}
    members = []
    for member in sorted(city.members):
        keys = []
        uses = [(EVENT, *each) for each in (AUTHORITY_LABELS if member == AUTHORITY else LABELS).items()]
        uses += [(COSIGN, COSIGN, ()), (LOG, LOG, ())] if member == AUTHORITY else []
        for use, label, roles in uses:
            signer = _signer(member, label)
            sign[signer.public.raw.hex()] = signer
            keys.append({"algorithm": 1, "public": signer.public.raw.hex(), "use": use, "roles": sorted(roles)})
        attributes = dict(city.registry.get(member, {}))
        roles = attributes.pop("roles", ["authority", "department"] if member == AUTHORITY else ["department"])
        members.append(
            {
                "attributes": attributes,
                "id": member,
                "keys": keys,
                "roles": roles,
                "title": {"en": member, "zh": member},
            }
        )
    genesis = new_genesis(
        name="city.example", time=parse_time(f"{FIRST_DAY}T00:00:00.000Z") - DAY, members=members,
        rulebook=bundle_hash(rulebook), calendar=bundle_hash(calendar), sign=sign, clock="scenario",
    )  # fmt: skip
    return genesis, {
        genesis.rulebook: encode_bundle(rulebook),
        genesis.calendar: encode_bundle(calendar),
    }
