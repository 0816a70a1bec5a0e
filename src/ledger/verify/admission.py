"""Decides whether the submissions of a block could be in it: a key in force at that height, event ids near block time.

The machine takes both for granted, because an engine checks them before it orders anything; an auditor checks them again.
Not here: the signature's arithmetic (see `check`), unless the key was not known where that was done.
"""

from __future__ import annotations

from ledger.core import canonical
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.config import Config
from ledger.core.event import Event
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import EVENT
from ledger.core.registry import Registry
from ledger.core.submission import signed_message
from ledger.errors import MalformedError, RejectedError
from ledger.limits import EVENT_PAST_MAX_MS
from ledger.machine.admit import id_time
from ledger.machine.governance import carried_bundle
from ledger.verify.check import CheckedBlock, signature_finding
from ledger.verify.findings import BYTES, LEAVES, SIGNATURES, Finding, from_error


def attachment_findings(block: CheckedBlock) -> list[Finding]:
    """The attachments are the bundles that the block's proposals name, in their order (R-G19)."""
    wanted: list[Digest] = []
    for submission in block.submissions:
        if len(submission.ids) == 1 and b'"kind":"sys.propose"' in submission.heads[0]:
            head, body = submission.heads[0], submission.bodies[0]
            if body is None:
                return []  # what it named went with the body
            event = Event(head, body, canonical.parse(head), {}, submission.hashes[0])
            digest = carried_bundle(event)
            if digest is not None:
                wanted.append(digest)
    expected, got = [each.hex() for each in dict.fromkeys(wanted)], [_bundle(data) for data in block.attachments]
    if expected == got:
        return []
    wants, holds = ", ".join(expected), ", ".join(got)
    return [Finding("attachment-unknown", BYTES, block.height, expected=wants, got=holds, place=block.place)]


def _bundle(data: bytes) -> str:
    try:
        return bundle_hash(parse_bundle(data)).hex()
    except MalformedError:
        return "no bundle"


def admission_findings(block: CheckedBlock, genesis: Genesis, registry: Registry, config: Config) -> list[Finding]:
    """What speaks against the block's submissions, given members, keys and config in force at its height."""
    findings: list[Finding] = []
    oldest, newest = block.time - EVENT_PAST_MAX_MS, block.time + config.parameters["skew_ms"]
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
