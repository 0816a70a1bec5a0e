"""`ledger rules simulate` and `explain` on a real ledger: what differs under other rules, why an event was decided so."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.sources import open_source
from ledger.cli.exits import Exit
from ledger.core.event import new_event
from ledger.core.ident import format_time, parse_time, uuid7_at
from ledger.core.leaf import TimerLeaf
from ledger.report.facts import DAY_MS
from ledger.verify.redecide import read_blocks, read_records
from tests.models import city_year
from tests.models.real_ledger import CONTRACT, RealLedger, real_ledger
from tests.unit.cli.runner import ledger


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A ledger with a catalogue, grants and uses."""
    return real_ledger(tmp_path_factory.mktemp("made") / "data", grants=3, uses=8)


@pytest.fixture(scope="module")
def exported(made: RealLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its export as a tar file."""
    target = tmp_path_factory.mktemp("exported") / "ledger.tar"
    export(open_source(str(made.folder)), target)
    return target


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A copy of the rulebook that the ledger was decided by."""
    shutil.copytree(CONTRACT, tmp_path / "book")
    return tmp_path / "book"


def change(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    source = path.read_text("utf-8")
    assert old in source
    path.write_text(source.replace(old, new, 1), "utf-8")


def events(made: RealLedger, kind: str) -> Iterator[str]:
    """Names of the events of a kind."""
    for block in read_blocks(open_source(str(made.folder)).pieces()):
        for submission in block.submissions:
            for head, _, _ in submission.events:
                fields = json.loads(head)
                if fields["kind"] == kind:
                    yield f"{submission.member}/{fields['id']}"


@pytest.mark.parametrize("runtime", ["inline", "compiled"])
def test_the_same_rules_decide_the_same(made: RealLedger, exported: Path, runtime: str) -> None:
    """Under its own rulebook no verdict differs, from a data directory and from an export, in the worker and inline."""
    for source in (made.folder, exported):
        ran = ledger("rules", "simulate", CONTRACT, "--ledger", source, "--runtime", runtime, "--json")
        assert ran.code == Exit.OK, ran.out
        assert ran.json["different"] == 0 and ran.json["events"] > 20 and ran.json["differences"] == []


def test_a_changed_parameter_is_shown(made: RealLedger, book: Path) -> None:
    """A shorter term changes the duties it makes and nothing else; every difference is counted, few are shown."""
    change(book / "params.toml", "value = 20", "value = 15")
    ran = ledger("rules", "simulate", book, "--ledger", made.folder, "--limit", "1", "--json")
    duties = len(
        [*events(made, "share.approve"), *events(made, "share.deliver")]
    )  # made by the one, ended by the other
    assert ran.code == Exit.OK and ran.json["different"] == duties > 1
    assert ran.json["summary"] == [{"part": "duty", "rule": "A5", "code": "", "direction": "changed", "count": duties}]
    assert len(ran.json["differences"]) == 1 and ran.json["not_shown"] == duties - 1
    (changed,) = ran.json["differences"][0]["changes"]
    assert changed["before"] != changed["after"] and '"due"' in changed["after"]


def test_a_stricter_rule_is_shown(made: RealLedger, book: Path) -> None:
    """What was accepted and would be irregular is counted by outcome, reason and finding, in words and both languages."""
    change(book / "rules" / "B1.py", "    outside = []", '    outside = ["all"]')
    uses = len(list(events(made, "use.access")))
    document = ledger("rules", "simulate", book, "--ledger", made.folder, "--json").json
    assert {"recorded": "accepted", "simulated": "irregular", "count": uses} in document["outcomes"]
    assert {(each["part"], each["rule"], each["direction"]) for each in document["summary"]} >= {
        ("reason", "B1", "added"), ("finding", "B1", "added"),
    }  # fmt: skip
    english, chinese = (
        ledger("rules", "simulate", book, "--ledger", made.folder, "--lang", language).out for language in ("en", "zh")
    )
    assert "only under these rules" in english and "仅本规则集有" in chinese and "D809/40-2" in chinese


def test_another_shape_is_refused(made: RealLedger, book: Path) -> None:
    """A field that takes less refuses, for their shape, the events that held more; what they wrote is then missing too."""
    change(book / "kinds" / "use.toml", 'count = { type = "int", ', 'count = { type = "int", max = 0, ')
    uses = len(list(events(made, "use.access")))
    document = ledger("rules", "simulate", book, "--ledger", made.folder, "--limit", "1", "--json").json
    assert document["outcomes"] == [{"recorded": "accepted", "simulated": "refused", "count": uses}]
    assert {"part": "reason", "rule": "ledger", "code": "shape", "direction": "added", "count": uses} in document[
        "summary"
    ]
    (first,) = document["differences"]
    assert first["kind"] == "use.access"
    parts = {each["part"] for each in first["changes"]}
    assert {"outcome", "reason"} <= parts <= {"outcome", "reason", "timer", "alert", "duty"}  # outside office hours all


def test_bodies_that_are_gone_make_it_incomplete(made: RealLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event without its body is left out and counted, and the answer is 7."""
    from ledger.adapters.audit import simulation
    from ledger.blockcodec import SubmissionData

    def without(pieces: object) -> Iterator[object]:
        for block in read_blocks(pieces):
            if block.height != 7:
                yield block
                continue
            data, *others = block.submissions
            events = tuple((head, None, digest) for head, _, digest in data.events)
            gone = SubmissionData(data.member, data.key_id, data.signature, events)
            yield replace(block, submissions=(gone, *others))

    monkeypatch.setattr(simulation, "read_blocks", without)
    ran = ledger("rules", "simulate", CONTRACT, "--ledger", made.folder, "--runtime", "inline", "--json")
    assert ran.code == Exit.INCOMPLETE and ran.json["missing_bodies"] > 0


def test_memory_does_not_grow_with_the_differences(made: RealLedger, book: Path) -> None:
    """With a limit of nothing only counts are kept, however much differs."""
    change(book / "rules" / "B1.py", "    outside = []", '    outside = ["all"]')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ran = ledger("rules", "simulate", book, "--ledger", made.folder, "--runtime", "inline", "--limit", "0", "--json")
    assert ran.json["differences"] == [] and ran.json["not_shown"] == ran.json["different"] > 0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


# --- explain -----------------------------------------------------------------------------------------------------------


def test_an_event_is_explained(made: RealLedger, exported: Path) -> None:
    """The rules that were asked, their effects, parameters with source, the statements that ran, and what changed."""
    name = next(events(made, "share.approve"))
    for source in (made.folder, exported):
        ran = ledger("rules", "explain", name, "--ledger", source, "--json")
        assert ran.code == Exit.OK and ran.json["exact"] is True and ran.json["event"] == name
    rules = {each["rule"]: each for each in ran.json["rules"]}
    assert {"A4", "A5", "C2"} <= set(rules)
    assert (
        rules["A5"]["parameters"][0]["name"] == "delivery_days" and "Art. 22" in rules["A5"]["parameters"][0]["source"]
    )
    assert rules["A5"]["effects"][0][0] == "duty" and "working_days 20" in rules["A5"]["effects"][0][1]
    seen = {text: value for step in rules["A4"]["steps"] for text, value in step["seen"]}
    assert seen['application["lacking"]'] == "[]"
    lines = (CONTRACT / "rules" / "A4.py").read_text("utf-8").split("\n")
    for step in rules["A4"]["steps"]:
        assert lines[step["line"] - 1].strip().split("(")[0] in step["text"]
    written = {(each["object"].split("/")[0], each["field"]): each for each in ran.json["written"]}
    assert written[("grant", "purposes")]["writer"] == "A4"
    assert written[("application", "status")]["writer"] == "table"
    assert written[("application", "status")]["before"] == '"under_review"'


def test_an_explanation_in_both_languages(made: RealLedger) -> None:
    """Titles of rules and kinds, labels and texts stand in the reader's language; codes stay."""
    name = next(events(made, "share.apply"))
    english = ledger("rules", "explain", name, "--ledger", made.folder, "--no-steps").out
    chinese = ledger("rules", "explain", name, "--ledger", made.folder, "--lang", "zh", "--no-steps").out
    assert "Reply clock" in english and "答复时限" in chinese and "A3" in english and "A3" in chinese
    assert "a request counts by the day of its record" in english and "申请类按记录之日" in chinese
    assert "what ran" not in english and "执行了什么" not in chinese


def test_unknown_events_and_names(made: RealLedger) -> None:
    """An event that is not there is 3; a name that is none is wrong usage, before anything is read."""
    absent = "ga/01900000-0000-7000-8000-000000000000"
    assert ledger("rules", "explain", absent, "--ledger", made.folder).code == Exit.NOT_FOUND
    for name in ("ga", "ga/1", "01900000-0000-7000-8000-000000000000"):
        assert ledger("rules", "explain", name, "--ledger", made.folder).code == Exit.USAGE


def test_timers_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that fired is explained exactly, by its key and by key and due, in both languages; one that never did is 3."""
    monkeypatch.setattr(city_year, "CONTRACT", city_year.CONTRACT.parent / "gdpr")
    monkeypatch.setattr(city_year, "AUTHORITY", "shop")
    city, random, start = city_year.City(("shop",)), Random(7), parse_time("2026-02-02T08:00:00.000Z")
    activity = ""
    for number, (kind, content) in enumerate(
        (
            ("processing.record", {
                "purposes": ["orders"], "subjects": ["customers"], "categories": ["contact"], "recipients": [],
                "retention": "ten years", "security": "encryption",
            }),
            ("erasure.receive", {}),
        )
    ):  # fmt: skip
        time = start + number * DAY_MS
        event = new_event(
            event_id=uuid7_at(time, random.randbytes(10)), kind=kind, time_ms=time, content=content,
            refs={"processing": activity} if activity else {}, salt=random.randbytes(16),
        )  # fmt: skip
        city.steps.append(city_year.Step(time, number, "shop", "authority", event))
        activity = f"shop/{event.id}"
    played = city_year.Played(tmp_path / "node", city)
    played.play()
    played.close()
    fired = {
        leaf.key: leaf
        for block in read_blocks(open_source(str(played.folder)).pieces())
        for leaf in read_records(block)
        if isinstance(leaf, TimerLeaf)
    }
    assert fired
    for key, leaf in fired.items():
        document = ledger("rules", "explain", key, "--ledger", played.folder, "--json").json
        assert document["exact"] is True and document["event"] == key and document["due"] == leaf.due
        assert document["verdict"] == json.loads(leaf.verdict)
        (rule,) = document["rules"]
        assert key.split("/")[1] in (rule["rule"], f"{rule['rule']}.{key.split('/')[1].partition('.')[2]}")
        assert rule["steps"] and rule["effects"] and not rule["failed"]
    key, leaf = max(fired.items(), key=lambda item: item[1].due)
    document = ledger("rules", "explain", key, "--ledger", played.folder, "--json").json
    named = f"{key}@{format_time(leaf.due)}"
    assert ledger("rules", "explain", named, "--ledger", played.folder, "--json").json == document
    assert "falls due" in ledger("rules", "explain", key, "--ledger", played.folder).out
    assert "期限按到期之日" in ledger("rules", "explain", key, "--ledger", played.folder, "--lang", "zh").out
    never = f"{key}@{format_time(leaf.due + 1)}"
    assert ledger("rules", "explain", never, "--ledger", played.folder).code == Exit.NOT_FOUND
    for name in ("timer/A3", f"{key}@yesterday"):
        assert ledger("rules", "explain", name, "--ledger", played.folder).code == Exit.USAGE


def test_every_kind_of_event_is_explained(made: RealLedger) -> None:
    """The first event of every kind in the ledger is explained exactly: what ran gives what was recorded."""
    kinds: dict[str, str] = {}
    for block in read_blocks(open_source(str(made.folder)).pieces()):
        for submission in block.submissions:
            for head, _, _ in submission.events:
                fields = json.loads(head)
                kinds.setdefault(fields["kind"], f"{submission.member}/{fields['id']}")
    assert len(kinds) >= 6
    for name in kinds.values():
        document = ledger("rules", "explain", name, "--ledger", made.folder, "--json").json
        assert document["exact"] is True
        assert all(rule["steps"] and not rule["failed"] for rule in document["rules"])
