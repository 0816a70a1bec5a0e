"""Generated histories of the data-sharing rulebook: plausible and odd events by several departments, in time order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from ledger.core.ident import parse_time, uuid7_at
from ledger.rules.scratch import Step, make_step

START = parse_time("2026-02-02T01:00:00.000Z")
HOUR = 3_600_000
MEMBERS = ("ga", "jy", "sw")
ROLES: dict[str, list[str]] = {"head": ["dept-head", "office-head"], "system": ["system"], "authority": ["authority"]}
ITEMS = ("name", "address", "birth")
PURPOSES = ("school", "tax")


@dataclass(frozen=True)
class Action:
    """One drawn step: waits `hours`, then `kind` by `member`; `pick` chooses among what exists, `odd` spoils something."""

    hours: int
    kind: str
    member: str
    signer: str
    pick: int
    odd: int
    intent: bool


KINDS = (
    "catalog.draft",
    "quality.plan",
    "catalog.submit",
    "catalog.return",
    "catalog.publish",
    "share.apply",
    "share.withdraw",
    "share.notice",
    "share.supplement",
    "share.extend.request",
    "share.extend.decide",
    "share.approve",
    "share.deny",
    "share.deliver",
    "share.receive",
    "use.access",
    "use.record",
    "purpose.end",
    "dispose.instruct",
    "dispose.done",
    "dispose.verify",
    "import.batch",
    "source.register",
)

# Who does what, unless an action is odd.
PARTY = {
    "catalog.draft": "ga",
    "quality.plan": "ga",
    "share.extend.request": "ga",
    "catalog.submit": "ga",
    "share.apply": "jy",
    "share.withdraw": "jy",
    "share.notice": "ga",
    "share.supplement": "jy",
    "share.approve": "ga",
    "share.deny": "ga",
    "share.deliver": "ga",
    "share.receive": "jy",
    "use.access": "jy",
    "use.record": "jy",
    "purpose.end": "jy",
    "dispose.instruct": "ga",
    "dispose.done": "jy",
    "dispose.verify": "ga",
}

# Likelier kinds first, so that histories get somewhere.
COURSE = (
    "catalog.draft", "quality.plan", "catalog.submit", "catalog.publish", "share.apply", "share.approve", "share.deliver",
    "share.receive",
    "use.access", "use.access", "purpose.end", "dispose.done", "dispose.verify",
)  # fmt: skip

actions = st.builds(
    Action,
    hours=st.sampled_from([0, 0, 0, 1, 30, 24 * 7, 24 * 40]),
    kind=st.one_of(st.sampled_from(COURSE), st.sampled_from(KINDS)),
    member=st.sampled_from(MEMBERS),
    signer=st.sampled_from(["fit", "fit", "fit", "head", "system", "authority"]),
    pick=st.integers(0, 5),
    odd=st.integers(0, 9),
    intent=st.sampled_from([False, False, False, True]),
)
histories = st.lists(actions, min_size=5, max_size=40)

PREFIX = [
    Action(0, kind, member, "fit", 0, 9, intent=False)
    for kind, member in (
        ("catalog.draft", "ga"), ("quality.plan", "ga"), ("catalog.submit", "ga"), ("catalog.publish", "ga"),
        ("share.apply", "jy"),
        ("share.approve", "ga"), ("share.deliver", "ga"), ("share.receive", "jy"), ("use.access", "jy"),
    )
]  # fmt: skip


class Writer:
    """Turns actions into events; remembers the names of what earlier events asked to create, accepted or not."""

    def __init__(self) -> None:
        self.time = START
        self.count = 0
        self.names: dict[str, list[str]] = {"application": [], "grant": [], "copy": []}

    def step(self, action: Action) -> tuple[int, Step]:
        """(time, event) of the next action."""
        self.time += action.hours * HOUR
        self.count += 1
        if action.odd > 2:
            action = replace(action, member=PARTY.get(action.kind, action.member))
        event_id = uuid7_at(self.time, self.count.to_bytes(10, "big"))
        refs, body = self.content(action)
        made = {"share.apply": "application", "share.approve": "grant", "share.deliver": "copy"}.get(action.kind)
        if made is not None and not action.intent:
            self.names[made].append(f"{action.member}/{event_id}")
        signer = action.signer
        if signer == "fit":
            signer = (
                "authority" if action.kind in ("catalog.publish", "catalog.return", "share.extend.decide") else "head"
            )
        key = f"{action.member}-{signer}-{action.pick % 2}"
        claimed = self.time - (action.odd - 8) * 1000 if action.odd < 2 else self.time
        step = make_step(
            action.member, event_id, action.kind, claimed, refs, body, key=key, roles=ROLES[signer], intent=action.intent
        )  # fmt: skip
        return self.time, step

    def known(self, kind: str, pick: int) -> str:
        """A name of this kind, the newest for pick 0."""
        names = self.names[kind]
        return names[-1 - pick % len(names)] if names else "ga/nothing"

    def content(self, action: Action) -> tuple[dict[str, Any], dict[str, Any]]:
        """Refs and body of an action."""
        pick, odd = action.pick, action.odd
        dataset = {"dataset": f"ga/d{pick % 2 if odd == 0 else 0}"}
        application = {"application": self.known("application", pick)}
        grant = {"grant": self.known("grant", pick)}
        copy = {"copy": self.known("copy", pick)}
        body: dict[str, Any] = {}
        refs: dict[str, Any] = {}
        match action.kind:
            case "catalog.draft":
                refs = {"dataset": f"{action.member}/d0"}
                body = {
                    "name": "户籍", "items": list(ITEMS), "format": "json", "frequency": "daily", "methods": ["api"],
                    "sharing": ("conditional", "unconditional", "refused")[pick % 3 if odd < 3 else 0], "level": "general",
                    "purposes": list(PURPOSES), "reason": "涉密", "legal_basis": "法",
                }  # fmt: skip
            case "catalog.submit":
                refs, body = dataset, {"attested": ["secrecy", "pi-impact", "no-secrets"][: 3 if odd > 1 else 2]}
            case "catalog.publish":
                refs = {**dataset, "item": sorted(ITEMS)}
            case "catalog.return":
                refs, body = dataset, {"reason": "不全"}
            case "share.apply" | "share.supplement":
                refs = dataset if action.kind == "share.apply" else {**dataset, **application}
                body = {"basis": "法", "purpose": PURPOSES[0], "items": list(ITEMS[: 1 + pick % 3]), "method": "api"}
                body["until"] = ("2026-06-30", "2026-02-20", "2027-12-31")[pick % 3]
                if odd < 3:
                    del body[("basis", "until", "purpose")[odd]]
            case "share.withdraw":
                refs = application
            case "share.notice":
                refs, body = application, {"lacking": ["basis"]}
            case "quality.plan":
                refs = dataset
                body = dict.fromkeys(("completeness", "accuracy", "consistency", "timeliness"), 9_000 + pick)
            case "share.extend.request":
                refs, body = application, {"days": 1 + pick * 3, "reason": "会商"}
            case "share.extend.decide":
                refs, body = {**application, **dataset}, {"granted": odd > 3, "days": 1 + pick * 3, "reason": "会商"}
            case "share.approve":
                refs, body = {**application, **dataset}, {"onward": ["sw"]} if pick % 2 else {}
            case "share.deny":
                refs, body = {**application, **dataset}, {"reason": "security"} if odd > 2 else {}
            case "share.deliver":
                refs = {**grant, **dataset, **(copy if odd < 4 and pick % 2 else {})}
                body = {"to": MEMBERS[1 + pick % 2], "method": "api"}
            case "share.receive" | "dispose.verify":
                refs = {**copy, **grant}
            case "dispose.done":
                refs, body = {**copy, **grant}, {"method": "delete"}
            case "use.access":
                refs = {**grant, **dataset}
                purpose = PURPOSES[pick % 2 if odd < 4 else 0]
                body = {"purpose": purpose, "items": list(ITEMS[: 1 + odd % 2]), "count": odd}
            case "use.record":
                refs = {**grant, **dataset}
                body = {"scenario": "x", "process": "y", "covers": "2026-03-01"}
            case "purpose.end":
                refs, body = grant, {"ground": "achieved"}
            case "dispose.instruct":
                refs, body = grant, {"method": "delete", "days": 1 + pick}
            case "import.batch":
                refs, body = dataset, {"activity": "x", "stage": "use", "happened": "2011-01-01T00:00:00.000Z"}
            case "source.register":
                refs = {"source": f"{action.member}/s{pick}"}
                body = {"system": "a", "method": "b", "storage": "c"}
        if odd == 1 and pick == 3:
            body["surplus"] = 1
        return refs, body


def events(actions_drawn: list[Action], *, prefix: bool = True) -> list[tuple[int, Step]]:
    """(time, event) of a history; with `prefix` it begins with a grant in use."""
    writer = Writer()
    return [writer.step(action) for action in (PREFIX if prefix else []) + actions_drawn]
