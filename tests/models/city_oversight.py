"""Planted breaches of quality, catalogue, settlement, opening, incidents and accountability (rules D to S).

As in `city_breaches`, one function each sort, which plays the same scene lawfully where it is not planted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.models.city_scene import (
    ATTESTED,
    AUTHORITY,
    CLOSING,
    DEPUTY,
    DIGEST,
    GOVERNMENT,
    HEAD,
    SICHUAN,
    UNTIL,
    Scene,
)

TARGETS: Final = {"completeness": 9800, "accuracy": 9900, "consistency": 9500, "timeliness": 9000}


# --- D, E: quality and the catalogue ---------------------------------------------------------------------------------


def draft(scene: Scene, **fields: Any) -> str:
    """An entry that is drafted and goes no further by itself."""
    dataset = f"{scene.provider}/{scene.name}"
    scene.planner.draft(dataset, scene.day, items=scene.items(), **fields)
    return dataset


def plan_missing(scene: Scene) -> None:
    """D1: an entry is submitted before its quality is planned."""
    refs = {"dataset": draft(scene)}
    attested = {"attested": ATTESTED}
    if scene.planted:
        scene.step(0, 10, scene.owner, "catalog.submit", refs, **attested)
    scene.refuse("catalog.submit", "D1 plan-missing")
    scene.step(0, 11, scene.owner, "quality.plan", refs, **TARGETS)
    scene.step(0, 12, scene.owner, "catalog.submit", refs, **attested)


def repaired_late(scene: Scene) -> None:
    """D2: data below their targets go back to the source, which repairs them after the days it was given."""
    dataset = f"{scene.provider}/{scene.name}"
    plan = scene.planner.publish(dataset, scene.day, items=scene.items())
    refs = {"plan": plan, "dataset": dataset}
    scene.step(2, 9, scene.owner, "quality.deploy", refs, rules=DIGEST)
    if scene.planted:
        scene.step(5, 9, scene.supplier, "quality.measure", refs, **{**TARGETS, "accuracy": 9000})
        scene.step(6, 9, scene.owner, "quality.return", refs, problems="地址缺失", days=5)
        scene.step(14, 9, scene.supplier, "quality.fix", refs, done="补录地址")
    scene.alert("D2 quality-below")
    scene.alert("D2 repair-late")
    scene.step(15, 9, scene.supplier, "quality.measure", refs, **TARGETS)


def stale(scene: Scene) -> None:
    """D4: a department stops to update what it holds of an item that another leads; at last the entry is withdrawn."""
    led = scene.entry(by=scene.third, of="led")
    items = scene.items(1, of="led")
    scene.step(2, 9, HEAD, "lead.designate", {"item": items, "dataset": led, "member": scene.third}, policy="数源清单")
    dataset = scene.entry(day=3, items=items, frequency="monthly")
    last = CLOSING - scene.day
    for day in range(6, 8 if scene.planted else last, 10):
        scene.step(day, 9, scene.supplier, "data.update", {"dataset": dataset}, count=3)
    scene.expect("D809/39-3", scene.provider, f"dataset/{dataset}")
    scene.alert("D4 stale")
    scene.step(last, 9, scene.owner, "catalog.withdraw", {"dataset": dataset, "item": items}, reason="职责调整")


def unrefreshed(scene: Scene) -> None:
    """D5: a holder refreshes late after a correction."""
    dataset, grant, _ = scene.shared()
    refs = {"dataset": dataset, "grant": grant}
    asked = {"ground": "use", "items": scene.items(1), "problem": "姓名与证件不符"}
    correction = scene.step(6, 9, scene.head, "correct.apply", refs, **asked)
    told = {"correction": correction, "dataset": dataset}
    scene.step(8, 9, scene.owner, "correct.result", told, outcome="corrected", answer="已更正")
    scene.step(16 if scene.planted else 10, 9, scene.machine, "correct.refresh", told, method="refreshed")
    scene.alert("D5 refresh-late")


def unattested(scene: Scene) -> None:
    """E1: an entry is submitted without its head's word on secrecy and personal information."""
    refs = {"dataset": draft(scene)}
    scene.step(0, 11, scene.owner, "quality.plan", refs, **TARGETS)
    attested = ["secrecy"] if scene.planted else ATTESTED
    scene.step(0, 12, scene.owner, "catalog.submit", refs, attested=attested)
    scene.refuse("catalog.submit", "E1 not-attested")


def regraded(scene: Scene) -> None:
    """E4: what is derived is graded as its copy was, although the entry was graded higher since."""
    dataset, grant, copy = scene.shared()
    parts = [{"item": scene.items()[0], "level": "important"}]
    scene.step(6, 9, scene.owner, "class.change", {"dataset": dataset}, level="important", parts=parts, factors="汇聚")
    scene.assess(dataset, "risk", scene.provider, CLOSING - scene.day)
    made = scene.derive(grant, dataset, copy, 8, level="general" if scene.planted else "important")
    scene.expect("D809/40-6", scene.user, f"copy/{made}")


def withheld_without_law(scene: Scene) -> None:
    """E3: an entry that is not to be shared rests on a departmental rule."""
    rank = "rule" if scene.planted else "law"
    draft(scene, sharing="refused", reason="依法不予共享", legal_basis="某规定", rank=rank)
    scene.refuse("catalog.draft", "E3 rank-too-low")


# --- F: rights, settlement, opening ----------------------------------------------------------------------------------


def right_too_wide(scene: Scene) -> None:
    """F1: a right is granted over more items than the own right covers."""
    refs = {"dataset": scene.entry()}
    own = {"type": "hold", "source": "职责", "evidence": DIGEST, "items": scene.items(1)}
    parent = scene.step(2, 9, scene.owner, "right.register", refs, **own)
    given = {"to": scene.third, "type": "process", "items": scene.items(2 if scene.planted else 1), "until": UNTIL}
    scene.step(20, 9, scene.owner, "right.grant", {**refs, "parent": parent}, **given)
    scene.refuse("right.grant", "F1 right-scope")


def statement(scene: Scene, grant: str, hour: int, count: int, price: int = 0) -> str:
    """The provider states what was used on day 6, six weeks after."""
    month = scene.date(6)[:7]
    return scene.step(
        32, hour, scene.owner, "settle.statement", {"grant": grant}, month=month, year=month[:4], count=count, late=0,
        purpose="governance", price=price, amount=price * count,
    )  # fmt: skip


def used(scene: Scene) -> str:
    """A grant that is used three times on day 6."""
    dataset, grant, _ = scene.shared()
    for hour in (11, 12, 13):
        scene.use(grant, dataset, 6, hour)
    scene.record(grant, dataset, 6)
    return grant


def charged_for_free(scene: Scene) -> None:
    """F1, F2: governance is charged for, by one who has no right to operate."""
    grant = used(scene)
    statement(scene, grant, 9, 3, price=5 if scene.planted else 0)
    scene.refuse("settle.statement", "F1 not-operator", "F2 must-be-free")


def metered_otherwise(scene: Scene) -> None:
    """F3: a reading and a statement that disagree with the recorded accesses; then one that agrees is settled."""
    grant = used(scene)
    count = 4 if scene.planted else 3
    scene.step(31, 9, scene.owner, "settle.meter", {"grant": grant}, month=scene.date(6)[:7], count=count)
    scene.alert("F3 meter-differs")
    if scene.planted:
        statement(scene, grant, 9, count)
    scene.refuse("settle.statement", "F3 count-differs")
    bill = statement(scene, grant, 10, 3)
    scene.step(33, 9, scene.head, "settle.confirm", {"statement": bill})
    paid = {"operator": scene.provider, "year": "2026", "means": "accounting"}
    scene.step(34, 9, scene.head, "settle.settle", {"grant": grant, "statement": bill}, **paid)


def opened_beyond_entry(scene: Scene) -> None:
    """F4: an item is released that is not in the open catalogue."""
    dataset = scene.entry()
    opened = {"class": "unconditional", "masking": "none-needed", "liable": scene.provider, "items": scene.items(1)}
    scene.step(3, 9, scene.owner, "open.publish", {"dataset": dataset}, **opened)
    released = {"masking": "none-needed", "channel": "download", "raw": True}
    items = scene.items(2 if scene.planted else 1)
    scene.step(5, 9, scene.supplier, "open.release", {"dataset": dataset}, items=items, **released)
    scene.expect("DSL/41", scene.provider, f"dataset/{dataset}")


def opened_unasked(scene: Scene) -> None:
    """F4: the user opens what was shared with it, without the provider's consent."""
    dataset = scene.entry()
    opened = {"class": "unconditional", "masking": "none-needed", "liable": scene.provider, "items": scene.items()}
    scene.step(2, 9, scene.owner, "open.publish", {"dataset": dataset}, **opened)
    onward = [] if scene.planted else ["public"]
    grant = scene.approve(scene.apply(dataset), dataset, onward=onward)
    refs = {"dataset": dataset, "grant": grant, "copy": scene.supply(grant, dataset)}
    released = {"masking": "none-needed", "channel": "download", "raw": False, "items": scene.items(1)}
    scene.step(6, 9, scene.machine, "open.release", refs, **released)
    scene.expect("D809/40-3", scene.user, f"dataset/{dataset}")


# --- G: incidents and emergencies ------------------------------------------------------------------------------------


def incident(scene: Scene, grade: str, **content: Any) -> str:
    """An incident of day 5, found at nine."""
    told = {"found": scene.time(5, 9), "grade": grade, "measure": "断开接口", **content}
    return scene.step(5, 9.5, scene.supplier, "incident.open", {}, **{"type": "leak", "pi": "none", **told})


def reported_late(scene: Scene) -> None:
    """G1: a grave incident is reported after the fourth hour."""
    refs = {"incident": incident(scene, "larger")}
    hour = 15 if scene.planted else 11
    scene.step(5, hour, scene.owner, "incident.report", refs, to=AUTHORITY, content="初步报告")
    scene.step(5, hour + 0.5, HEAD, "incident.report", refs, to=GOVERNMENT, content="续报")
    scene.expect("NCIR/4", scene.provider, f"incident/{refs['incident']}")


def passed_on_late(scene: Scene) -> None:
    """G1: the authority passes a report on after the hour that it has."""
    refs = {"incident": incident(scene, "major")}
    scene.step(5, 11, scene.owner, "incident.report", refs, to=AUTHORITY, content="初步报告")
    scene.step(5, 14 if scene.planted else 11.5, HEAD, "incident.report", refs, to=GOVERNMENT, content="续报")
    scene.expect("NCIR/4", AUTHORITY, f"incident/{refs['incident']}")


def nobody_told(scene: Scene) -> None:
    """G2: an incident with personal information is closed, and nobody was told."""
    refs = {"incident": incident(scene, "general", pi="general")}
    if not scene.planted:
        notice = {"scope": "姓名", "remedy": "更换密码", "contact": "12345"}
        scene.step(5, 11, scene.owner, "incident.notify", refs, to="authority", **notice)
        scene.step(5, 12, scene.owner, "incident.notify", refs, to="persons", **notice)
    scene.step(8, 9, scene.owner, "incident.close", refs, result="恢复")
    scene.expect("PIPL/57", scene.provider, f"incident/{refs['incident']}")


def emergency(scene: Scene) -> dict[str, str]:
    """An emergency, and a grant under it that has ended; what a review refers to."""
    dataset = scene.entry()
    declared = {
        "basis": "市政府公告〔2026〕1号",
        "purpose": "school",
        "items": scene.items(),
        "until": scene.time(20, 9),
    }
    refs = {"emergency": scene.step(2, 9, HEAD, "emergency.declare", {}, **declared)}
    grant = scene.approve(scene.apply(dataset, refs=refs), dataset, refs=refs)
    scene.supply(grant, dataset)
    return {**refs, "grant": grant}


def improper_emergency(scene: Scene) -> None:
    """G3: the review of an emergency grant finds its use improper."""
    refs = emergency(scene)
    result = "improper" if scene.planted else "proper"
    scene.step(8, 9, DEPUTY, "emergency.review", refs, result=result, note="事后审查")
    scene.expect("D809/40-7", scene.user, f"grant/{refs['grant']}")


def reviewed_by_declarer(scene: Scene) -> None:
    """G3: the key that declared an emergency reviews it, and the review is not made for another week."""
    refs = emergency(scene)
    if scene.planted:
        scene.step(8, 9, HEAD, "emergency.review", refs, result="proper", note="自行审查")
    scene.step(22 if scene.planted else 8, 10, DEPUTY, "emergency.review", refs, result="proper", note="事后审查")
    scene.expect("D809/41-3", AUTHORITY, f"grant/{refs['grant']}")
    scene.alert("G3 emergency-unreviewed")


# --- H, S: accountability, disputes, sources, local law --------------------------------------------------------------


def leaked_copy(scene: Scene) -> None:
    """H1: an incident names a copy, and so whoever held it."""
    _, _, copy = scene.shared()
    opened = {"found": scene.time(9, 9), "type": "leak", "grade": "general", "pi": "none", "measure": "断开接口"}
    refs = {"copy": [copy]} if scene.planted else {}
    found = scene.step(9, 9.5, scene.supplier, "incident.open", refs, **opened)
    scene.expect("D809/40-6", scene.user, f"incident/{found}")


def order_not_followed(scene: Scene) -> None:
    """H1: what an inspection found is confirmed and ordered to be corrected, and the report comes after the term."""
    about = {"about": scene.user}
    seen = scene.step(3, 9, HEAD, "inspect.record", {}, scope="目录管理", code="D809/39-2", **about)
    scene.always("D809/39-2", scene.user, f"inspection/{seen}")
    refs = {"finding": scene.confirm(seen, 5, inspection=seen)}
    scene.step(6, 9, HEAD, "order.issue", refs, demand="补报目录", days=5, **about)
    scene.step(14 if scene.planted else 9, 9, scene.head, "order.report", refs, done="已补报")
    scene.step(15, 9, HEAD, "order.accept", refs, **about)
    scene.alert("H1 order-overdue")


def decided_late(scene: Scene) -> None:
    """H2: a dispute waits for its decision for longer than twenty working days."""
    dataset = scene.entry()
    refs = {"application": scene.apply(dataset)}
    scene.step(4, 9, scene.owner, "share.deny", {**refs, "dataset": dataset}, reason="no-need")
    refs["dispute"] = scene.step(5, 9, scene.head, "dispute.open", refs, respondent=scene.provider, position="履职必需")
    scene.step(6, 9, scene.owner, "dispute.negotiate", refs, result="failed")
    scene.step(7, 9, scene.head, "dispute.escalate", {"dispute": refs["dispute"]}, to=AUTHORITY, tier="authority")
    day = 30 if scene.planted else 15
    scene.step(day, 9, HEAD, "dispute.decide", refs, result="dismissed", reason="非履职必需", final=True)
    scene.alert("H2 dispute-slow")


def complaint_unanswered(scene: Scene) -> None:
    """H2: a complaint has no result after fifteen working days."""
    refs = {
        "complaint": scene.step(2, 9, scene.head, "complaint.file", {}, about=scene.provider, matter="重复提交材料")
    }
    scene.step(20 if scene.planted else 9, 9, scene.head, "complaint.result", refs, result="unfounded", note="已核实")
    scene.alert("H2 complaint-slow")


def silent_source(scene: Scene) -> None:
    """S1: a source that reports each month is silent; at last it is registered anew without a cadence."""
    dataset = scene.entry()
    refs = {"source": f"{scene.provider}/{scene.name}"}
    stated = {"system": "业务系统", "method": "数据库日志", "storage": "只读归档"}
    scene.step(3, 9, scene.supplier, "source.register", refs, cadence_hours=720, **stated)
    last = CLOSING - scene.day
    for day in range(10, 12 if scene.planted else last, 10):
        scene.step(day, 9, scene.supplier, "data.update", {**refs, "dataset": dataset}, count=3)
    scene.step(last, 9, scene.supplier, "source.register", refs, **stated)
    scene.expect("source-silent", scene.provider, f"source/{refs['source']}")
    scene.alert("S1 source-late")


def late_authority(scene: Scene) -> None:
    """SC24: the data authority of a Sichuan department replies after its five working days."""
    dataset = scene.entry(by=SICHUAN)
    refs = {"application": scene.apply(dataset), "dataset": dataset}
    scene.step(10 if scene.planted else 5, 9, HEAD, "share.direct", refs, decision="approve")
    scene.expect("SC/69-1", AUTHORITY, f"application/{refs['application']}")
    day = 11 if scene.planted else 6
    grant = scene.approve(refs["application"], dataset, day)
    delivered = {"to": scene.user, "method": "api"}
    scene.step(day, 12, (SICHUAN, "system"), "share.deliver", {"dataset": dataset, "grant": grant}, **delivered)


SORTS: Final[tuple[Callable[[Scene], None], ...]] = (
    plan_missing, repaired_late, stale, unrefreshed, unattested, regraded, withheld_without_law, right_too_wide,
    charged_for_free, metered_otherwise, opened_beyond_entry, opened_unasked, reported_late, passed_on_late, nobody_told,
    improper_emergency, reviewed_by_declarer, leaked_copy, order_not_followed, decided_late, complaint_unanswered,
    silent_source, late_authority,
)  # fmt: skip
