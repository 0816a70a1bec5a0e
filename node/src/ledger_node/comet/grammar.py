"""Decides whether CometBFT's calls came in an order that ABCI 2.0 allows, from the trace of one application.

Rules: a run begins with Info. A first run goes on with InitChain; a state sync comes before its Info: offers, each
followed by chunks, the last with at least one, and all of it again where CometBFT ended before it kept the state.
Then blocks: any rounds of PrepareProposal, ProcessProposal, ExtendVote and VerifyVoteExtension, one FinalizeBlock,
one Commit. A run may break off anywhere, and only the next Info shows it. The grammar is regular; rounds leave no
mark in it. A proposer whose time ran out is not asked about its own proposal, and a validator that holds a lock
extends its vote without another ProcessProposal, so that the order within a round can be demanded only where nothing
disturbs the network (`calm`): after PrepareProposal comes ProcessProposal, and each ExtendVote has a ProcessProposal
of its own before it.
Not here: calls without an order (Query, CheckTx, snapshots that are listed or read). An Info that came by RPC
(`abci_info`) looks like a new run: whoever records a trace must not ask for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ledger.errors import VerificationError

LETTERS: Final = {
    "info": "I",
    "init_chain": "C",
    "prepare_proposal": "P",
    "process_proposal": "R",
    "extend_vote": "E",
    "verify_vote_extension": "V",
    "finalize_block": "F",
    "commit": "M",
    "offer_snapshot": "O",
    "apply_snapshot_chunk": "A",
}

_BEGIN: Final = "begin"
_States = dict[str, dict[str, str]]

# State, then letter: next state. A letter that is missing is one that may not come.
_ROUNDS: Final = dict.fromkeys("VPRE", "rounds")
_ALWAYS: Final[_States] = {
    _BEGIN: {"I": "told", "O": "offered"},
    "offered": {"O": "offered", "A": "applied"},
    "applied": {"O": "offered", "A": "applied", "I": "synced"},
    "told": {"I": "told", "C": "rounds", "F": "final", **_ROUNDS},
    "synced": {"I": "told", "O": "offered", "F": "final", **_ROUNDS},
    "rounds": {"I": "told", "F": "final", **_ROUNDS},
    "final": {"I": "told", "M": "rounds"},
}
_PREPARED: Final = {"I": "told", "V": "prepared", "R": "processed"}
_OPEN: Final = {"I": "told", "V": "rounds", "P": "prepared", "R": "processed", "F": "final"}
_CALM: Final[_States] = {
    **_ALWAYS,
    "told": {**_OPEN, "C": "rounds"},
    "synced": _OPEN,
    "rounds": _OPEN,
    "prepared": _PREPARED,
    "processed": {**_OPEN, "V": "processed", "E": "rounds"},
}


def check_calls(names: Sequence[str], *, calm: bool = False) -> None:
    """Whether `names`, the requests that one application heard in this order over all its runs, fit the grammar.

    `calm`: no fault and no time-out fell into the trace, so that the order within rounds is checked too. Names are those
    of the request's oneof; those without a letter count for nothing. Raises `VerificationError` (`abci-order`) with the
    index of the first call that may not come there, and what it followed.
    """
    states = _CALM if calm else _ALWAYS
    state, before = _BEGIN, "nothing"
    for index, name in enumerate(names):
        letter = LETTERS.get(name)
        if letter is None:
            continue
        following = states[state].get(letter)
        if following is None:
            raise VerificationError("abci-order", index=index, call=name, after=before)
        state, before = following, name
