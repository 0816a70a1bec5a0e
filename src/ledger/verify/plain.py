"""Checks what a block says where rules are not replayed: signers, records, the index of events, governance, streams.

Rules: the ledger's own verdicts (conflict, governance) need no rulebook and are recomputed; a duplicate must stand in the
log already. Behind a block that is missing or damaged nobody knows what it recorded, so that what would depend on it is
said of no later block. Not here: tree and header (see `chain`), and verdicts of rules (see `replay`).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from ledger.core import canonical
from ledger.core.config import Config
from ledger.core.event import Event
from ledger.core.genesis import Genesis
from ledger.core.hashing import ZERO_DIGEST, Digest
from ledger.core.header import Header
from ledger.core.keys import COSIGN, EVENT
from ledger.core.leaf import Record, TimerLeaf
from ledger.core.merkle import EMPTY_RANGE
from ledger.core.registry import genesis_registry
from ledger.errors import RejectedError
from ledger.limits import INT_MAX
from ledger.machine import governance
from ledger.machine.admit import NEW, Admitted
from ledger.machine.block import Head, Item
from ledger.machine.supported import speaks
from ledger.verify.admission import admission_findings
from ledger.verify.check import CheckedBlock, CheckedSubmission
from ledger.verify.findings import LEAVES, REPLAY, SIGNATURES, STATE, Finding, gap, show
from ledger.verify.leaves import LeafFacts, Matched, ReadLeaf, match_leaves
from ledger.verify.report import Report
from ledger.verify.scratch import Scratch
from ledger.verify.state import StreamBook

TIMERS_READ_MAX: Final = 10_000_000
"""All timers that are armed: whoever holds more has other troubles."""


class PlainAudit:
    """Members, keys, events and streams of a ledger, block by block, without its rules.

    `config` is None where the rulebook could not be compiled: then only that it stays the same can be checked.
    """

    def __init__(
        self, genesis: Genesis, config: Config | None, scratch: Scratch, report: Report, *, streams: bool
    ) -> None:
        self._genesis, self._scratch, self._report = genesis, scratch, report
        self._objects: dict[str, bytes] = {}
        self._armed: dict[str, int] = {}
        self._lost = False
        self.interrupted = False
        self._head = Head(-1, genesis.time, EMPTY_RANGE, 0, config or _unknown(genesis), genesis_registry(genesis))
        self._config_hash: Digest | None = config.hash if config is not None else None
        self._streams = StreamBook(scratch) if streams else None

    @property
    def head(self) -> Head:
        """Members, keys and config after the last block."""
        return self._head

    @property
    def followed(self) -> bool:
        """Whether members and keys are known: no body of a vote was missing, no protocol unknown."""
        return not self._lost

    def interrupt(self, height: int) -> None:
        """What the blocks before `height` recorded is not known in full: members, keys, votes and events may be missing."""
        if self.interrupted:
            return
        self.interrupted = self._lost = True
        self._streams = None
        self._report.gaps.append(gap("not-followed", SIGNATURES, height=height))

    def take_over(self, head: Head) -> None:
        """Go on from where a replay ended."""
        self._head = head
        self._config_hash = head.config.hash
        # What was armed further back is in the scratch state, like the proposals themselves.
        due = self._scratch.due_timers(INT_MAX, TIMERS_READ_MAX)
        self._armed = {key: when for when, key in due if governance.is_governance_timer(key)}

    def forget_config(self) -> None:
        """The network runs another program than this software compiles: take the config's hash as it stands."""
        self._config_hash = None

    def block(
        self, block: CheckedBlock, facts: LeafFacts, hashes: list[Digest], first_seq: int | None
    ) -> list[Finding]:
        """The findings of one block; members and keys of the next follow from it."""
        if block.height == 0:
            return self._genesis_block(block, facts)
        findings: list[Finding] = []
        if not self._lost and not speaks(self._head.config):
            self._lost = True
            self._report.gaps.append(gap("protocol-unknown", REPLAY, height=block.height))
        if not block.findings and not self._lost:
            findings.extend(admission_findings(block, self._genesis, self._head.registry, self._head.config))
        config = self._head.config
        matched = match_leaves(block, facts, first_seq)
        if not block.damaged:
            findings.extend(matched.findings)
            findings.extend(self._index(block, matched, first_seq))
            findings.extend(self._govern(block, facts, matched, first_seq))
        for read in facts.leaves:
            leaf = read.leaf
            if isinstance(leaf, TimerLeaf):
                self._report.counts.timers += 1
                if leaf.due > block.time:
                    seq = None if first_seq is None else first_seq + read.offset
                    expected = f"≤ {block.time}"
                    findings.append(
                        Finding("timer", LEAVES, block.height, seq, leaf.key, "due", expected, str(leaf.due))
                    )
        self._join(block, facts, matched, hashes, first_seq)
        if facts.header is not None:
            findings.extend(self._config(block, facts.header))
        if self._head.config != config:
            self._config_follows()
        if block.damaged or facts.findings or matched.findings:
            self.interrupt(block.height + 1)
        return findings

    def _genesis_block(self, block: CheckedBlock, facts: LeafFacts) -> list[Finding]:
        findings: list[Finding] = []
        header = facts.header
        wanted: tuple[tuple[str, object, object], ...] = (
            ("leaves", 1, len(block.leaves)),
            ("submissions", 0, len(block.submissions)),
            ("time", self._genesis.time, block.time),
            ("genesis", self._genesis.hash, header.genesis if header is not None else None),
        )
        for name, expected, got in wanted:
            if expected != got:
                findings.append(Finding("genesis", LEAVES, 0, 0, None, name, show(expected), show(got)))
        if header is not None:
            findings.extend(self._config(block, header))
        return findings

    def _config(self, block: CheckedBlock, header: Header) -> list[Finding]:
        """The config in force is that of the state before; where governance is not followed any more, nobody can say."""
        if self._lost:
            return []
        if self._config_hash is None:
            self._config_hash = header.config
        if header.config == self._config_hash:
            return []
        expected, got = self._config_hash.hex(), header.config.hex()
        return [Finding("config", STATE, block.height, header.index, None, "config", expected, got)]

    def _config_follows(self) -> None:
        """The next header names the config as it was changed; where the program is not known, whatever it names."""
        known = self._head.config.program != ZERO_DIGEST
        self._config_hash = self._head.config.hash if known else None

    def _index(self, block: CheckedBlock, matched: Matched, first_seq: int | None) -> list[Finding]:
        """Every event is new, a conflict or a duplicate, as the index of all events says."""
        names = [(member, event_id) for member, event_id, _ in matched.unrecorded]
        names.extend((submission.member, submission.ids[index]) for _, submission, index in matched.records)
        known = self._scratch.find_events(names)
        findings: list[Finding] = []
        added: list[tuple[str, str, Digest]] = []
        for read, submission, index in matched.records:
            member, event_id, digest = submission.member, submission.ids[index], submission.hashes[index]
            hashes = known.setdefault((member, event_id), [])
            expected = "duplicate" if digest in hashes else "conflict" if hashes else "new"
            got = "conflict" if read.ledger_code == "conflict" else "new"
            if expected != got and not (self.interrupted and expected == "new"):
                seq = None if first_seq is None else first_seq + read.offset
                event = f"{member}/{event_id}"
                findings.append(Finding("event-status", LEAVES, block.height, seq, event, "verdict", expected, got))
            hashes.append(digest)
            added.append((member, event_id, digest))
        for member, event_id, digest in matched.unrecorded:
            if digest not in known.get((member, event_id), ()) and not self.interrupted:
                event = f"{member}/{event_id}"
                findings.append(Finding("event-without-leaf", LEAVES, block.height, event=event, expected=digest.hex()))
        self._scratch.add_events(added)
        return findings

    def _govern(self, block: CheckedBlock, facts: LeafFacts, matched: Matched, first_seq: int | None) -> list[Finding]:
        """Decide the ledger's own timers and the `sys.*` events again, and take over what they leave in force."""
        if self._lost:
            return []
        findings: list[Finding] = []
        deciding = governance.Governance(self._head, block.height, block.time, self.read_objects)
        decided = self._fired(block, facts, deciding, findings)
        for read, submission, index in matched.records:
            leaf = read.leaf
            head, body = submission.heads[index], submission.bodies[index]
            if b'"kind":"sys.' not in head or read.author_only or not isinstance(leaf, Record):
                continue
            fields = canonical.parse(head)
            if not governance.is_governance(fields):
                continue
            try:
                signer = self._head.registry.signer(submission.key_id, submission.member, EVENT, block.height)
            except RejectedError:
                continue  # `admission_findings` has said so
            if body is None:
                self._lost = True
                self._report.gaps.append(gap("governance-lost", REPLAY, height=block.height))
                return findings
            event = Event(head, body, fields, {}, submission.hashes[index])
            entry = Admitted(event, submission.member, signer, (0, index), NEW)
            decided.append((read, deciding.decide(entry, self._genesis.origin, alone=len(submission.ids) == 1)))
        for read, item in decided:
            leaf = read.leaf
            if read.ledger_code != "leaf-size" and (item.verdict, item.extra_streams) != (
                leaf.verdict,
                leaf.extra_streams,
            ):
                seq = None if first_seq is None else first_seq + read.offset
                name = f"{leaf.member}/{leaf.id}" if isinstance(leaf, Record) else leaf.key
                expected, got = item.verdict.decode(), show(leaf.verdict.decode())
                findings.append(Finding("verdict", REPLAY, block.height, seq, name, "verdict", expected, got))
            self._objects.update(item.writes)
            for key, due in item.timers:
                if due is not None:
                    self._armed[key] = due
        self._head = replace(
            self._head, height=block.height, time=block.time, config=deciding.config, registry=deciding.registry
        )
        return findings

    def read_objects(self, keys: Collection[str]) -> dict[str, bytes]:
        """Governance's objects, such as proposals and votes: those decided here, else those of a replay before."""
        found = self._scratch.read_objects([key for key in keys if key not in self._objects])
        found.update((key, self._objects[key]) for key in keys if key in self._objects)
        return found

    def _fired(
        self, block: CheckedBlock, facts: LeafFacts, deciding: governance.Governance, findings: list[Finding]
    ) -> list[tuple[ReadLeaf, Item]]:
        """The block's leaf of a timer of the ledger's own, decided again; one that is due must fire, as last leaf."""
        due = sorted((when, key) for key, when in self._armed.items() if when <= block.time)
        found = [each for each in facts.leaves if governance.is_governance_timer(_timer(each))]
        wanted = [key for _, key in due[:1]] if block.submissions or found else []
        got = [_timer(each) for each in found]
        if got != wanted or (found and found[-1] is not facts.leaves[-1]):
            expected, shown = ", ".join(wanted), ", ".join(got)
            findings.append(Finding("timer", LEAVES, block.height, None, None, "key", expected, shown))
            return []
        decided: list[tuple[ReadLeaf, Item]] = []
        for read in found:
            self._armed.pop(_timer(read))
            decided.append((read, deciding.fire(_timer(read), due[0][0])))
        return decided

    def _join(
        self, block: CheckedBlock, facts: LeafFacts, matched: Matched, hashes: list[Digest], first_seq: int | None
    ) -> None:
        """Let the block's leaves join their streams, as far as places are known."""
        if self._streams is None or first_seq is None or block.damaged or block.findings:
            self._streams = None
            return
        heads: dict[int, tuple[CheckedSubmission, int]] = {
            read.offset: (submission, index) for read, submission, index in matched.records
        }
        for read in facts.leaves:
            found = heads.get(read.offset)
            fields = json.loads(found[0].heads[found[1]]) if found is not None else None
            if fields is None and isinstance(read.leaf, Record):
                self._streams = None
                return
            self._streams.join(read, first_seq + read.offset, hashes[read.offset], fields)
        self._streams.close_block(block.time)

    @property
    def has_streams(self) -> bool:
        """Whether every stream up to the last block is in the scratch state."""
        return self._streams is not None


def _timer(read: ReadLeaf) -> str:
    return read.leaf.key if isinstance(read.leaf, TimerLeaf) else ""


def _unknown(genesis: Genesis) -> Config:
    """What the genesis says of the config; the program is not known."""
    cosigners = tuple((member, key.public.key_id) for member, key in genesis.keys(COSIGN))
    return Config(genesis.rulebook, genesis.calendar, ZERO_DIGEST, 0, genesis.parameters, cosigners, cosigners)


__all__ = ["PlainAudit", "ReadLeaf"]
