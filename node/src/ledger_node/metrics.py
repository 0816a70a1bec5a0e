"""What a node counts, in Prometheus' text format: one object, made by whoever starts the node and passed in.

Rule: nothing is registered globally and nothing at import time; values that the node knows anyway (height, certificate
age, queue, checks, alarms) are read when they are asked for. Labels come from closed sets (routes, outcomes, error codes),
never from a stranger's text. Not here: when somebody is to be woken (see docs/OPERATIONS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
_METHODS: Final = frozenset({"GET", "POST"})

Readings = Callable[[], dict[str, float]]
"""Gauges by the names of `GAUGES`, read at each scrape; what is missing is left out."""

Labelled = Callable[[], dict[str, dict[str, float]]]
"""By the names of `LABELLED` and `COUNTED` the value of each label, read at each scrape."""

GAUGES: Final = {
    "ledger_height": "Height of the last block.",
    "ledger_size": "Leaves of the log.",
    "ledger_certified_height": "Height of the last certified block.",
    "ledger_head_age_seconds": "Seconds since the time of the last block (not on scenario networks).",
    "ledger_checkpoint_age_seconds": "Seconds since a quorum last stood by the certified checkpoint.",
    "ledger_uncertified_blocks": "Blocks that wait for a certificate.",
    "ledger_ready": "1 when every check of /readyz passes.",
    "ledger_index_lag_blocks": "Blocks that the search index is behind.",
    "ledger_evidence_files": "Files that keep what other nodes signed and cannot be.",
}

LABELLED: Final = {
    "ledger_check": ("check", "1 when this check of /readyz passes."),
    "ledger_alarms": ("code", "Alarms by error code: what other nodes, or the start of this one, did wrong."),
}
"""(label, what it says) of gauges with several values."""

COUNTED: Final = {
    "ledger_proposals_rejected": ("code", "Proposed CometBFT blocks that this validator voted against, by error code."),
}
"""The same of counters that the node keeps; Prometheus adds `_total` to the name."""


class Metrics:
    """Counters and histograms of one node, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._requests = Counter(
            "ledger_http_requests", "HTTP requests.", ["route", "method", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "ledger_http_seconds", "Seconds to answer.", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self._append_seconds = Histogram(
            "ledger_append_seconds",
            "Seconds from a whole request to its durable block.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._events = Counter("ledger_events", "Events acknowledged.", ["outcome"], registry=self.registry)
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._outcomes: dict[str, Counter] = {}

    def watch(self, readings: Readings, labelled: Labelled = dict) -> None:
        """Read these gauges at each scrape."""
        self.registry.register(_Gauges(readings, labelled))

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is a template of ours, never a path."""
        key = (route, method if method in _METHODS else "other", status)
        found = self._known.get(key)
        if found is None:
            # Looking up labels costs more than counting.
            found = (self._requests.labels(route, key[1], str(status)), self._seconds.labels(route))
            self._known[key] = found
        found[0].inc()
        found[1].observe(seconds)

    def append(self, seconds: float) -> None:
        """Count one submission that became durable."""
        self._append_seconds.observe(seconds)

    def events(self, outcome: str, count: int) -> None:
        """Count acknowledged events of one outcome: accepted, irregular, refused or duplicate."""
        found = self._outcomes.get(outcome)
        if found is None:
            found = self._outcomes[outcome] = self._events.labels(outcome)
        found.inc(count)

    def encode(self) -> bytes:
        """Everything in the text exposition format."""
        return generate_latest(self.registry)


class _Gauges:
    """A prometheus collector over `Readings`."""

    def __init__(self, readings: Readings, labelled: Labelled) -> None:
        self._readings, self._labelled = readings, labelled

    def collect(self) -> Iterable[Metric]:
        """See prometheus_client's collectors."""
        values = self._readings()
        for name, text in GAUGES.items():
            if name in values:
                yield GaugeMetricFamily(name, text, value=values[name])
        several = self._labelled()
        for name, (label, text) in LABELLED.items():
            family = GaugeMetricFamily(name, text, labels=[label])
            for value, number in several.get(name, {}).items():
                family.add_metric([value], number)
            yield family
        for name, (label, text) in COUNTED.items():
            counter = CounterMetricFamily(name, text, labels=[label])
            for value, number in several.get(name, {}).items():
                counter.add_metric([value], number)
            yield counter

    def describe(self) -> Iterable[Metric]:
        """No metric, so that registering does not read."""
        return ()
