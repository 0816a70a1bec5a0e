"""Metrics and logs: nothing global, nothing secret."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from ledger_node.logs import configure_logs
from ledger_node.metrics import Metrics


def test_metrics_of_two_nodes_are_apart() -> None:
    """Each object has a registry of its own."""
    first, second = Metrics(), Metrics()
    first.events("accepted", 3)
    assert b'ledger_events_total{outcome="accepted"} 3.0' in first.encode()
    assert b'outcome="accepted"' not in second.encode()


def test_gauges_are_read_when_asked() -> None:
    """Values that the node knows are read at each scrape; what is missing is left out."""
    metrics, values = Metrics(), {"ledger_height": 1.0}
    metrics.watch(lambda: values)
    assert b"ledger_height 1.0" in metrics.encode()
    values["ledger_height"] = 2.0
    text = metrics.encode()
    assert b"ledger_height 2.0" in text
    assert b"ledger_head_age_seconds" not in text


def test_unknown_methods_share_one_label() -> None:
    """A stranger's method makes no new series."""
    metrics = Metrics()
    for method in ("BREW", "PROPFIND", "GET"):
        metrics.request("/x", method, 405, 0.01)
    text = metrics.encode().decode()
    assert 'method="other",route="/x",status="405"} 2.0' in text
    assert "BREW" not in text


@pytest.fixture
def stream() -> io.BytesIO:
    """Where the logs go, with the settings of before restored afterwards."""
    found = io.BytesIO()
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield found
    structlog.configure(**before)
    root.handlers[:], _ = handlers, root.setLevel(level)


def test_lines_are_json_and_keep_chinese_readable(stream: io.BytesIO) -> None:
    """One object a line, in UTF-8, with level and time; names that could hold secrets are left out."""
    configure_logs("info", stream)
    structlog.get_logger().info("event.recorded", member="公安局", token="s3cret", body={"x": 1}, nested=b"\x01")
    structlog.get_logger().debug("not shown")
    logging.getLogger("uvicorn.error").warning("from %s", "a library")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["event.recorded", "from a library"]
    assert lines[0]["member"] == "公安局"
    assert "公安局".encode() in stream.getvalue()
    assert b"s3cret" not in stream.getvalue()
    assert lines[0]["body"] == "(left out)"
    assert {"level", "timestamp"} <= lines[0].keys()
