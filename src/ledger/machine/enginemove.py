"""Which engine may order the next block, and the vote that moves a ledger to CometBFT (SPEC R-N50, R-N51).

Rules: the block in which a move takes effect is the seam, the last of the old engine; after it only the new one orders.
Genesis, origin, certificates and locks go on. Not here: stopping and starting engines (each asks `check_orders`).
"""

from __future__ import annotations

from ledger.core.engine import ENGINE_KEY, Engine, chain_id, parse_engine
from ledger.core.genesis import COMETBFT, SCENARIO, SEQUENCER, Genesis
from ledger.core.submission import Submission
from ledger.errors import RejectedError
from ledger.limits import ENGINE_MOVES_MAX
from ledger.machine import validators
from ledger.machine.standing import Args, Refs, Refused, Standing, closed


def engine_in_force(genesis: Genesis, data: bytes | None) -> Engine:
    """The engine that orders what follows, from the state object under `ENGINE_KEY` (None or empty: never moved)."""
    if data:
        return parse_engine(data)
    if genesis.engine == COMETBFT:
        return Engine(COMETBFT, chain_id(genesis.origin, 0), -1, 0)
    return Engine(SEQUENCER, "", -1, 0)


def check_orders(engine: str, in_force: Engine, height: int, chain: str | None = None) -> None:
    """Raise `RejectedError` (code `engine-moved`) where `engine` may not make block `height`.

    `chain` is the chain id of a CometBFT engine: an older chain is another engine.
    """
    if height <= in_force.seam:
        return
    if engine != in_force.name or (chain is not None and chain != in_force.chain_id):
        raise RejectedError(
            "engine-moved",
            "another engine orders this ledger now",
            height=height,
            seam=in_force.seam,
            expected=f"{in_force.name} {in_force.chain_id}".rstrip(),
            got=engine if chain is None else f"{engine} {chain}",
        )


def check_clock(submission: Submission, genesis: Genesis) -> None:
    """Raise `RejectedError` (code `scenario-engine`) for a move that is proposed where time is stepped by an operator.

    CometBFT's block time is its validators' own clocks: it neither waits for a step nor goes back to an earlier year.
    """
    if genesis.clock != SCENARIO:
        return
    for index, event in enumerate(submission.events):
        if event.fields["kind"] == "sys.propose" and event.content.get("action") == "sys.engine.move":
            raise RejectedError(
                "scenario-engine", "a network under a scenario clock stays with its sequencer", index=index
            )


def engine_move(standing: Standing, refs: Refs, args: Args) -> None:
    """The block of this change is the last of the engine before; `standing.engine` is that of an earlier move."""
    closed(refs)
    name, chain = closed(args, "chain_id", "engine")[::-1]
    if name != COMETBFT or not isinstance(chain, str):
        raise Refused("shape")
    moves = 1 + (standing.engine.moves if standing.engine is not None else 0)
    if moves > ENGINE_MOVES_MAX:
        raise Refused("chain-id")
    if standing.engine is not None and standing.engine.chain_id == chain:
        raise Refused("in-force")
    if standing.origin is not None and chain != chain_id(standing.origin, moves):
        raise Refused("chain-id")
    if not standing.registry.validators():
        raise Refused("validator-last")
    validators.check_floor(standing)
    if validators.lacking(standing.registry):
        raise Refused("validator-keys")
    standing.objects.append((ENGINE_KEY, Engine(name, chain, standing.height, moves).encode()))
