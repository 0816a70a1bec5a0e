"""Decides how a failure is told: what happened, to which object, what to do; one JSON document under --json.

Rules: texts by error code from the catalogue `errors`, by family where a code has none; codes and evidence are never
translated. What is not one of our errors is a defect and says so, with the trace on stderr.
Not here: exit codes (see `exits`).
"""

from __future__ import annotations

import re
from typing import Any, Final

from ledger.cli.exits import Exit, exit_of
from ledger.cli.output import Console
from ledger.cli.reasons import in_words
from ledger.cli.rulewords import translated
from ledger.cli.tables import safe
from ledger.cli.texts import Texts, fill
from ledger.errors import LedgerError, MalformedError, UnavailableError

EVIDENCE_CHARS_MAX: Final = 200
NODE_REFUSED: Final = "NodeRefused"
_PLACEHOLDER: Final = re.compile(r"\{[a-z_]+\}")


def tell(console: Console, error: LedgerError, code: Exit | None = None) -> Exit:
    """Write `error` where it belongs; the exit code."""
    exit_code = exit_of(error) if code is None else code
    what, advice = sentences(console.texts, error)
    if console.as_json and not console.done:
        console.document({"ok": False, "exit_code": int(exit_code), "error": as_document(error, what, advice)})
    else:
        label = console.paint(console.text("error"), "red", console.err)
        console.err.write(f"ledger: {label}: {what} [{error.code}]\n")
        if advice:
            console.err.write(f"  {console.text('advice')}: {advice}\n")
    return exit_code


def sentences(texts: Texts, error: LedgerError) -> tuple[str, str]:
    """(what happened to which object, what to do), in words; the second may be empty."""
    evidence = {name: show(value) for name, value in error.evidence.items()}
    if "reason" in evidence:
        evidence["reason"] = in_words(texts, evidence["reason"])
    if "advice" in evidence:  # of the rule language: words, not evidence
        evidence["advice"] = translated(texts, evidence["advice"])
    said = {
        "message": show(translated(texts, error.message)),
        **evidence,
    }  # texts of codes that say several things quote the English message
    pattern = _of_code(texts, error, "what")
    # A file that is broken and a request that a node cannot take are of one family, with other things to do.
    name = NODE_REFUSED if "status" in evidence and isinstance(error, MalformedError) else _family(error)
    if pattern is None:
        family = texts.find(f"family.{name}", "errors") or name
        # The message is English and written for the reader of a log; the family says the same in his language.
        pattern = f"{family}: {safe(error.message)}" if texts.language == "en" else f"{family}（{safe(error.message)}）"
    advice = _of_code(texts, error, "do") or texts.find(f"family.{name}.do", "errors") or ""
    # A line of advice that speaks of something this error does not know is left out.
    known = [line for line in fill(advice, said).split("\n") if not _PLACEHOLDER.search(line)]
    told = pattern + advice
    rest = [f"{name}={value}" for name, value in evidence.items() if value and f"{{{name}}}" not in told]
    # One code may be raised with other evidence than its text speaks of.
    what = _PLACEHOLDER.sub("…", fill(pattern, said)) + (f" ({', '.join(rest)})" if rest else "")
    return what, " ".join(known)


def _of_code(texts: Texts, error: LedgerError, part: str) -> str | None:
    """The text of the code; one that several families use may have a text of its own for one of them."""
    special = texts.find(f"{error.code}.{_family(error)}.{part}", "errors")
    return special or texts.find(f"{error.code}.{part}", "errors")


def because(texts: Texts, error: LedgerError) -> str:
    """Why, in words: the reason that the error gives, else what happened."""
    reason = error.evidence.get("reason")
    return in_words(texts, show(reason)) if reason else sentences(texts, error)[0]


def gap_reason(texts: Texts, code: str, reason: str) -> str:
    """The reason of a gap that an error with this code left, whose own words are English: its text goes before them."""
    what = texts.find(f"{code}.what", "errors")
    if what is None or texts.language == "en":
        return safe(reason)
    return f"{_PLACEHOLDER.sub('…', what)}（{safe(reason)}）"


def as_document(error: LedgerError, what: str, advice: str) -> dict[str, Any]:
    """The `error` member of a JSON document."""
    document: dict[str, Any] = {
        "code": error.code,
        "family": _family(error),
        "message": what,
        "evidence": {name: _plain(value) for name, value in error.evidence.items()},
    }
    if advice:
        document["advice"] = advice
    return document


def show(value: object) -> str:
    """A piece of evidence on one line, bounded and harmless."""
    text = safe(value.hex() if isinstance(value, bytes) else value)
    return text if len(text) <= EVIDENCE_CHARS_MAX else text[: EVIDENCE_CHARS_MAX - 2] + ".."


def _family(error: LedgerError) -> str:
    for kind in type(error).__mro__:
        if kind.__module__ == LedgerError.__module__:
            return kind.__name__
    return LedgerError.__name__


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, (bool, int, str, list, dict, type(None))) else str(value)


def from_os(error: OSError) -> LedgerError:
    """An operating system's error as one of ours, naming the file."""
    import errno

    code = {errno.ENOSPC: "disk-full", errno.EACCES: "file-access", errno.EROFS: "file-access"}.get(
        error.errno or 0, "file"
    )
    reason = error.strerror or str(error)
    if error.filename is None:
        # A write to a file that is already open says no name.
        return UnavailableError("disk-full-somewhere" if code == "disk-full" else "os", reason, reason=reason)
    return UnavailableError(code, reason, path=str(error.filename), reason=reason)
