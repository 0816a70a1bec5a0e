"""Says a verdict in words: the outcome, each reason and finding with its text, duties with their terms.

Rules: texts of the rulebook where it is at hand, the ledger's own for its own codes, and always the code itself; a
finding is called a candidate, for that is what it is. Times are shown in Beijing time with the offset.
Not here: what follows from a verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ledger.cli.output import Console
from ledger.cli.tables import safe
from ledger.cli.texts import fill
from ledger.errors import LedgerError


class Rulebook:
    """Texts of codes, fetched when the first one is wanted; without them codes stand alone."""

    def __init__(self, language: str, fetch: Callable[[], Mapping[str, Any]] | None = None) -> None:
        self._language, self._fetch = language, fetch
        self._texts: dict[str, Mapping[str, Any]] | None = None

    def title(self, code: str) -> tuple[str, str]:
        """(title, article) of a code; empty where it has none."""
        if self._texts is None:
            self._texts = self._load()
        entry = self._texts.get(code, {})
        title = entry.get("title", {})
        text = title.get(self._language, "") if isinstance(title, dict) else str(title)
        return str(text), str(entry.get("article") or "")

    def _load(self) -> dict[str, Mapping[str, Any]]:
        if self._fetch is None:
            return {}
        try:
            document = self._fetch()
        except LedgerError:
            return {}
        return _find_texts(document)


def verdict_lines(
    console: Console, verdict: Mapping[str, Any], rulebook: Rulebook | None = None, *, duplicate: bool = False
) -> list[str]:
    """The verdict, one statement a line, the outcome first."""
    book = rulebook or Rulebook(console.language)
    outcome = str(verdict.get("outcome", ""))
    colour = {"accepted": "green", "irregular": "yellow", "refused": "red"}.get(outcome, "dim")
    words = console.text(f"outcome.{outcome}")
    first = console.paint(words, colour) + (f" [{outcome}]" if words != outcome else "")
    lines = [first + (f"  {console.text('outcome.duplicate')}" if duplicate else "")]
    for reason in _items(verdict, "reasons"):
        lines.append("- " + _reason(console, reason, book))
    for finding in _items(verdict, "findings"):
        lines.append("- " + _finding(console, finding, book))
    for duty in _items(verdict, "duties"):
        lines.append("- " + _duty(console, duty))
    for alert in _items(verdict, "alerts"):
        code = str(alert.get("code", "") if isinstance(alert, dict) else alert)
        args = alert.get("args") if isinstance(alert, dict) else None
        lines.append("- " + safe(console.text("verdict.alert", code=_titled(code, book, args))))
    return lines


def coded(words: str | None, code: str) -> str:
    """`words` with the code that they stand for, which is never translated; the code alone where it needs none."""
    return code if words is None or words == code else f"{words} [{code}]"


def format_time(ms: object) -> str:
    """Unix ms as `2026-11-21 16:00:00 +08:00`."""
    from datetime import UTC, datetime, timedelta, timezone

    if not isinstance(ms, int):
        return safe(ms)
    moment = datetime.fromtimestamp(ms / 1000, UTC).astimezone(timezone(timedelta(hours=8)))
    return moment.strftime("%Y-%m-%d %H:%M:%S +08:00")


def _reason(console: Console, reason: object, book: Rulebook) -> str:
    if not isinstance(reason, list) or len(reason) < 2:
        return safe(reason)
    rule, code = str(reason[0]), str(reason[1])
    values = reason[2] if len(reason) > 2 and isinstance(reason[2], dict) else {}
    title, article = book.title(code)
    own = console.texts.find(f"reason.{code}")
    text = fill(title or own or "", values)
    rest = ", ".join(f"{name}={value}" for name, value in values.items()) if not title else ""
    parts = [safe(text)] if text else []
    if rest:
        parts.append(f"({safe(rest)})")
    if article:
        parts.append(f"<{safe(article)}>")
    return f"{' '.join(parts)} [{safe(rule)} {safe(code)}]".strip()


def _finding(console: Console, finding: object, book: Rulebook) -> str:
    if not isinstance(finding, dict):
        return safe(finding)
    code = _titled(str(finding.get("code", "")), book, finding.get("args"))
    return safe(console.text("verdict.finding", code=code, about=finding.get("about", ""), id=finding.get("id", "")))


def _titled(code: str, book: Rulebook, args: object = None) -> str:
    """A code with its title and article, where the rulebook is at hand; `args` fill the title's placeholders."""
    title, article = book.title(code)
    values = args if isinstance(args, dict) else {}
    shown = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in values.items()}
    return f"{code} {fill(title, shown)}".rstrip() + (f" <{article}>" if article else "")


def _duty(console: Console, duty: object) -> str:
    if not isinstance(duty, dict):
        return safe(duty)
    due, status = duty.get("due"), str(duty.get("status", ""))
    values = {
        "rule": duty.get("rule", ""),
        "by": duty.get("by", ""),
        "on": duty.get("on", ""),
        "status": console.texts.find(f"duty.{status}") or status,
        "due": console.text("verdict.no-term") if due is None else format_time(due),
    }
    return safe(console.text("verdict.late-duty" if duty.get("late") else "verdict.duty", **values))


def _items(verdict: Mapping[str, Any], name: str) -> list[Any]:
    found = verdict.get(name, [])
    return found if isinstance(found, list) else []


def _find_texts(document: object, depth: int = 0) -> dict[str, Mapping[str, Any]]:
    """The first member `texts` of a rulebook description, wherever it stands."""
    if depth > 4:
        return {}
    if isinstance(document, Mapping):
        texts = document.get("texts")
        if isinstance(texts, dict):
            return {str(code): entry for code, entry in texts.items() if isinstance(entry, dict)}
        below = list(document.values())
    elif isinstance(document, list):
        below = document
    else:
        return {}
    for item in below:
        found = _find_texts(item, depth + 1)
        if found:
            return found
    return {}
