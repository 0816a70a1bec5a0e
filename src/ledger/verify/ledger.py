"""Verifies a whole ledger: every level, block by block, from raw bytes, and says what it could not check.

Rules: blocks are checked alone first (perhaps elsewhere), then joined here. As long as nothing is wrong and nothing is
missing the machine replays them; from the first difference or missing body on, all other levels go on without it.
A source can only be found wrong or incomplete, never make this raise. Not here: I/O, processes, words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ledger.core.checkpoint import Checkpoint
from ledger.core.genesis import Genesis, parse_genesis
from ledger.core.hashing import Digest
from ledger.core.keys import COSIGN, EVENT, LOG, PublicKey
from ledger.core.quorum import Cosigner
from ledger.core.registry import genesis_registry
from ledger.errors import LedgerError, MalformedError, NotFoundError, RuntimeFault, UnavailableError, VerificationError
from ledger.machine.views import Rules
from ledger.verify.again import DigestedNatives, known_first
from ledger.verify.blocks import BlockAudit
from ledger.verify.certificates import Certificates, Certified
from ledger.verify.check import CheckContext, CheckedBlock, CheckedPiece, check_piece
from ledger.verify.findings import (
    BYTES,
    CERTIFICATES,
    REPLAY,
    STATE,
    TREE,
    Finding,
    Gap,
    from_error,
    gap,
)
from ledger.verify.keeping import Keeping
from ledger.verify.replay import LoadedRules
from ledger.verify.report import CertifiedReport, Report
from ledger.verify.resume import Keeper
from ledger.verify.scratch import Scratch
from ledger.verify.source import LedgerSource, Piece, StateEntry, UnopenedError
from ledger.verify.state import check_rows
from ledger.verify.trust import KnownCheckpoints, Trust, freshness


class Parallel(Protocol):
    """Checks pieces, perhaps in several processes; results come in order and only a few are under way at a time."""

    def begin(self, context: CheckContext, pieces: Iterator[Piece]) -> None:
        """Perhaps begin with some of `pieces` before all of the context is known: `check` gets the rest with the whole
        context, and yields these first."""
        ...

    def check(self, context: CheckContext, pieces: Iterable[Piece]) -> Iterator[CheckedPiece]:
        """`check_piece(context, piece)` for every piece."""
        ...


class Serial:
    """`Parallel` without processes."""

    def begin(self, context: CheckContext, pieces: Iterator[Piece]) -> None:
        """See `Parallel`: nothing is gained by beginning."""

    def check(self, context: CheckContext, pieces: Iterable[Piece]) -> Iterator[CheckedPiece]:
        """See `Parallel`."""
        for piece in pieces:
            yield check_piece(context, piece)


LoadNetworkRules = Callable[[Genesis, Callable[[Digest], bytes]], LoadedRules]
"""Compiles the rulebook a genesis names, reading bundles by hash. Raises `NotFoundError` for a missing bundle,
`VerificationError` for a bundle with another hash, `MalformedError` for one that this software cannot compile."""

Progress = Callable[[int, int], None]
"""Called after each block with (height, leaves so far)."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for. `replay` False leaves the rules out; `runtime` is the name of the runtime for the report;
    `now_ms` is the caller's clock (unix ms)."""

    trust: Trust
    now_ms: int
    replay: bool = True
    runtime: str = ""


def verify_ledger(
    source: LedgerSource,
    options: Options,
    scratch: Scratch,
    load_rules: LoadNetworkRules,
    *,
    parallel: Parallel | None = None,
    progress: Progress | None = None,
    keeper: Keeper | None = None,
) -> Report:
    """The report on `source`. Raises only for faults of this machine (`UnavailableError`, `FatalError`).

    With `keeper` the audit goes on where an interrupted one stood; `ResumeError` where that cannot be done.
    """
    return _Audit(source, options, scratch, parallel or Serial(), progress, keeper).run(load_rules)


def unopened_ledger(name: str, trust: Trust, error: UnopenedError) -> Report:
    """The report on an export that cannot even be opened: broken, with the place where its container is."""
    report = Report(name, pinned_by=trust.pinned_by if trust.origin is not None else "")
    offset = error.evidence.get("offset")
    place = f"offset {offset}" if offset is not None else _file(error) or "manifest.json"
    report.findings.add(from_error("export-unreadable", BYTES, error, place=place))
    return report


def _file(error: LedgerError) -> str | None:
    """The file that an error is about, where it names one."""
    name = error.evidence.get("name")
    return name if isinstance(name, str) else None


class _Audit:
    def __init__(
        self,
        source: LedgerSource,
        options: Options,
        scratch: Scratch,
        parallel: Parallel,
        progress: Progress | None,
        keeper: Keeper | None,
    ) -> None:
        self._source, self._options, self._scratch = source, options, scratch
        self._parallel, self._progress, self._keeper = parallel, progress, keeper
        self._report = Report(source.name)
        self._known = KnownCheckpoints(list(options.trust.known))
        self._pieces = _Pieces(source.pieces)

    def run(self, load_rules: LoadNetworkRules) -> Report:
        report, trust = self._report, self._options.trust
        if trust.origin is not None:  # whatever is found, it was held against what was pinned
            report.pinned_by = trust.pinned_by
        try:
            genesis = parse_genesis(self._source.genesis())
        except UnavailableError:
            raise  # this machine's own trouble says nothing about the ledger
        except LedgerError as error:
            report.findings.add(from_error("genesis", BYTES, error, height=0, place=_file(error)))
            return report
        report.origin, report.clock = genesis.origin, genesis.clock
        if trust.origin is None:
            report.gaps.append(gap("origin-not-pinned", TREE, origin=genesis.origin))
        elif trust.origin != genesis.origin:
            report.findings.add(Finding("origin", TREE, 0, None, None, "origin", trust.origin, genesis.origin))
            return report
        if genesis.clock == "scenario":
            report.gaps.append(gap("simulated-time", CERTIFICATES, limits=False))
        self._begin(genesis)
        loaded = self._load(genesis, load_rules)
        try:
            self._blocks(genesis, loaded)
        except UnavailableError:
            raise
        except LedgerError as error:
            # A source that breaks while it is read is damaged; what was found before stands in the report already.
            report.findings.add(from_error("piece-unreadable", BYTES, error, place=self._source.name))
        finally:
            if loaded is not None:
                loaded.runtime.close()
        return report

    def _begin(self, genesis: Genesis) -> None:
        """Have the first pieces checked while the rules are compiled, but for the plans that only rules make; an audit that
        may go on from an earlier run has to know first which pieces it need only read."""
        if self._keeper is None or not self._keeper.waiting():
            replay = self._options.replay
            digests = replay and self._keeper is not None
            self._parallel.begin(_context(genesis, parse_leaves=not replay, digests=digests), self._pieces)

    def _load(self, genesis: Genesis, load_rules: LoadNetworkRules) -> LoadedRules | None:
        """The rules; None where they cannot be had, which is then a gap or a finding."""
        report = self._report
        try:
            loaded = load_rules(genesis, self._source.bundle)
        except NotFoundError as error:
            report.gaps.append(gap("rules-unavailable", REPLAY, error=error.code, reason=str(error)))
        except VerificationError as error:
            report.findings.add(from_error("bundle", BYTES, error, place="bundles"))
        except MalformedError as error:
            report.gaps.append(gap("rules-unavailable", REPLAY, error=error.code, reason=str(error)))
        else:
            if self._options.replay:
                report.runtime = self._options.runtime
            else:
                report.gaps.append(gap("replay-off", REPLAY))
            return loaded
        return None

    def _blocks(self, genesis: Genesis, loaded: LoadedRules | None) -> None:
        report = self._report
        certificates = Certificates(genesis.clock == "wall", genesis.origin)
        entries, natives = self._source.state(), DigestedNatives(self._source.natives())
        audit = BlockAudit(
            genesis, loaded, self._scratch, report, certificates, self._known,
            replay=self._options.replay, streams=entries is not None, bundle=self._source.bundle,
            natives=natives,
        )  # fmt: skip
        rules = loaded.rules if loaded is not None and audit.replaying else None
        keeping, known = None, 0
        if self._keeper is not None and loaded is not None and audit.replaying:
            keeping = Keeping(self._keeper, audit, certificates, report, self._known, natives)
            question = {"config": loaded.config.hash.hex(), "origin": genesis.origin, "runtime": self._options.runtime}
            known = keeping.find(question, self._scratch)
        context = _context(genesis, parse_leaves=not audit.replaying, rules=rules, digests=keeping is not None)
        try:
            for piece in self._parallel.check(context, known_first(self._pieces, known)):
                if keeping is not None and keeping.take(piece):
                    self._told(report.height, keeping.read)
                else:
                    self._piece(piece, audit, certificates)
        except UnavailableError:
            raise
        except LedgerError as error:
            if keeping is not None:
                keeping.broke(error)
            audit.end()  # what came before the source broke is compared all the same
            raise
        if keeping is not None:
            keeping.end()
        audit.end()
        self._end(audit, certificates, entries)

    def _piece(self, piece: CheckedPiece, audit: BlockAudit, certificates: Certificates) -> None:
        report = self._report
        for finding in piece.findings:
            report.findings.add(finding)
        report.counts.filled_bodies += piece.filled
        for block in piece.blocks:
            audit.block(block)
            self._told(block.height, report.counts.leaves)
        if not audit.broken:  # a broken tree matches no checkpoint, which has been said
            for finding in certificates.add(piece.certificates, audit.size):
                report.findings.add(finding)

    def _told(self, height: int, leaves: int) -> None:
        if self._progress is not None:
            self._progress(height, leaves)

    def _end(self, audit: BlockAudit, certificates: Certificates, entries: Iterable[StateEntry] | None) -> None:
        """Everything that only the whole ledger tells."""
        report, trust = self._report, self._options.trust
        whole = self._claimed(audit)
        if whole and not audit.broken:  # else the block they are over may be the one that is not here
            for finding in (*certificates.end(), *audit.natives.end()):
                report.findings.add(finding)
        report.gaps.extend(self._known.end(report.size))
        report.agreed = [(each.source, each.size) for each in self._known.agreed]
        report.counts.certificates, report.counts.natives = certificates.count, audit.natives.count
        report.gaps.extend(audit.natives.missing(certificates.sizes))
        for epoch, size in certificates.unanchored():
            report.gaps.append(gap("epoch-uncertified", CERTIFICATES, epoch=epoch, size=size))
        _certified(report, certificates, trust, self._options.now_ms)
        report.gaps.extend(audit.pruned.gaps())
        self._state(audit, entries)
        for found in self._source.inspect():
            if isinstance(found, Gap):
                report.gaps.append(found)
            else:
                report.findings.add(found)

    def _claimed(self, audit: BlockAudit) -> bool:
        """Whether the ledger reaches the height that the source says; none is empty, for the genesis alone makes block 0."""
        report = self._report
        height, size = self._source.head() or (0, None)
        if audit.last_height < height:
            expected, got = f"head {height}", f"head {audit.last_height}"
            report.findings.add(Finding("block-missing", TREE, audit.last_height + 1, expected=expected, got=got))
            return False
        if not audit.broken and size is not None and (audit.last_height, audit.size) != (height, size):
            expected, got = f"{audit.last_height} {audit.size}", f"{height} {size}"
            report.findings.add(Finding("manifest", BYTES, field="head", expected=expected, got=got))
        return True

    def _state(self, audit: BlockAudit, entries: Iterable[StateEntry] | None) -> None:
        """The source's own copy of the state, where it has one."""
        report = self._report
        header = audit.header
        if entries is None or header is None or audit.last_height < (self._source.head() or (0, 0))[0]:
            if not audit.replayed_all:
                report.gaps.append(gap("state-unavailable", STATE))
            return
        try:
            result = check_rows(entries, header, self._scratch, streams=audit.has_streams, rows=audit.replayed_all)
        except UnavailableError:
            raise
        except LedgerError as error:
            place = _file(error)  # a file that cannot be read says nothing of the block whose state it holds
            height = header.height if place is None else None
            report.findings.add(from_error("state-copy", STATE, error, height=height, place=place))
            return
        report.counts.state_rows = result.rows
        for finding in result.findings:
            report.findings.add(finding)
        if not audit.replayed_all:
            report.gaps.append(gap("objects-not-recomputed", STATE, rows=result.rows - result.streams))


class _Pieces:
    """The pieces of a source, drawn when they are wanted; where the source breaks it stays broken."""

    def __init__(self, source: Callable[[], Iterable[Piece]]) -> None:
        self._source = source
        self._drawn: Iterator[Piece] | None = None
        self._error: LedgerError | None = None

    def __iter__(self) -> Iterator[Piece]:
        """Itself."""
        return self

    def __next__(self) -> Piece:
        """The next one. Raises what the source raised, as often as it is asked."""
        if self._error is not None:
            raise self._error
        try:
            if self._drawn is None:
                self._drawn = iter(self._source())
            return next(self._drawn)
        except LedgerError as error:
            self._error = error
            raise


def _context(
    genesis: Genesis, *, parse_leaves: bool, rules: Rules | None = None, digests: bool = False
) -> CheckContext:
    registry = genesis_registry(genesis)
    keys: dict[Digest, PublicKey] = {
        key_id: entry.public for key_id, entry in registry.keys.items() if entry.use == EVENT
    }
    logs = tuple(key.public for _, key in genesis.keys(LOG))
    cosigners: tuple[Cosigner, ...] = tuple((member, key.public) for member, key in genesis.keys(COSIGN))
    return CheckContext(genesis.origin, keys, logs, cosigners, parse_leaves, rules, digests)


def _certified(report: Report, certificates: Certificates, trust: Trust, now_ms: int) -> None:
    """What is certified, what is not, and whether it is fresh."""
    first, last = certificates.first, certificates.last
    if certificates.short:
        report.gaps.append(gap("certificate-short", CERTIFICATES, limits=False, count=certificates.short))
    if first is None or last is None:
        report.gaps.append(gap("no-certificate", CERTIFICATES, leaves=report.size))
        return
    report.first_certified, report.last_certified = _shown(first), _shown(last)
    report.certified_note = last.note
    checkpoint: Checkpoint = last.result.checkpoint
    if checkpoint.size < report.size:
        report.gaps.append(gap("uncertified-tail", CERTIFICATES, leaves=report.size - checkpoint.size))
    stale = freshness(trust, last.result.fresh_at_s, now_ms)
    if stale is not None:
        report.gaps.append(stale)


def _shown(certified: Certified) -> CertifiedReport:
    result = certified.result
    return CertifiedReport(
        certified.height,
        result.checkpoint.size,
        result.checkpoint.root.hex(),
        [name for name, _, _ in result.lines],
        result.recorded_by_s,
        result.fresh_at_s,
    )


__all__ = [
    "CheckedBlock",
    "LoadNetworkRules",
    "Options",
    "Parallel",
    "RuntimeFault",
    "Serial",
    "unopened_ledger",
    "verify_ledger",
]
