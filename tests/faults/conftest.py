"""What the tests of faults share: audits of ledgers whose rulebook is the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ledger.rules.program import Program


@pytest.fixture(scope="module", autouse=True)
def compiled_once() -> Iterator[None]:
    """Hundreds of audits of one ledger check its bundles each time, and compile what was checked once."""
    known: dict[Any, Program] = {}
    compile_anew = Program.compile

    def compile_known(*given: Any) -> Program:
        key = tuple(tuple(sorted(each.items())) if isinstance(each, dict) else each for each in given)
        if key not in known:
            known[key] = compile_anew(*given)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Program, "compile", staticmethod(compile_known))
        yield
