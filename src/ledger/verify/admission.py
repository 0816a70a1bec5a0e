"""Decides whether the submissions of a block could be in it: a key in force at that height, event ids near block time.

The machine takes both for granted, because an engine checks them before it orders anything; an auditor checks them again.
Not here: the signature's arithmetic (see `check`), unless the key was not known where that was done.
"""

from __future__ import annotations

from ledger.core.genesis import Genesis
from ledger.core.keys import EVENT
from ledger.core.registry import Registry
from ledger.core.submission import signed_message
from ledger.errors import RejectedError
from ledger.limits import EVENT_PAST_MAX_MS
from ledger.machine.admit import id_time
from ledger.verify.check import CheckedBlock, signature_finding
from ledger.verify.findings import LEAVES, SIGNATURES, Finding, from_error


def admission_findings(block: CheckedBlock, genesis: Genesis, registry: Registry) -> list[Finding]:
    """What speaks against the block's submissions, given members and keys in force at its height."""
    findings: list[Finding] = []
    oldest, newest = block.time - EVENT_PAST_MAX_MS, block.time + genesis.parameters["skew_ms"]
    for number, submission in enumerate(block.submissions):
        event = f"{submission.member}/{submission.ids[0]}"
        try:
            entry = registry.signer(submission.key_id, submission.member, EVENT, block.height)
        except RejectedError as error:
            field = f"submission {number}"
            findings.append(from_error("signer", SIGNATURES, error, height=block.height, event=event, field=field))
            continue
        if submission.verified is None:
            count = len(submission.ids)
            message = signed_message(genesis.origin, submission.member, submission.key_id, count, submission.root)
            finding = signature_finding(entry.public, message, submission, number, block.height)
            if finding is not None:
                findings.append(finding)
        if submission.oldest < oldest or submission.newest > newest:
            outside = [each for each in submission.ids if not oldest <= id_time(each) <= newest]
            findings.append(
                Finding(
                    "event-time",
                    LEAVES,
                    block.height,
                    event=f"{submission.member}/{outside[0]}",
                    field="id",
                    expected=f"{oldest} … {newest}",
                    got=str(id_time(outside[0])),
                )
            )
    return findings
