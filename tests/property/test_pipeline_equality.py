"""Deciding a block while the one before is still unsealed gives exactly the blocks that one after the other gives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.memory import MemoryStore
from ledger.machine.block import BlockInput, Sealed
from tests.models.accept_all import GENESIS, MEMBERS, START_MS, Network, log_note

names = st.sampled_from(["ga/a", "ga/b", "gx/c"])
steps = st.fixed_dictionaries(
    {
        "member": st.sampled_from(MEMBERS),
        "dataset": names,
        "extra": st.one_of(st.none(), names),
        "refuse": st.booleans(),
        "write": st.integers(0, 2),
        "timer": st.one_of(st.none(), st.integers(1, 3)),
        "again": st.booleans(),
    }
)
blocks = st.lists(st.lists(steps, max_size=4), min_size=1, max_size=6)


def inputs(plan: list[list[dict[str, object]]]) -> list[BlockInput]:
    """Blocks of the plan: events that write, refuse, set timers due in later blocks, name streams, and come twice."""
    maker, found, before = Network(MemoryStore()), [], None
    for height, block in enumerate(plan, 1):
        time = START_MS + height * 1_000
        submissions = []
        for number, step in enumerate(block):
            content: dict[str, object] = {
                "n": number,
                "writes": {f"grant/ga/{step['write']}": {"n": number, "h": height}},
            }
            if step["refuse"]:
                content["refuse"] = True
            if step["extra"]:
                content["streams"] = [["dataset", step["extra"]]]
            if step["timer"]:
                content["timers"] = {f"timer/A3/application/ga/{step['write']}": time + int(str(step["timer"])) * 1_000}
            event = maker.event(time=time, refs={"dataset": step["dataset"]}, **content)
            submissions.append(maker.submission(str(step["member"]), [event]))
            if step["again"] and before is not None:
                submissions.append(before)
            before = submissions[0]
        found.append(BlockInput(height, time, tuple(submissions)))
    return found


def facts(sealed: list[Sealed]) -> list[tuple[object, ...]]:
    return [(each.leaves, each.root, each.header.state_root, each.header.state_keys) for each in sealed]


@settings(max_examples=60, deadline=None)
@given(blocks)
def test_pipelined_and_sequential_engines_make_equal_blocks(plan: list[list[dict[str, object]]]) -> None:
    """SPEC R-B01: an engine that begins block N+1 before N is sealed makes the leaves and roots of one that does not."""
    ordered = inputs(plan)
    plain, piped = Network(MemoryStore()).app, Network(MemoryStore()).app
    one: list[Sealed] = []
    for block in ordered:
        one.append(plain.finalize(block))
        plain.commit(log_note(GENESIS.origin, one[-1].size, one[-1].root))
    two: list[Sealed] = []
    for number, block in enumerate(ordered):
        piped.begin(block)
        if number:
            two.append(piped.seal())
            piped.commit(log_note(GENESIS.origin, two[-1].size, two[-1].root))
        piped.finish()
    two.append(piped.seal())
    piped.commit(log_note(GENESIS.origin, two[-1].size, two[-1].root))
    assert facts(one) == facts(two)
