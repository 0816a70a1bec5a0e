"""Where simulated chains begin: at block 0 of a ledger of CometBFT's own, or at the seam of one that a vote moved to it.

Whoever starts a chain gets what every node has committed by then; rules are those of `accept_all`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from ledger.adapters.memory import Fault, Memory, MemoryStore, no_fault
from ledger.app import Application
from ledger.core.engine import chain_id
from ledger.core.genesis import VALIDATOR_USES, Genesis, new_genesis
from ledger.core.hashing import sha256
from ledger.core.keys import CONSENSUS, EVENT, LOG, P2P, Ed25519Signer
from ledger.core.maptree import MapTree
from ledger.machine.seal import seal_genesis
from tests.models import accept_all
from tests.models.accept_all import START_MS, AcceptAllRules, AcceptAllRuntime, event_signer
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS as MOVED_MEMBERS
from tests.models.tiny_ledger import TinyLedger, make_config
from tests.models.tiny_ledger import make_genesis as make_sequenced

MEMBERS = ("ga", "gx", "mz", "rs")
NOTICE = 24 * HOUR_MS


def make_genesis() -> Genesis:
    """Four members, each a validator."""
    members, sign = [], {}
    for member in MEMBERS:
        signers = [(event_signer(member), EVENT)]
        signers += [
            (Ed25519Signer(sha256(f"{use} key of {member}".encode())), use) for use in (*VALIDATOR_USES, CONSENSUS)
        ]
        keys = [
            {"algorithm": s.public.algorithm, "public": s.public.raw.hex(), "use": use, "roles": ["system"]}
            for s, use in dict(signers).items()
        ]
        sign.update({s.public.raw.hex(): s for s, _ in signers})
        title = {"en": f"Department {member}", "zh": f"部门{member}"}
        members.append({"attributes": {}, "id": member, "keys": keys, "roles": ["department"], "title": title})
    return new_genesis(
        name="test.example",
        time=START_MS,
        members=members,
        rulebook=accept_all.GENESIS.rulebook,
        calendar=accept_all.GENESIS.calendar,
        sign=sign,
        engine="cometbft",
    )


GENESIS = make_genesis()
CHAIN = chain_id(GENESIS.origin, 0)


def open_application(memory: Memory, fault: Fault = no_fault) -> Application:
    """The application over `memory`, with block 0 where it is empty."""
    if not memory.blocks:
        sealed, _ = seal_genesis(GENESIS, make_config(GENESIS), MapTree.empty())
        MemoryStore(memory).write_genesis(GENESIS.data, accept_all.BUNDLES, sealed, b"")
    return Application(MemoryStore(memory, fault), lambda _store, _head: (AcceptAllRules(), AcceptAllRuntime()))


@dataclass(frozen=True)
class Start:
    """`chain` is the chain's id, `make` gives what one node has committed when it begins."""

    chain: str
    make: Callable[[], Memory]


def begun() -> Start:
    """A ledger that CometBFT orders from the beginning."""
    return Start(CHAIN, Memory)


class _Moving(Governed):
    """A ledger of a sequencer, with bundles that can be read."""

    def __init__(self) -> None:
        bundles = accept_all.GENESIS.rulebook, accept_all.GENESIS.calendar
        TinyLedger.__init__(self, make_sequenced(bundles=bundles))
        self.bundles, self.store.memory.bundles = {}, dict(accept_all.BUNDLES)


@cache
def _moved() -> Governed:
    ledger = _Moving()
    for member in MOVED_MEMBERS:
        for use in (LOG, P2P, CONSENSUS):
            if not ledger.app.head.registry.valid_keys(member, use):
                key, made = ledger.new_key(member, use, "of its engine")
                refs = {"key": key.public.key_id.hex(), "member": member}
                ledger.change("sys.key.add", refs, {"key": made}, cosign=True, wait_ms=NOTICE + 1)
    waits = ledger.event(timers={"timer/T1/thing/1": ledger.app.head.time + NOTICE + 10_000})
    ledger.block(ledger.submission("gx", [waits]))
    args = {"chain_id": chain_id(ledger.origin, 1), "engine": "cometbft"}
    ledger.change("sys.engine.move", {}, args, cosign=True, wait_ms=NOTICE + 1)
    assert ledger.app.engine.seam == ledger.app.head.height and len(ledger.validators) == len(MOVED_MEMBERS)
    return ledger


def moved() -> Start:
    """A ledger that a sequencer ordered until its members moved it: a timer of that time is still to fire."""
    ledger = _moved()
    return Start(ledger.app.engine.chain_id, lambda: copied(ledger.store.memory))


def behind(chain: str, memory: Memory) -> Start:
    """A chain that begins where another one was left."""
    return Start(chain, lambda: replace(copied(memory), engine_height=0))


def copied(memory: Memory) -> Memory:
    """Another node's copy; what does not change is shared."""

    def copy(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: copy(each) for key, each in value.items()}
        return [copy(each) for each in value] if isinstance(value, list) else value

    return Memory(**{each.name: copy(getattr(memory, each.name)) for each in fields(memory)})
