"""The step budget that a vote sets: what it changes, in every runtime, at every node, for an auditor too."""

from __future__ import annotations

import random
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest

from ledger.adapters.audit.replayrules import COMPILED, INLINE, MONTY, rules_loader
from ledger.adapters.home.datadir import load_rules
from ledger.adapters.memory import MemoryStore
from ledger.adapters.runtime.compiling import compile_program, genesis_config
from ledger.adapters.runtime.monty import MONTY_VERSION
from ledger.app import Application
from ledger.core import canonical
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.hashing import Digest
from ledger.core.maptree import MapTree
from ledger.limits import RULE_STEPS_MAX
from ledger.machine.block import BlockInput, Item
from ledger.machine.seal import seal_genesis
from ledger.rules.program import Program
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS, make_genesis
from tests.unit.rules.books import contract, rule, tiny_files

NOTICE = 24 * HOUR_MS
BUDGET = 200_000
# Two nested loops of 200 turns: more steps than the first budget, fewer than the one that is voted.
LONG = rule(
    "def on_thing_make(event, state, env):\n"
    "    total = 0\n"
    "    for a in event.body.get('l', []):\n"
    "        for b in event.body.get('l', []):\n"
    "            total = total + len(b)\n"
    "    if total < 0:\n"
    "        return refuse('no')\n"
    "    return []\n"
)


class Budgeted(Governed):
    """A governed ledger of real rules in the runtime `how`."""

    def __init__(self, how: str) -> None:
        self.how = how
        self.files, self.calendars = tiny_files(LONG), contract()[1]
        names = bundle_hash(self.files), bundle_hash(self.calendars)
        self.stored = {names[0]: encode_bundle(self.files), names[1]: encode_bundle(self.calendars)}
        super().__init__()
        self.app.close()
        self.genesis, self.random, self.store = make_genesis(bundles=names), random.Random(1), MemoryStore()
        self.blocks, self.sealed, self.certificates = [], [], []
        config = genesis_config(self.genesis, compile_program(*names, self.stored))
        sealed, _ = seal_genesis(self.genesis, config, MapTree.empty())
        self.store.write_genesis(self.genesis.data, self.stored, sealed, b"")
        self.app = Application(self.store, load_rules(how))
        self._keep(sealed, (), b"")

    def runtime_args(self, steps: int) -> dict[str, Any]:
        """Arguments of the vote for another budget."""
        program = Program.compile(self.files, self.calendars, steps)
        return {"language": program.language_version, "program": program.source_hash.hex(), "steps": steps}

    def make(self) -> Item:
        """One event that takes well over 20,000 steps, in a block of its own."""
        return self.record("ga", self.event("thing.make", l=["x"] * 200))

    def audit(self, runtime: str) -> Any:
        """The auditor's report with a replay in `runtime`."""
        return self.verify(rules=rules_loader(runtime))

    def source(self, **changes: Any) -> Any:
        """See `TinyLedger`."""
        return super().source(**{"bundles": dict(self.stored), **changes})


@pytest.fixture(params=["inline", "worker"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Budgeted]:
    made = Budgeted(request.param)
    yield made
    made.app.close()


def said(item: Item) -> tuple[str, list[Any]]:
    verdict = canonical.parse(item.verdict)
    return verdict["outcome"], [reason[:2] for reason in verdict.get("reasons", [])]


def test_voted_budget_is_what_rules_get_from_the_next_block_on(ledger: Budgeted) -> None:
    """SPEC R-R02, R-G25: refused by the first budget, accepted under the voted one, refused again when that is voted back;
    a second node and an auditor in each runtime decide every block alike."""
    assert said(ledger.make()) == ("refused", [["R1", "rule-error"]])
    ledger.change("sys.runtime.set", {}, ledger.runtime_args(BUDGET), cosign=True, wait_ms=NOTICE + 1)
    assert ledger.app.head.config.steps == BUDGET
    assert said(ledger.make())[0] == "accepted"
    ledger.change("sys.runtime.set", {}, ledger.runtime_args(RULE_STEPS_MAX), cosign=True, wait_ms=NOTICE + 1)
    assert said(ledger.make()) == ("refused", [["R1", "rule-error"]])

    other = Budgeted("inline" if ledger.how == "worker" else "worker")
    for sealed in ledger.sealed[1:]:
        block = sealed.decision.block
        other.app.process(block)
        follower = other.app.finalize(BlockInput(block.height, block.time, block.submissions, block.attachments))
        assert (follower.leaves, follower.root) == (sealed.leaves, sealed.root)
        other.app.commit(other.log_note(follower.size, follower.root))
    other.app.close()

    ledger.certify(MEMBERS)
    runtimes = [INLINE, COMPILED, *([MONTY] if _has_monty() else [])]
    for runtime in runtimes:
        report = ledger.audit(runtime)
        assert report.findings.kept == [] and "rules-unavailable" not in {gap.code for gap in report.gaps}, runtime


def test_program_compiled_under_another_budget_does_not_take_effect() -> None:
    """SPEC R-G17: a budget that took effect meanwhile makes a proposed calendar stale, and one made after it is good."""
    ledger = Budgeted("inline")
    calendars = {path: data + b"\n" for path, data in ledger.calendars.items()}
    digest, attached = bundle_hash(calendars), encode_bundle(calendars)
    ledger.stored[digest] = attached

    def proposed(steps: int) -> dict[str, Any]:
        program = Program.compile(ledger.files, calendars, steps)
        return {"bundle": digest.hex(), "language": 1, "program": program.source_hash.hex()}

    event = ledger.propose("sys.calendar.publish", {}, proposed(RULE_STEPS_MAX))
    assert said(ledger.record("ga", event, attachments=(attached,)))[0] == "accepted"
    ledger.change("sys.runtime.set", {}, ledger.runtime_args(BUDGET), cosign=True, wait_ms=NOTICE + 1)
    name = f"ga/{event.id}"
    for voter in MEMBERS[:3]:
        ledger.record(voter, ledger.approve(name, event))
    ledger.block(ms=NOTICE + 1)
    assert (ledger.proposal(name).status, ledger.proposal(name).reason) == ("failed", "stale")
    wrong = ledger.propose("sys.calendar.publish", {}, proposed(RULE_STEPS_MAX))
    assert said(ledger.record("ga", wrong, attachments=(attached,))) == ("refused", [["ledger", "program"]])
    ledger.change("sys.calendar.publish", {}, proposed(BUDGET), attachments=(attached,))
    assert ledger.app.head.config.calendar == Digest(digest) and said(ledger.make())[0] == "accepted"
    ledger.certify(MEMBERS)
    assert ledger.audit(INLINE).findings.kept == []
    ledger.app.close()


def test_program_is_pickled_with_its_budget() -> None:
    """SPEC R-R02: a program that crosses a process boundary is the same program there."""
    import pickle

    program = Program.compile(tiny_files(LONG), contract()[1], 77)
    assert "_STEPS = 77\n" in program.text
    assert pickle.loads(pickle.dumps(program)).source_hash == program.source_hash


def _has_monty() -> bool:
    try:
        return version("pydantic-monty") == MONTY_VERSION
    except PackageNotFoundError:
        return False
