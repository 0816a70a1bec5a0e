"""The permit log: its reading as a data life cycle, rows that cannot be read, names that never leave."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.cli.permit_log import COLUMNS, datasets, parse_log, person_tag, read_log, slug, statements
from ledger.core.genesis import check_member_id
from ledger.core.ident import check_identifier
from ledger.errors import MalformedError
from tests.unit.cli.runner import ledger

HEAD = ",".join(COLUMNS)


def row(case: str, task: str, group: str, person: str, time: str, *, end: str = "", deadline: str = "") -> str:
    """One line of the log."""
    return f"Internet,{case},{deadline},General,{end},,Group 9,{person},,t-1,{task},complete,{group},{person},{time}"


LOG = "\n".join(
    [
        HEAD,
        row(
            "case-1", "Receive", "Group 1", "Ann", "2011-10-11 13:45:40.276999+02:00", deadline="2011-12-06 13:00+01:00"
        ),
        row("case-1", "Check", "Group 2", "Bob", "2011-10-11 14:00:00+02:00"),
        row("case-1", "Decide", "Group 2", "Bob", "2011-10-12 14:00:00+02:00", end="2011-11-01 00:00:00+01:00"),
        row("case-2", "Receive", "EMPTY", "Ann", "2011-10-13 14:00:00+02:00"),
    ]
)


def test_a_log_reads_as_a_life_cycle() -> None:
    """First task collection, change of group sharing, other tasks use, end disposal; the collector owns the record."""
    log = parse_log(LOG.encode())
    said = [(s.member, s.body["stage"], s.body["activity"], s.refs) for s in statements(log)]
    refs = {"dataset": "group-1/permits", "case": "group-1/case-1"}
    assert said == [
        ("group-1", "collect", "Receive", refs),
        ("group-1", "share", "Check", {**refs, "member": "group-2"}),
        ("group-2", "use", "Check", refs),
        ("group-2", "use", "Decide", refs),
        ("group-2", "dispose", "Decide", refs),
        ("empty", "collect", "Receive", {"dataset": "empty/permits", "case": "empty/case-2"}),
    ]
    first = next(statements(log))
    assert first.body["happened"] == "2011-10-11T11:45:40.276Z" and first.body["channel"] == "Internet"
    assert first.body["deadline"] == "2011-12-06T12:00:00.000Z" and first.body["count"] == 1
    assert datasets(log) == ["empty/permits", "group-1/permits"]
    # Whoever hands a record on is the one who had it, not the one who gets it.
    assert [s.person for s in statements(log)][:3] == ["Ann", "Ann", "Bob"]


def test_gzip_makes_no_difference() -> None:
    """The compressed log reads the same."""
    assert parse_log(gzip.compress(LOG.encode())) == parse_log(LOG.encode())


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("", "T", "G", "P", "2011-10-11 13:45:40+02:00"), "case:concept:name is empty"),
        (row("c", "T", "G", "P", "2011-10-11 13:45:40"), "time:timestamp is no time with an offset"),
        (row("c", "T", "G", "P", "soon"), "time:timestamp is no time with an offset"),
        (row("c", "T", "G", "P", "1911-10-11 13:45:40+02:00"), "time:timestamp is no time with an offset"),
        (row("c", "T", "G", "P", "2011-10-11 13:45:40+02:00", end="x"), "case:enddate is no time with an offset"),
        ("one,two", "2 cells instead of 15"),
        (row("c", "T\x00", "G", "P", "2011-10-11 13:45:40+02:00"), ""),
        (row("c", '"T" x', "G", "P", "2011-10-11 13:45:40+02:00"), ""),
    ],
)
def test_a_bad_row_is_named_and_costs_nothing_else(bad: str, reason: str) -> None:
    """The row is kept with its line and reason; all other rows are read, and rows read and bad add up."""
    lines = LOG.split("\n")
    log = parse_log("\n".join([*lines[:3], bad, *lines[3:]]).encode())
    assert [entry.line for entry in log.bad] == [4] and reason in log.bad[0].reason
    assert log.tasks[1:] == tuple(
        type(task)(**{**{name: getattr(task, name) for name in task.__slots__}, "line": task.line + (task.line > 3)})
        for task in parse_log(LOG.encode()).tasks[1:]
    )
    assert log.rows == len(log.tasks) + len(log.bad) == 5


def test_bytes_that_are_not_utf8_are_a_bad_row() -> None:
    """A row in another encoding is named; it does not become question marks."""
    data = (
        LOG.encode() + b"\n" + row("case-3", "X", "G", "P", "2011-10-11 13:45:40+02:00").encode().replace(b"X", b"\xe9")
    )
    log = parse_log(data)
    assert len(log.tasks) == 4 and "not UTF-8" in log.bad[0].reason


@pytest.mark.parametrize(
    "data", [b"", b"a,b,c\n1,2,3", b"\x1f\x8bnot gzip", gzip.compress(LOG.encode())[:-20], HEAD.encode() * 2]
)
def test_what_is_no_permit_log_is_refused(data: bytes) -> None:
    """Missing columns, damaged gzip and empty files are `permit-log`, before anything is recorded."""
    with pytest.raises(MalformedError) as caught:
        parse_log(data)
    assert caught.value.code == "permit-log"


@given(st.text(min_size=1, max_size=100))
def test_every_group_gets_a_member_id(name: str) -> None:
    """Any name becomes an identifier without slash and colon."""
    assert check_member_id(check_identifier(slug(name), "member")) == slug(name)


def test_names_in_other_scripts_do_not_collide() -> None:
    """Two Chinese names give two ids."""
    assert slug("公安局") != slug("数据局") and slug("Group 1") == "group-1"


def test_person_tags_are_keyed_per_department() -> None:
    """A tag depends on key, department and name, and holds none of them."""
    tags = {person_tag(key, member, "Ann") for key in (b"a", b"b") for member in ("x", "y")}
    assert len(tags) == 4 and person_tag(b"a", "x", "Ann") in tags
    assert all(check_identifier(tag, "tag") and "ann" not in tag for tag in tags)


def test_the_recorded_log_is_read_whole(permit_log: Path) -> None:
    """Every row of the real log is read, and its statements add up: one collection a case, one sharing a hand-over."""
    log = read_log(permit_log)
    stages = Counter(statement.body["stage"] for statement in statements(log))
    cases = {task.case for task in log.tasks}
    assert log.rows == len(log.tasks) == 4174 and not log.bad and len(log.groups) == 10
    assert stages["collect"] == len(cases) == 715 and stages["collect"] + stages["use"] == log.rows
    text = repr([statement.body for statement in statements(log)])
    assert "Resource" not in text


def test_a_dry_run_counts_and_names_bad_rows(tmp_path: Path) -> None:
    """`import permits --dry-run` needs no node, accounts for every row and ends with 7 when one is bad."""
    path = tmp_path / "log.csv"
    path.write_text(LOG + "\nbroken", "utf-8")
    ran = ledger("import", "permits", path, "--dry-run", "--json", home=tmp_path)
    assert ran.code == 7
    assert (ran.json["rows"], ran.json["rows_read"], ran.json["rows_bad"]) == (
        5,
        4,
        [{"line": 6, "reason": "1 cells instead of 15"}],
    )
    assert "line 6" in ledger("import", "permits", path, "--dry-run", home=tmp_path).err
