"""The SDK: `from ledger.client import Recorder`. Names are imported when they are used, so that parts stay cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger.client.actor import acting
    from ledger.client.auditing import audited, use_recorder
    from ledger.client.http import NodeClient
    from ledger.client.recorder import Recorder
    from ledger.client.request import Appended, Recorded

__all__ = ["Appended", "NodeClient", "Recorded", "Recorder", "acting", "audited", "use_recorder"]

_HOMES = {
    "Appended": "request",
    "NodeClient": "http",
    "Recorded": "request",
    "Recorder": "recorder",
    "acting": "actor",
    "audited": "auditing",
    "use_recorder": "auditing",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"ledger.client.{_HOMES[name]}"), name)
