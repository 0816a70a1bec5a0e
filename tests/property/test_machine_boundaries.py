"""Laws of the transition: it is a function of its inputs, and verdicts do not depend on block boundaries."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.adapters.memory import MemoryStore
from ledger.core.leaf import Record, TimerLeaf, parse_leaf
from tests.models.accept_all import Network

events = st.lists(
    st.fixed_dictionaries(
        {
            "dataset": st.integers(0, 5),
            "write": st.integers(0, 3),
            "refuse": st.booleans(),
            "timer": st.one_of(st.none(), st.integers(1, 4)),
        }
    ),
    min_size=1,
    max_size=30,
)


def run(network: Network, plan: list[dict[str, object]], cuts: set[int]) -> None:
    """Submit the planned events one by one; a block closes after each index in `cuts`, and time stands still."""
    batch = []
    for index, step in enumerate(plan):
        content = {"n": index, "writes": {f"grant/ga/{step['write']}": {"n": index}}}
        if step["refuse"]:
            content["refuse"] = True
        event = network.event(time=network.sealed[0].header.time, refs={"dataset": f"ga/{step['dataset']}"}, **content)
        batch.append(network.submission("ga", [event]))
        if index in cuts:
            network.block(batch, ms=0)
            batch = []
    network.block(batch, ms=0)


def verdicts(network: Network) -> list[tuple[str, bytes]]:
    found = []
    for sealed in network.sealed:
        for leaf in sealed.leaves[:-1]:
            parsed = parse_leaf(leaf)
            assert isinstance(parsed, Record | TimerLeaf)
            found.append((parsed.id if isinstance(parsed, Record) else parsed.key, parsed.verdict))
    return found


@settings(max_examples=40, deadline=None)
@given(plan=events, first=st.sets(st.integers(0, 30)), second=st.sets(st.integers(0, 30)))
def test_verdicts_and_objects_do_not_depend_on_block_boundaries(
    plan: list[dict[str, object]], first: set[int], second: set[int]
) -> None:
    """SPEC R-R04: the same events in the same order and time give the same verdicts and objects, however they are cut."""
    one, two = Network(MemoryStore()), Network(MemoryStore())
    run(one, plan, first)
    run(two, plan, second)
    assert verdicts(one) == verdicts(two)
    keys = [f"grant/ga/{number}" for number in range(4)]
    assert one.store.read_objects(keys) == two.store.read_objects(keys)


@settings(max_examples=25, deadline=None)
@given(plan=events, cuts=st.sets(st.integers(0, 30)))
def test_equal_inputs_make_equal_blocks(plan: list[dict[str, object]], cuts: set[int]) -> None:
    """SPEC R-B01: two nodes fed the same blocks have the same leaves, state roots and checkpoints."""
    one, two = Network(MemoryStore()), Network(MemoryStore())
    run(one, plan, cuts)
    for sealed in one.sealed[1:]:
        again = two.app.finalize(sealed.decision.block)
        two.app.commit(b"")
        assert again.leaves == sealed.leaves
        assert (again.root, again.header.state_root) == (sealed.root, sealed.header.state_root)
