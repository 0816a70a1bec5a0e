"""Who acts, and what for: kept beside the call stack, so that no function has to pass it through.

Rules: values belong to the current thread or task (context variables) and end with their `acting` block; an inner block
adds to the outer one. Persons are given as keyed tags, never as names. Not here: recording.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_fields: ContextVar[Mapping[str, Any]] = ContextVar("ledger_acting", default={})  # noqa: B039 - never changed in place


@contextmanager
def acting(actor: str | None = None, purpose: str | None = None, **more: Any) -> Iterator[None]:
    """Within the block, events recorded by this thread or task carry these body fields unless they say otherwise."""
    given = {"actor": actor, "purpose": purpose, **more}
    token = _fields.set({**_fields.get(), **{name: value for name, value in given.items() if value is not None}})
    try:
        yield
    finally:
        _fields.reset(token)


def current_fields() -> dict[str, Any]:
    """Body fields of the surrounding `acting` blocks."""
    return dict(_fields.get())
