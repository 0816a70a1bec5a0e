"""Refs whose stream has another name than their objects, owners of names in keys, lists that agree, authors of lists."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.errors import MalformedError
from tests.unit.rules.books import KINDS, NOW, OBJECTS, TABLES, Ledger, rule, tiny

JOIN = """
["thing.join"]
type = "act"
title = { zh = "合", en = "Join" }
creates = "thing"
by = ["thing.owner"]
agree = { root = "thing.roots", other = "parent.note" }
state = { tally = "tally/{other.owner}" }
["thing.join".refs]
thing = { many = 3, optional = true }
root = { object = "thing", many = 3, optional = true }
parent = { object = "thing", optional = true }
other = { exists = false, optional = true }
"""
ROOTS = OBJECTS.replace(
    "[thing.fields]",
    '[thing.fields]\nroots = { zh = "根", en = "Roots", default = [] }\nseen = { zh = "见", en = "Seen" }',
)
STARTS = TABLES.replace('"thing.make" = "new"', '"thing.make" = "new"\n"thing.join" = "new"')
COUNT = """def on_thing_join(event, state, env):
    effects = [write("new", roots=sorted(state["root"].keys()))]
    if state["parent"] is not None:
        effects.append(write("parent", seen=7))
    if state["tally"] is not None:
        effects.append(write("tally", n=state["tally"]["n"] + 1))
    return effects
"""
WATCH = """def on_thing_join(event, state, env):
    return [set_timer("R2", on="root", of=name, due=env.now + 5) for name in state["root"].keys()]


def on_thing_do(event, state, env):
    return set_timer("R2", on="thing", due=env.now + 5)


def on_timer_R2(timer, state, env):
    return alert("look", status=state["thing"]["status"], thing=timer.id)
"""


def joined(refs: dict[str, Any], **how: Any) -> tuple[Ledger, str, dict[str, Any]]:
    """(ledger, name, verdict) of a join; `$1` and `$2` are two things of `ga`, rooted in themselves."""
    ledger = Ledger(tiny(rule(COUNT), kinds=KINDS + JOIN, objects=ROOTS, tables=STARTS))
    things = {"$1": ledger.thing(), "$2": ledger.thing()}
    for name in things.values():
        ledger.scratch.objects[f"thing/{name}"] = (
            b'{"note":"jy/x","owner":"ga","roots":["%s"],"status":"new"}' % name.encode()
        )
    named = {
        ref: [things.get(name, name) for name in value] if isinstance(value, list) else things.get(value, value)
        for ref, value in refs.items()
    }
    name, said, _ = ledger.do("thing.join", named, **how)
    return ledger, name, {"said": said, **things}


def shape(found: dict[str, Any]) -> Any:
    """The reason of the ledger."""
    return found["said"]["reasons"][0][2]


def test_alias_names_objects_of_another_kind() -> None:
    """An alias is read and written as what it names; no table moves it, and it need not be there."""
    ledger, name, found = joined({"thing": ["$1"], "root": ["$1"], "parent": "$2", "other": "jy/x"})
    assert found["said"]["outcome"] == "accepted", found["said"]
    assert ledger.value(f"thing/{found['$2']}") == {
        "note": "jy/x", "owner": "ga", "roots": [found["$2"]], "seen": 7, "status": "new",
    }  # fmt: skip
    assert (ledger.value(f"thing/{name}") or {})["roots"] == [found["$1"]]
    assert (ledger.value(f"thing/{name}") or {})["status"] == "new"


def test_owner_of_a_name_is_part_of_a_key() -> None:
    """`{other.owner}` is the member that the name begins with; without the ref there is no such object."""
    ledger, _, found = joined({"thing": ["$1"], "root": ["$1"], "parent": "$2", "other": "jy/x"})
    assert found["said"]["outcome"] == "accepted"
    assert ledger.value("tally/jy") == {"n": 1}
    assert ledger.value("tally/ga") is None


def test_list_agrees_with_what_all_objects_hold() -> None:
    """A list names what its objects hold, all of it and nothing else, in any order."""
    assert joined({"thing": ["$1", "$2"], "root": ["$2", "$1"]})[2]["said"]["outcome"] == "accepted"
    assert shape(joined({"thing": ["$1", "$2"], "root": ["$1"]})[2]) == {"what": "disagrees", "field": "root"}
    assert shape(joined({"thing": ["$1"], "root": ["$1", "$2"]})[2]) == {"what": "disagrees", "field": "root"}
    assert shape(joined({"thing": ["$1"]})[2]) == {"what": "disagrees", "field": "root"}


def test_author_must_be_a_party_of_every_object_of_a_list() -> None:
    """A list of objects has its author in each of them, and an empty one in none."""
    assert shape(joined({"thing": ["$1"], "root": ["$1"]}, member="jy")[2]) == {
        "what": "author",
        "field": "thing.owner",
    }
    assert shape(joined({})[2]) == {"what": "author", "field": "thing.owner"}


def test_timer_on_an_alias_is_given_the_object_it_is_on() -> None:
    """A handler that reads `thing` is given the thing that its timer is on, by whatever name the event called it."""
    files = {**rule(COUNT), **rule(WATCH, "R2")}
    ledger = Ledger(tiny(files, kinds=KINDS + JOIN, objects=ROOTS, tables=STARTS))
    first, second = ledger.thing(), ledger.thing()
    for name in (first, second):
        ledger.scratch.objects[f"thing/{name}"] = (
            b'{"note":"","owner":"ga","roots":["%s"],"status":"asked"}' % second.encode()
        )
    said = ledger.do("thing.join", {"thing": [first], "root": [second]})[1]
    assert said["outcome"] == "accepted", said
    timer = ledger.value(f"timer/R2/thing/{second}") or {}
    assert timer["due"] == NOW + 5
    assert timer["keys"] == [f"thing/{second}"]
    assert ledger.value(f"timer/R2/thing/{first}") is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('root = { object = "thing", many', 'root = { object = "duty", many', "object names the kind"),
        ('root = { object = "thing", many', 'root = { object = "thing", opaque = true, many', "object names the kind"),
        ('root = { object = "thing", many', 'root = { object = "nowhere", many', "is not declared"),
        ('other = "parent.note"', 'other = "thing.note"', "several objects agree with a list only"),
        ("{other.owner}", "{root.owner}", "unknown variable"),
    ],
)
def test_broken_alias_is_refused(old: str, new: str, message: str) -> None:
    """What cannot be meant is refused when the rulebook is compiled."""
    assert old in JOIN
    with pytest.raises(MalformedError, match=message):
        tiny(rule(COUNT), kinds=KINDS + JOIN.replace(old, new), objects=ROOTS, tables=STARTS)
