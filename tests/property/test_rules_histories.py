"""Laws of the rules over generated histories: runtimes agree, blocks may be cut anywhere, states stay lawful and planned."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given, settings

from ledger.adapters.runtime.monty import Monty
from ledger.core import canonical
from ledger.errors import UnavailableError
from ledger.limits import EVENT_KEYS_MAX, STATE_OBJECT_BYTES_MAX
from ledger.rules.plain import Plain
from ledger.rules.program import Outcome
from ledger.rules.scratch import Scratch
from tests.property.rules_histories import Action, events, histories
from tests.unit.rules.books import contract_program

PROGRAM = contract_program()
PLAIN = Plain(PROGRAM)


def replay(history: list[Action], run: Any = PROGRAM.run_block) -> tuple[Scratch, list[Outcome]]:
    """Every event in a block of its own, every timer in a block at its own due."""
    scratch = Scratch(PROGRAM, run)
    outcomes = [outcome for time, step in events(history) for outcome in scratch.block(time, [step])]
    return scratch, outcomes


class Watched(dict[str, bytes]):
    """Objects of a call that notice when something is read that was not planned."""

    def __init__(self, objects: dict[str, bytes], planned: set[str]) -> None:
        super().__init__(objects)
        self.planned = planned

    def get(self, key: str, default: Any = None) -> Any:
        """The object, when it was planned."""
        assert key in self.planned, key
        return super().get(key, default)


def facts(outcomes: list[Outcome]) -> list[Any]:
    """What does not depend on blocks: everything but the step index."""
    return [outcome[1:] for outcome in outcomes]


@given(histories)
def test_verdicts_do_not_depend_on_block_boundaries(history: list[Action]) -> None:
    """The same events at the same times give the same verdicts and objects, one by one or together, timers in or before."""
    apart, outcomes = replay(history)
    together = Scratch(PROGRAM, PROGRAM.run_block)
    joined: list[Outcome] = []
    for time, group in groupby(events(history), key=lambda pair: pair[0]):
        joined += together.one_block(time, [step for _, step in group])
    assert facts(joined) == facts(outcomes)
    assert together.objects == apart.objects
    assert together.due == apart.due


@given(histories)
def test_plain_rules_agree(history: list[Action]) -> None:
    """Uncompiled rules decide every generated history as the program does."""
    assert replay(history, PLAIN.run_block)[1] == replay(history)[1]


@given(histories)
def test_writes_are_planned_and_small(history: list[Action]) -> None:
    """What a block writes was planned from bytes and timer objects, or is new by its name; objects stay small."""
    planned: set[str] = set()

    def run(call: dict[str, Any]) -> list[Outcome]:
        planned.clear()
        for step in call["steps"]:
            if step[0] == 1:
                planned.add(step[1])
            else:
                keys = PROGRAM.plan(step[1], canonical.parse(step[4]), canonical.parse(step[5]))
                assert len(keys) <= EVENT_KEYS_MAX
                planned.update(keys)
        for key in sorted(planned):
            if key.startswith("timer/") and key in call["objects"]:
                planned.update(PROGRAM.plan_timer(canonical.parse(call["objects"][key])))
        assert set(call["objects"]) <= planned
        outcomes = PROGRAM.run_block({**call, "objects": Watched(call["objects"], planned)})
        for outcome in outcomes:
            for key, data in outcome[7]:
                assert key in planned or key.startswith("finding/f:"), key
                assert len(data) <= STATE_OBJECT_BYTES_MAX
                assert not data or canonical.encode(canonical.parse(data)) == data
            assert canonical.encode(canonical.parse(outcome[3])) == outcome[3]
        return outcomes

    replay(history, run)


@given(histories)
def test_states_stay_lawful(history: list[Action]) -> None:
    """Statuses are those of the tables, copies are counted, open findings exist, armed timers are known, no rule fails."""
    scratch, outcomes = replay(history)
    objects = {key: canonical.parse(data) for key, data in scratch.objects.items() if data}
    live: dict[str, int] = {}
    for key, value in objects.items():
        kind = key.split("/")[0]
        table = PROGRAM.book.tables.get(kind)
        if table is not None:
            assert value[table.field] in {*table.moves, *(s for edges in table.moves.values() for s in edges.values())}
        if kind == "copy" and value["status"] != "verified":
            live[value["grant"]] = live.get(value["grant"], 0) + 1
        if kind == "timer" and "due" in value:
            assert scratch.due[key] == value["due"]
        for entry in value.get("_open", {}).values():
            assert f"finding/{entry[0]}" in objects
    for key, value in objects.items():
        if key.startswith("grant/"):
            assert value["copies"] == live.get(key.removeprefix("grant/"), 0)
    assert not [o[3] for o in outcomes if b'"rule-error"' in o[3]]
    ids = [
        f["id"] for outcome in outcomes for f in canonical.parse(outcome[3]).get("findings", []) if "repeats" not in f
    ]
    assert len(set(ids)) == len(ids)


@given(histories)
def test_acts_are_never_lost(history: list[Action]) -> None:
    """An act is refused for its shape only; an intent writes nothing but a ticket."""
    scratch = Scratch(PROGRAM, PROGRAM.run_block)
    for time, step in events(history):
        outcome = scratch.block(time, [step])[-1]
        head = canonical.parse(step.head)
        verdict = canonical.parse(outcome[3])
        if "intent" in head:
            assert all(key.startswith("ticket/") for key, _ in outcome[7])
        elif PROGRAM.book.kinds[head["kind"]].act and outcome[1] is None and verdict["outcome"] == "refused":
            assert [reason[:2] for reason in verdict["reasons"]] == [["ledger", "shape"]]


@pytest.fixture(scope="module")
def monty() -> Iterator[Monty]:
    """The second runtime; tests are skipped where it is not installed."""
    try:
        runtime = Monty(PROGRAM)
    except UnavailableError as error:
        pytest.skip(f"no second runtime: {error.message}")
    with runtime:
        yield runtime


@pytest.mark.slow
@settings(max_examples=12)
@given(history=histories)
def test_second_runtime_agrees(monty: Monty, history: list[Action]) -> None:
    """pydantic-monty decides every generated history as the compiled program does, in blocks of several events."""
    scratch = Scratch(PROGRAM, PROGRAM.run_block)
    drawn = events(history)
    for start in range(0, len(drawn), 8):
        time = drawn[min(start + 7, len(drawn) - 1)][0]
        scratch.advance(time)
        call = scratch.call(time, [], [step for _, step in drawn[start : start + 8]])
        assert monty.run_block(call) == PROGRAM.run_block(call)
        scratch.block(time, [step for _, step in drawn[start : start + 8]])
