"""From a JSON body to recorded events: parse, complete, sign, record.

Rule: all events of a body are of one member and stand under one signature; a bad one refuses the body before the log, with
its index. Parsing and signing run off the event loop. Not here: the form of the answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import Executor
from typing import Protocol

from ledger.core.submission import Submission
from ledger_node.intake.drafts import Draft, Source, choose_member, make_events, parse_drafts
from ledger_node.intake.signing import held_members, sign_events
from ledger_node.query.outcome import Outcome
from ledger_node.query.ports import Node


class Record(Protocol):
    """Has a checked submission recorded and waits for it."""

    async def __call__(self, submission: Submission, *, certified: bool) -> Outcome:
        """What became of it."""


def source_of(node: Node) -> Source:
    """The clock that ids and times follow: the wall's, or block time on a scenario network."""
    if node.genesis.clock == "scenario":
        return Source(lambda: node.head.time, os.urandom)
    return Source(lambda: time.time_ns() // 1_000_000, os.urandom)


async def record_json(node: Node, record: Record, pool: Executor, data: bytes, *, certified: bool) -> Outcome:
    """The outcome of a JSON body.

    Raises `MalformedError`, `NotFoundError` (this node holds no key of the member), and what recording raises.
    """

    def prepare() -> Submission:
        drafts = parse_drafts(data)
        member = choose_member(drafts, held_members(node))
        return sign_drafts(node, member, drafts.events)

    submission = await asyncio.get_running_loop().run_in_executor(pool, prepare)
    return await record(submission, certified=certified)


def sign_drafts(node: Node, member: str, drafts: list[Draft]) -> Submission:
    """The drafts as one signed submission of `member`."""
    return sign_events(node, member, make_events(drafts, source_of(node)))
