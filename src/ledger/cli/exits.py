"""Decides what the exit code of a command says; `docs/CLI.md` is generated from this table.

Rule: 7 is never 0: "I checked less than you asked" is a verdict of its own. Not here: the texts of errors.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ledger.errors import (
    ConflictError,
    FatalError,
    LedgerError,
    MalformedError,
    NotFoundError,
    RejectedError,
    RuntimeFault,
    UnavailableError,
    VerificationError,
)


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    OPERATIONAL = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    UNREACHABLE = 5
    INTEGRITY = 6
    INCOMPLETE = 7
    INTERRUPTED = 130
    PIPE_CLOSED = 141


FAMILIES: Final[tuple[tuple[type[LedgerError], Exit], ...]] = (
    (VerificationError, Exit.INTEGRITY),
    (NotFoundError, Exit.NOT_FOUND),
    (ConflictError, Exit.CONFLICT),
    (RuntimeFault, Exit.OPERATIONAL),
    (UnavailableError, Exit.UNREACHABLE),
    (MalformedError, Exit.OPERATIONAL),
    (RejectedError, Exit.OPERATIONAL),
    (FatalError, Exit.OPERATIONAL),
)
"""Error families and their codes; the first that fits counts. A bad argument or setting is `Exit.USAGE` before this."""


LOCAL: Final = frozenset(("archive-write", "node-package", "remembered", "scratch", "verify-worker", "write"))
"""Codes of `UnavailableError` that speak of this machine, its files and processes: no node was asked, so that the exit
code is `Exit.OPERATIONAL`, as for every other file that cannot be used."""


def exit_of(error: LedgerError) -> Exit:
    """The exit code of a command that ends with `error`."""
    if isinstance(error, UnavailableError) and error.code in LOCAL:
        return Exit.OPERATIONAL
    for family, code in FAMILIES:
        if isinstance(error, family):
            return code
    return Exit.OPERATIONAL
