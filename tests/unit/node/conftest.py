"""One node with a story behind it, shared by the tests that only read it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.models.live_node import LiveNode, live_node, tell_story


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    """A node that has told its story; tests that write use ids of their own and do not count what others wrote."""
    with live_node(tmp_path_factory.mktemp("live") / "net") as found:
        tell_story(found)
        yield found
