"""docs/SPEC.md gives a closed schema for every JSON object that is hashed or exchanged, and the code makes exactly these."""

from __future__ import annotations

import json

import pytest

from ledger.core import config, genesis, header, leaf, nativeform, proposal, registry
from ledger.machine import governance
from ledger.verify import trust
from tests.docs.samples import collect
from tests.docs.schemas import Field, faults, schemas
from tests.unit.rules.books import Ledger, rule, tiny


def test_every_schema_has_samples() -> None:
    """No schema of SPEC is without an object that the code makes, and no object without a schema."""
    assert sorted(schemas()) == sorted(collect())


@pytest.mark.parametrize("name", sorted(schemas()))
def test_objects_are_as_spec_says(name: str) -> None:
    """Every object of this schema has the fields that SPEC names and no others, each of its type."""
    problems = {problem for value in collect()[name] for problem in faults(value, name)}
    assert not problems


@pytest.mark.parametrize("name", sorted(schemas()))
def test_optional_fields_exist(name: str) -> None:
    """Each optional field that SPEC names is there in some object and absent in another."""
    for field in schemas()[name]:
        if field.optional:
            present = [field.name in value for value in collect()[name]]
            assert any(present), f"{name}.{field.name} never appears: SPEC names what does not exist"
            assert not all(present), f"{name}.{field.name} is always there"


def names(schema: str, *, required: bool = False) -> set[str]:
    """Field names of a schema."""
    return {each.name for each in schemas()[schema] if not (required and each.optional)}


def test_closed_schemas_are_those_of_the_parsers() -> None:
    """What parsers accept as field names is what SPEC lists."""
    assert names("record", required=True) == leaf._RECORD_FIELDS
    assert names("timer-leaf", required=True) == leaf._TIMER_FIELDS
    assert names("verdict") == leaf.VERDICT_FIELDS
    assert names("header", required=True) == header._FIELDS
    assert names("config") == config._FIELDS
    assert names("genesis", required=True) == genesis._FIELDS
    assert names("continues") == genesis._CONTINUES_FIELDS
    assert names("member") == genesis._MEMBER_FIELDS
    assert names("key") == genesis._KEY_FIELDS
    assert names("key-entry", required=True) == registry._KEY_FIELDS
    assert names("member-entry", required=True) == registry._MEMBER_FIELDS
    assert names("member-entry") == registry._MEMBER_FIELDS | registry._MEMBER_OPTIONAL
    assert names("proposal", required=True) == proposal._REQUIRED
    assert names("proposal") == proposal._REQUIRED | proposal._OPTIONAL
    assert names("vote") == proposal._VOTE_REQUIRED | {"cosign"}
    assert names("propose-body", required=True) == governance._BODY_FIELDS
    assert names("propose-body") == governance._BODY_FIELDS | governance._BODY_OPTIONAL
    assert names("native") == nativeform._TOP
    assert names("native-commit") == nativeform._COMMIT_FIELDS
    assert names("native-header") == nativeform._HEADER_FIELDS
    assert names("native-block") == nativeform._BLOCK_ID_FIELDS
    assert names("native-vote") == nativeform._VOTE_FIELDS
    assert names("trust") == trust._FIELDS
    for value in collect()["trust"]:
        assert trust.parse_trust(json.dumps(value).encode()).origin == value["origin"]


def test_an_object_that_differs_is_noticed() -> None:
    """A missing, an unknown and a wrong field are each named."""
    good = next(value for value in collect()["stream-value"])
    assert faults(good, "stream-value") == []
    assert faults({**good, "size": "1"}, "stream-value") == ["stream-value.size: '1' is no uint"]
    assert faults({**good, "more": 1}, "stream-value") == ["stream-value: more is not in SPEC"]
    assert faults({name: good[name] for name in good if name != "root"}, "stream-value") == [
        "stream-value: root is missing"
    ]
    assert Field("outcome", False, "text") in schemas()["verdict"]


def test_finding_ids_have_their_form() -> None:
    """SPEC R-R05: `f:<member>/<event id>.<n>`, from a timer `f:t~<32 hex>.<n>`; a repeat keeps the first id."""
    forms = {value["id"].partition("/")[0].partition("~")[0] for value in collect()["finding-item"]}
    assert forms == {"f:ga", "f:t"}
    repeats = [value for value in collect()["finding-item"] if "repeats" in value]
    assert repeats and all(value["id"] in {each["id"] for each in collect()["finding"]} for value in repeats)


def test_a_timer_keeps_the_due_it_fired_at() -> None:
    """SPEC R-T01, R-T05: an armed timer names its handler's keys, at most eight; a spent one only when it fired."""
    spent = [value for value in collect()["timer"] if "due" not in value]
    armed = [value for value in collect()["timer"] if "due" in value]
    assert spent and all(set(value) == {"fired"} for value in spent)
    assert any("fired" not in value for value in armed)
    assert armed and all(len(value["keys"]) == len(value["names"]) <= 8 for value in armed)


def test_a_label_stands_behind_the_object() -> None:
    """SPEC R-T01: the key of a labelled timer ends in `#label`."""
    body = (
        "def on_thing_do(event, state, env):\n    return set_timer('R1', on='thing', due=env.now + 9, label='t')\n\n\n"
        "def on_timer_R1(timer, state, env):\n    return None\n"
    )
    ledger = Ledger(tiny(rule(body)))
    thing = ledger.thing()
    _, said, _ = ledger.do("thing.do", {"thing": thing}, {})
    assert [key for key, _ in said["timers"]] == [f"timer/R1/thing/{thing}#t"]
