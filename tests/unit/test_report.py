"""Reports: what they count, for whom, and that nothing of a ledger can break out of the page."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.reporting import parse_period, report
from ledger.adapters.audit.sources import open_source
from ledger.cli.reportview import html_page
from ledger.cli.texts import Texts
from ledger.core import canonical
from ledger.core.event import new_event
from ledger.core.hashing import ZERO_DIGEST
from ledger.core.ident import parse_time, uuid7_at
from ledger.core.mapkeys import object_key, object_value
from ledger.errors import MalformedError, NotFoundError, VerificationError
from ledger.report.build import CODE, Column, Report, Table, build_tables, median_days
from ledger.report.facts import DAY_MS, ROWS_SHOWN_MAX, Collector, Filter, object_name
from ledger.rules.kinds import ObjectKind
from ledger.rules.sections import Section, parse_sections
from tests.models import city_year
from tests.models.real_ledger import RealLedger, real_ledger
from tests.unit.cli.runner import ledger
from tests.unit.rules.books import contract_program

NOW = 1_000 * DAY_MS
TITLE = {"zh": "表", "en": "Table"}
GRANT = ObjectKind(
    "grant",
    TITLE,
    {"status": None, "user": None, "copies": 0, "last": None, "done": 0, "dataset": None},
    titles=dict.fromkeys(("status", "user", "copies", "last", "done", "dataset"), TITLE),
)


USE = ObjectKind(
    "use", TITLE, {"last": 0, "accesses": 0, "oldest": 0}, True, dict.fromkeys(("last", "accesses", "oldest"), TITLE)
)


def section(**fields: Any) -> Section:
    return parse_sections({"one": {"title": TITLE, "object": "grant", **fields}}, {"grant": GRANT, "use": USE})[0]


def collect(rows: dict[str, dict[str, Any]], *sections: Section, **wanted: Any) -> Any:
    """The facts of these state objects."""
    collector = Collector(sections, Filter(**wanted), NOW)
    for name, fields in rows.items():
        collector.row(object_key(name), object_value(ZERO_DIGEST, canonical.encode(fields)))
    return collector.finish()


def duty(by: str, due: int | None, at: int | None = None, since: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {"by": by, "due": due, "since": since, "status": "open" if at is None else "discharged"}
    return found if at is None else {**found, "at": at}


def test_duties_are_on_time_late_open_or_overdue() -> None:
    """A duty counts as what it is at the head's time; one without a term is open and never overdue."""
    facts = collect(
        {
            "duty/A3/application/a": duty("ga", NOW, at=NOW - 1),
            "duty/A3/application/b": duty("ga", NOW, at=NOW),
            "duty/A3/application/c": duty("ga", NOW),
            "duty/A3/application/d": duty("ga", NOW + 1),
            "duty/C2/grant/e#rs": duty("ga", None),
        }
    )
    assert facts.duties["A3", "ga"] == {"on-time": 1, "late": 1, "overdue": 1, "open": 1}
    assert facts.duties["C2", "ga"] == {"open": 1}
    assert [(row[1], row[2], row[5]) for row in facts.open_duties] == [
        ("application/c", "", True), ("application/d", "", False), ("grant/e", "rs", False),
    ]  # fmt: skip


def test_the_median_of_days_is_that_of_what_was_done() -> None:
    """Days run from a duty's first moment to its discharge; what is open has none, and a period selects by discharge."""
    rows = {
        "duty/A3/application/a": duty("ga", NOW, at=2 * DAY_MS, since=0),
        "duty/A3/application/b": duty("ga", NOW, at=10 * DAY_MS, since=DAY_MS // 2),
        "duty/A3/application/c": duty("ga", 2 * DAY_MS, at=4 * DAY_MS, since=0),
        "duty/A3/application/d": duty("ga", NOW),
    }
    assert median_days(collect(rows).taken["A3", "ga"]) == 4.0
    assert median_days(collect(rows, since=9 * DAY_MS).taken["A3", "ga"]) == 9.5
    assert ("A3", "ga") not in collect({"duty/A3/application/d": duty("ga", NOW)}).taken
    assert median_days(Counter()) is None


def test_events_are_counted_by_author_and_what_was_asked_for() -> None:
    """Done is what was recorded and not refused; avoided is what was asked for beforehand and refused for the code."""
    book = contract_program("data-sharing").book
    collector = Collector(book.sections, Filter(), NOW)

    def record(
        member: str, kind: str, verdict: dict[str, Any], body: dict[str, Any] | None = None, **head: Any
    ) -> None:
        encoded = None if body is None else canonical.encode(body)
        collector.record(NOW, member, {"kind": kind, **head}, canonical.encode(verdict), (), encoded)

    repeated = {"reasons": [["A6", "D809/40-1", {}]]}
    record("rs", "collect.done", {"outcome": "accepted"})
    record("rs", "collect.done", {"outcome": "accepted"}, intent=True)
    record("rs", "collect.done", {"outcome": "refused", **repeated}, intent=True)
    record("ga", "collect.done", {"outcome": "irregular", **repeated})
    record("ga", "collect.done", {"outcome": "refused", "reasons": [["ledger", "shape", {}]]})
    record("ga", "use.record", {"outcome": "accepted"}, {"documents_saved": 4, "salt": "00"})
    record("ga", "use.effect", {"outcome": "accepted"}, {"visits_saved": 2, "documents_saved": 1, "salt": "00"})
    record("ga", "use.effect", {"outcome": "refused"}, {"documents_saved": 9, "salt": "00"})
    record("ga", "use.record", {"outcome": "accepted"})
    tables = {table.id: table for table in build_tables(collector.finish(), book, book.sections)}
    assert tables["collections-avoided"].rows == (("ga", 1, 0, 0, 1), ("rs", 1, 2, 1, 0))
    assert tables["saved"].rows == (("ga", 3, 5, 2),)
    assert [column.title["en"] for column in tables["saved"].columns][2:] == ["Documents saved", "Visits saved"]


@pytest.mark.parametrize(
    "fields",
    [{"events": ["no.kind"]}, {"events": ["use.record"], "sums": ["effect"]}, {"events": ["use.record"], "group": ["x"]},
     {"events": ["share.deny"], "by": ["explanation"]},
     {"events": ["use.record"], "finding": "D809/99-9"}],
)  # fmt: skip
def test_bad_sections_of_events_are_refused(fields: dict[str, Any]) -> None:
    """A table of events names kinds, numbers of their bodies and codes that are declared, and nothing else."""
    book = contract_program("data-sharing").book
    with pytest.raises(MalformedError) as caught:
        parse_sections({"one": {"title": TITLE, **fields}}, book.objects, book.kinds, book.texts)
    assert caught.value.evidence["file"] == "reports.toml"


def test_filters_select_what_concerns_them() -> None:
    """Member, dataset and period each leave exactly their own duties and findings, whatever the order of the rows."""
    rows = {
        "finding/f:1": {"about": "ga", "at": 5, "code": "D809/39-4", "on": "grant/x", "status": "raised"},
        "finding/f:2": {"about": "rs", "at": 50, "code": "D809/40-2", "on": "grant/y", "status": "confirmed"},
        "duty/C2/grant/x": duty("ga", None),
        "grant/x": {"dataset": "ga/one"},
        "grant/y": {"dataset": "ga/two"},
    }
    assert set(collect(rows).findings) == {("D809/39-4", "raised"), ("D809/40-2", "confirmed")}
    assert set(collect(rows, member="rs").findings) == {("D809/40-2", "confirmed")}
    assert set(collect(rows, since=10, until=51).findings) == {("D809/40-2", "confirmed")}
    one = collect(rows, dataset="ga/one")
    assert set(one.findings) == {("D809/39-4", "raised")}
    assert [row[1] for row in one.open_duties] == ["grant/x"]


def test_sections_count_sum_and_list() -> None:
    """Objects are counted by group with sums and a rate, or listed with their fields; conditions hold for both."""
    rows = {
        "grant/a": {"status": "live", "user": "rs", "copies": 4, "done": 1, "last": NOW},
        "grant/b": {"status": "live", "user": "rs", "copies": 4, "done": 2, "last": NOW - 91 * DAY_MS},
        "grant/c": {"status": "closed", "user": "sj", "copies": 0, "done": 0},
    }
    counted = collect(rows, section(group=["user"], sums=["copies"], ratio=["done", "copies"]))
    assert counted.groups["one"] == {("rs",): [2, 8, 3, 8], ("sj",): [1, 0, 0, 0]}
    listed = collect(rows, section(where={"status": ["live"]}, older={"field": "last", "days": 90}, columns=["user"]))
    assert listed.lists["one"].rows == [["b", "rs"]]
    many = collect(rows, section(least={"copies": 4, "done": 2}, columns=["user"]))
    assert many.lists["one"].rows == [["b", "rs"]]
    assert collect(rows, section(member=["user"], group=["status"]), member="sj").groups["one"] == {("closed",): [1]}
    # What cannot be narrowed to a member says nothing to somebody who asks for one.
    assert "one" not in collect(rows, section(group=["status"]), member="sj").groups
    assert collect(rows, section(member=["id"], columns=["user"]), member="a").lists["one"].rows == [["a", "rs"]]


def test_long_lists_are_counted_and_cut() -> None:
    """A list shows its first rows and says how many there are."""
    rows = {f"grant/{number}": {"user": "rs"} for number in range(ROWS_SHOWN_MAX + 5)}
    listed = collect(rows, section(columns=["user"])).lists["one"]
    assert (len(listed.rows), listed.total) == (ROWS_SHOWN_MAX, ROWS_SHOWN_MAX + 5)


USED = {
    "grant/a": {"status": "live", "user": "rs", "dataset": "ga/one"},
    "grant/b": {"status": "live", "user": "sj", "dataset": "ga/two", "last": NOW},
    "grant/c": {"status": "closed", "user": "rs", "dataset": "ga/two"},
    "use/a": {"accesses": 3, "oldest": 0},
    "use/c": {"accesses": 4, "oldest": 5},
}


@pytest.mark.parametrize("backwards", [False, True])
def test_an_object_and_its_account_are_one_row(*, backwards: bool) -> None:
    """Fields of the object beside count as the table's own, in whatever order both come; without one they are defaults."""
    rows = dict(reversed(USED.items())) if backwards else USED
    listed = collect(rows, section(beside="use", where={"status": ["live"]}, columns=["user", "accesses"])).lists["one"]
    assert sorted(listed.rows) == [["a", "rs", 3], ["b", "sj", 0]]
    accounts = section(object="use", beside="grant", member=["user"], sums=["accesses"], share={"oldest": [0]})
    assert collect(rows, accounts).groups["one"] == {(): [2, 7, 1, 2]}
    assert collect(rows, accounts, member="rs").groups["one"] == {(): [2, 7, 1, 2]}
    for wanted in ({"member": "nobody"}, {"member": "sj"}, {"dataset": "ga/three"}):
        assert "one" not in collect(rows, accounts, **wanted).groups
    assert collect(rows, accounts, dataset="ga/two").groups["one"] == {(): [1, 4, 0, 1]}
    # The table's own field goes first, and without an object there is nothing to show.
    assert collect(rows, section(beside="use", columns=["last"])).lists["one"].rows.count(["b", NOW]) == 1
    assert collect({"grant/b": USED["grant/b"]}, accounts).groups == {}


def test_the_latest_of_several_times_says_how_old_it_is() -> None:
    """`older` of several fields leaves out an object that one of them lies near to; what has none is old."""
    rows = {
        "grant/a": {"last": NOW - 91 * DAY_MS, "done": NOW},
        "grant/b": {"last": NOW - 91 * DAY_MS, "done": NOW - 91 * DAY_MS},
        "grant/c": {},
    }
    old = section(older={"field": ["last", "done"], "days": 90}, columns=["user"])
    assert [row[0] for row in collect(rows, old).lists["one"].rows] == ["b", "c"]


def test_unused_grants_denials_and_what_passes_are_reported_for_whom_they_concern(made: RealLedger) -> None:
    """Tables of the rulebook name a live grant that nobody ever used, reasons of denials by provider, and shares; a member
    whom nothing concerns sees no account and no grant of others."""
    book = contract_program("data-sharing").book
    grant = {"provider": "ga", "user": "rs", "dataset": "ga/one", "purposes": ["school"], "status": "live", "copies": 0}
    rows = {
        "grant/never": {**grant, "delivered": NOW - 91 * DAY_MS},
        "grant/new": {**grant, "delivered": NOW - DAY_MS},
        "grant/over": {**grant, "status": "closed"},
        "grant/used": grant,
        "use/used": {"accesses": 2, "records": 9, "last": NOW - DAY_MS, "oldest": 7, "outside": 0, "recorded": 0},
        "tally/rs": {"inspected": 1, "confirmed": {}, "drills": 2},
        "statement/a": {"status": "settled", "issuer": "ga", "counterparty": "rs"},
        "right/a": {"type": "hold", "status": "live", "holder": "rs", "grantor": "ga"},
        "plan/a": {"source": "ga", "owner": "ga", "status": "passed", "loops": 0},
        "plan/b": {"source": "ga", "owner": "ga", "status": "returned", "loops": 1},
        "plan/c": {"source": "ga", "owner": "ga", "status": "planned", "loops": 0},
    }
    found: dict[str, dict[str, Table]] = {}
    for member in ("", "rs", "nobody"):
        collector = Collector(book.sections, Filter(member=member), NOW)
        for outcome, content in (
            ("accepted", {"reason": "no-need"}),
            ("accepted", {}),
            ("refused", {"reason": "other"}),
        ):
            verdict = canonical.encode({"outcome": outcome})
            collector.record(NOW, "ga", {"kind": "share.deny"}, verdict, (), canonical.encode(content))
        for name, fields in rows.items():
            collector.row(object_key(name), object_value(ZERO_DIGEST, canonical.encode(fields)))
        found[member] = {table.id: table for table in build_tables(collector.finish(), book, book.sections)}
    everyone = found[""]
    assert everyone["dormant-grants"].rows == (("never", "ga", "rs", NOW - 91 * DAY_MS, 0, 0, 0),)
    assert everyone["dormant-grants"].rows == found["rs"]["dormant-grants"].rows
    assert everyone["denials"].rows == (("ga", None, 1), ("ga", "no-need", 1))
    assert [column.id for column in everyone["denials"].columns] == ["member", "reason", "done"]
    assert everyone["use-record-completeness"].rows == (("rs", 1, 0.0),)
    assert everyone["quality-passed"].rows == (("ga", 2, 50.0),)
    assert everyone["use-records"].rows == found["rs"]["use-records"].rows == ((1, 2, 9, 0, 0, 0, 0),)
    for name in ("accountability", "statements", "rights"):
        assert everyone[name].rows == found["rs"][name].rows != ()
    assert found["nobody"] == {}
    nobody = report(open_source(str(made.folder)), lambda _: Filter(member="nobody")).tables
    assert [table.id for table in nobody] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"object": "nothing"},
        {"beside": "nothing"},
        {"share": {"status": "live"}},
        {"share": {"nothing": [1]}},
        {"share": {"status": ["live"]}, "ratio": ["done", "copies"]},
        {"share": {"status": ["live"]}, "columns": ["user"]},
        {"older": {"field": [], "days": 90}},
        {"older": {"field": ["last", "nothing"], "days": 90}},
        {"columns": ["accesses"]},
        {"group": ["nothing"]},
        {"where": {"status": "live"}},
        {"where": {"status": []}},
        {"older": {"field": "last", "days": 0}},
        {"least": {"copies": "4"}},
        {"least": {"nothing": 1}},
        {"ratio": ["done"]},
        {"group": ["user"], "columns": ["user"]},
        {"surprise": 1},
    ],
)
def test_bad_sections_are_refused(fields: dict[str, Any]) -> None:
    """A section that names what is not declared, or is not of the form, is refused with its file."""
    with pytest.raises(MalformedError) as caught:
        section(**fields)
    assert caught.value.evidence["file"] == "reports.toml"


@pytest.mark.parametrize(
    "key", [b"\x02", b"\x02\x00\x05grant", b"\x02\x00\x09grant\x00\x01a", b"\x02\x00\x01\xff\x00\x01a"]
)
def test_object_names_are_parsed_totally(key: bytes) -> None:
    """Bytes that are no object's key are an error of their own."""
    with pytest.raises(MalformedError):
        object_name(key)


def test_periods_are_whole_days_of_the_zone() -> None:
    """Either end may be left out; both days count in full; anything else is refused."""
    zone = 8 * 3_600_000
    assert parse_period("1970-01-02..1970-01-02", zone) == (DAY_MS - zone, 2 * DAY_MS - zone)
    assert parse_period("..1970-01-01", 0) == (None, DAY_MS)
    assert parse_period("1970-01-01..", 0) == (0, None)
    for text in ("", "..", "1970-01-02", "1970-01-02..1970-01-01", "x..y", "1970-13-01.."):
        with pytest.raises(ValueError):
            parse_period(text, 0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A small ledger under the real rulebook."""
    return real_ledger(tmp_path_factory.mktemp("real") / "node")


def test_the_same_report_from_directory_and_export(made: RealLedger, tmp_path: Path) -> None:
    """A data directory and its export with state give equal figures; an export without state is refused with advice."""
    export(open_source(str(made.folder)), tmp_path / "with", state=True)
    export(open_source(str(made.folder)), tmp_path / "without")
    found = [report(open_source(str(path)), lambda _: Filter()).document() for path in (made.folder, tmp_path / "with")]
    assert {**found[0], "source": ""} == {**found[1], "source": ""}
    tables = {table["id"]: table for table in found[0]["tables"]}
    assert sum(row[2] + row[3] + row[4] for row in tables["events"]["rows"]) > 10
    assert {"grants-by-purpose", "live-copies", "catalogue", "duties", "saved"} <= set(tables)
    assert any(row[-1] is not None for row in tables["duties"]["rows"])
    with pytest.raises(NotFoundError):
        report(open_source(str(tmp_path / "without")), lambda _: Filter())


def test_a_changed_state_is_not_reported_on(made: RealLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that the last block's header does not cover ends the report."""
    source = open_source(str(made.folder))
    rows = list(source.state() or ())
    key, value = next((key, value) for key, value in rows if key.startswith(b"\x02") and b'"status":"live"' in value)
    changed = [(k, v.replace(b'"status":"live"', b'"status":"gone"') if k == key else v) for k, v in rows]
    monkeypatch.setattr(type(source), "state", lambda _self: changed)
    with pytest.raises(VerificationError):
        report(source, lambda _: Filter())
    assert value


def test_nothing_of_a_ledger_breaks_out_of_the_page() -> None:
    """Markup in names and values is shown as text, and the page names no address and runs nothing."""
    evil = "<script>alert(1)</script>\"'&"
    made = Report(evil, evil, {"zh": evil, "en": evil}, Filter(member=evil), 0, tables=[
        Table("t", {"zh": evil, "en": evil}, (Column("c", {"zh": evil, "en": evil}, CODE),), ((evil,),), 3),
    ])  # fmt: skip
    for language in ("zh", "en"):
        page = html_page(made, Texts(language))
        assert "<script" not in page
        assert "default-src 'none'" in page
        assert "http://" not in page.replace("http-equiv", "") and "https://" not in page


@pytest.mark.parametrize("language", ["zh", "en"])
def test_command_writes_text_page_and_document(made: RealLedger, tmp_path: Path, language: str) -> None:
    """The command shows tables, writes the page it was asked for, and gives one JSON document."""
    page = tmp_path / "report.html"
    shown = ledger("--lang", language, "export", "report", "--from", made.folder, "--html", page)
    assert ("义务履行" if language == "zh" else "Duties") in shown.out
    written = page.read_text("utf-8")
    assert written.startswith("<!doctype html>")
    for title in ("办结用时中位数", "应用成效") if language == "zh" else ("Median days taken", "What use has saved"):
        assert title in shown.out
        assert title in written
    document = json.loads(ledger("--json", "export", "report", "--from", made.folder, "--member", "ga").out)
    assert document["ok"]
    assert document["filter"]["member"] == "ga"


def test_record_of_processing_falls_out_of_the_facts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the GDPR rulebook the report is the record of processing of Art. 30(1), (a) to (g), one row an activity, and
    that of Art. 30(2), (a) to (d), one row for each controller of a processor; in text, JSON and HTML, in zh and en."""
    monkeypatch.setattr(city_year, "CONTRACT", city_year.CONTRACT.parent / "gdpr")
    monkeypatch.setattr(city_year, "AUTHORITY", "shop")
    random, city = Random(30), city_year.City(("cloud", "shop"))
    start = parse_time("2026-02-02T08:00:00.000Z")

    def step(kind: str, refs: dict[str, Any], by: str = "shop", **content: Any) -> str:
        time = start + len(city.steps) * DAY_MS
        event = new_event(
            event_id=uuid7_at(time, random.randbytes(10)), kind=kind, refs=refs, time_ms=time,
            salt=random.randbytes(16), content=content,
        )  # fmt: skip
        city.steps.append(city_year.Step(time, len(city.steps), by, "authority" if by == "shop" else "office", event))
        return f"{by}/{event.id}"

    activity = step(
        "processing.record", {}, contact="Shop Ltd, privacy@shop.example", joint=["partner"], representative="Shop EU",
        officer="dpo@shop.example", purposes=["orders"], subjects=["customers"], categories=["contact"],
        recipients=["carriers"], countries=["gb"], safeguards="adequacy decision", retention="ten years",
        security="encryption",
    )  # fmt: skip
    clauses = ["instructions", "confidentiality", "security", "sub-processors", "assistance-rights"]
    engagement = step(
        "processor.engage", {"processing": activity}, processor="cloud", contract="ab" * 32,
        clauses=[*clauses, "assistance-security", "return", "audit"],
    )  # fmt: skip
    step(
        "processor.record", {"engagement": engagement}, by="cloud", contact="Cloud Ltd", activities=["hosting"],
        countries=["us"], safeguards="standard clauses", security="encryption",
    )  # fmt: skip
    step("erasure.receive", {"processing": activity})
    played = city_year.Played(tmp_path / "node", city)
    played.play()
    played.close()
    assert played.refused == []
    found = report(open_source(str(played.folder)), lambda _: Filter())
    tables = {table.id: table for table in found.tables}
    (row,) = tables["art-30-record"].rows
    assert row == (
        activity, "shop", "Shop Ltd, privacy@shop.example", ["partner"], "Shop EU", "dpo@shop.example", ["orders"],
        ["customers"], ["contact"], ["carriers"], ["gb"], "adequacy decision", "ten years", "encryption", [], "running",
    )  # fmt: skip
    (row,) = tables["art-30-2-record"].rows
    assert row == (
        engagement, "cloud", "Cloud Ltd", "", "", "shop", ["hosting"], ["us"], "standard clauses", "encryption", "engaged",
    )  # fmt: skip
    for language, words in (("en", "Safeguards of transfers"), ("zh", "传输保障")):
        page = tmp_path / f"{language}.html"
        ran = ledger("export", "report", "--from", played.folder, "--html", page, "--lang", language)
        for text in (ran.out, page.read_text("utf-8")):
            assert words in text and "dpo@shop.example" in text and "standard clauses" in text
    shown = ledger("export", "report", "--from", played.folder, "--member", "cloud", "--json").json
    counts = {table["id"]: table["total"] for table in shown["tables"]}
    assert (counts.get("art-30-record", 0), counts["art-30-2-record"]) == (0, 1)
    assert tables["processors"].rows == (("shop", "cloud", "engaged", 1),)
    assert tables["erasure"].rows == (("shop", "overdue", 1),)
    assert [(row[0], row[-1]) for row in tables["findings"].rows] == [("GDPR/12-3", 1)]
