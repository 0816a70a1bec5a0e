"""Every proof file of ours: parse any of the five kinds, then let it be verified (SPEC R-V01 to R-V06).

Rules: a file is one canonical JSON object with `kind` and `v`, at most 32 MiB; parsing checks its form only, and
`verify(trust)` everything else. What cannot be checked is named in the result, what does not hold raises.
Not here: C2SP's `.tlog-proof` (see `tlogproof`), exit codes and words for people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ledger.core import prooflog, proofreceipt, proofstream
from ledger.core.proofentry import Counts, Entry, EntryProof, StreamName
from ledger.core.proofepochs import EpochEnd, LeafPart
from ledger.core.proofjson import Fields, parse_document
from ledger.core.prooflog import Consistency, ConsistencyResult, Fork, ForkResult
from ledger.core.proofreceipt import Receipt, ReceiptResult, Registration, SubmissionPart
from ledger.core.proofstate import CertifiedState, LogKey, StateProof
from ledger.core.proofstream import Absence, AbsenceResult, Completeness, CompletenessResult, StreamState
from ledger.core.prooftrust import Certification, History, Trust, trust_genesis
from ledger.errors import MalformedError

Proof = Receipt | Completeness | Absence | Consistency | Fork
Result = ReceiptResult | CompletenessResult | AbsenceResult | ConsistencyResult | ForkResult

_PARSERS: Final[dict[str, Callable[[Fields], Proof]]] = {
    proofreceipt.KIND: proofreceipt.parse_receipt,
    proofstream.COMPLETENESS: proofstream.parse_completeness,
    proofstream.ABSENCE: proofstream.parse_absence,
    prooflog.CONSISTENCY: prooflog.parse_consistency,
    prooflog.FORK: prooflog.parse_fork,
}
KINDS: Final = tuple(_PARSERS)


def parse_proof(data: bytes) -> Proof:
    """The proof in a file; `MalformedError` for all other bytes. `encode()` gives back the same bytes."""
    kind, fields = parse_document(data)
    parser = _PARSERS.get(kind)
    if parser is None:
        raise MalformedError("proof", "unknown kind of proof", kind=kind)
    return parser(fields)


def verify_proof(data: bytes, trust: Trust) -> Result:
    """What a proof file shows to somebody with this trust; raises `MalformedError` or `VerificationError`."""
    return parse_proof(data).verify(trust)


__all__ = [
    "KINDS",
    "Absence",
    "AbsenceResult",
    "Certification",
    "CertifiedState",
    "Completeness",
    "CompletenessResult",
    "Consistency",
    "ConsistencyResult",
    "Counts",
    "Entry",
    "EntryProof",
    "EpochEnd",
    "Fork",
    "ForkResult",
    "History",
    "LeafPart",
    "LogKey",
    "Proof",
    "Receipt",
    "ReceiptResult",
    "Registration",
    "Result",
    "StateProof",
    "StreamName",
    "StreamState",
    "SubmissionPart",
    "Trust",
    "parse_proof",
    "trust_genesis",
    "verify_proof",
]
