"""Reports of one ledger made for them: duties that others ended, a period over the state, the record of processing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.audit.reporting import report
from ledger.adapters.audit.sources import open_source
from ledger.core import canonical
from ledger.core.hashing import ZERO_DIGEST
from ledger.core.mapkeys import object_key, object_value
from ledger.report.build import AT_END, Table, build_tables
from ledger.report.facts import DAY_MS, Collector, Filter
from tests.models.real_ledger import RealLedger
from tests.unit.cli.runner import ledger
from tests.unit.rules.books import contract_program

NOW = 1_000 * DAY_MS
STATE_ONLY = {"catalogue", "grants-by-purpose", "live-copies", "quality-loops", "processing-record", "open"}


def test_live_copies_are_all_that_are_not_gone() -> None:
    """A copy is live in every status but verified as disposed of or released; one on hold is live too, and is listed."""
    book = contract_program("data-sharing").book
    moves = book.tables["copy"].moves
    statuses = {
        *book.tables["copy"].start.values(),
        *moves,
        *(each for edges in moves.values() for each in edges.values()),
    }
    collector = Collector(book.sections, Filter(), NOW)
    for status in statuses:
        fields = {"holder": "rs", "provider": "ga", "dataset": "ga/people", "grant": "ga/g", "status": status}
        collector.row(object_key(f"copy/{status}"), object_value(ZERO_DIGEST, canonical.encode(fields)))
    tables = {table.id: table for table in build_tables(collector.finish(), book, book.sections)}
    listed = {row[-1] for row in tables["live-copies"].rows}
    assert "on_hold" in listed and listed == statuses - {"verified", "released"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """An entry of personal information that was shared, and an application to another provider that was withdrawn."""
    made = RealLedger(tmp_path_factory.mktemp("record") / "node")
    work = made.workload
    for wave in work.setup(1):
        made.block(wave)

    def step(member: str, kind: str, refs: dict[str, Any], **content: Any) -> str:
        event = work.event(kind, refs, **content)
        made.block([work.submission(member, "office", [event])])
        return f"{member}/{event.id}"

    applied = {
        "basis": "《政务数据共享条例》第二十条", "purpose": "school-enrolment", "items": ["name-tag"], "method": "api",
        "until": "2099-12-31",
    }  # fmt: skip
    withdrawn = step("ga", "share.apply", {"dataset": "ws/dataset-03"}, **applied)
    step("ga", "share.withdraw", {"application": withdrawn})
    people = {"dataset": "ga/people"}
    step(
        "ga", "catalog.draft", people, name="常住人口 residents", items=["name-tag", "id-tag"], format="table",
        frequency="daily", sharing="conditional", methods=["api"], level="general", purposes=["school-enrolment"], pi="pi",
        pi_items=["name-tag", "id-tag"],
    )  # fmt: skip
    targets = {"completeness": 9800, "accuracy": 9900, "consistency": 9500, "timeliness": 9000}
    step("ga", "quality.plan", people, **targets)
    step("ga", "catalog.submit", people, attested=["secrecy", "pi-impact", "no-secrets"])
    step("sj", "catalog.publish", {**people, "item": ["id-tag", "name-tag"]})
    application = step("rs", "share.apply", people, **applied, pi_basis="statutory-duty")
    grant = step("ga", "share.approve", {"application": application, **people})
    step("ga", "share.deliver", {**people, "grant": grant}, to="rs", method="api")
    made.certify()
    made.close()
    return made


def tables_of(made: RealLedger, wanted: Filter) -> dict[str, Table]:
    return {table.id: table for table in report(open_source(str(made.folder)), lambda _: wanted).tables}


def test_what_others_ended_is_not_met_in_time(made: RealLedger) -> None:
    """An application that its applicant withdrew ends the provider's duty and adds nothing to its on-time rate, also where
    only the provider is asked about, or its dataset."""
    for wanted in (Filter(), Filter(member="ws"), Filter(dataset="ws/dataset-03")):
        table = tables_of(made, wanted)["duties"]
        names = [column.id for column in table.columns]
        rows = {(row[0], row[1]): dict(zip(names, row, strict=True)) for row in table.rows}
        given = rows["A3", "ws"]
        assert (given["waived"], given["on-time"], given["rate"], given["median"]) == (1, 0, None, None)
        if wanted == Filter():
            met = rows["A3", "ga"]
            assert (met["waived"], met["on-time"], met["rate"]) == (0, 2, 100.0)


def test_duties_count_by_who_ended_them_and_whether_they_had_a_term() -> None:
    """Before the due the obligor is on time and anybody else waives; at the due it is late, whoever ends it; without a due
    it has no term. What counts is the last discharge of a duty that arose again."""
    rows: dict[str, dict[str, Any]] = {}
    collector = Collector((), Filter(), NOW)

    def ended(name: str, by: str, due: int | None, *authors: str) -> None:
        rule, _, on = name.partition("/")
        on, _, label = on.partition("#")
        for author in authors:
            done = {"by": by, "due": due, "on": on, "rule": rule, "status": "discharged"}
            told = {"duties": [{**done, "label": label} if label else done], "outcome": "accepted"}
            collector.record(NOW, author, {"kind": "x.y"}, canonical.encode(told), ())
        rows[f"duty/{name}"] = {"by": by, "due": due, "since": 0, "status": "discharged", "at": 10}

    ended("R/x/a", "ga", 11, "ga")
    ended("R/x/b", "ga", 11, "rs")
    ended("R/x/c#one", "ga", 11, "rs")
    ended("R/x/d", "ga", 11, "rs", "ga")
    ended("R/x/e", "ga", 11, "ga", "rs")
    ended("R/x/f", "ga", 10, "rs")
    ended("R/x/g", "ga", 10, "ga")
    ended("R/x/h", "ga", None, "ga")
    ended("R/x/i", "ga", None, "rs")
    rows["duty/R/x/j"] = {"by": "ga", "due": None, "since": 0, "status": "open"}
    for name, fields in rows.items():
        collector.row(object_key(name), object_value(ZERO_DIGEST, canonical.encode(fields)))
    facts = collector.finish()
    assert facts.duties["R", "ga"] == {"on-time": 2, "waived": 4, "late": 2, "no-term": 1, "open": 1}
    assert facts.taken["R", "ga"].total() == 4
    book = contract_program("data-sharing").book
    (row,) = next(table for table in build_tables(facts, book, ()) if table.id == "duties").rows
    assert row == ("R", "ga", 2, 2, 4, 1, 1, 0, 50.0, 0.0)


def test_a_period_says_where_it_selects_nothing(made: RealLedger, tmp_path: Path) -> None:
    """Tables of the state say with a period that they are of the ledger's end, in text, page and JSON; those that the period
    selects do not, and without a period nothing does."""
    found = tables_of(made, Filter(since=0))
    assert {name for name, table in found.items() if table.at_end} >= STATE_ONLY
    assert not any(found[name].at_end for name in ("events", "duties", "applications"))
    assert not any(table.at_end for table in tables_of(made, Filter()).values())
    for language in ("zh", "en"):
        page = tmp_path / f"{language}.html"
        asked = ("--lang", language, "export", "report", "--from", made.folder)
        shown = ledger(*asked, "--period", "2020-01-01..", "--html", page).out
        marked = sum(table.at_end for table in found.values())
        assert shown.count(AT_END[language]) == page.read_text("utf-8").count(AT_END[language]) == marked
        assert AT_END[language] not in ledger(*asked).out
    document = json.loads(ledger("--json", "export", "report", "--from", made.folder, "--period", "2020-01-01..").out)
    assert {each["id"] for each in document["tables"] if each["state_at_end"]} >= STATE_ONLY


def test_the_record_of_processing_falls_out_of_catalogue_grants_and_copies(made: RealLedger, tmp_path: Path) -> None:
    """Only what holds personal information, with its provider, purposes, items, holders and grade, who received it for what
    and until when, and its copies; in text and HTML, in zh and en, and for each member what concerns it."""
    found = tables_of(made, Filter())
    (row,) = found["processing-record"].rows
    assert row == (
        "ga/people", "ga", ["school-enrolment"], "pi", ["name-tag", "id-tag"], False, "general", "conditional", None,
        {"rs": 1}, "published",
    )  # fmt: skip
    (row,) = found["processing-recipients"].rows
    shown = dict(zip([column.id for column in found["processing-recipients"].columns], row, strict=True))
    assert (shown["user"], shown["dataset"], shown["purposes"]) == ("rs", "ga/people", ["school-enrolment"])
    assert (shown["items"], shown["pi_basis"], shown["ended"]) == (["name-tag"], "statutory-duty", None)
    (row,) = found["processing-disposals"].rows
    assert row[1:4] == ("rs", "ga", "ga/people") and row[-2:] == (None, "unconfirmed")
    for language, words in (("en", "Record of processing activities"), ("zh", "个人信息处理活动记录")):
        page = tmp_path / f"{language}.html"
        ran = ledger("export", "report", "--from", made.folder, "--html", page, "--lang", language)
        for text in (ran.out, page.read_text("utf-8")):
            assert text.count(words) == 3
        assert "<td>rs 1</td>" in page.read_text("utf-8")  # a map of the ledger, not a title
    assert "processing-record" not in tables_of(made, Filter(member="ws"))
    assert set(tables_of(made, Filter(member="rs"))) >= {"processing-recipients", "processing-disposals"}
