"""Planted breaches of applying, collecting, sharing and using (rules A to C), one function each sort.

A function plays its scene as it is planted and, where the scene is not, the same way lawfully. The other sorts stand in
`city_oversight`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.models.city_scene import COMPANY, COUNTY, DIGEST, EVENING, HEAD, UNTIL, Scene

# --- A: applying, collecting, special data ---------------------------------------------------------------------------


def applied_too_early(scene: Scene) -> None:
    """A1: an entry is applied for before it is published."""
    dataset = scene.entry(day=1)
    if scene.planted:
        scene.apply(dataset, day=2)
    scene.refuse("share.apply", "A1 not-published")
    scene.supply(scene.grant(dataset, day=4), dataset, day=5)


def condition_added(scene: Scene) -> None:
    """A4: consent under a condition that the catalogue does not list."""
    dataset = scene.entry()
    application = scene.apply(dataset)
    if scene.planted:
        scene.approve(application, dataset, conditions=["fee"])
    scene.refuse("share.approve", "A4 added-condition")
    grant = scene.approve(application, dataset, day=4)
    scene.supply(grant, dataset, day=5)


def repeated_collection(scene: Scene) -> None:
    """A6: an item is collected that another department offers, and was not shown to be of no use."""
    dataset = scene.entry()
    own = scene.entry(by=scene.user, of="own")
    refs = {"dataset": own, "item": scene.items(1)}
    if not scene.planted:
        refs["application"] = application = scene.apply(dataset)
        denied = {"application": application, "dataset": dataset}
        scene.step(4, 9, scene.owner, "share.deny", denied, reason="no-need")
    scene.step(6, 9, scene.head, "collect.done", refs, power="法定职权", procedure="法定程序", subjects="citizens")
    scene.expect("D809/40-1", scene.user, f"item/{scene.items()[0]}")


def collect(scene: Scene, dataset: str) -> None:
    """The provider collects its own data; as planted, without power and procedure."""
    cited = {} if scene.planted else {"power": "法定职权", "procedure": "法定程序"}
    scene.step(
        2, 9, scene.owner, "collect.done", {"dataset": dataset, "item": scene.items(1)}, subjects="citizens", **cited
    )


def baseless_collection(scene: Scene) -> None:
    """A7: a collection that cites no power and no procedure."""
    dataset = scene.entry()
    collect(scene, dataset)
    scene.expect("DSL/38", scene.provider, f"dataset/{dataset}")


def baseless_personal_collection(scene: Scene) -> None:
    """A7: the same of personal information."""
    dataset = scene.entry(pi="pi")
    collect(scene, dataset)
    scene.expect("PIPL/34", scene.provider, f"dataset/{dataset}")


def personal_unassessed(scene: Scene) -> None:
    """A8: personal information is supplied without an assessment of the impact."""
    dataset = scene.entry(pi="pi")
    refs = {} if scene.planted else scene.assess(dataset, "pi-impact", scene.provider)
    grant = scene.grant(dataset, pi_basis="statutory-duty")
    masking = [{"item": item, "profile": "partial"} for item in scene.items()]
    scene.supply(grant, dataset, refs=refs, masking=masking)
    scene.expect("PIPL/55", scene.provider, f"dataset/{dataset}")


def important_unassessed(scene: Scene) -> None:
    """A9: important data are supplied without an assessment of the risk."""
    dataset = scene.important()
    refs = {} if scene.planted else scene.assess(dataset, "risk", scene.provider)
    grant = scene.grant(dataset)
    scene.supply(grant, dataset, refs=refs)
    scene.expect("NDSR/31", scene.provider, f"dataset/{dataset}")


def sent_abroad(scene: Scene) -> None:
    """A9: important data go abroad without the number of a security assessment."""
    dataset = scene.important()
    refs = scene.assess(dataset, "risk", scene.provider)
    grant = scene.grant(dataset)
    number: dict[str, Any] = {} if scene.planted else {"cac_id": "国信安评〔2026〕1号"}
    scene.supply(grant, dataset, refs=refs, abroad=True, **number)
    scene.expect("NDSR/37", scene.provider, f"dataset/{dataset}")


def risk_unreported(scene: Scene) -> None:
    """A9: the yearly report on important data is not made; found when the next year is over."""
    dataset = scene.entry(level="important") if scene.planted else scene.important()
    scene.expect("NDSR/33", scene.provider, f"dataset/{dataset}")


def entrust(scene: Scene, grant: str, dataset: str) -> str:
    """The user entrusts a company with the processing of one item."""
    refs = {"member": COMPANY, "dataset": dataset, "grant": grant, **scene.assess(dataset, "security", scene.user, 5)}
    return scene.step(
        5, 10, scene.head, "entrust.approve", refs, contract="2026-7", purpose="school", items=scene.items(1),
        operations=["access", "store"], measures="加密存储", until=UNTIL,
    )  # fmt: skip


def beyond_entrustment(scene: Scene) -> None:
    """A10: a processor reads an item that the grant allows and the contract does not."""
    dataset, grant, _ = scene.shared()
    entrustment = entrust(scene, grant, dataset)
    refs = {"dataset": dataset, "grant": grant, "entrustment": entrustment, "for": scene.user}
    items = scene.items(2 if scene.planted else 1)
    scene.step(6, 9, (COMPANY, "system"), "use.access", refs, purpose="school", items=items, count=3)
    scene.expect("NDSR/16", COMPANY, f"entrustment/{entrustment}")
    scene.record(grant, dataset, 6)
    scene.step(20, 9, scene.head, "entrust.end", {"entrustment": entrustment}, disposition="deleted")
    scene.step(21, 9, (scene.user, "verifier"), "entrust.check", {"entrustment": entrustment}, result="passed")


def entrustment_unnamed(scene: Scene) -> None:
    """A10: the key of a processor in a department names no entrustment; the finding is on no object."""
    dataset = scene.entry()
    who = (scene.provider, "vendor" if scene.planted else "system")
    scene.step(3, 9, who, "data.manage", {"dataset": dataset}, operation="clean")
    scene.expect("NDSR/16", scene.provider, "")


def processor_passed_on(scene: Scene) -> None:
    """A10, B2: a processor hands its copy on."""
    dataset, grant, copy = scene.shared()
    entrustment = entrust(scene, grant, dataset)
    refs = {"dataset": dataset, "grant": grant}
    held = {**refs, "copy": copy, "entrustment": entrustment}
    taken = scene.step(6, 9, scene.machine, "share.deliver", held, to=COMPANY, method="file")
    scene.step(6, 10, (COMPANY, "system"), "share.receive", {"copy": taken, "grant": grant})
    if scene.planted:
        onward = {**refs, "copy": taken}
        scene.step(7, 9, (COMPANY, "system"), "share.deliver", onward, to=scene.third, method="file")
    scene.expect("PIPL/21", COMPANY, f"copy/{taken}")
    scene.expect("D809/40-3", COMPANY, f"copy/{taken}")


# --- B: using --------------------------------------------------------------------------------------------------------


def wrong_receiver(scene: Scene) -> None:
    """B2: the provider delivers to one who has no grant, then to the user."""
    dataset = scene.entry()
    grant = scene.grant(dataset)
    if scene.planted:
        scene.supply(grant, dataset, to=scene.third)
    scene.expect("D809/39-9", scene.provider, f"grant/{grant}")
    scene.supply(grant, dataset, day=5)


def ungranted(scene: Scene) -> None:
    """B2: the provider supplies conditional data under no grant."""
    dataset, _, _ = scene.shared()
    if scene.planted:
        scene.step(5, 9, scene.supplier, "share.deliver", {"dataset": dataset}, to=scene.third, method="file")
    scene.expect("D809/39-9", scene.provider, f"dataset/{dataset}")


def reviewed_use(scene: Scene) -> None:
    """B3: access by night, which a human finds to lie beyond the scope."""
    dataset, grant, _ = scene.shared()
    scene.use(grant, dataset, 5, hour=23)
    scene.record(grant, dataset, 6)
    outcome = "beyond-scope" if scene.planted else "normal"
    scene.step(7, 9, scene.owner, "use.review", {"dataset": dataset, "grant": grant}, outcome=outcome, note="夜间调用")
    scene.expect("D809/40-2", scene.user, f"grant/{grant}")


def graded_too_low(scene: Scene) -> None:
    """B4: what is derived of important data is graded below it."""
    dataset = scene.important()
    grant = scene.grant(dataset)
    copy = scene.supply(grant, dataset, refs=scene.assess(dataset, "risk", scene.provider))
    made = scene.derive(grant, dataset, copy, 6, level="general" if scene.planted else "important")
    scene.expect("D809/40-6", scene.user, f"copy/{made}")


def unmasked(scene: Scene) -> None:
    """B5: personal information is supplied without a word on its masking."""
    dataset = scene.entry(pi="pi")
    refs = scene.assess(dataset, "pi-impact", scene.provider)
    grant = scene.grant(dataset, pi_basis="statutory-duty")
    left = scene.items(1 if scene.planted else 2)
    scene.supply(grant, dataset, refs=refs, masking=[{"item": item, "profile": "partial"} for item in left])
    scene.expect("PIPL/51", scene.provider, f"dataset/{dataset}")


def outside(scene: Scene, grant: str, dataset: str, day: int) -> str:
    """Use for another purpose, confirmed by a human on the next day; the finding."""
    scene.always("D809/40-2", scene.user, f"grant/{grant}")
    found = scene.use(grant, dataset, day, purpose="housing")
    scene.record(grant, dataset, day)
    return scene.confirm(found, day + 1, grant=grant)


def used_while_suspended(scene: Scene) -> None:
    """B1, B7: a grant is used on although it was suspended, and the rectification is not reported in time."""
    dataset, grant, _ = scene.shared()
    finding = outside(scene, grant, dataset, 6)
    told = {"user": scene.user, "reason": "超范围使用"}
    order = {"grant": grant, "finding": finding}
    scene.step(8, 9, scene.owner, "grant.suspend", order, days=5, covers="grant", **told)
    if scene.planted:
        scene.use(grant, dataset, 9)
    scene.expect("D809/40-2", scene.user, f"grant/{grant}")
    scene.expect("D809/40-7", scene.user, f"grant/{grant}")
    scene.step(15 if scene.planted else 10, 9, scene.head, "grant.rectify", {"grant": grant}, measures="已删除")
    scene.step(16, 9, scene.owner, "grant.resume", {"grant": grant}, **told)
    scene.use(grant, dataset, 17)
    scene.record(grant, dataset, 18)


def barred(scene: Scene) -> None:
    """B7: a suspension covers everything between the two, and another grant is used; late, when nothing else is."""
    dataset, grant, _ = scene.shared()
    other = scene.grant(dataset, 5)
    scene.supply(other, dataset, 6)
    day = EVENING + 3 - scene.day
    finding = outside(scene, grant, dataset, day)
    told = {"user": scene.user, "reason": "超范围使用"}
    covers = "all" if scene.planted else "grant"
    scene.step(
        day + 2, 9, scene.owner, "grant.suspend", {"grant": grant, "finding": finding}, days=5, covers=covers, **told
    )
    scene.use(other, dataset, day + 3)
    scene.expect("D809/40-2", scene.user, f"grant/{other}")
    scene.record(other, dataset, day + 4)
    scene.step(day + 4, 9, scene.head, "grant.rectify", {"grant": grant}, measures="已整改")
    scene.step(day + 5, 9, scene.owner, "grant.resume", {"grant": grant}, **told)


def stopped_service(scene: Scene) -> None:
    """B8: a service is stopped although no end was filed."""
    _, grant, _ = scene.shared()
    cause = "stopped" if scene.planted else "maintenance"
    scene.step(9, 9, scene.head, "service.interrupt", {"grant": grant}, cause=cause, since=scene.time(8, 9))
    scene.expect("D809/39-7", scene.provider, f"grant/{grant}")


def need(scene: Scene) -> dict[str, str]:
    """The county needs the return of an entry; what the return refers to."""
    dataset = scene.entry(territory="510100")
    demand = scene.step(
        2, 9, (COUNTY, "office"), "demand.list", {"dataset": dataset},
        list="need", items=scene.items(1), text="基层治理", backflow=True, territory="510104",
    )  # fmt: skip
    return {"dataset": dataset, "demand": demand}


def returned_late(scene: Scene) -> None:
    """B9: data are returned after the term that the authority set when it urged."""
    refs = need(scene)
    scene.step(10, 9, HEAD, "backflow.urge", {"demand": refs["demand"]}, days=5)
    scene.step(18 if scene.planted else 12, 9, scene.owner, "backflow.deliver", refs, complete=True)
    scene.expect("D809/39-5", scene.provider, f"demand/{refs['demand']}")


def returned_under_conditions(scene: Scene) -> None:
    """B9: data are returned under a condition."""
    refs = need(scene)
    added = {"conditions": ["须另行申请"]} if scene.planted else {}
    scene.step(4, 9, scene.owner, "backflow.deliver", refs, complete=True, **added)
    scene.expect("D809/39-5", scene.provider, f"demand/{refs['demand']}")


# --- C: custody, lineage, reads --------------------------------------------------------------------------------------


def pruned_too_early(scene: Scene) -> None:
    """C1: an authority asks for the erasure of what is not three years old."""
    _, grant, _ = scene.shared()
    if scene.planted:
        before = {"before": scene.date(3), "classes": ["use"], "export": DIGEST, "height": 1}
        scene.step(20, 9, HEAD, "archive.prune", {"grant": grant}, **before)
    scene.refuse("archive.prune", "C1 too-young")


def destroyed_on_hold(scene: Scene) -> None:
    """C2: a copy is disposed of that is on legal hold."""
    _, grant, copy = scene.shared()
    refs = {"copy": copy, "grant": grant}
    scene.step(6, 9, HEAD, "hold.set", refs, ground="investigation", order="甲检〔2026〕1号")
    if not scene.planted:
        scene.step(8, 9, HEAD, "hold.lift", refs, reason="侦查终结")
    scene.step(9, 9, scene.machine, "dispose.done", refs, method="delete")
    scene.expect("D809/40-5", scene.user, f"copy/{copy}")


def parent_first(scene: Scene) -> None:
    """C2: a copy is disposed of while something that was made from it lives."""
    dataset, grant, copy = scene.shared()
    made = scene.derive(grant, dataset, copy, 6)
    if not scene.planted:
        refs = {"copy": made, "grant": grant}
        scene.step(8, 9, scene.machine, "dispose.done", refs, method="delete")
        checked = {**refs, "parent": [copy], "dataset": [dataset]}
        scene.step(8, 11, (scene.user, "verifier"), "dispose.verify", checked)
    scene.step(9, 9, scene.machine, "dispose.done", {"copy": copy, "grant": grant}, method="delete")
    scene.expect("D809/40-4", scene.user, f"copy/{copy}")


def copy_found(scene: Scene) -> None:
    """C2: a copy turns up with a department that nobody supplied."""
    dataset, grant, _ = scene.shared()
    if scene.planted:
        refs = {"dataset": dataset, "grant": grant}
        scene.step(9, 9, scene.owner, "custody.found", refs, holder=scene.third, how="检查发现")
    scene.expect("D809/40-3", scene.user, f"grant/{grant}")


def unlawful_origin(scene: Scene) -> None:
    """A7, C3: what was collected without power is supplied, and the user makes something of it."""
    dataset = scene.entry()
    collect(scene, dataset)
    scene.expect("DSL/38", scene.provider, f"dataset/{dataset}")
    grant = scene.grant(dataset)
    copy = scene.supply(grant, dataset)
    made = scene.derive(grant, dataset, copy, 6)
    scene.expect("D809/40-7", scene.user, f"copy/{made}")


def seal_broken(scene: Scene) -> None:
    """C4: a sealed batch of reads is opened with another root than it had."""
    served = {"from": scene.time(3, 8), "to": scene.time(3, 9), "count": 1, "denied": 0}
    sealed = {**served, "root": "1" * 64, "sealed": scene.date(20), "ground": "案件侦查"}
    log = scene.step(3, 10, scene.supplier, "audit.read", {}, **sealed)
    opened = {**served, "root": "2" * 64 if scene.planted else "1" * 64}
    scene.step(15, 9, scene.supplier, "audit.read", {"readlog": log}, **opened)
    scene.expect("D809/40-6", scene.provider, f"readlog/{log}")


SORTS: Final[tuple[Callable[[Scene], None], ...]] = (
    applied_too_early, condition_added, repeated_collection, baseless_collection, baseless_personal_collection,
    personal_unassessed, important_unassessed, sent_abroad, risk_unreported, beyond_entrustment, entrustment_unnamed,
    processor_passed_on, wrong_receiver, ungranted, reviewed_use, graded_too_low, unmasked, used_while_suspended, barred,
    stopped_service, returned_late, returned_under_conditions, pruned_too_early, destroyed_on_hold, parent_first,
    copy_found, unlawful_origin, seal_broken,
)  # fmt: skip
