"""Where a planted breach of the city's year happens: who takes part, from which day on, and what leads up to it lawfully.

Each sort of breach is played in two scenes: once as it is planted, once the same way but lawfully. What a scene expects it
expects of the breach alone, but for what is `always` found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ledger.core.ident import format_time

if TYPE_CHECKING:
    from tests.models.city_year import Planner

AUTHORITY: Final = "sj"
GOVERNMENT: Final = "zf"
COMPANY: Final = "yun"
COUNTY: Final = "qx"
SICHUAN: Final = "sc"
"""A department whose own law (overlay `sichuan`) gives the reply to its data authority."""
HEAD: Final = (AUTHORITY, "authority")
DEPUTY: Final = (AUTHORITY, "deputy")
UNTIL: Final = "2026-12-31"
ASSESSED_UNTIL: Final = "2027-12-31"
EVENING: Final = 205
"""The working day from which on nobody uses an ordinary grant."""
CLOSING: Final = 225
"""The working day on which what would run on beyond the year is ended."""
DIGEST: Final = "0" * 64
ATTESTED: Final = ["secrecy", "pi-impact", "no-secrets"]

Who = tuple[str, str]
"""(member, label of its key)."""


class Scene:
    """Three departments that differ, and a first day; days are counted in working days from there."""

    def __init__(self, planner: Planner, sort: str, number: int, *, planted: bool) -> None:
        self.planner, self.planted = planner, planted
        self.number = 2 * number + (not planted)
        self.name = f"{sort.replace('_', '-')}-{self.number}"
        # No two scenes of a sort have the same pair, while there are pairs: what is between the two concerns one scene.
        known = planner.departments
        turn, self.place = divmod(self.number, len(known))
        self.provider = known[self.place]
        self.user = known[(self.place + 1 + turn % (len(known) - 1)) % len(known)]
        self.third = next(each for each in known if each not in (self.provider, self.user))
        self.day = planner.random.randint(
            15, 80
        )  # so early that what is due within a year of it is due when all is played
        self.owner, self.supplier = (self.provider, "office"), (self.provider, "system")
        self.head, self.machine = (self.user, "office"), (self.user, "system")

    def step(self, day: int, hour: float, who: Who, kind: str, refs: dict[str, Any], **content: Any) -> str:
        """An event of the scene; the name of what it creates."""
        return self.planner.step(self.day + day, hour, who, kind, refs, **content)

    def time(self, day: int, hour: float) -> str:
        """The moment as text."""
        return format_time(self.planner.calendar.at(self.day + day, hour))

    def date(self, day: int) -> str:
        """The day in Beijing."""
        return format_time(self.planner.calendar.at(self.day + day, 8))[:10]

    # --- what must come of it ----------------------------------------------------------------------------------------

    def always(self, code: str, about: str, on: str) -> None:
        """A finding, in the lawful scene too."""
        self.planner.expect(code, about, on)

    def expect(self, code: str, about: str, on: str) -> None:
        """A finding of the breach."""
        if self.planted:
            self.always(code, about, on)

    def refuse(self, kind: str, *reasons: str) -> None:
        """A refusal, for `<rule> <code>` each."""
        if self.planted:
            self.planner.city.refused[kind, *reasons] += 1

    def alert(self, alert: str) -> None:
        """An alert `<rule> <code>`."""
        if self.planted:
            self.planner.city.alerts[alert] += 1

    # --- what leads up to it -----------------------------------------------------------------------------------------

    def items(self, count: int = 2, of: str = "") -> list[str]:
        """Items that no other scene knows."""
        return [f"{self.name}{of}.{number}" for number in range(count)]

    def entry(self, *, by: str | None = None, of: str = "", day: int = 0, **fields: Any) -> str:
        """An entry of the catalogue, published on the next day; `of` names a further one."""
        provider = by or self.provider
        fields.setdefault("items", self.items(of=of))
        dataset = f"{provider}/{self.name}{of}"
        self.planner.publish(dataset, self.day + day, **fields)
        return dataset

    def important(self) -> str:
        """An entry of important data, with the report that its provider owes within the year."""
        dataset = self.entry(level="important")
        self.assess(dataset, "risk", self.provider, CLOSING - self.day)
        return dataset

    def assess(self, dataset: str, kind: str, member: str, day: int = 2) -> dict[str, list[str]]:
        """An assessment of an entry, as what an event refers to."""
        content = {"type": kind, "result": "passed", "until": ASSESSED_UNTIL}
        return {"assessment": [self.step(day, 9, (member, "office"), "assess.record", {"dataset": dataset}, **content)]}

    def apply(self, dataset: str, day: int = 3, refs: dict[str, Any] | None = None, **fields: Any) -> str:
        """An application of the user for all items of the entry."""
        content = {
            "basis": "法定职责", "purpose": "school", "items": self.items(), "method": "api", "until": UNTIL, **fields,
        }  # fmt: skip
        return self.step(day, 9, self.head, "share.apply", {"dataset": dataset, **(refs or {})}, **content)

    def approve(
        self, application: str, dataset: str, day: int = 3, refs: dict[str, Any] | None = None, **fields: Any
    ) -> str:
        """The provider consents."""
        refs = {"application": application, "dataset": dataset, **(refs or {})}
        return self.step(day, 11, (dataset.split("/", maxsplit=1)[0], "office"), "share.approve", refs, **fields)

    def grant(self, dataset: str, day: int = 3, **fields: Any) -> str:
        """An application, and the consent."""
        return self.approve(self.apply(dataset, day, **fields), dataset, day)

    def supply(self, grant: str, dataset: str, day: int = 4, refs: dict[str, Any] | None = None, **fields: Any) -> str:
        """The provider delivers to the user, who confirms the receipt."""
        refs = {"dataset": dataset, "grant": grant, **(refs or {})}
        copy = self.step(day, 9, self.supplier, "share.deliver", refs, **{"to": self.user, "method": "api", **fields})
        self.step(day, 10, (fields.get("to", self.user), "system"), "share.receive", {"copy": copy, "grant": grant})
        return copy

    def shared(self) -> tuple[str, str, str]:
        """An ordinary entry, the grant of it and the copy that was supplied."""
        dataset = self.entry()
        grant = self.grant(dataset)
        return dataset, grant, self.supply(grant, dataset)

    def use(self, grant: str, dataset: str, day: int, hour: float = 11, **fields: Any) -> str:
        """One access by the user."""
        content = {"purpose": "school", "items": self.items(1), "count": 3, **fields}
        return self.step(day, hour, self.machine, "use.access", {"dataset": dataset, "grant": grant}, **content)

    def record(self, grant: str, dataset: str, day: int) -> None:
        """All that the law wants on record of the use until then."""
        self.step(
            day, 17, self.head, "use.record", {"dataset": dataset, "grant": grant},
            scenario="业务办理", process="比对", covers=self.date(day), effect="减少材料一份", storage="专用库存放",
        )  # fmt: skip

    def derive(self, grant: str, dataset: str, copy: str, day: int, level: str = "general") -> str:
        """Data that the user makes of its copy."""
        refs = {"copy": [copy], "grant": [grant], "dataset": [dataset]}
        return self.step(
            day, 9, self.machine, "use.derive", refs, purpose="school", level=level, algorithm="按地址匹配"
        )

    def confirm(self, finding: str, day: int, by: Who = DEPUTY, **refs: str) -> str:
        """A human confirms the first finding of an event, about the user; the finding's name."""
        name = f"f:{finding}.1"
        self.step(day, 9, by, "finding.confirm", {"finding": name, **refs}, about=self.user, reason="属实")
        return name
