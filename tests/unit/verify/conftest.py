"""What the auditor's tests share: one tiny ledger, and a way to verify it with changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ledger.adapters.audit.scratch import ScratchState
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import Report
from ledger.verify.trust import Trust
from tests.models import tiny_ledger as tiny

Verify = Callable[..., Report]


@pytest.fixture(scope="session")
def ledger() -> tiny.TinyLedger:
    """The ledger of eight blocks; not to be written to."""
    return tiny.tiny_ledger()


@pytest.fixture
def verify() -> Verify:
    """Verify a ledger's source with changed parts; the origin is pinned unless `trust` says otherwise."""

    def run(
        ledger: tiny.TinyLedger,
        *,
        trust: Trust | None = None,
        replay: bool = True,
        rules: Any = tiny.load_rules,
        now_ms: int | None = None,
        cache_bytes: int = 1_000_000,
        **changes: Any,
    ) -> Report:
        pinned = Trust(ledger.origin, "origin") if trust is None else trust
        options = Options(pinned, ledger.now_ms if now_ms is None else now_ms, replay, "test" if replay else "")
        with ScratchState(cache_bytes=cache_bytes) as scratch:
            return verify_ledger(ledger.source(**changes), options, scratch, rules)

    return run
