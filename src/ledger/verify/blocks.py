"""Joins checked blocks into one ledger: replays them where possible, and checks what remains where not.

Rule: the first finding or missing body ends the replay at that block, and everything that does not need the rules goes on:
signers and times, leaves against events, tree and header (`plain` has the rest).
Not here: what a block says alone (see `check`), and the end of the ledger (see `ledger`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ledger.core.config import Config
from ledger.core.engine import ENGINE_KEY, Engine, parse_engine
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.header import Header
from ledger.core.registry import Registry
from ledger.errors import MalformedError, NotFoundError, RuntimeFault, VerificationError, invariant
from ledger.machine.block import Head, Sealed
from ledger.rules.program import Program
from ledger.verify.admission import admission_findings, attachment_findings
from ledger.verify.certificates import Certificates, Signers
from ledger.verify.chain import Chain
from ledger.verify.check import CheckedBlock, check_note, leaf_hashes
from ledger.verify.findings import REPLAY, Finding, gap
from ledger.verify.leaves import read_leaves
from ledger.verify.natives import Natives
from ledger.verify.plain import PlainAudit
from ledger.verify.pruned import PrunedBodies
from ledger.verify.replay import Bundles, LoadedRules, Replay, compare
from ledger.verify.report import Report
from ledger.verify.scratch import Scratch
from ledger.verify.source import NativeEntry
from ledger.verify.trust import KnownCheckpoints

# At height 0 these follow from the program that the rulebook compiles to, which a later compiler may spell otherwise.
_OF_PROGRAM = frozenset(("config", "state.root"))


class BlockAudit:
    """All blocks of one ledger, in the order in which they are given; writes into `report`.

    `loaded` is None where the rules cannot be had; `replay` False leaves them out.
    """

    def __init__(
        self,
        genesis: Genesis,
        loaded: LoadedRules | None,
        scratch: Scratch,
        report: Report,
        certificates: Certificates,
        known: KnownCheckpoints,
        *,
        replay: bool,
        streams: bool,
        bundle: Bundles,
        natives: Iterable[NativeEntry] = (),
    ) -> None:
        self._genesis, self._report, self._bundle = genesis, report, bundle
        self._certificates, self._known = certificates, known
        self.natives = Natives(genesis, natives, self._engine)
        book = loaded.rules.book if loaded is not None and isinstance(loaded.rules, Program) else None
        self.pruned = PrunedBodies(book.kinds if book is not None else {}, book.zone_ms if book is not None else 0)
        self._chain = Chain()
        self._plain = PlainAudit(
            genesis, loaded.config if loaded is not None else None, scratch, report, streams=streams
        )
        self._replay = Replay(genesis, loaded, scratch) if replay and loaded is not None else None
        self._replayed_from_start = self._replay is not None
        self.header: Header | None = None
        head = self._plain.head
        self._config, self._registry = head.config, head.registry
        self._signers = _signers(head.config, head.registry)

    @property
    def replaying(self) -> bool:
        """Whether the next block will be replayed, if it can be."""
        return self._replay is not None

    @property
    def replayed_all(self) -> bool:
        """Whether every block so far was replayed without a finding."""
        return self._replayed_from_start and self.replaying

    @property
    def has_streams(self) -> bool:
        """Whether every stream was recomputed, with or without rules."""
        return self.replayed_all or self._plain.has_streams

    @property
    def last_height(self) -> int:
        """Height of the last block, confirmed or not; −1 before the first."""
        return self._chain.height

    @property
    def size(self) -> int:
        """Leaves of the log as far as its tree is confirmed."""
        return self._chain.log.size

    @property
    def broken(self) -> bool:
        """Whether the tree differs from the source's, so that later checkpoints say nothing."""
        return self._chain.broken

    def block(self, block: CheckedBlock) -> None:
        """Take the next block. Its rules run on; it is compared when the next one comes, or in `settle` or `end`."""
        report = self._report
        if self._replay is not None:
            self._replay.prepare(block)
        self._landed()
        if block.note_open and self._follows(block.height):
            registry = self._replay.decided_head.registry if self._replay is not None else self._plain.head.registry
            check_note(block, self._genesis.origin, registry.log_keys(), needed=not registry.validators())
        if not block.damaged:
            block.findings.extend(attachment_findings(block))
        for finding in block.findings:
            report.findings.add(finding)
        report.counts.blocks += 1
        report.counts.submissions += len(block.submissions)
        report.counts.events += sum(len(each.ids) for each in block.submissions)
        report.counts.bytes += block.input_bytes
        report.counts.leaves += len(block.leaves)
        report.counts.missing_bodies += block.missing
        if block.missing or block.absences.asked:
            self.pruned.block(block.absences, block.leaves, block.time)
        if self._replay is not None and self._replay_block(block):
            return
        self._plain_block(block)

    def _follows(self, height: int) -> bool:
        """Whether every block below `height` was read, so that the keys in force are known."""
        last = self._replay.decided_head.height if self._replay is not None else self._chain.height
        return height <= last + 1 and not self._plain.interrupted

    def go_on(self, head: Head, header: Header, bundles: Mapping[Digest, bytes]) -> None:
        """Take over from an earlier run that replayed every block up to `head` without a finding."""
        invariant(self._replay is not None and self._chain.height < 0, "only a replay goes on, before its first block")
        if self._replay is not None:
            self._replay.go_on(head, bundles)
        chain, report = self._chain, self._report
        chain.log, chain.height, chain.time = head.log, head.height, head.time
        self.header = header
        self._config, self._registry = head.config, head.registry
        self._signers = _signers(head.config, head.registry)
        report.height, report.time, report.size, report.root = head.height, head.time, head.size, head.log.root().hex()
        report.state_root = header.state_root.hex()

    def settle(self) -> bool:
        """Compare the block that is still pending; whether everything so far was replayed without a finding."""
        return self._flush() and self.replayed_all and not self._report.findings.total and not self.broken

    def end(self) -> None:
        """No more blocks follow."""
        self._flush()

    # --- replay ------------------------------------------------------------------------------------------------------

    def _replay_block(self, block: CheckedBlock) -> bool:
        """Replay `block`; False where that cannot be done, after which nothing is replayed any more."""
        replay = self._replay
        if replay is None:
            return False
        if block.height == 0 and self._chain.height < 0:
            return self._genesis_block(block, replay)
        head = replay.decided_head
        follows = block.height == head.height + 1 and self._chain.height >= 0
        if not follows or block.findings or block.missing:
            reason = "bodies-missing" if block.missing and follows and not block.findings else "finding"
            self._stop(reason, block.height)
            return False
        findings = admission_findings(block, self._genesis, head.registry, head.config)
        if findings:
            for finding in findings:
                self._report.findings.add(finding)
            block.findings.extend(findings)
            self._stop("finding", block.height)
            return False
        try:
            replay.follow_rules(self._bundle)
        except (NotFoundError, VerificationError, MalformedError) as error:
            if self._flush():
                self._report.gaps.append(
                    gap("rules-unavailable", REPLAY, error=error.code, reason=f"block {block.height}: {error}")
                )
                self._replay = None
                self._plain.take_over(replay.sealed_head)
            return False
        return self._pipelined(block, replay)

    def _pipelined(self, block: CheckedBlock, replay: Replay) -> bool:
        """Start the rules on `block` and seal the block before meanwhile; `_landed` takes the answer."""
        try:
            finding = replay.start(block)
        except RuntimeFault as fault:
            self._faulted(block, fault)
            return False
        if not self._sealed():
            replay.abandon()
            return False
        if finding is None:
            return True
        self._report.findings.add(finding)
        self._stop("finding", block.height)
        return False

    def _landed(self) -> bool:
        """Take the answer for the block whose rules run; False where they failed, after which it was looked at without."""
        replay = self._replay
        begun = replay.begun if replay is not None else None
        if replay is None or begun is None:
            return True
        try:
            replay.finish()
        except RuntimeFault as fault:
            self._faulted(begun, fault)
            self._plain_block(begun)
            return False
        return True

    def _faulted(self, block: CheckedBlock, fault: RuntimeFault) -> None:
        """The rules failed on `block`, by no fault of the ledger's: it and what follows go on without."""
        replay = self._replay
        if self._sealed() and replay is not None:
            self._report.gaps.append(
                gap("runtime-fault", REPLAY, height=block.height, error=fault.code, reason=str(fault))
            )
            self._replay = None
            self._plain.take_over(replay.sealed_head)

    def _sealed(self) -> bool:
        """Seal and compare the pending block; False when it differs, after which it has been looked at without rules."""
        replay = self._replay
        done = replay.seal_pending() if replay is not None else None
        if done is None or replay is None:
            return True
        block, sealed, findings = done
        if sealed is not None and not findings:
            self._confirm(block, sealed)
            return True
        for finding in findings:
            self._report.findings.add(finding)
        self._replay = None
        self._report.gaps.append(gap("replay-stopped", REPLAY, height=block.height, reason="finding"))
        self._plain.take_over(replay.sealed_head)
        self._plain_block(block, quiet=True)
        return False

    def _genesis_block(self, block: CheckedBlock, replay: Replay) -> bool:
        sealed = replay.genesis_block
        findings = compare(block, sealed)
        if block.submissions or block.time != sealed.header.time:
            findings.append(
                Finding("block-impossible", REPLAY, 0, got="genesis block with submissions or another time")
            )
        if findings and {finding.field for finding in findings} <= _OF_PROGRAM:
            self._report.gaps.append(gap("rules-unavailable", REPLAY, reason="rulebook-program"))
            self._replay = None
            self._plain.forget_config()
            return False
        if findings or block.findings:
            for finding in findings:
                self._report.findings.add(finding)
            self._replay = None
            self._report.gaps.append(gap("replay-stopped", REPLAY, height=0, reason="finding"))
            self._plain_block(block, quiet=True)
            return True
        self._confirm(block, sealed)
        return True

    def _confirm(self, block: CheckedBlock, sealed: Sealed) -> None:
        """A replayed block equals what is stored: its log, header and state are those recomputed."""
        chain, counts = self._chain, self._report.counts
        chain.log, chain.height, chain.time = sealed.log, sealed.height, sealed.header.time
        self.header = sealed.header
        counts.replayed_blocks += 1
        counts.replayed_events += sum(len(each.ids) for each in block.submissions)
        counts.timers += sum(1 for item in sealed.decision.items if item.event is None)
        self._confirmed(sealed.height, sealed.header.time, sealed.size, sealed.root, sealed.decision.registry)
        self._governed(sealed.decision.config, sealed.decision.registry, sealed.size)

    def _stop(self, reason: str, height: int) -> None:
        """End the replay before the block at `height`."""
        if not self._flush():
            return
        replay, self._replay = self._replay, None
        if replay is not None:
            self._report.gaps.append(gap("replay-stopped", REPLAY, height=height, reason=reason))
            self._plain.take_over(replay.sealed_head)

    def _flush(self) -> bool:
        """Take and compare whatever is under way; False where it differs or cannot be had."""
        return self._landed() and self._sealed()

    # --- without rules -----------------------------------------------------------------------------------------------

    def _plain_block(self, block: CheckedBlock, *, quiet: bool = False) -> None:
        """Everything that can be said without rules. `quiet` where the replay has named the differences already."""
        chain, report = self._chain, self._report
        facts = block.facts or read_leaves(block.leaves, block.height, block.submissions)
        hashes: list[Digest] = leaf_hashes(block.leaves)
        first_seq = None if chain.broken else chain.log.size
        findings = list(facts.findings)
        expected = chain.expect(block.height, block.place)
        if expected is not None:
            findings.append(expected)
            if expected.code == "block-order":
                for finding in findings:
                    report.findings.add(finding)
                return
            self._plain.interrupt(block.height)
        findings.extend(chain.follow(block.height, block.time, facts.header, hashes, block.checkpoint))
        findings.extend(self._plain.block(block, facts, hashes, first_seq))
        if not quiet:
            for finding in findings:
                report.findings.add(finding)
        if facts.header is not None:
            self.header = facts.header
        if not chain.broken:
            self._confirmed(block.height, block.time, chain.log.size, chain.log.root(), self._plain.head.registry)
        self._governed(self._plain.head.config, self._plain.head.registry, chain.log.size)

    def _governed(self, config: Config, registry: Registry, size: int) -> None:
        """What is in force for the next block: whose signatures its checkpoint needs."""
        if config is self._config and registry is self._registry:
            return
        if config.epoch != self._config.epoch:
            self._certificates.epoch_ends(size, self._config.epoch)
        self._config, self._registry, self._signers = config, registry, _signers(config, registry)

    def _confirmed(self, height: int, time: int, size: int, root: Digest, after: Registry) -> None:
        """The tree ends so after the block; `after` are members and keys in force from the next one on."""
        report = self._report
        report.height, report.time, report.size, report.root = height, time, size, root.hex()
        if self.header is not None:
            report.state_root = self.header.state_root.hex()
        for finding in (
            *self._certificates.confirmed(height, time, size, root, self._signers),
            *self.natives.confirmed(height, size, root, self._registry, after, followed=self._plain.followed),
            *self._known.confirmed(height, size, root),
        ):
            report.findings.add(finding)

    def _engine(self) -> Engine | None:
        """The engine that governance put in force (R-N50)."""
        found = self._plain.read_objects([ENGINE_KEY]).get(ENGINE_KEY)
        return None if found is None else parse_engine(found)


def _signers(config: Config, registry: Registry) -> Signers:
    return Signers(registry.log_keys(), registry.cosigner_keys(config.cosigners))
