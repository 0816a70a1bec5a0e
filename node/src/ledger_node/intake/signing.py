"""Signs drafts with the event key that this node holds for a member, ready to be recorded.

Rule: one signature covers all events of a call; the registry decides whether the key may still sign. Not here: minting
(see `drafts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.core.event import Event
from ledger.core.submission import Submission, new_submission
from ledger.errors import NotFoundError
from ledger_node.query.ports import Node


def sign_events(node: Node, member: str, events: Sequence[Event]) -> Submission:
    """The events signed once. Raises `NotFoundError` where this node holds no key of the member."""
    submission = new_submission(node.origin, member, node.signers(member), events)
    node.check(submission)
    return submission


def held_members(node: Node) -> list[str]:
    """The members whose event key this node holds, sorted."""
    found: list[str] = []
    for member in sorted(node.registry.members):
        try:
            node.signers(member)
        except NotFoundError:
            continue
        found.append(member)
    return found
