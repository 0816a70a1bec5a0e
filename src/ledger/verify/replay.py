"""Decides every block again with the machine and the rules, and says whether the result is what was recorded.

Rules: inputs are the checked submissions, the state is the auditor's own, and the leaves that `seal` makes must equal the
stored ones byte for byte, header and checkpoint included. While the rules run on one block the block before is sealed
and the next one is read. The first difference ends the replay: later states would differ because of it.
Not here: rules themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.config import Config
from ledger.core.event import Event
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.maptree import TreeUndo
from ledger.core.submission import Submission
from ledger.errors import (
    FatalError,
    LedgerError,
    MalformedError,
    NotFoundError,
    RejectedError,
    RuntimeFault,
    UnavailableError,
    VerificationError,
    invariant,
)
from ledger.machine.block import BlockInput, Decision, Head, Sealed
from ledger.machine.decide import Draft, begin, finish
from ledger.machine.seal import head_after, seal, seal_genesis
from ledger.machine.supported import check_supported
from ledger.machine.views import Rules
from ledger.verify.check import CheckedBlock, CheckedSubmission
from ledger.verify.explain import explain
from ledger.verify.findings import REPLAY, TREE, Finding, from_error, show
from ledger.verify.scratch import Scratch, ScratchView

try:
    import msgspec

    _read: Callable[[bytes], Any] = msgspec.json.Decoder().decode
except ImportError:  # the base install
    _read = json.loads


class Runtime(Protocol):
    """A rule runtime whose call can be left running while the auditor seals the block before."""

    def start(self, call: dict[str, Any]) -> None:
        """Hand over a block's call."""
        ...

    def result(self) -> list[Any]:
        """Wait for its outcomes; raises `RuntimeFault`."""
        ...

    def close(self) -> None:
        """End the worker, if there is one."""
        ...


Bundles = Callable[[Digest], bytes]
"""A bundle by hash; `NotFoundError`."""


@dataclass(slots=True)
class LoadedRules:
    """The network's rulebook, compiled: the config that follows from it at height 0, and a runtime for it.

    `reload` compiles what a later config names; it raises as `ledger.LoadNetworkRules` does.
    """

    config: Config
    rules: Rules
    runtime: Runtime
    reload: Callable[[Config, Bundles], tuple[Rules, Runtime]] | None = None


# No canonical document holds U+0000, so this name is free in a body's place.
_PLAN: Final = "\0plan"


class _PlannedRules:
    """The rules, asked for plans only where checking has not made them already."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.plan_timer = rules.plan_timer
        self.successor = rules.successor

    def plan(self, member: str, head: Mapping[str, Any], body: Mapping[str, Any]) -> Sequence[str]:
        """See `Rules`."""
        planned: Sequence[str] | None = body.get(_PLAN)
        return self._rules.plan(member, head, body) if planned is None else planned


class Replay:
    """One replay from block 0, or on from where an earlier one stood.

    After a finding or a raised error it is over: its state is no longer the ledger's.
    """

    def __init__(self, genesis: Genesis, loaded: LoadedRules, scratch: Scratch) -> None:
        self._origin, self._loaded, self._scratch = genesis.origin, loaded, scratch
        self._rules: Rules = _PlannedRules(loaded.rules)
        self._program = loaded.config.program
        self._planned = True
        self._bundles: dict[Digest, bytes] = {}
        sealed, head = seal_genesis(genesis, loaded.config, scratch.tree)
        # Its undo layer would hold, linked one to the next, those of all blocks to come.
        self.genesis_block = replace(sealed, undo=TreeUndo(sealed.undo.size))
        scratch.decided(sealed.decision)
        scratch.sealed(sealed)
        self.decided_head: Head = head
        self.sealed_head: Head = head
        self._pending: tuple[CheckedBlock, Decision] | None = None
        self._begun: tuple[CheckedBlock, Draft] | None = None
        self._prepared: tuple[CheckedBlock, bool, BlockInput] | None = None
        self._spent: object = None  # thousands of values that nobody reads again: let go of while the rules run

    @property
    def begun(self) -> CheckedBlock | None:
        """The block whose rules run, None where there is none."""
        return None if self._begun is None else self._begun[0]

    def go_on(self, head: Head, bundles: Mapping[Digest, bytes]) -> None:
        """Take over from an earlier run: the scratch state is the one after `head`, before it came these `bundles`."""
        invariant(self._pending is None and self._begun is None, "nothing is under way")
        self.decided_head = self.sealed_head = head
        self._bundles.update(bundles)

    def follow_rules(self, bundle: Bundles) -> None:
        """Load the rulebook in force for the next block, where it is another one than before.

        Raises `NotFoundError`, `VerificationError` or `MalformedError` where it cannot be had.
        """
        config = self.decided_head.config
        try:
            check_supported(config)
        except FatalError as error:  # an auditor of an older version: what it cannot replay is no fault of the ledger
            raise NotFoundError(error.code, error.message) from error
        if config.program == self._program:
            return
        loaded = self._loaded
        if loaded.reload is None:
            raise NotFoundError("rules", "this auditor loads the genesis' rules only")

        def find(digest: Digest) -> bytes:
            return self._bundles[digest] if digest in self._bundles else bundle(digest)

        rules, runtime = loaded.reload(config, find)
        loaded.runtime.close()
        loaded.rules, loaded.runtime = rules, runtime
        # Plans that came with the checked blocks were made by the rules of the genesis.
        self._rules, self._program, self._planned = rules, config.program, False

    def prepare(self, block: CheckedBlock) -> None:
        """Do what can be done for `block`, which comes next, while the rules run on the one before."""
        if not block.missing and not block.findings:
            self._prepared = block, self._planned, self._inputs(block)

    def start(self, block: CheckedBlock) -> Finding | None:
        """Plan `block` and hand it to the rules; a finding when no honest engine makes such a block."""
        invariant(self._begun is None, "one block is decided at a time")
        prepared, self._prepared = self._prepared, None
        # What was read for rules that are not in force any more lacks what other rules need.
        usable = prepared is not None and prepared[0] is block and prepared[1] == self._planned
        inputs = prepared[2] if prepared is not None and usable else self._inputs(block)
        try:
            draft = begin(inputs, ScratchView(self._scratch, self.decided_head), self._rules)
        except (UnavailableError, FatalError):
            raise  # this machine's own trouble says nothing about the ledger
        except LedgerError as error:
            return self._impossible(block, error)
        if draft.call["steps"]:
            self._loaded.runtime.start(draft.call)
        self._begun = (block, draft)
        return None

    def seal_pending(self) -> tuple[CheckedBlock, Sealed | None, list[Finding]] | None:
        """Seal the decided block and compare it with what is stored; None where none is pending."""
        self._spent = None
        if self._pending is None:
            return None
        (block, decision), self._pending = self._pending, None
        try:
            sealed = seal(decision, ScratchView(self._scratch, self.sealed_head))
        except (MalformedError, VerificationError, RejectedError) as error:
            return block, None, [self._impossible(block, error)]
        findings = compare(block, sealed)
        if not findings:
            self._scratch.sealed(sealed)
            self.sealed_head = head_after(sealed)
        return block, sealed, findings

    def finish(self) -> None:
        """Take the rules' answer for the block that was started."""
        begun, self._begun = self._begun, None
        if begun is None or self._pending is not None:
            raise FatalError("invariant", "start, seal, finish")
        block, draft = begun
        for data in block.attachments:
            self._bundles[bundle_hash(parse_bundle(data))] = data
        outcomes = self._loaded.runtime.result() if draft.call["steps"] else []
        decision = finish(draft, outcomes)
        self._spent = draft, outcomes
        self._scratch.decided(decision)
        self._pending = (block, decision)
        before = self.decided_head
        self.decided_head = Head(
            block.height, block.time, before.log, before.state_keys, decision.config, decision.registry
        )

    def abandon(self) -> None:
        """Wait for a call that is still running and drop it."""
        if self._begun is not None:
            (_, draft), self._begun = self._begun, None
            if draft.call["steps"]:
                try:
                    self._loaded.runtime.result()
                except RuntimeFault:
                    return

    def _impossible(self, block: CheckedBlock, error: LedgerError) -> Finding:
        return from_error("block-impossible", REPLAY, error, height=block.height, place=block.place)

    def _inputs(self, block: CheckedBlock) -> BlockInput:
        submissions = tuple(
            Submission(
                self._origin,
                each.member,
                each.key_id,
                tuple(_events(each, self._planned)),
                each.signature,
                each.root,
                each.identity,
            )
            for each in block.submissions
        )
        return BlockInput(block.height, block.time, submissions, block.attachments)


def _events(submission: CheckedSubmission, planned: bool) -> Iterator[Event]:
    """The events of a checked submission. Form and hashes were checked where they were made; here bytes are only read."""
    read = _read
    if submission.plans and planned:
        for head, body, plan, digest in zip(
            submission.heads, submission.bodies, submission.plans, submission.hashes, strict=True
        ):
            yield Event(head, body or b"", read(head), {_PLAN: plan}, digest)
        return
    for head, body, digest in zip(submission.heads, submission.bodies, submission.hashes, strict=True):
        yield Event(head, body or b"", read(head), read(body or b"{}"), digest)


def compare(block: CheckedBlock, sealed: Sealed) -> list[Finding]:
    """The findings where the stored leaves or checkpoint differ from the sealed block."""
    findings: list[Finding] = []
    if block.leaves != sealed.leaves:
        findings = explain(block.height, sealed.header.first_seq, sealed.leaves, block.leaves)
    expected: tuple[int, Digest] = (sealed.size, sealed.root)
    if not findings and block.checkpoint is not None and block.checkpoint != expected:
        for name, want, got in zip(("size", "root"), expected, block.checkpoint, strict=True):
            if want != got:
                findings.append(
                    Finding("checkpoint", TREE, block.height, sealed.size - 1, None, name, show(want), show(got))
                )
    return findings


__all__ = ["LoadedRules", "Replay", "Runtime", "compare"]
