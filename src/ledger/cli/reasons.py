"""Says in the reader's language the reasons that others word in English only: the operating system, click, a gap's error.

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


def in_words(texts: Texts, reason: str) -> str:
    """`reason` in the language of `texts`, where it has words for it."""
    if texts.language == "en":
        return reason
    name = _os_name(reason)
    if name is not None:
        return texts.text(f"because.{name}")
    for pattern, key in _OF_OPTIONS:
        found = pattern.fullmatch(reason)
        if found:
            return texts.text(f"because.{key}", **found.groupdict())
    return reason


def _os_name(reason: str) -> str | None:
    numbered = _NUMBERED.fullmatch(reason)
    for name in OS_NAMES:
        number = getattr(errno, name)
        if reason == os.strerror(number) or (numbered and int(numbered[1]) == number):
            return name
    return None
