"""A validator's ledger, a node that has block 0 of it, and the light clients' servers around them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.core.genesis import COMETBFT
from tests.models.light_nodes import LightNodes
from tests.models.real_ledger import RealLedger, begin_ledger, real_ledger


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A validator's ledger."""
    return real_ledger(tmp_path_factory.mktemp("real") / "ga", engine=COMETBFT)


@pytest.fixture(scope="module")
def begun(made: RealLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data directory of a node with block 0, to be copied."""
    return begin_ledger(tmp_path_factory.mktemp("begun"), made.genesis)


@pytest.fixture
def nodes() -> Iterator[LightNodes]:
    """None yet."""
    found = LightNodes()
    try:
        yield found
    finally:
        found.close()
