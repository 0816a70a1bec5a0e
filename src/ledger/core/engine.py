"""Which engine orders a ledger, and since when: the state object that a move to another engine writes (SPEC R-N50, R-N51).

Rules: genesis and origin never change with the engine; without the object the genesis' own engine is in force; chain ids
are numbered, so that no vote of one chain counts in another. Not here: when a move may happen (see `machine.enginemove`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.core import canonical
from ledger.core.genesis import COMETBFT
from ledger.core.hashing import parse_hex_digest
from ledger.core.nativecommit import chain_id_of
from ledger.errors import MalformedError
from ledger.limits import ENGINE_MOVES_MAX, INT_MAX

ENGINE_KEY: Final = "sys-engine/current"
"""State key of the engine in force, once governance has named one."""

_FIELDS: Final = frozenset({"chain_id", "engine", "height", "moves"})


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine with its chain.

    `seam` is the height of the last block that the engine before it ordered, -1 where the ledger began with this one;
    `moves` counts the engines before it. `chain_id` is "" for the sequencer, which has none.
    """

    name: str
    chain_id: str
    seam: int
    moves: int

    def encode(self) -> bytes:
        """Canonical JSON, the state object under `ENGINE_KEY`."""
        return canonical.encode(
            {"chain_id": self.chain_id, "engine": self.name, "height": self.seam, "moves": self.moves}
        )


def parse_engine(data: bytes) -> Engine:
    """The engine in canonical JSON `data`. Raises `MalformedError`."""
    fields = canonical.parse(data)
    if set(fields) != _FIELDS or fields["engine"] != COMETBFT or type(fields["chain_id"]) is not str:
        raise MalformedError("engine", "missing or unknown fields", got=sorted(fields))
    numbers = fields["height"], fields["moves"]
    if (
        any(type(number) is not int or not 0 <= number <= INT_MAX for number in numbers)
        or not 1 <= numbers[1] <= ENGINE_MOVES_MAX
    ):
        raise MalformedError("engine", "a number is out of range", got=list(numbers))
    return Engine(COMETBFT, fields["chain_id"], *numbers)


def chain_id(origin: str, moves: int) -> str:
    """The chain id after `moves` moves (R-N51): that of a ledger that began with CometBFT (R-N03), and `-<moves>`."""
    first = chain_id_of(parse_hex_digest(origin.rpartition("/")[2]))
    return f"{first}-{moves}" if moves else first


__all__ = ["COMETBFT", "ENGINE_KEY", "Engine", "chain_id", "parse_engine"]
