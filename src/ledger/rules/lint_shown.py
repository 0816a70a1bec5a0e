"""Finds what the cases of a rulebook do not show: types of case a rule lacks, codes that never appear, kinds nobody records.

Rule: a missing type is an error, as `ledger rules test` says too; the rest are warnings. Only what cases expect is read,
they are not run. Not here: whether they pass (see `cases`).
"""

from __future__ import annotations

from collections.abc import Iterator

from ledger.rules.cases import TYPES, Case, parse_cases
from ledger.rules.program import Program
from ledger.rules.remark import ERROR, WARNING, Remark


def not_shown(program: Program) -> Iterator[Remark]:
    """Remarks on cases that are missing."""
    book = program.book
    _, cases = parse_cases(program)
    for rule in sorted(book.rules):
        file = f"cases/{rule}.toml"
        types = {case.type for case in cases if case.rule == rule}
        for missing in sorted(set(TYPES) - types):
            yield Remark("case-missing", ERROR, file, 1, (("rule", rule), ("type", missing)))
    shown = _expected(cases)
    for each in book.rules.values():
        for name, facts in each.functions.items():
            for (op, code), line in sorted(facts.codes.items()):
                if (each.id, code) not in shown and ("", code) not in shown:
                    yield Remark(
                        "code-not-shown", WARNING, each.file, line, (("rule", each.id), ("code", code), ("op", op))
                    )
            if name.startswith("on_timer_"):
                timer = name.removeprefix("on_timer_").replace("_", ".")
                if ("fires", timer) not in shown:
                    line = facts.node.lineno
                    yield Remark("timer-not-shown", WARNING, each.file, line, (("rule", each.id), ("timer", timer)))
    recorded = {step["do"] for case in cases for step in case.steps if "do" in step}
    for kind in book.kinds.values():
        if kind.name not in recorded:
            line = program.files[kind.file].decode("utf-8", "replace").split(f'["{kind.name}"]')[0].count("\n") + 1
            yield Remark("kind-not-shown", WARNING, kind.file, line, (("kind", kind.name),))


def _expected(cases: list[Case]) -> set[tuple[str, str]]:
    """(rule, code) that some case expects; ("", code) of findings, which name the member instead; ("fires", timer)."""
    found: set[tuple[str, str]] = set()
    for case in cases:
        for step in case.steps:
            for name in ("reasons", "alerts"):
                for text in step.get(name, ()):
                    rule, _, code = str(text).partition(" ")
                    found.add((rule, code))
            for text in step.get("findings", ()):
                found.add(("", str(text).partition(" ")[0]))
            found |= {("fires", str(timer)) for timer in step.get("fires", ())}
    return found
