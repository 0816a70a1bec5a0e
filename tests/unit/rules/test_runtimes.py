"""Plain, compiled and pydantic-monty decide alike whatever they are given; plain rule files serve a debugger and coverage."""

from __future__ import annotations

import bdb
import json
import subprocess
import sys
from collections.abc import Iterator
from types import FrameType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.runtime.monty import Monty
from ledger.adapters.runtime.worker import Worker
from ledger.core import canonical
from ledger.errors import UnavailableError
from ledger.rules.cases import run_cases
from ledger.rules.plain import Plain
from ledger.rules.program import Program
from tests.unit.rules.books import CONTRACTS, NOW, Ledger, contract_program, rule, tiny
from tests.unit.rules.case_calls import HOW, Call, calls_of, vary
from tests.unit.rules.test_escapes import ATTACKS
from tests.unit.rules.test_verdicts import NONSENSE, nonsense

RULEBOOKS = sorted(path.parent.name for path in CONTRACTS.glob("*/rulebook.toml"))
ROOT = CONTRACTS.parent
HOSTILE = {name: source for name, (_, source) in ATTACKS.items()} | {body: nonsense(body) for body in NONSENSE}


@st.composite
def drawn_calls(draw: st.DrawFn, program: Program) -> Call:
    """A call of some case of the rulebook, changed up to three times."""
    calls = calls_of(program)
    places = st.integers(0, len(calls) - 1)
    call = calls[draw(places)]
    for _ in range(draw(st.integers(0, 3))):
        call = vary(call, calls[draw(places)], draw(st.integers(0, 7)), draw(st.sampled_from(HOW)))
    return planned(program, call)


def planned(program: Program, call: Call) -> Call:
    """`call` with the objects that a host would give it: those planned, as far as they exist."""
    keys = {step[1] for step in call["steps"] if step[0] == 1}
    for step in call["steps"]:
        if step[0] == 0:
            keys.update(program.plan(step[1], canonical.parse(step[4]), canonical.parse(step[5])))
    for key in sorted(keys):
        if key.startswith("timer/") and call["objects"].get(key):
            keys.update(program.plan_timer(canonical.parse(call["objects"][key])))
    return {**call, "objects": {key: value for key, value in call["objects"].items() if key in keys}}


@pytest.mark.parametrize("name", RULEBOOKS)
def test_plain_and_compiled_agree(name: str) -> None:
    """Odd variants of every case's calls have the same outcomes from the rule files as from the program."""
    program = contract_program(name)
    plain = Plain(program)

    @settings(max_examples=150, deadline=None)
    @given(drawn_calls(program))
    def agree(call: Call) -> None:
        assert plain.run_block(call) == program.run_block(call)

    agree()


@pytest.fixture(params=RULEBOOKS)
def monty(request: pytest.FixtureRequest) -> Iterator[tuple[Program, Monty]]:
    """Each rulebook in the second runtime; skipped where it is not installed."""
    program = contract_program(request.param)
    try:
        runtime = Monty(program)
    except UnavailableError as error:
        pytest.skip(f"no second runtime: {error.message}")
    with runtime:
        yield program, runtime


@pytest.mark.slow
def test_the_second_runtime_agrees(monty: tuple[Program, Monty]) -> None:
    """The same variants have the same outcomes in pydantic-monty."""
    program, runtime = monty

    @settings(max_examples=25, deadline=None)
    @given(drawn_calls(program))
    def agree(call: Call) -> None:
        assert runtime.run_block(call) == program.run_block(call)

    agree()


@pytest.mark.parametrize("runtime", [Worker, Monty])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_rule_ends_alike_everywhere(name: str, runtime: type[Worker | Monty]) -> None:
    """What costs too much and what returns nonsense has the same outcomes, byte for byte, in the child and in the second runtime."""
    ledger = Ledger(tiny(rule(HOSTILE[name])))
    thing = ledger.thing()
    call = ledger.scratch.call(NOW, [], [ledger.event("thing.do", {"thing": thing})[1]])
    expected = ledger.program.run_block(call)
    assert b'"rule-error"' in expected[0][3]
    try:
        other = runtime(ledger.program)
    except UnavailableError as error:
        pytest.skip(f"no second runtime: {error.message}")
    with other:
        assert repr(other.run_block(call)) == repr(expected)


def test_variants_reach_refusals_and_findings() -> None:
    """The generated calls are no idle ones: among them are all outcomes, findings, and timers that fire."""
    program = contract_program()
    seen: set[str] = set()
    calls = calls_of(program)
    for number, call in enumerate(calls):
        made = planned(program, vary(call, calls[number * 7 % len(calls)], number, HOW[number % len(HOW)]))
        for outcome in program.run_block(made):
            verdict = canonical.parse(outcome[3])
            seen.add(verdict["outcome"])
            seen.update(name for name in ("findings", "duties", "alerts") if name in verdict)
            seen.add("timer" if outcome[1] is not None else "event")
            seen.update(reason[0] for reason in verdict.get("reasons", []))
    assert {"accepted", "refused", "irregular", "findings", "duties", "timer", "ledger", "table"} <= seen


class Debugger(bdb.Bdb):
    """Stops at one line, notes what it sees, and goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.stops: list[tuple[str, int, list[str]]] = []

    def user_line(self, frame: FrameType) -> None:
        """Called at the breakpoint, and once where the debugger begins."""
        if self.break_here(frame):
            self.stops.append((frame.f_code.co_name, frame.f_lineno, sorted(frame.f_locals)))
        self.set_continue()


def test_a_debugger_stops_in_a_rule_file() -> None:
    """A breakpoint at a line of a rule file is hit, with the event, the state and the environment at hand."""
    program = contract_program()
    folder = CONTRACTS / "data-sharing"
    path = folder / "rules" / "A1.py"
    line = path.read_text("utf-8").split("\n").index("def on_share_apply(event, state, env):") + 2
    plain = Plain(program, str(folder))
    debugger = Debugger()
    assert debugger.set_break(str(path), line) is None
    call = next(
        call for call in calls_of(program) if any(b'"share.apply"' in step[4] for step in call["steps"] if step[0] == 0)
    )
    debugger.runcall(plain.run_block, call)
    assert debugger.stops[:1] == [("on_share_apply", line, ["env", "event", "state"])]


def test_coverage_measures_rule_files() -> None:
    """coverage.py, started as an author would, says which lines of which rule file the cases reach: nearly all."""
    pytest.importorskip("coverage")
    code = (
        "import coverage, json, sys\n"
        "from pathlib import Path\n"
        "folder = Path(sys.argv[1])\n"
        "measure = coverage.Coverage(config_file=False, include=[str(folder / 'rules' / '*')], data_file=None)\n"
        "from ledger.adapters.home.network import read_rulebook\n"
        "from ledger.rules.cases import run_cases\n"
        "from ledger.rules.plain import Plain\n"
        "from ledger.rules.program import Program\n"
        "program = Program.compile(*read_rulebook(folder))\n"
        "measure.start()\n"
        "run_cases(program, {'plain': Plain(program, str(folder)).run_block})\n"
        "measure.stop()\n"
        "found = {Path(name).stem: measure.analysis2(name)[1:4:2] for name in measure.get_data().measured_files()}\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(CONTRACTS / "data-sharing")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().split("\n")[-1])
    assert set(found) == set(contract_program().book.rules)
    lines, missed = (sum(len(each[part]) for each in found.values()) for part in (0, 1))
    assert lines > 100 and missed * 10 < lines, {name: each[1] for name, each in found.items() if each[1]}


def test_every_case_passes_in_both_ways() -> None:
    """Each case of each rulebook passes from the files as they are and from the program, with the same rows."""
    for name in RULEBOOKS:
        program = contract_program(name)
        rows = run_cases(program, {"plain": Plain(program).run_block, "compiled": program.run_block})
        assert [row for row in rows if not row.passed] == []
