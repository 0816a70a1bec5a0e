"""`ledger rules check DIR`: everything that an examiner of a rulebook would object to, with file, line and advice.

Exit codes: 0 no error, 1 errors (with --strict: or warnings). Not here: what is looked for (see `ledger.rules.lint`), the
cases' results (see `ledger rules test`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.rulewords import translated
from ledger.cli.tables import on_screen, safe
from ledger.rules.remark import NOTE

if TYPE_CHECKING:
    from ledger.rules.lint import Examination
    from ledger.rules.remark import Remark

QUOTED = ("message", "advice")


@command("check")
@argument("folder", metavar="DIR", type=click.Path())
@option("--strict", is_flag=True)
def check(console: Console, folder: str, strict: bool) -> None:
    """Examine a rulebook."""
    from ledger.adapters.home.network import read_rulebook
    from ledger.rules.lint import examine

    found = examine(*read_rulebook(Path(folder)))
    entries = [_entry(console, remark) for remark in found.remarks]
    warnings = len(entries) - found.errors - found.explained
    bad = bool(found.errors or (strict and warnings))
    lines = [_line(console, entry) for entry in entries]
    lines.append(_summary(console, found, warnings))
    document: dict[str, Any] = {
        "errors": found.errors,
        "warnings": warnings,
        "explained": found.explained,
        "whole": found.whole,
        "remarks": entries,
    }
    if found.program is not None:
        book = found.program.book
        document["rulebook"] = {
            "id": book.id, "version": book.version, "hash": found.program.rulebook_hash.hex(),
            "program": found.program.source_hash.hex(), "rules": len(book.rules), "kinds": len(book.kinds),
        }  # fmt: skip
    console.result(document, on_screen(console, "\n".join(lines)), Exit.OPERATIONAL if bad else Exit.OK)


def _entry(console: Console, remark: Remark) -> dict[str, Any]:
    values = dict(remark.values)
    for name in QUOTED:
        if name in values:
            values[name] = translated(console.texts, values[name])
    message = console.texts.text(f"lint.{remark.code}", catalogue_name="rules", **values)
    advice = values.get("advice") if "message" in values else None
    if remark.severity == NOTE:
        advice = values["why"]
    if advice is None:
        advice = console.texts.text(f"lint-do.{remark.code}", catalogue_name="rules", **values)
    return {
        "severity": remark.severity,
        "code": remark.code,
        "file": remark.file,
        "line": remark.line,
        "message": message,
        "advice": advice,
        "values": dict(remark.values),
    }


def _line(console: Console, entry: dict[str, Any]) -> str:
    label = console.texts.text(f"check.{entry['severity']}", catalogue_name="rules")
    label = console.paint(label, {"error": "red", "warning": "yellow"}.get(entry["severity"], "dim"))
    text = f"{safe(entry['file'])}:{entry['line']}: {label}: {safe(entry['message'])} [{entry['code']}]"
    return text + (f"\n    {safe(entry['advice'])}" if entry["advice"] else "")


def _summary(console: Console, found: Examination, warnings: int) -> str:
    def text(key: str, **values: object) -> str:
        return console.texts.text(f"check.{key}", catalogue_name="rules", **values)

    parts = []
    if found.program is not None:
        book = found.program.book
        parts.append(
            text("book", id=book.id, version=book.version, rules=len(book.rules), kinds=len(book.kinds),
                 hash=found.program.rulebook_hash.hex()[:12])
        )  # fmt: skip
    parts.append(text("summary", errors=found.errors, warnings=warnings))
    if found.explained:
        parts[-1] += text("explained", count=found.explained)
    if not found.whole:
        parts.append(text("not-whole"))
    return "\n".join(parts)
