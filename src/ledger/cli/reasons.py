"""Says in the reader's language the reasons that others word in English only: the operating system, click, a node's
checks, what a finding shows.

Rule: what is not known here stays as it is, for a reason in English says more than none. Codes stay beside the words.
Not here: our own errors (see `problems`).
"""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from ledger.cli.texts import Texts

OS_NAMES: Final = (
    "EACCES", "EADDRINUSE", "EBUSY", "ECONNREFUSED", "ECONNRESET", "EEXIST", "EHOSTUNREACH", "EIO", "EISDIR", "ELOOP",
    "EMFILE", "ENAMETOOLONG", "ENETUNREACH", "ENOENT", "ENOSPC", "ENOTDIR", "ENOTEMPTY", "EPERM", "EPIPE", "EROFS",
    "ETIMEDOUT",
)  # fmt: skip
"""The refusals of the operating system that have words here."""

_NUMBERED: Final = re.compile(r"(?:<urlopen error )?\[Errno (-?\d+)\][^\n]*", re.ASCII)
_OF_OPTIONS: Final = (
    (re.compile(r"(?P<got>.+) is not in the range (?P<range>.+)\."), "range"),
    (re.compile(r"(?P<got>.+) is not a valid (?:integer|float)(?: range)?\."), "number"),
    (re.compile(r"(?P<got>.+) is not one of (?P<choices>.+)\."), "choice"),
    (re.compile(r"a period is FIRST\.\.LAST, .*"), "period"),
    (re.compile(r"a period ends on or after .*"), "period-order"),
)


_OF_NODES: Final = (
    (re.compile(r"(?P<count>-?[0-9,]+) blocks? waits? for a certificate"), "uncertified"),
    (re.compile(r"(?P<count>-?[0-9,]+) blocks? behind"), "behind"),
    (re.compile(r"(?P<runtime>[a-z-]+): not contained"), "not-contained"),
    (re.compile(r"(?P<runtime>[a-z-]+): (?P<means>[a-z-]+(?:, [a-z-]+)*)"), "contained"),
    (re.compile(r"this node's key is not registered for cosigning"), "no-cosigner"),
    (re.compile(r"this node's key is not in the cosigner set, or the set is not certified yet"), "not-in-set"),
    (re.compile(r"block time is ahead of this machine's clock"), "clock-behind"),
    (re.compile(r"it is opening its ledger"), "opening"),
    (re.compile(r"it fetches blocks that the others have"), "catching-up"),
    (
        re.compile(r"(?P<heard>\d+) of the (?P<needed>\d+) other cosigners .+ have answered; it asks (?P<asked>\S.*)"),
        "hearing",
    ),
)
"""What a node's readiness checks say beside their names."""
_OF_FINDINGS: Final = (
    (re.compile(r"no row"), "no-row"),
    (re.compile(r"a header leaf"), "header-leaf"),
    (re.compile(r"no leaves"), "no-leaves"),
    (re.compile(r"(?P<count>[0-9]+) leaves"), "leaves"),
    (re.compile(r"head (?P<height>-?[0-9]+)"), "head"),
    (re.compile(r"genesis block with submissions or another time"), "genesis-block"),
)
"""What findings expected and got, where that is words and no value of the ledger."""
_ERROR: Final = re.compile(r"(?P<code>[a-z][a-z0-9-]*): .+", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"\{[a-z_]+\}")


def of_node(texts: Texts, detail: str) -> str:
    """What a readiness check of a node says, in the language of `texts`; what a stranger's node words anew stays."""
    return _matched(texts, detail, _OF_NODES) or of_error(texts, detail)


def of_finding(texts: Texts, value: str) -> str:
    """What a finding expected or got, in the language of `texts`; values of the ledger stay as they are."""
    return _matched(texts, value, _OF_FINDINGS) or of_error(texts, value)


def of_error(texts: Texts, said: str) -> str:
    """An error as `<code>: <message>`, with its text before the English words where the language is another one."""
    found = None if texts.language == "en" else _ERROR.fullmatch(said)
    if found is None:
        return said
    what = texts.find(f"{found['code']}.what", "errors") or texts.find(f"said.{found['code']}", "verify")
    return said if what is None else f"{_PLACEHOLDER.sub('…', what)}（{said}）"


def _matched(texts: Texts, said: str, patterns: tuple[tuple[re.Pattern[str], str], ...]) -> str | None:
    if texts.language == "en":
        return said
    for pattern, key in patterns:
        found = pattern.fullmatch(said)
        if found:
            return texts.text(f"because.{key}", **found.groupdict())
    return None


def in_words(texts: Texts, reason: str) -> str:
    """`reason` in the language of `texts`, where it has words for it."""
    if texts.language == "en":
        return reason
    name = _os_name(reason)
    if name is not None:
        return texts.text(f"because.{name}")
    return _matched(texts, reason, _OF_OPTIONS) or reason


def _os_name(reason: str) -> str | None:
    numbered = _NUMBERED.fullmatch(reason)
    for name in OS_NAMES:
        number = getattr(errno, name)
        if reason == os.strerror(number) or (numbered and int(numbered[1]) == number):
            return name
    return None
