"""The ends of epochs that lead from the genesis to the cosigners of a checkpoint, in proofs and for who follows checkpoints.

Not here: how an end is made (see `ledger.adapters.ordering.epochproofs`) and what it proves (see `ledger.core.proofepochs`).
"""

from __future__ import annotations

from ledger.adapters.ordering.epochproofs import prove_ends
from ledger.core.proof import EpochEnd
from ledger_node.query.standing import Standing


def prove_epochs(standing: Standing, size: int | None = None) -> tuple[EpochEnd, ...]:
    """The ends of the epochs before the checkpoint of `size` (the certified one unless said), in order."""
    shown = standing.size if size is None else size
    book = standing.node.certificates
    known = [end for end in book.epoch_ends() if end.size < shown]
    return prove_ends(standing.snap, standing.node.configs, known, book.cosigners_at(shown), shown)
