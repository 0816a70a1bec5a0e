"""Decides whether a rulebook does what its cases say: sequences of events with dates and the verdicts expected of them.

Rules: `cases/<ID>.toml` belongs to one rule and needs at least one case of each type (accept, breach, edge);
`cases/common.toml` holds actors and sequences that cases start from. A case has steps, and one of type breach expects a
breach: where nothing happens, nothing is shown. What a case does not mention must not happen: a reason or finding that is
not expected fails it. Cases run in any runtime, on a scratch ledger with block time = `at`.
Not here: files of a disk, the table that a command prints.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.core import canonical
from ledger.core.ident import format_time, parse_time, uuid7_at
from ledger.errors import MalformedError
from ledger.rules.kinds import refuse
from ledger.rules.program import Outcome, Program
from ledger.rules.scratch import RunBlock, Scratch, make_step

COMMON: Final = "cases/common.toml"
TYPES: Final = ("accept", "breach", "edge")
_AT: Final = re.compile(r"(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2})(:\d{2})?(\.\d{3})?").fullmatch
_NAMED: Final = re.compile(r"\$([a-z][a-z0-9_]*)")
_STEP_FIELDS: Final = frozenset(
    {
        "at", "by", "do", "as", "refs", "body", "claimed", "intent", "expect", "reasons", "findings", "duties", "alerts",
        "fires", "state", "note",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One case in one runtime: what `ledger rules test` prints. `message` is empty when it passed."""

    rule: str
    case: str
    zh: str
    type: str
    runtime: str
    steps: int
    message: str

    @property
    def passed(self) -> bool:
        """Whether everything expected happened, and nothing else."""
        return not self.message


@dataclass(frozen=True, slots=True)
class Case:
    """One case: its rule, name (in English and, where it has one, in Chinese), type, and steps in order, those of the
    sequence it starts from first."""

    rule: str
    name: str
    zh: str
    type: str
    steps: tuple[dict[str, Any], ...]


def run_cases(program: Program, runtimes: Mapping[str, RunBlock]) -> list[Row]:
    """Every case of the program's rulebook in every runtime, and a failed row for each type of case a rule lacks.

    Raises `MalformedError` for a cases file that cannot be read.
    """
    actors, cases = parse_cases(program)
    members = parse_members(program)
    rows: list[Row] = []
    for case in cases:
        for name, run in runtimes.items():
            message = _CaseRun(program, run, actors, members).run(case)
            rows.append(Row(case.rule, case.name, case.zh, case.type, name, len(case.steps), message))
    for rule in sorted(program.book.rules):
        for missing in sorted(set(TYPES) - {case.type for case in cases if case.rule == rule}):
            rows.append(Row(rule, "-", "-", missing, "-", 0, f"no case of type {missing}"))
    return rows


def parse_cases(program: Program) -> tuple[dict[str, dict[str, Any]], list[Case]]:
    """(actors by name, all cases) of a rulebook. Raises `MalformedError`."""
    common = _document(program.book.cases, COMMON)
    actors = common.get("actors", {})
    sequences: dict[str, list[dict[str, Any]]] = {}
    for name, steps in common.get("sequence", {}).items():
        sequences[name] = _steps(COMMON, name, steps, sequences)
    cases: list[Case] = []
    for path in sorted(program.book.cases):
        if path == COMMON:
            continue
        rule = path.removeprefix("cases/").removesuffix(".toml")
        if rule not in program.book.rules:
            refuse(path, "", f"there is no rule {rule}")
        for entry in _document(program.book.cases, path).get("case", []):
            if not isinstance(entry, dict) or entry.get("type") not in TYPES or not isinstance(entry.get("name"), str):
                refuse(path, str(entry.get("name")), f"a case has a name and a type: {', '.join(TYPES)}")
            zh = entry.get("zh", entry["name"])
            if not set(entry) <= {"name", "zh", "type", "start", "step"} or not isinstance(zh, str):
                refuse(path, entry["name"], "a case has name, zh, type, start and step")
            start = sequences.get(entry.get("start", ""), []) if "start" in entry else []
            if "start" in entry and not start:
                refuse(path, entry["name"], f"no sequence {entry['start']!r} in {COMMON}")
            own = _steps(path, entry["name"], entry.get("step", []), sequences)
            if not start and not own:
                refuse(
                    path, entry["name"], "a case has at least one step", "give it a step, or a sequence to start from"
                )
            if entry["type"] == "breach" and not any(_goes_wrong(step) for step in own or start):
                message = "a case of type breach expects a refusal, an irregular act or a finding"
                refuse(path, entry["name"], message, "say in a step what goes wrong, or give the case another type")
            cases.append(Case(rule, entry["name"], zh, entry["type"], tuple(start + own)))
    return actors, cases


def parse_members(program: Program) -> dict[str, bytes]:
    """The registry entries that `[members]` of the common file states, by the key under which rules read them.

    Raises `MalformedError`.
    """
    found: dict[str, bytes] = {}
    for name, entry in _document(program.book.cases, COMMON).get("members", {}).items():
        if not isinstance(entry, dict) or not set(entry) <= {"roles", "attributes"}:
            refuse(COMMON, f"members.{name}", "a member has roles and attributes")
        title = {"en": name, "zh": name}
        fields = {"attributes": entry.get("attributes", {}), "roles": entry.get("roles", []), "title": title}
        found[f"member/{name}"] = canonical.encode(fields)
    return found


def _document(files: Mapping[str, bytes], path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(files.get(path, b"").decode("utf-8", "strict"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        refuse(path, "", f"not TOML: {error}")


def _steps(path: str, name: str, steps: object, sequences: Mapping[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in steps if isinstance(steps, list) else [None]:
        if isinstance(step, dict) and set(step) == {"start"} and step["start"] in sequences:
            found += sequences[step["start"]]
            continue
        if not isinstance(step, dict) or not set(step) <= _STEP_FIELDS or "at" not in step:
            refuse(path, name, "a step has `at` and known fields", ", ".join(sorted(_STEP_FIELDS)))
        found.append(step)
    return found


def _goes_wrong(step: Mapping[str, Any]) -> bool:
    """Whether a step expects that an event is not accepted, or a candidate finding."""
    return step.get("expect", "accepted") != "accepted" or bool(step.get("reasons") or step.get("findings"))


@dataclass(slots=True)
class _CaseRun:
    """One case on its own scratch ledger."""

    program: Program
    run_block: RunBlock
    actors: dict[str, dict[str, Any]]
    members: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    count: int = 0

    def run(self, case: Case) -> str:
        scratch = Scratch(self.program, self.run_block, objects=dict(self.members))
        for number, step in enumerate(case.steps, 1):
            try:
                message = self.step(scratch, step)
            except MalformedError as error:
                message = str(error)
            if message:
                return f"step {number} ({step.get('do', 'time passes')} at {step['at']}): {message}"
        return ""

    def step(self, scratch: Scratch, step: dict[str, Any]) -> str:
        moment = self.time(step["at"])
        fired = scratch.advance(moment)
        decided: list[Outcome] = []
        if "do" in step:
            actor = self.actors.get(step.get("by", ""), {})
            member = actor.get("member", step.get("by", ""))
            self.count += 1
            event_id = uuid7_at(moment, self.count.to_bytes(10, "big"))
            self.names[step.get("as", "")] = f"{member}/{event_id}"
            decided = scratch.block(
                moment,
                [
                    make_step(
                        member, event_id, step["do"], self.time(step["claimed"]) if "claimed" in step else moment,
                        self.named(step.get("refs", {})), self.named(step.get("body", {})),
                        key=actor.get("key", ""), roles=actor.get("roles", ()), intent=step.get("intent", False),
                    )
                ],
            )  # fmt: skip
        return self.compare(scratch, step, fired, decided)

    def time(self, text: object) -> int:
        """Unix ms of `YYYY-MM-DD hh:mm[:ss[.mmm]]` in the rulebook's zone."""
        match = _AT(text) if isinstance(text, str) else None
        if match is None:
            raise MalformedError("case", "a moment is YYYY-MM-DD hh:mm[:ss[.mmm]]", got=text)
        return parse_time(f"{match[1]}T{match[2]}{match[3] or ':00'}{match[4] or '.000'}Z") - self.program.book.zone_ms

    def named(self, value: Any) -> Any:
        """`value` with every `$name` replaced by what that step created."""
        if isinstance(value, str):
            return _NAMED.sub(lambda match: self.names.get(match[1], match[0]), value)
        if isinstance(value, list):
            return [self.named(item) for item in value]
        if isinstance(value, dict):
            return {self.named(name): self.named(item) for name, item in value.items()}
        return value

    def compare(self, scratch: Scratch, step: dict[str, Any], fired: list[Outcome], decided: list[Outcome]) -> str:
        verdicts = [canonical.parse(outcome[3], bytes_max=64 * 1024) for outcome in fired + decided]
        own = canonical.parse(decided[0][3], bytes_max=64 * 1024) if decided else {}
        if decided and own["outcome"] != step.get("expect", "accepted"):
            return f"{own['outcome']} instead of {step.get('expect', 'accepted')}: {own.get('reasons', [])}"
        timers = [outcome[1].split("/")[1] for outcome in fired + decided if outcome[1] is not None]
        found = {
            "reasons": [f"{rule} {code}" for verdict in verdicts for rule, code, _ in verdict.get("reasons", [])],
            "findings": [f"{f['code']} {f['about']}" for verdict in verdicts for f in verdict.get("findings", [])],
            "duties": [self.shown(duty) for verdict in verdicts for duty in verdict.get("duties", [])],
            "alerts": [f"{a['rule']} {a['code']}" for verdict in verdicts for a in verdict.get("alerts", [])],
            "fires": timers,
        }
        for name, values in found.items():
            expected = self.named(step.get(name, [] if name in ("reasons", "findings") else values))
            if sorted(expected) != sorted(values):
                return f"{name} {values} instead of {expected}"
        for key, fields in step.get("state", {}).items():
            value = scratch.value(self.named(key)) or {}
            for name, wanted in fields.items():
                if value.get(name) != self.named(wanted):
                    return f"{key} has {name} = {value.get(name)!r} instead of {wanted!r}"
        return ""

    def shown(self, duty: dict[str, Any]) -> str:
        """`<rule> <status> <by> <last day | ->`, as cases write duties."""
        last = "-"
        if duty["due"] is not None:
            last = format_time(duty["due"] - 1 + self.program.book.zone_ms)[:10]
        return f"{duty['rule']} {duty['status']} {duty['by']} {last}"
