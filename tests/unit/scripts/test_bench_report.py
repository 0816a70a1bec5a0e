"""The benchmark page: rows of several rounds, the judgement against the targets, and pictures that are well-formed XML."""

from __future__ import annotations

import json
import xml.dom.minidom
from pathlib import Path

import pytest

from scripts.bench import levels, plots, profile, report, starting
from scripts.bench.repeat import summary
from scripts.bench.targets import judge

CONDITIONS = {"cpu": "a <cpu>", "cores": 2, "python": "3.11.7", "load": [0.5, 0.4, 0.3], "repeat": 3, "seconds": 15.0}
APPEND = {
    "batch": 100, "in_flight": 4, "events_per_s": 16_000, "p50_ms": 20.5, "p95_ms": 30.5, "p99_ms": 31.0,
    "certified_p50_ms": 40.0, "certified_p95_ms": 50.0, "server_cpu_s_per_1000": 0.1, "client_cpu_s_per_1000": 0.01,
    "rss_mb": 250, "disk_bytes_per_event": 300, "raw_bytes_per_event": 600, "failed": 0,
}  # fmt: skip
PEER = {
    "peer": "immudb Set", "peer_cell": "100:4", "our_cell": "100:4", "peer_events_per_s": 20_000,
    "our_events_per_s": 15_000, "ratio": 0.75, "failed": 0,
}  # fmt: skip
SCALE = [
    {"events": 10_000, "build_us_per_event": 100.0, "disk_bytes_per_event": 300, "elapsed_us_per_event": 120.0},
    {"events": 1_000_000, "build_us_per_event": 140.0, "disk_bytes_per_event": 280, "elapsed_us_per_event": 170.0},
]


def test_one_round_stays_as_it_is() -> None:
    """A single round is its own row."""
    assert summary([APPEND]) == APPEND


def test_rounds_become_median_and_extremes() -> None:
    """Three rounds: the median of each figure, extremes of rates and latencies, failures added up."""
    rounds = [{**APPEND, "events_per_s": rate, "failed": 1, "ran_out": rate == 9} for rate in (9, 30, 12)]
    row = summary(rounds)
    assert (row["events_per_s"], row["events_per_s_min"], row["events_per_s_max"]) == (12, 9, 30)
    assert row["failed"] == 3 and row["ran_out"] is True and row["rounds"] == 3
    assert row["batch"] == 100 and row["p50_ms"] == 20.5


def test_targets_are_judged_by_what_was_measured() -> None:
    """Reached, missed and not measured are three different things."""
    documents = {"append": {"rows": [APPEND]}, "peers": {"rows": [PEER]}, "scale": {"rows": SCALE}}
    found = {each.target: each for each in judge(documents)}
    assert found["batches of 100, 4 clients: 15,000 events/s"].reached is True
    assert found["batches of 100, 4 clients: as fast as immudb"].reached is False
    assert found["cost of an event grows at most 1.3 × with the ledger"].reached is False
    assert found["batches of 1,000, 4 clients: 20,000 events/s"].reached is None
    assert found["disk: at most 0.6 × the raw events, in batches"].reached is True


def test_single_events_of_few_clients_are_told_but_not_judged() -> None:
    """Disk is judged for batches and for crowds of single events; what lone events take stands in the words."""
    alone = {**APPEND, "batch": 1, "in_flight": 1, "disk_bytes_per_event": 1_200, "p50_ms": 9.0, "fsync_ms": 2.0}
    crowd = {**alone, "in_flight": 50, "disk_bytes_per_event": 420, "events_per_s": 2_400}
    found = {each.target: each for each in judge({"append": {"rows": [APPEND, alone, crowd]}})}
    disk = found["disk: at most 0.8 × the raw events, in batches or with 50 in flight"]
    assert disk.measured == "0.70 × at the worst; single events: 2.00 × 1 in flight, 0.70 × 50 in flight"
    assert disk.reached is True
    assert found["one event a request, 50 in flight: 2,500 events/s"].reached is False
    one = found["one event a request, 1 in flight: p50 at most 1.5 × one fsync + 6 ms"]
    assert (one.measured, one.reached) == ("p50 9.0 ms, one fsync 2.0 ms", True)


def test_nothing_recorded_is_not_measured() -> None:
    """Without documents, and with rows of an older run that lack a figure, every target says so and none fails."""
    assert {each.measured for each in judge({})} == {"not measured"}
    bare = {"batch": 1, "in_flight": 1, "events": 10_000_000, "peer": "immudb Set", "our_cell": "1:50", "case": "1 x 1",
            "command": "ledger --help", "validators": 4}  # fmt: skip
    names = ("append", "followers", "peers", "profile", "rules", "engine", "verify", "query", "scale", "start")
    judged = judge({name: {"rows": [bare, bare]} for name in names})
    assert {each.measured for each in judged} == {"not measured"}
    assert {each.reached for each in judged} == {None}


def test_starts_of_commands_are_judged() -> None:
    """The wall time of the whole process counts; processor time stands beside."""
    row = {"command": "ledger --help", "wall_p50_ms": 62.5, "cpu_ms": 41.0}
    found = {each.target: each for each in judge({"start": {"rows": [row]}})}
    assert found["`ledger --help`: less than 100 ms"].measured == "62.5 ms from start to end, 41.0 ms of processor time"
    assert found["`ledger --help`: less than 100 ms"].reached is True
    assert found["`ledger proof verify`: at most 250 ms"].reached is None
    measured = starting.measure("true", ["--help"])
    assert measured["command"] == "true" and 0 < measured["wall_p50_ms"] <= measured["wall_p95_ms"]
    with pytest.raises(RuntimeError):
        starting.measure("wrong", ["--no-such-option"])


@pytest.mark.parametrize("value", [0.0, 1e-9, 3.0, 7_999.0, 1e9])
def test_pictures_are_well_formed(value: float) -> None:
    """Any value, and names with markup in them, give XML with a text for every name."""
    names = ["<a>", "b & c"]
    for svg in (
        plots.bars("x < y", names, [value, 1.0]),
        plots.grouped("t", names, {"p50": [value, 1.0], "p99": [1.0, value]}),
        plots.stacked("t", names, {"one": [value, 1.0], "two": [1.0, 0.0]}),
        plots.ratios("t", [("a < b", value), ("b", 0.5)]),
        plots.lines("t", "events", {"a": [(10, value), (100, 2.0)], "b": [(10, 1.0)]}),
    ):
        document = xml.dom.minidom.parseString(svg)
        assert document.documentElement.tagName == "svg"
        assert "nan" not in svg and "inf" not in svg


def test_the_page_holds_every_document(tmp_path: Path) -> None:
    """Each JSON file becomes a section with its pictures; the conditions say how it was measured."""
    for name, rows in (("append", [APPEND]), ("peers", [PEER]), ("scale", SCALE)):
        document = {"bench": name, "conditions": CONDITIONS, "rows": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(document), "utf-8")
    page = tmp_path / "PAGE.md"
    report.write(tmp_path, page)
    text = page.read_text("utf-8")
    assert "median of 3 rounds of 15 s a cell, no followers: `certified_*` waits for the ordering node's own" in text
    assert "`./dev bench append --followers 3 --cells 1:1,1:50,100:4 --json docs/bench/followers.json`" in text
    assert "`./dev bench verify --json docs/bench/verify.json`" in text
    for title, picture in (("Durable append", "append-rate.svg"), ("Beside other", "peers.svg"), ("Cost", "scale.svg")):
        assert title in text and f"](bench/{picture})" in text and (tmp_path / picture).is_file()


def test_followers_have_a_table_of_their_own(tmp_path: Path) -> None:
    """What was measured with followers says how many cosigned, and is no longer told as not measured."""
    row = {**APPEND, "followers": 3, "network_cpu_s_per_1000": 0.5, "network_rss_mb": 900, "follower_lag_ms": 40}
    document = {"bench": "append", "conditions": {**CONDITIONS, "followers": 3}, "rows": [row]}
    (tmp_path / "followers.json").write_text(json.dumps(document), "utf-8")
    report.write(tmp_path, tmp_path / "PAGE.md")
    text = (tmp_path / "PAGE.md").read_text("utf-8")
    assert "3 followers: `certified_*` waits for the cosignatures of more than two thirds of 4 nodes" in text
    assert "## The same with followers" in text and "follower_lag_ms" in text
    assert "docs/bench/followers.json" not in text and "docs/bench/append.json" in text


def test_every_stage_that_is_timed_exists() -> None:
    """The functions that the profile and the levels of an audit are timed at are there under these names."""
    for owner, name, _ in (*profile.PLACES, *levels.PLACES):
        assert callable(vars(owner)[name]), name
