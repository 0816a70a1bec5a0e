"""Some weeks of a city as events: deterministic, with approvals, refusals, breaches, an overdue reply and a disposal.

`story(origin)` gives the steps in order of the scenario clock. Every step says what it should become, and `PLANTED`
which findings the rules must raise, so that a demo that decides anything else fails. Not here: signing and sending.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ledger.core.event import Event, new_event
from ledger.core.ident import format_time, parse_time, uuid7_at
from ledger_node.demo.city import AUTHORITY, DEPARTMENTS, ITEMS, PERSONAL, PERSONAL_ITEMS, PURPOSES

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
START: Final = parse_time("2026-09-01T00:30:00.000Z")  # Tuesday, 08:30 in Beijing
DAYS: Final = 50
SEED: Final = 20260901

ACCEPTED, IRREGULAR, REFUSED = "accepted", "irregular", "refused"
# Days without office hours in the scenario's weeks: weekends that are not worked, Mid-Autumn and National Day.
_OFF: Final = frozenset({4, 5, 11, 12, 18, 24, 25, 26, 30, 31, 32, 33, 34, 35, 36, 40, 46, 47})

_ROUNDS: Final = (2, 6)  # hours after opening at which the platform hands over what it logged

_QUALITY: Final = {"completeness": 9_800, "accuracy": 9_900, "consistency": 9_500, "timeliness": 9_000}
_ATTESTED: Final = {"attested": ["secrecy", "pi-impact", "no-secrets"]}

PLANTED: Final = {"D809/39-4": 2, "D809/40-2": 1, "D809/40-3": 1}
"""Findings that the scenario plants, by code: an overdue reply and a delivery that never came; an access for another
purpose; a supply onward. Any other finding, or one fewer, fails the demo."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the story: when (unix ms), by which key of which member, and what it should become.

    Steps of one moment do not build on each other, so that offices may act at once. `note` is a (zh, en) line for
    steps worth telling.
    """

    time: int
    member: str
    key: str
    event: Event
    expect: str = ACCEPTED
    note: tuple[str, str] | None = None


class Author:
    """Mints events with ids and salts from one generator."""

    def __init__(self, generator: random.Random) -> None:
        self._random = generator

    def choice(self, options: Any) -> Any:
        return self._random.choice(options)

    def below(self, limit: int) -> int:
        return self._random.randrange(limit)

    def sample(self, options: Any, count: int) -> list[Any]:
        return sorted(self._random.sample(options, count))

    def event(self, time: int, kind: str, refs: dict[str, Any], **content: Any) -> Event:
        return new_event(
            event_id=uuid7_at(time, self._random.randbytes(10)),
            kind=kind,
            refs=refs,
            time_ms=time,
            salt=self._random.randbytes(16),
            content=content,
        )


@dataclass(slots=True)
class _Grant:
    id: str
    dataset: str
    provider: str
    user: str
    purpose: str
    items: list[str]
    copy: str
    until_day: int


def day(number: int, hour: int = 0) -> int:
    """Unix ms of scenario day `number` (0 is the first), counted from half past eight in Beijing."""
    return START + number * DAY_MS + hour * HOUR_MS


def story() -> list[Step]:
    """All steps, in order of time; within one moment in the order they are written here."""
    author = Author(random.Random(SEED))  # noqa: S311 - a repeatable story, no secrets
    steps = list(_catalogue(author))
    grants: list[_Grant] = []
    steps.extend(_applications(author, grants))
    steps.extend(_use(author, grants))
    steps.extend(_disposal(author, grants))
    return sorted(steps, key=lambda step: step.time)


def datasets() -> list[tuple[str, str]]:
    """(dataset id, owner) of the city's sixty datasets."""
    return [(f"{each.id}/{name}", each.id) for each in DEPARTMENTS for name, _, _ in each.datasets]


def sharing_class(index: int) -> str:
    """Every third entry is shared without condition, the others under one."""
    return "unconditional" if index % 3 == 0 else "conditional"


def level(index: int) -> str:
    """Every tenth entry is important data, whose supply needs a risk assessment."""
    return "important" if index % 10 == 3 else "general"


def _assessments(author: Author, time: int, member: str, dataset: str) -> Iterator[Step]:
    """What `member` assesses before it supplies the dataset: the risk of important data, the impact on persons."""
    needed = ["risk"] if level([name for name, _ in datasets()].index(dataset)) == "important" else []
    needed += ["pi-impact"] if dataset in PERSONAL else []
    for kind in needed:
        body = {"type": kind, "result": "passed", "until": "2026-12-31"}
        yield Step(time, member, "office", author.event(time, "assess.record", {"dataset": dataset}, **body))


def _named(assessed: list[Step]) -> dict[str, list[str]]:
    """The assessments as a ref of the supply that rests on them."""
    return {"assessment": sorted(f"{step.member}/{step.event.id}" for step in assessed)} if assessed else {}


def _masking(dataset: str, items: list[str]) -> dict[str, list[dict[str, str]]]:
    """How each item about persons is masked in a supply of `items`."""
    shown = [item for item in items if item in PERSONAL_ITEMS] if dataset in PERSONAL else []
    return {"masking": [{"item": item, "profile": "pseudonym"} for item in shown]} if shown else {}


def _catalogue(author: Author) -> Iterator[Step]:
    """Days 0 to 2: drafts with quality targets, submitted, published by the authority; one entry is returned first."""
    titles = {f"{each.id}/{name}": (zh, en) for each in DEPARTMENTS for name, zh, en in each.datasets}
    for index, (dataset, owner) in enumerate(datasets()):
        conditional = sharing_class(index) == "conditional"
        body: dict[str, Any] = {
            "name": f"{titles[dataset][0]} {titles[dataset][1]}",
            "items": list(ITEMS),
            "format": "relational table",
            "frequency": author.choice(("daily", "weekly", "monthly")),
            "sharing": sharing_class(index),
            "methods": ["api", "batch"],
            "level": level(index),
            "pi": "pi" if dataset in PERSONAL else "none",
        }
        if dataset in PERSONAL:
            body["pi_items"] = list(PERSONAL_ITEMS)
        if conditional:
            body["purposes"] = list(PURPOSES)
        refs = {"dataset": dataset}
        yield Step(day(0), owner, "office", author.event(day(0), "catalog.draft", refs, **body))
        yield Step(day(0, 1), owner, "office", author.event(day(0, 1), "quality.plan", refs, **_QUALITY))
        yield Step(day(0, 2), owner, "head", author.event(day(0, 2), "catalog.submit", refs, **_ATTESTED))
        if index == 20:
            note = ("数据局退回一条目录，补正后再报", "The Data Bureau returns one entry; it is drafted anew")
            event = author.event(day(1), "catalog.return", refs, reason="数据格式不明 format is unclear")
            yield Step(day(1), AUTHORITY, "office", event, note=note)
            yield Step(day(1, 1), owner, "office", author.event(day(1, 1), "catalog.draft", refs, **body))
            yield Step(day(1, 2), owner, "head", author.event(day(1, 2), "catalog.submit", refs, **_ATTESTED))
        named = {**refs, "item": sorted(ITEMS)}
        yield Step(day(2), AUTHORITY, "office", author.event(day(2), "catalog.publish", named))


def _applications(author: Author, grants: list[_Grant]) -> Iterator[Step]:
    """Days 3 to 20: applications, most of them granted; refusals, a denial, an overdue reply and a late delivery."""
    yield from _refused_applications(author)
    entries = datasets()
    for number in range(44):
        dataset, provider = entries[(number * 7 + 1) % len(entries)]
        user = author.choice([each.id for each in DEPARTMENTS if each.id != provider])
        asked = day(3 + number % 5, 1)
        purpose = author.choice(PURPOSES)
        items = author.sample(ITEMS, 3)
        legal = {"pi_basis": "statutory-duty"} if dataset in PERSONAL else {}
        application = author.event(
            asked, "share.apply", {"dataset": dataset},
            basis="《政务数据共享条例》第二十条", purpose=purpose, items=items, method="api", until="2026-12-31",
            scenario="跨部门业务协同 cross-department service", **legal,
        )  # fmt: skip
        yield Step(asked, user, "office", application)
        refs = {"application": f"{user}/{application.id}", "dataset": dataset}
        unconditional = sharing_class(entries.index((dataset, provider))) == "unconditional"
        if number == 5:
            denied = author.event(
                asked + 2 * HOUR_MS, "share.deny", refs, reason="no-need",
                explanation="与职责无关 not within the applicant's duties",
            )  # fmt: skip
            yield Step(
                asked + 2 * HOUR_MS,
                provider,
                "office",
                denied,
                note=("一份申请被说明理由后拒绝", "One denial, with reasons"),
            )
            continue
        # The tenth application waits until the working-day clock has run out: Mid-Autumn does not count, the 20th does.
        replied = day(34 if number == 10 else (3 + number % 5 if unconditional else 6 + number % 5), 4)
        approved = author.event(replied, "share.approve", refs)
        late = ("一份答复逾期：时限到点自动形成线索", "One reply is overdue: the clock itself raises the finding")
        yield Step(replied, provider, "office", approved, note=late if number == 10 else None)
        grant = _Grant(f"{provider}/{approved.id}", dataset, provider, user, purpose, items, "", 121)
        handed = replied + DAY_MS
        assessed = list(_assessments(author, handed - HOUR_MS, provider, dataset))
        yield from assessed
        copy = author.event(
            handed,
            "share.deliver",
            {"dataset": dataset, "grant": grant.id, **_named(assessed)},
            to=user,
            method="api",
            volume=1_000 + number,
            **_masking(dataset, items),
        )
        yield Step(handed, provider, "system", copy)
        grant.copy = f"{provider}/{copy.id}"
        received = author.event(handed + HOUR_MS, "share.receive", {"copy": grant.copy, "grant": grant.id})
        yield Step(handed + HOUR_MS, user, "system", received)
        grants.append(grant)


def _refused_applications(author: Author) -> Iterator[Step]:
    """What the gate refuses: an entry that is not published, and an approval by somebody else than the provider."""
    ghost = author.event(
        day(1, 5), "share.apply", {"dataset": "ga/hukou"},
        basis="法定职责", purpose="pension-check", items=["status"], method="api", until="2026-12-31",
    )  # fmt: skip
    note = ("目录未发布即申请：拒绝", "An application before the entry is published: refused")
    yield Step(day(1, 5), "rs", "office", ghost, REFUSED, note)
    asked = author.event(
        day(3, 6), "share.apply", {"dataset": "ws/births"},
        basis="法定职责", purpose="school-enrolment", items=["date"], method="api", until="2026-12-31",
        pi_basis="statutory-duty",
    )  # fmt: skip
    yield Step(day(3, 6), "ga", "office", asked)
    refs = {"application": f"ga/{asked.id}", "dataset": "ws/births"}
    note = ("申请部门自己批准自己：拒绝", "The applicant approves its own application: refused")
    yield Step(day(3, 7), "ga", "office", author.event(day(3, 7), "share.approve", refs), REFUSED, note)
    # Approved and never delivered: after twenty working days the clock raises a finding.
    yield Step(day(4, 1), "ws", "office", author.event(day(4, 1), "share.approve", refs))


def _use(author: Author, grants: list[_Grant]) -> Iterator[Step]:
    """Working days 8 to 49: accesses within the grants, weekly use records, and the planted breaches."""
    for number in range(8, DAYS):
        if number in _OFF:
            continue
        for grant in grants:
            delivered = _delivered_day(grant)
            if number <= delivered or (grant is grants[3] and number >= 30):
                continue
            for _ in range(1 + author.below(2)):
                time = day(number, author.choice(_ROUNDS))
                yield Step(
                    time, grant.user, "system", _access(author, time, grant, grant.purpose, 1 + author.below(20))
                )
            if number % 7 == 3:
                time = day(number, 9)
                record = author.event(
                    time, "use.record", {"dataset": grant.dataset, "grant": grant.id},
                    scenario="业务办理 case work", process="接口核验 checks over the interface",
                    effect="减少群众提交材料 fewer papers asked for", storage="不落地 not stored", covers=_date(time),
                    documents_saved=author.below(30),
                )  # fmt: skip
                yield Step(time, grant.user, "system", record)
    yield from _breaches(author, grants)


def _breaches(author: Author, grants: list[_Grant]) -> Iterator[Step]:
    time = day(15, 3)
    other = next(purpose for purpose in PURPOSES if purpose != grants[0].purpose)
    note = ("一次超出用途的调用：如实记录，并形成线索", "One access for another purpose: recorded, and a finding")
    yield Step(time, grants[0].user, "system", _access(author, time, grants[0], other, 5_000), IRREGULAR, note)
    time = day(16, 2)
    third = next(each.id for each in DEPARTMENTS if each.id not in (grants[1].user, grants[1].provider))
    assessed = list(_assessments(author, time - HOUR_MS, grants[1].user, grants[1].dataset))
    yield from assessed
    onward = author.event(
        time,
        "share.deliver",
        {"dataset": grants[1].dataset, "copy": grants[1].copy, "grant": grants[1].id, **_named(assessed)},
        to=third,
        method="file",
        volume=10,
        **_masking(grants[1].dataset, grants[1].items),
    )
    note = ("未经同意转给第三方：如实记录，并形成线索", "Onward supply without consent: recorded, and a finding")
    yield Step(time, grants[1].user, "system", onward, IRREGULAR, note)


def _disposal(author: Author, grants: list[_Grant]) -> Iterator[Step]:
    """From day 30: a purpose ends, the copy is disposed of, and another key verifies it."""
    grant = grants[3]
    ended = day(37, 1)
    yield Step(ended, grant.user, "office", author.event(ended, "purpose.end", {"grant": grant.id}, ground="achieved"))
    refs = {"copy": grant.copy, "grant": grant.id}
    done = author.event(day(38, 1), "dispose.done", refs, method="delete", witness="保密办 security office")
    yield Step(day(38, 1), grant.user, "system", done)
    gone: dict[str, Any] = {**refs, "dataset": [grant.dataset]}
    own = author.event(day(38, 2), "dispose.verify", gone)
    note = ("处置人自己核验处置：拒绝", "Disposal verified by the key that disposed: refused")
    yield Step(day(38, 2), grant.user, "system", own, REFUSED, note)
    note = ("另一把密钥核验处置：通过", "Disposal verified by another key: accepted")
    yield Step(day(38, 3), grant.user, "verifier", author.event(day(38, 3), "dispose.verify", gone), note=note)


def _access(author: Author, time: int, grant: _Grant, purpose: str, count: int) -> Event:
    return author.event(
        time, "use.access", {"dataset": grant.dataset, "grant": grant.id},
        actor=f"p:{author.below(40):02d}", purpose=purpose, items=grant.items[:2], count=count, method="api",
    )  # fmt: skip


def _delivered_day(grant: _Grant) -> int:
    return (_id_time(grant.copy) - START) // DAY_MS


def _id_time(object_id: str) -> int:
    event_id = object_id.split("/", 1)[1]
    return int(event_id[:8] + event_id[9:13], 16)


def _date(time: int) -> str:
    return format_time(time + 8 * HOUR_MS)[:10]
