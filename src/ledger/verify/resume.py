"""Decides how an interrupted audit goes on: what it takes over from the run before, and what it insists on seeing again.

Rules: a point to go on from exists only where nothing is wrong, nothing is missing and every block was replayed, so that
no finding is ever taken over. What is taken over is that the blocks up to the point were found right, and the state after
them. For that every byte before the point is read again and must be the same; the tree is recomputed from its leaves, the
events' index from its records; and the state put back must have the root that the last block's header names. Anything else
raises `ResumeError`, and the audit begins anew. Not here: files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from ledger.core import canonical
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.header import Header, parse_header
from ledger.core.keys import PublicKey, parse_public_key
from ledger.core.merkle import EMPTY_RANGE
from ledger.errors import LedgerError
from ledger.machine.block import Head
from ledger.verify.again import NO_CONTENT, SeenBlock, content_so_far
from ledger.verify.certificates import Certificates, Certified, Signers
from ledger.verify.check import CheckedPiece, under_cosigners
from ledger.verify.report import Counts, Report, Resumed
from ledger.verify.restoring import Restoring, refuse
from ledger.verify.scratch import Scratch
from ledger.verify.trust import KnownCheckpoints

POINT_BYTES_MAX: Final = 1 << 26
_COUNTS: Final = tuple(Counts.__slots__)


@dataclass(frozen=True, slots=True)
class Point:
    """Where an audit can go on: after the first `pieces` pieces of its source, whose digest is `content`.

    `height`, `size` and `root` are those of the last block in them; `certificates` is what `Certificates` holds,
    `natives` the digest of the native commits before, `native_sizes` and `certified_sizes` what holds of either,
    `sequenced` the largest size that no CometBFT ordered;
    `saved_ms` is the time (unix ms) at which the earlier run stood here.
    """

    pieces: int
    content: Digest
    height: int
    size: int
    root: Digest
    counts: Mapping[str, int]
    certificates: Mapping[str, Any]
    natives: Digest = NO_CONTENT
    native_sizes: Sequence[int] = ()
    certified_sizes: Sequence[int] = ()
    sequenced: int = 0
    saved_ms: int = 0

    def encode(self) -> bytes:
        """Canonical JSON."""
        document = {
            "certificates": dict(self.certificates),
            "certified_sizes": list(self.certified_sizes),
            "content": self.content.hex(),
            "counts": dict(self.counts),
            "height": self.height,
            "native_sizes": list(self.native_sizes),
            "natives": self.natives.hex(),
            "pieces": self.pieces,
            "root": self.root.hex(),
            "saved_ms": self.saved_ms,
            "sequenced": self.sequenced,
            "size": self.size,
        }
        return canonical.encode(document, bytes_max=POINT_BYTES_MAX)


def parse_point(data: bytes) -> Point:
    """The point in canonical JSON. Raises `ResumeError`."""
    try:
        fields = canonical.parse(data, bytes_max=POINT_BYTES_MAX)
        return Point(
            pieces=_count(fields["pieces"]),
            content=parse_hex_digest(fields["content"]),
            height=_count(fields["height"]),
            size=_count(fields["size"]),
            root=parse_hex_digest(fields["root"]),
            counts={name: _count(fields["counts"][name]) for name in _COUNTS},
            certificates=fields["certificates"],
            natives=parse_hex_digest(fields["natives"]),
            native_sizes=[_count(each) for each in fields["native_sizes"]],
            certified_sizes=[_count(each) for each in fields["certified_sizes"]],
            sequenced=_count(fields["sequenced"]),
            saved_ms=_count(fields["saved_ms"]),
        )
    except (LedgerError, KeyError, TypeError) as error:
        raise refuse("damaged", reason=str(error)) from None


class Keeper(Protocol):
    """Keeps the progress of one audit between runs. Its own failures never end an audit."""

    def waiting(self) -> bool:
        """Whether an earlier run left something, of whatever question."""
        ...

    def find(self, question: Mapping[str, str]) -> Point | None:
        """The point that an earlier run left which asked the same: origin, config of the genesis, runtime."""
        ...

    def restore(self, into: Restoring) -> None:
        """Put back the state of the point that was found. Raises `ResumeError`."""
        ...

    def due(self) -> bool:
        """Whether it is time to save."""
        ...

    def save(self, point: Point) -> None:
        """Keep `point` with the state as it stands in the scratch."""
        ...


def certificates_document(certificates: Certificates) -> dict[str, Any]:
    """What an audit knows of certificates, as plain values. None may be waiting."""
    return {
        "count": certificates.count,
        "ends": [[size, epoch] for size, epoch in certificates.ends().items()],
        "first": _certified_document(certificates.first),
        "last": _certified_document(certificates.last),
        "short": certificates.short,
        "signers": [
            [height, [_key_document(key) for key in signers.log_keys], _set_document(signers.cosigners)]
            for height, signers in certificates.signers_since()
        ],
    }


def _certified_document(certified: Certified | None) -> dict[str, Any] | None:
    if certified is None:
        return None
    return {
        "cosigners": _set_document(certified.cosigners),
        "height": certified.height,
        "note": certified.note.decode("utf-8"),
        "time": certified.time,
    }


def _key_document(key: PublicKey) -> list[Any]:
    return [key.algorithm, key.raw.hex()]


def _set_document(cosigners: Sequence[tuple[str, PublicKey]]) -> list[Any]:
    return [[name, *_key_document(key)] for name, key in cosigners]


# --- the blocks before the point -------------------------------------------------------------------------------------


class Seeing:
    """Takes the pieces before the point as they are read again, and ends with the head to go on from."""

    def __init__(
        self,
        point: Point,
        origin: str,
        restored: Restoring,
        scratch: Scratch,
        report: Report,
        certificates: Certificates,
        known: KnownCheckpoints,
    ) -> None:
        self._point, self._restored, self._scratch, self._report = point, restored, scratch, report
        self._certificates, self._known = certificates, known
        self._since = self._take_certificates(origin)
        self.content = NO_CONTENT
        self._log = EMPTY_RANGE
        self._last: SeenBlock | None = None
        self.bundles: dict[Digest, bytes] = {}

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._log.size

    def take(self, piece: CheckedPiece) -> None:
        """The next piece. Raises `ResumeError` where it cannot be the one that was checked."""
        if piece.digest is None:
            raise refuse("other-content", place=piece.place)
        self.content = content_so_far(self.content, piece.digest)
        for block in piece.seen:
            self._log = self._log.extend(block.leaf_hashes)
            self._scratch.add_events(block.events)
            for data in block.attachments:
                self.bundles[bundle_hash(parse_bundle(data))] = data
            self._confirm(block)
            self._last = block

    def end(self) -> tuple[Head, Header]:
        """The head after the point and its block's header. Raises `ResumeError` where anything differs."""
        point, last = self._point, self._last
        if self.content != point.content or last is None:
            raise refuse("other-content")
        if (last.height, self._log.size, self._log.root()) != (point.height, point.size, point.root):
            raise refuse("damaged", reason="another log")
        header = parse_header(last.header_leaf)
        config, registry = self._restored.end(header)
        report = self._report
        for name, count in point.counts.items():
            setattr(report.counts, name, count)
        report.resumed = Resumed(point.height, point.size, point.counts["events"], point.saved_ms)
        return Head(header.height, header.time, self._log, header.state_keys, config, registry), header

    def _take_certificates(self, origin: str) -> list[tuple[int, Signers]]:
        """Certified checkpoints that an audit shows are verified again in every run, under the set of their time."""
        try:
            fields = self._point.certificates
            since = [
                (_count(height), Signers(tuple(_key(*key) for key in log_keys), _set(cosigners)))
                for height, log_keys, cosigners in fields["signers"]
            ]
            log_keys = since[-1][1].log_keys if since else ()
            first, last = (_certified(fields[name], origin, log_keys) for name in ("first", "last"))
            self._certificates.go_on(
                count=_count(fields["count"]),
                short=_count(fields["short"]),
                first=first,
                last=last,
                ends={_count(size): _count(epoch) for size, epoch in fields["ends"]},
            )
        except (LedgerError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise refuse("damaged", reason=str(error)) from None
        return since

    def _confirm(self, block: SeenBlock) -> None:
        """Let certificates and known checkpoints meet this block's end."""
        size = self._log.size
        since = self._since
        kept = bool(since) and block.height >= since[0][0]
        if not kept and not self._known.due(size):
            return
        root = self._log.root()
        if kept:
            signers = next(each for height, each in reversed(since) if height <= block.height)
            self._certificates.confirmed(block.height, block.time, size, root, signers)
        for finding in self._known.confirmed(block.height, size, root):
            self._report.findings.add(finding)


def _certified(fields: Any, origin: str, log_keys: tuple[PublicKey, ...]) -> Certified | None:
    if fields is None:
        return None
    note, cosigners = fields["note"].encode("utf-8"), _set(fields["cosigners"])
    checked = under_cosigners(note, origin, log_keys, cosigners, "")
    if checked.certified is None:
        raise refuse("damaged", reason="a certificate is none")
    return Certified(_count(fields["height"]), _count(fields["time"]), note, checked.certified, cosigners)


def _set(items: Any) -> tuple[tuple[str, PublicKey], ...]:
    return tuple((str(name), _key(algorithm, raw)) for name, algorithm, raw in items)


def _key(algorithm: Any, raw: Any) -> PublicKey:
    return parse_public_key(algorithm, bytes.fromhex(raw))


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise refuse("damaged", reason="not a count")
    return value


__all__ = ["Keeper", "Point", "Seeing", "certificates_document", "parse_point"]
