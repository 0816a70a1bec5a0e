"""Gives memory that is free back to the system: what compiling a rulebook or a block took is not kept for a later one.

Not here: what is kept (see `ledger.adapters.audit.scratch`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Return free heap pages to the system, where its C library can (glibc); elsewhere nothing happens."""
    trim = _trim()
    if trim is not None:
        trim(ctypes.c_size_t(0))


@cache
def _trim() -> Callable[[ctypes.c_size_t], int] | None:
    try:
        found: Callable[[ctypes.c_size_t], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return None
    return found


__all__ = ["give_back"]
