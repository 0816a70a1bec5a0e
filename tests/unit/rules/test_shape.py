"""Shape: unknown kinds, refs and fields, refs that name nothing or disagree, authors, owners, forms of fields."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.rules.books import KINDS, NOW, OBJECTS, TABLES, Ledger, tiny

FORMS = (
    KINDS + """
["form.fill"]
type = "act"
title = { zh = "填", en = "Fill" }
owns = ["other"]
by = ["thing.owner", "tally.n"]
agree = { other = "thing.note" }
state = { tally = "tally/{body.code}/{month}", year = "tally/{year}/{day}" }
["form.fill".refs]
thing = {}
other = { exists = false }
part = { many = 3, optional = true, exists = false }
place = { opaque = true, optional = true }
["form.fill".body]
code = { type = "code", title = { zh = "码", en = "Code" } }
one = { type = "code", in = ["a", "b"], optional = true, title = { zh = "一", en = "One" } }
text = { type = "text", max = 5, optional = true, title = { zh = "文", en = "Text" } }
int = { type = "int", min = -1, max = 5, optional = true, title = { zh = "数", en = "Int" } }
bool = { type = "bool", optional = true, title = { zh = "真", en = "Bool" } }
time = { type = "time", optional = true, title = { zh = "时", en = "Time" } }
date = { type = "date", optional = true, title = { zh = "日", en = "Date" } }
digest = { type = "digest", optional = true, title = { zh = "摘", en = "Digest" } }
list = { type = "list", of = { type = "int", max = 9 }, max = 2, optional = true, title = { zh = "列", en = "List" } }
["form.fill".body.group]
type = "group"
optional = true
title = { zh = "组", en = "Group" }
"""
    'fields = { a = { type = "text" }, b = { type = "list", of = { type = "code", in = ["x"] }, optional = true } }\n'
)

MORE = OBJECTS + '[part]\ntitle = { zh = "部", en = "Part" }\n'


def filled(body: dict[str, Any] | None = None, refs: dict[str, Any] | None = None, **how: Any) -> dict[str, Any]:
    """The reason of the ledger for a form that is filled like this; {} when it is accepted."""
    ledger = Ledger(tiny(kinds=FORMS, objects=MORE, tables=TABLES))
    thing = ledger.thing()
    content = {"code": "c1", **(body or {})}
    content = {name: value for name, value in content.items() if value != "absent"}
    named = {"thing": thing, "other": "ga/x", **(refs or {})}
    named = {name: value for name, value in named.items() if value != "absent"}
    value = ledger.value(f"thing/{thing}")
    ledger.scratch.objects[f"thing/{thing}"] = (
        b'{"note":"%s","owner":"ga","status":"new"}' % str(named.get("other", "")).encode() if value else b""
    )
    said = ledger.do("form.fill", named, content, **how)[1]
    if said["outcome"] == "accepted":
        return {}
    assert said["outcome"] == "refused"
    assert said["reasons"][0][:2] == ["ledger", "shape"]
    return dict(said["reasons"][0][2])


GOOD: list[dict[str, Any]] = [
    {},
    {
        "one": "a",
        "text": "五个字的文",
        "int": -1,
        "bool": False,
        "time": "2026-02-28T23:59:59.999Z",
        "date": "2024-02-29",
    },
    {"digest": "0" * 64, "list": [], "group": {"a": "x"}},
    {"list": [1, 9], "group": {"a": "x", "b": ["x", "x"]}, "int": 5},
]

BAD: list[tuple[dict[str, Any], str]] = [
    ({"code": "absent"}, "code"),
    ({"code": None}, "code"),
    ({"code": "Big"}, "code"),
    ({"code": ""}, "code"),
    ({"code": "-x"}, "code"),
    ({"code": "x" * 129}, "code"),
    ({"code": 3}, "code"),
    ({"one": "c"}, "one"),
    ({"one": 1}, "one"),
    ({"text": ""}, "text"),
    ({"text": "六个字的文字"}, "text"),
    ({"text": 5}, "text"),
    ({"int": 6}, "int"),
    ({"int": -2}, "int"),
    ({"int": True}, "int"),
    ({"int": "3"}, "int"),
    ({"bool": 1}, "bool"),
    ({"time": "2026-02-29T00:00:00.000Z"}, "time"),
    ({"time": "2026-02-28T24:00:00.000Z"}, "time"),
    ({"time": "2026-02-28T23:60:00.000Z"}, "time"),
    ({"time": "2026-02-28T23:59:60.000Z"}, "time"),
    ({"time": "2026-02-28 23:59:59.000Z"}, "time"),
    ({"time": "2026-02-28T23:59:59.0x0Z"}, "time"),
    ({"time": "2026-02-28"}, "time"),
    ({"date": "2026-13-01"}, "date"),
    ({"date": "2026-00-10"}, "date"),
    ({"date": "2026-01-32"}, "date"),
    ({"date": "1969-12-31"}, "date"),
    ({"date": "2026/01/01"}, "date"),
    ({"date": "２026-01-01"}, "date"),
    ({"date": 20260101}, "date"),
    ({"digest": "0" * 63}, "digest"),
    ({"digest": "A" * 64}, "digest"),
    ({"list": [1, 2, 3]}, "list"),
    ({"list": [10]}, "list"),
    ({"list": {}}, "list"),
    ({"group": {}}, "group"),
    ({"group": []}, "group"),
    ({"group": {"a": "x", "c": 1}}, "group"),
    ({"group": {"a": "x", "b": ["y"]}}, "group"),
    ({"group": {"a": "x", "b": None}}, "group"),
    ({"surplus": 1}, "surplus"),
    ({"text": None}, "text"),
]


@pytest.mark.parametrize("body", GOOD)
def test_field_of_its_form_passes(body: dict[str, Any]) -> None:
    """Every form of field accepts what it declares."""
    assert filled(body) == {}


@pytest.mark.parametrize(("body", "field"), BAD)
def test_field_of_another_form_is_refused(body: dict[str, Any], field: str) -> None:
    """An act too is refused when a field is missing, surplus or of another form; the field is named."""
    found = filled(body)
    assert found["what"] == "field"
    assert found.get("field", field) == field


BAD_REFS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"thing": "absent"}, {"what": "ref", "field": "thing"}),
    ({"thing": ["ga/x"]}, {"what": "ref", "field": "thing"}),
    ({"thing": "ga/nothing"}, {"what": "unresolved", "field": "thing"}),
    ({"part": "one"}, {"what": "ref", "field": "part"}),
    ({"part": ["a", "b", "c", "d"]}, {"what": "ref", "field": "part"}),
    ({"place": ["a"]}, {"what": "ref", "field": "place"}),
    ({"surplus": "a"}, {"what": "ref", "field": "surplus"}),
    ({"other": "jy/x"}, {"what": "owner", "field": "other"}),
]


@pytest.mark.parametrize(("refs", "reason"), BAD_REFS)
def test_ref_that_does_not_fit_is_refused(refs: dict[str, Any], reason: dict[str, str]) -> None:
    """Missing, surplus, unresolved and foreign refs are refused, and the ref is named."""
    assert filled(refs=refs) == reason


def test_refs_of_every_form_pass() -> None:
    """Lists within their bound and refs to streams without objects are accepted."""
    assert filled(refs={"part": ["a", "b", "c"], "place": "anywhere"}) == {}


def test_author_must_be_a_party() -> None:
    """An event about another's object is refused for its shape, so that nobody fills another's account."""
    assert filled(member="jy", refs={"other": "jy/x"}) == {"what": "author", "field": "thing.owner"}


def test_refs_must_agree_with_the_objects() -> None:
    """A ref that differs from what the object says is refused, for acts too."""
    ledger = Ledger(tiny(kinds=FORMS, objects=MORE))
    thing = ledger.thing()
    ledger.scratch.objects[f"thing/{thing}"] = b'{"note":"ga/y","owner":"ga","status":"new"}'
    said = ledger.do("form.fill", {"thing": thing, "other": "ga/x"}, {"code": "c"})[1]
    assert said["reasons"] == [["ledger", "shape", {"field": "other", "what": "disagrees"}]]


def test_unknown_kind_is_recorded_and_refused() -> None:
    """A kind that the rulebook does not have is refused, and its record joins the refused streams."""
    _, said, outcomes = Ledger(tiny()).do("thing.fly", {"thing": "ga/1"})
    assert said == {"outcome": "refused", "reasons": [["ledger", "shape", {"field": "thing.fly", "what": "kind"}]]}
    assert outcomes[-1][4:6] == [0, True]


def test_keys_follow_the_claimed_date_in_the_zone() -> None:
    """`{month}`, `{year}` and `{day}` of a key template are those of the claimed time in +08:00, not of the record."""
    ledger = Ledger(tiny(kinds=FORMS, objects=MORE))
    head = {"id": "e", "kind": "form.fill", "refs": {"thing": "t", "other": "ga/x"}, "time": "2026-02-28T16:00:00.000Z"}
    keys = ledger.program.plan("ga", head, {"code": "c"})
    assert "tally/c/2026-03" in keys and "tally/2026/2026-03-01" in keys
    assert NOW > 0
