"""Laws of the real rulebook over events of every kind: states are lawful, blocks may be cut anywhere, replay agrees."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.memory import MemoryStore
from ledger.adapters.runtime.worker import Inline
from ledger.app import Application
from ledger.core import canonical
from ledger.core.config import Config
from ledger.core.event import parse_event
from ledger.core.leaf import Record, parse_leaf
from ledger.core.maptree import MapTree
from ledger.core.submission import Submission, new_submission
from ledger.machine.block import BlockInput, Sealed
from ledger.machine.seal import seal_genesis
from ledger.rules.scratch import Scratch
from tests.models.any_kind import HOUR_MS, AnyKind, Draw, statuses
from tests.models.real_ledger import bundles, make_genesis, signer
from tests.unit.rules.books import contract_program

PROGRAM = contract_program()
START_MS = 1_790_000_000_000
COURSE = (
    "catalog.draft", "quality.plan", "catalog.submit", "catalog.publish", "share.apply", "share.approve", "share.deliver",
    "share.receive", "use.access", "purpose.end", "dispose.done",
)  # fmt: skip

draws = st.builds(
    Draw,
    hours=st.sampled_from([0, 0, 0, 0, 1, 30, 24 * 40]),
    kind=st.one_of(st.sampled_from(COURSE), st.sampled_from(sorted(PROGRAM.book.kinds))),
    seed=st.integers(0, 2**32),
)
histories = st.lists(draws, min_size=5, max_size=40)


def played(history: list[Draw]) -> AnyKind:
    """A grant in use and then the history, decided one event a block."""
    found = AnyKind(PROGRAM, START_MS)
    found.lead()
    for draw in history:
        found.add(draw)
    return found


@settings(max_examples=12, deadline=None)
@given(histories)
def test_no_event_reaches_a_state_outside_the_tables(history: list[Draw]) -> None:
    """Whatever is asked for in whatever order, an object with a table is only ever written in a state of it."""
    tables = statuses(PROGRAM)
    for outcome in played(history).outcomes:
        for key, data in outcome[7]:
            field, known = tables.get(key.split("/")[0], ("", set()))
            value = canonical.parse(data) if data else {}
            assert field not in value or value[field] in known, (key, outcome[3])


@settings(max_examples=12, deadline=None)
@given(histories)
def test_verdicts_of_every_kind_do_not_depend_on_block_boundaries(history: list[Draw]) -> None:
    """SPEC R-R04: events of one time in one block, with the timers due, give what they give in blocks of their own."""
    apart = played(history)
    together = Scratch(PROGRAM, PROGRAM.run_block)
    joined = []
    for time, group in groupby(apart.made, key=lambda made: made.time):
        joined += together.one_block(time, [made.step for made in group])
    assert [outcome[1:] for outcome in joined] == [outcome[1:] for outcome in apart.outcomes]
    assert together.objects == apart.scratch.objects
    assert together.due == apart.scratch.due


class Node:
    """The application with the real rules over a store in memory."""

    def __init__(self) -> None:
        rulebook, calendar, stored = bundles()
        self.genesis = make_genesis(rulebook, calendar, START_MS)
        config = Config(
            rulebook=rulebook, calendar=calendar, program=PROGRAM.source_hash, language=PROGRAM.language_version,
            parameters=self.genesis.parameters, cosigners=(), next_cosigners=(),
        )  # fmt: skip
        sealed, _ = seal_genesis(self.genesis, config, MapTree.empty())
        store = MemoryStore()
        store.write_genesis(self.genesis.data, stored, sealed, b"")
        self.app = Application(store, lambda _store, _head: (PROGRAM, Inline(PROGRAM)))
        self.sealed: list[Sealed] = []

    def decide(self, block: BlockInput) -> Sealed:
        """Decide, seal and commit one block."""
        sealed = self.app.finalize(block)
        self.app.commit(b"")
        self.sealed.append(sealed)
        return sealed

    def record(self, time: int, submissions: list[Submission]) -> None:
        """Record events at `time`, after the timers that are due by then."""
        while self.app.timers_waiting(time):
            self.decide(self.app.prepare([], time)[0])
        self.decide(self.app.prepare(submissions, time)[0])

    def verdicts(self) -> list[tuple[str, bytes]]:
        """Names and verdicts of all records and timers."""
        found = []
        for sealed in self.sealed:
            for leaf in sealed.leaves[:-1]:
                parsed = parse_leaf(leaf)
                found.append((parsed.id if isinstance(parsed, Record) else parsed.key, parsed.verdict))  # type: ignore[union-attr]
        return found


def recorded(history: list[Draw], cuts: set[int]) -> Node:
    """The history on a ledger whose blocks close after the events in `cuts`, and whenever time moves."""
    node = Node()
    made = played(history).made
    for time, group in groupby(enumerate(made), key=lambda pair: pair[1].time):
        waiting: list[Submission] = []
        for number, each in group:
            key = signer(each.step.member, each.label)
            event = parse_event(each.step.head, each.step.body)
            waiting.append(new_submission(node.genesis.origin, each.step.member, key, [event]))
            if number in cuts:
                node.record(time + HOUR_MS, waiting)
                waiting = []
        if waiting:
            node.record(time + HOUR_MS, waiting)
    return node


@settings(max_examples=4, deadline=None)
@given(history=histories, cuts=st.sets(st.integers(0, 150)))
def test_replay_of_every_kind_gives_the_same_state_root(history: list[Draw], cuts: set[int]) -> None:
    """SPEC R-B01: a second node computes the same leaves and state roots from the same blocks; other blocks of the same
    events at the same times give the same verdicts."""
    one, two = recorded(history, cuts), Node()
    for sealed in one.sealed:
        again = two.decide(sealed.decision.block)
        assert again.leaves == sealed.leaves
        assert (again.root, again.header.state_root) == (sealed.root, sealed.header.state_root)
    assert recorded(history, set()).verdicts() == one.verdicts()
