"""Small rulebooks for tests: the one in `contracts/`, and ones made of a few lines around a single rule."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from ledger.core import canonical
from ledger.core.ident import parse_time, uuid7_at
from ledger.rules.program import Outcome, Program
from ledger.rules.scratch import RunBlock, Scratch, Step, make_step

CONTRACTS = Path(__file__).resolve().parents[3] / "contracts"
NOW = parse_time("2026-03-02T01:00:00.000Z")  # Monday 09:00 in +08:00

MANIFEST = """
id = "tiny"
version = "1"
title = { zh = "小", en = "Tiny" }
jurisdiction = "cn"
effective = "2025-08-01"
zone = "+08:00"
language = 1
"""

KINDS = """
["thing.make"]
type = "request"
title = { zh = "造", en = "Make" }
creates = "thing"
["thing.make".body]
n = { type = "int", min = -9007199254740991, optional = true, title = { zh = "数", en = "Number" } }
s = { type = "text", max = 4000, optional = true, title = { zh = "文", en = "Text" } }
l = { type = "list", of = { type = "text" }, max = 256, optional = true, title = { zh = "列", en = "List" } }

["thing.ask"]
type = "request"
title = { zh = "问", en = "Ask" }
["thing.ask".refs]
thing = {}
["thing.ask".body]
n = { type = "int", min = -9007199254740991, optional = true, title = { zh = "数", en = "Number" } }

["thing.do"]
type = "act"
title = { zh = "做", en = "Do" }
state = { tally = "tally/{member}" }
["thing.do".refs]
thing = {}
other = { optional = true, exists = false }
["thing.do".body]
n = { type = "int", min = -9007199254740991, optional = true, title = { zh = "数", en = "Number" } }
s = { type = "text", max = 4000, optional = true, title = { zh = "文", en = "Text" } }

["thing.stop"]
type = "act"
title = { zh = "停", en = "Stop" }
["thing.stop".refs]
thing = {}

["thing.load"]
type = "act"
imported = true
title = { zh = "录", en = "Load" }
["thing.load".refs]
thing = {}
"""

OBJECTS = """
[thing]
title = { zh = "物", en = "Thing" }
[thing.fields]
status = { zh = "状态", en = "Status" }
owner = { zh = "主", en = "Owner" }
value = { zh = "值", en = "Value" }
note = { zh = "注", en = "Note", default = "" }

[tally]
title = { zh = "计", en = "Tally" }
implicit = true
[tally.fields]
n = { zh = "数", en = "Count", default = 0 }

[other]
title = { zh = "他", en = "Other" }
"""

TABLES = """
[thing]
[thing.start]
"thing.make" = "new"
[thing.moves.new]
"thing.ask" = "asked"
"thing.do" = "new"
"!late" = "late"
"thing.stop" = "stopped"
[thing.moves.asked]
"thing.do" = "asked"
"!late" = "late"
"thing.stop" = "stopped"
[thing.moves.late]
"thing.do" = "late"
"thing.stop" = "stopped"
[thing.otherwise]
"thing.do" = "LAW/1"
"""

PARAMS = """
[days]
title = { zh = "日", en = "Days" }
values = [
  { from = "2025-08-01", value = 10, source = "LAW 1", bound = "max" },
  { from = "2026-03-01", value = 5, source = "LAW 2", bound = "max" },
]
"""

TEXTS = """
["LAW/1"]
type = "finding"
from = "2025-08-01"
title = { zh = "一", en = "One" }
["LAW/2"]
type = "finding"
title = { zh = "二", en = "Two" }
[no]
type = "refusal"
title = { zh = "不", en = "No" }
[look]
type = "alert"
title = { zh = "看", en = "Look" }
"""

MAKE = '''"""M1 造 · Making. Law 1."""


def on_thing_make(event, state, env):
    return write("thing", owner=event.member, value=event.body.get("n"))
'''


def contract(name: str = "data-sharing") -> tuple[dict[str, bytes], dict[str, bytes]]:
    """(rulebook files, calendar files) of a folder in `contracts/`."""
    root = CONTRACTS / name
    files = {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    calendars = {path: data for path, data in files.items() if path.startswith("calendars/")}
    return {path: data for path, data in files.items() if path not in calendars}, calendars


@cache
def contract_program(name: str = "data-sharing") -> Program:
    """The compiled rulebook of a folder in `contracts/`."""
    return Program.compile(*contract(name))


def tiny_files(rules: dict[str, str] | None = None, **changed: str) -> dict[str, bytes]:
    """Files of a tiny rulebook: `rules` by id beside M1; keywords replace a document (`kinds`, `objects`, `tables` …)."""
    texts = {
        "rulebook.toml": changed.get("manifest", MANIFEST),
        "kinds/thing.toml": changed.get("kinds", KINDS),
        "objects.toml": changed.get("objects", OBJECTS),
        "tables.toml": changed.get("tables", TABLES),
        "params.toml": changed.get("params", PARAMS),
        "texts.toml": changed.get("texts", TEXTS),
        "rules/M1.py": MAKE,
    }
    texts |= {f"rules/{name}.py": source for name, source in (rules or {}).items()}
    return {path: text.encode() for path, text in texts.items()}


def tiny(rules: dict[str, str] | None = None, **changed: str) -> Program:
    """The program of `tiny_files`, with the calendars of the data-sharing rulebook."""
    return Program.compile(tiny_files(rules, **changed), contract()[1])


def rule(body: str, name: str = "R1") -> dict[str, str]:
    """One rule file: `body` under a title line."""
    return {name: f'"""{name} 规则 · Rule. Law 1."""\n\n\n{body}'}


class Ledger:
    """A scratch ledger with one thing, and events that need few words."""

    def __init__(self, program: Program, run: RunBlock | None = None) -> None:
        self.program = program
        self.scratch = Scratch(program, run or program.run_block)
        self._numbers = count(1)

    def event(
        self,
        kind: str,
        refs: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        *,
        member: str = "ga",
        at: int = NOW,
        claimed: int | None = None,
        **signer: Any,
    ) -> tuple[str, Step]:
        """(name, step) of an event at `at`."""
        event_id = uuid7_at(at, next(self._numbers).to_bytes(10, "big"))
        time = at if claimed is None else claimed
        return f"{member}/{event_id}", make_step(member, event_id, kind, time, refs or {}, body or {}, **signer)

    def do(self, kind: str, refs: dict[str, Any] | None = None, body: dict[str, Any] | None = None, **how: Any) -> Any:
        """Decide one event in a block of its own; (name, verdict, outcomes)."""
        name, step = self.event(kind, refs, body, **how)
        outcomes = self.scratch.block(how.get("at", NOW), [step])
        return name, verdict(next(o for o in outcomes if o[0] >= 0 and o[1] is None)), outcomes

    def thing(self, **how: Any) -> str:
        """Make a thing and return its id."""
        name, said, _ = self.do("thing.make", None, how.pop("body", None), **how)
        assert said["outcome"] == "accepted", said
        return str(name)

    def value(self, key: str) -> dict[str, Any] | None:
        """The state object `key`."""
        return self.scratch.value(key)


def verdict(outcome: Outcome) -> dict[str, Any]:
    """The verdict of an outcome."""
    return canonical.parse(outcome[3], bytes_max=64 * 1024)


def verdicts(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """The verdicts of outcomes."""
    return [verdict(outcome) for outcome in outcomes]
