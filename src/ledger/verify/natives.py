"""Decides which checkpoints CometBFT's own commits vouch for: a second proof beside the certificates (SPEC R-N45, R-N46).

Rules: a native commit is matched with the checkpoint of its size as recomputed. Block N, made at CometBFT height h, has its
app_hash in header(h + 1), whose validators are those after block N - 1, since what FinalizeBlock(h) changes acts at h + 2;
in later, idle headers they are those after block N. Either set is accepted, no other. A commit that does not hold under a
valid certificate is a finding; a certified checkpoint without one is counted as a gap that limits nothing.
Not here: signatures and hashes (see `core.nativecommit`), and who the validators are (see the registry).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress

from ledger.core import nativecommit
from ledger.core.checkpoint import app_hash
from ledger.core.engine import Engine, chain_id
from ledger.core.genesis import COMETBFT, Genesis
from ledger.core.hashing import Digest
from ledger.core.keys import PublicKey
from ledger.core.registry import Registry
from ledger.errors import LedgerError, UnavailableError, VerificationError
from ledger.verify.findings import BYTES, CERTIFICATES, Finding, Gap, from_error, gap
from ledger.verify.source import NativeEntry

CurrentEngine = Callable[[], Engine | None]
"""The engine that governance put in force, as far as the audit came; None before any did."""


class Natives:
    """The native commits of one ledger, taken from `entries` as the checkpoints come.

    `count` are those that hold, `sizes` what they are over; `sequenced` is the largest size that no CometBFT ordered.
    """

    def __init__(self, genesis: Genesis, entries: Iterable[NativeEntry], engine: CurrentEngine) -> None:
        self._genesis, self._engine = genesis, engine
        self._entries: Iterator[NativeEntry] = iter(entries)
        self._next: NativeEntry | None = None
        self._last_size = 0
        self._sets: list[tuple[Registry, list[PublicKey], Digest]] = []
        self.sizes: set[int] = set()
        self.sequenced = 0
        self._moved = genesis.engine == COMETBFT

    @property
    def count(self) -> int:
        """Native commits that hold."""
        return len(self.sizes)

    def confirmed(
        self, height: int, size: int, root: Digest, before: Registry, after: Registry, *, followed: bool = True
    ) -> list[Finding]:
        """A block's checkpoint as recomputed, with the registry before and after the block; findings about its commit.

        Without `followed` members and keys are not known any more: the commit is passed over.
        """
        findings: list[Finding] = []
        if not self._comet_orders():
            self.sequenced = size
        while (entry := self._peek(findings)) is not None and entry[0] <= size:
            self._next = None
            if entry[0] != size:
                findings.append(_no_such_size(entry[0]))
            elif followed:
                findings.extend(self._judge(height, size, root, entry[1], before, after))
        return findings

    def skip_to(self, size: int) -> None:
        """Pass over entries up to `size`, which an earlier run of the same audit has judged."""
        while (entry := self._peek([])) is not None and entry[0] <= size:
            self._next = None

    def end(self) -> list[Finding]:
        """The findings about commits over sizes that never came."""
        findings: list[Finding] = []
        while (entry := self._peek(findings)) is not None:
            self._next = None
            findings.append(_no_such_size(entry[0]))
        return findings

    def missing(self, certified: Collection[int]) -> list[Gap]:
        """How many of the certified sizes have cosignatures only, of those under an engine that makes native commits."""
        if not self._comet_orders():
            return []
        count = sum(size > self.sequenced and size not in self.sizes for size in certified)
        return [gap("native-missing", CERTIFICATES, limits=False, count=count)] if count else []

    def _comet_orders(self) -> bool:
        """Whether CometBFT made the newest block; once it does, no other engine follows (R-N50)."""
        with suppress(LedgerError):  # a damaged object of the state has a finding of its own
            self._moved = self._moved or self._engine() is not None
        return self._moved

    def _peek(self, findings: list[Finding]) -> NativeEntry | None:
        """The entry that is next; one out of order is a finding, and a source that breaks off ends here."""
        while self._next is None:
            try:
                entry = next(self._entries, None)
            except UnavailableError:
                raise
            except LedgerError as error:
                findings.append(from_error("piece-unreadable", BYTES, error, place="native commits"))
                self._entries = iter(())
                return None
            if entry is None:
                return None
            if entry[0] <= self._last_size:
                findings.append(_no_such_size(entry[0]))
                continue
            self._last_size = entry[0]
            self._next = entry
        return self._next

    def _judge(
        self, height: int, size: int, root: Digest, data: bytes, before: Registry, after: Registry
    ) -> list[Finding]:
        try:
            native = nativecommit.parse(data)
            chain = self._chain(height, native.header.chain_id)
            validators, expected = self._set(before)
            if native.header.validators_hash != expected:
                later, other = self._set(after)
                if native.header.validators_hash == other:
                    validators = later
            nativecommit.verify_native(native, chain, validators, app_hash(size, root))
        except LedgerError as error:
            return [
                from_error(
                    "native", CERTIFICATES, error, height=height, seq=size - 1, place=f"native commit of size {size}"
                )
            ]
        self.sizes.add(size)
        return []

    def _chain(self, height: int, named: str) -> str:
        """The chain id that a commit over the checkpoint of `height` has to name (R-N51).

        The state of a seam's block stands in the last headers of the chain before it and in the first of the one after.
        """
        chains = chains_at(self._genesis, self._engine(), height)
        if not chains:
            raise VerificationError("native-chain", "no CometBFT ordered this block", got=named)
        return named if named in chains else chains[0]

    def _set(self, registry: Registry) -> tuple[list[PublicKey], Digest]:
        """Validators and their hash. The last two registries are remembered: they change seldom, and hold every key."""
        for known, keys, digest in self._sets:
            if known is registry:
                return keys, digest
        keys = [key for _, key in registry.validators()]
        digest = nativecommit.validators_hash(keys)
        self._sets = [*self._sets[-1:], (registry, keys, digest)]
        return keys, digest


def chains_at(genesis: Genesis, engine: Engine | None, height: int) -> list[str]:
    """The chain ids under which the state of block `height` is signed, the later one first; none for the sequencer."""
    moves = 0 if engine is None else engine.moves
    if engine is None or height > engine.seam:
        numbers = [moves]
    else:
        numbers = [moves, moves - 1] if height == engine.seam else [moves - 1]
    return [chain_id(genesis.origin, number) for number in numbers if number or genesis.engine == COMETBFT]


def _no_such_size(size: int) -> Finding:
    return Finding("native-size", CERTIFICATES, field="size", got=str(size), place=f"native commit of size {size}")
