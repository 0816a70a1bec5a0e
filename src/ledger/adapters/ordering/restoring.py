"""Makes a node's ledger from a snapshot of the state and the blocks of its peers, and believes neither (R-N74 to R-N77).

Rules: a snapshot is taken only where a certificate, led to from the genesis through the ends of all epochs, covers the log
that it names. The log comes as blocks, leaves and all, and must have that root; the rows must have the state root that the
log's last header names; and before the new database takes the place of the old one the auditor goes through all of it, with
everything but the rules. What this node did not decide itself it says (`restored_height`). Where the ledger moved, the chain
that CometBFT joined must be the one that the certified state names, begun at the seam in the certified log.
A restore that was interrupted keeps the blocks it has. Not here: where chunks come from (see `ledger_node.comet.statesync`).
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.adapters.audit.replayrules import NONE, rules_loader
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import DataDirectorySource
from ledger.adapters.home import comethome, datadir
from ledger.adapters.home.handover import read_pinned
from ledger.adapters.ordering.configs import Configs
from ledger.adapters.ordering.follower import read_page
from ledger.adapters.ordering.moving import check_chain
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.snapshots import ChunkFiles
from ledger.adapters.sqlite.lock import DataDirLock
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.restore import RestoringStore
from ledger.adapters.sqlite.store import SqliteStore
from ledger.adapters.sqlite.stored import read_block
from ledger.blockcodec import BlockData
from ledger.core import merkle
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.engine import ENGINE_KEY
from ledger.core.genesis import Genesis, parse_genesis
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.header import parse_header
from ledger.core.keys import CONSENSUS, LOG, PublicKey
from ledger.core.mapkeys import NS_KEY, parse_object_value
from ledger.core.note import NoteVerifier, open_note, parse_note
from ledger.core.proofepochs import EpochEnd, adopt, parse_ends
from ledger.core.proofjson import path as parse_path
from ledger.core.prooftrust import trust_genesis, verify_certification
from ledger.core.registry import Registry, parse_key_entry
from ledger.errors import FatalError, LedgerError, MalformedError, NotFoundError, UnavailableError, VerificationError
from ledger.limits import NOTE_BYTES_MAX, PROOF_BYTES_MAX
from ledger.machine.enginemove import engine_in_force
from ledger.snapshotformat import Manifest, Row
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.trust import Trust

FOLDER: Final = "restore"  # below the data directory: the database that is being made, and chunks
CHUNKS: Final = "chunks"
PAGE: Final = 200
"""Blocks asked for at a time."""


@dataclass(frozen=True, slots=True)
class Covered:
    """A certificate over a log that begins with a snapshot's, and the ends of the epochs that lead to its cosigners."""

    checkpoint: Checkpoint
    note: bytes
    ends: tuple[EpochEnd, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the database of a data directory stands: CometBFT's height (0: it has not begun), and the ledger's head."""

    engine_height: int
    size: int
    root: Digest
    registry: Registry


def standing(data_dir: Path) -> Standing:
    """Where the ledger in `data_dir` stands; its head is checked. Raises what opening a store raises."""
    store = SqliteStore.open(data_dir / datadir.DATABASE)
    try:
        head = store.load_head()
        if head is None:
            raise NotFoundError("store", "the store is empty", path=str(data_dir))
        return Standing(store.engine_height(), head.size, head.log.root(), head.registry)
    finally:
        store.close()


def check_begun(data_dir: Path) -> None:
    """CometBFT's genesis.json is that of the chain in force, where the restored ledger moved to it (SPEC R-N61, R-N63).

    Raises `FatalError` (`chain-id`, `chain-origin`; `chain-validators` for another time or validators than the seam's).
    """
    store = SqliteStore.open(data_dir / datadir.DATABASE)
    reader = SqliteReader(data_dir / datadir.DATABASE)
    try:
        genesis, head = parse_genesis(store.genesis()), store.load_head()
        in_force = engine_in_force(genesis, store.read_objects([ENGINE_KEY]).get(ENGINE_KEY))
        if head is None or not in_force.moves:
            return
        home = data_dir / comethome.HOME
        check_chain(home, in_force, genesis.origin)
        begun = comethome.parse_chain((home / comethome.COMET_GENESIS).read_bytes())
        with reader.snapshot() as snap:
            seam = parse_header(read_block(snap, in_force.seam).leaves[-1])
        # Which of the keys of that time ended since, and how, the state does not keep to the last: each was one.
        entries = [head.registry.keys.get(key.key_id) for _, key in begun.validators]
        known = all(
            entry is not None
            and entry.use == CONSENSUS
            and entry.from_height <= seam.height + 1
            and (entry.until_height is None or entry.until_height >= seam.height)
            for entry in entries
        )
        if begun.time_ms != seam.time or not entries or not known:
            raise FatalError(
                "chain-validators", "genesis.json is not that of the seam", got=len(entries), height=seam.height
            )
    finally:
        reader.close()
        store.close()


class Restoring:
    """The restore of one data directory. `tell` hears how far it is: (what, done, all)."""

    def __init__(
        self,
        data_dir: Path,
        peers: Sequence[Peer],
        tell: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
        *,
        derived: Sequence[str] = (),
    ) -> None:
        """`derived` are names of databases that are made from the ledger: they go with the old one."""
        self._data_dir, self._peers, self._tell, self._derived = data_dir, peers, tell, tuple(derived)
        self._folder = data_dir / FOLDER
        self.genesis: Genesis
        self.genesis, self._bundles = read_pinned(data_dir)

    # --- trust -------------------------------------------------------------------------------------------------------

    def cover(self, manifest: Manifest) -> Covered:
        """A certificate that covers the log that `manifest` names.

        Raises `VerificationError` (code `snapshot-root`) where the certified log is another one, and `UnavailableError`
        (`snapshot-uncertified`) where no peer shows a certificate from which that can be told.
        """
        reasons: list[str] = []
        for peer in self._peers:
            try:
                return self._cover_with(peer, manifest)
            except VerificationError as error:
                if error.code == "snapshot-root":
                    raise
                reasons.append(f"{peer.url}: {error}")
            except LedgerError as error:
                reasons.append(f"{peer.url}: {error}")
        raise UnavailableError(
            "snapshot-uncertified", "no certificate covers the snapshot", size=manifest.size, reason="; ".join(reasons)
        )

    def _cover_with(self, peer: Peer, manifest: Manifest) -> Covered:
        note = _get(peer, "/checkpoint", NOTE_BYTES_MAX)
        ends = parse_ends(_fields(_get(peer, "/v1/proofs/epochs", PROOF_BYTES_MAX)).get("epochs"))
        trust = adopt(ends, trust_genesis(self.genesis, int(time.time()), max_age_s=None))
        shown = verify_certification(note, None, trust)[0].checkpoint
        if shown.size < manifest.size:
            raise UnavailableError("snapshot-uncertified", "certified is less", size=manifest.size, got=shown.size)
        root = manifest.root
        if shown.size > manifest.size:
            query = f"/v1/proofs/consistency?old={manifest.size}&new={shown.size}"
            proof = _fields(_get(peer, query, PROOF_BYTES_MAX))
            path = parse_path(proof.get("path"), "path")
            if proof.get("old_root") != root.hex():
                # The peer's word for the certified log: its proof must hold for its own root, not for the snapshot's.
                own = parse_hex_digest(proof.get("old_root"))
                merkle.verify_consistency(manifest.size, own, shown.size, shown.root, path)
                raise _other(manifest, own)
            merkle.verify_consistency(manifest.size, root, shown.size, shown.root, path)
        elif shown.root != root:
            raise _other(manifest, shown.root)
        return Covered(shown, note, ends)

    # --- restoring ---------------------------------------------------------------------------------------------------

    def chunks(self, manifest: Manifest) -> ChunkFiles:
        """Where the chunks of a snapshot are collected; those of another one go."""
        return ChunkFiles(self._folder / CHUNKS, manifest)

    def restore(self, chunks: ChunkFiles, engine_height: int, covered: Covered) -> None:
        """Make the ledger of the snapshot and put it in place of the one in the data directory.

        Raises `MalformedError` (`snapshot`) and `VerificationError` (`snapshot-state`, `snapshot-audit`) for a snapshot
        that is not this ledger's state, with the old database in place; `UnavailableError` where no peer gives the log.
        """
        log_keys = _log_keys(chunks.rows())
        path = self._folder / datadir.DATABASE
        self._fetch_log(path, chunks.manifest, log_keys)
        store = RestoringStore.at(path)
        try:
            self._tell("state", 0, len(chunks.manifest.chunks))
            store.end(chunks.rows(), _certificates(covered, chunks.manifest), engine_height)
        finally:
            store.close()
        self._audit(chunks.manifest)
        configs = Configs(self._data_dir)
        for end in covered.ends:
            configs.keep(end.config)
        self._exchange(path)

    def _fetch_log(self, path: Path, manifest: Manifest, log_keys: Sequence[PublicKey]) -> None:
        """Fill the database with the blocks up to the snapshot's; the log has its root afterwards."""
        reasons: list[str] = []
        for peer in self._peers:
            store = self._log(path, manifest)
            try:
                while store.height < manifest.height:
                    page = read_page(peer.blocks(store.height + 1, 0, PAGE))[: manifest.height - store.height]
                    if not page:
                        raise UnavailableError("peer", "no more blocks", peer=peer.url, height=store.height)
                    store.add([(block, _kept_note(block, self.genesis.origin, log_keys)) for block in page])
                    self._tell("log", store.height, manifest.height)
                if store.checkpoint() == (manifest.size, manifest.root):
                    return
                reasons.append(f"{peer.url}: another log")
            except (UnavailableError, NotFoundError) as error:
                reasons.append(f"{peer.url}: {error}")
                continue  # what it gave is kept: if it was wrong, the root will tell
            except LedgerError as error:
                reasons.append(f"{peer.url}: {error}")
            finally:
                store.close()
            _remove(path)
        raise UnavailableError(
            "snapshot-log", "no peer gives the log", height=manifest.height, reason="; ".join(reasons)
        )

    def _log(self, path: Path, manifest: Manifest) -> RestoringStore:
        """The database to fill, with block 0 in it; one that is ahead of the snapshot, or cannot be read, begins anew."""
        try:
            store = RestoringStore.at(path)
        except FatalError:
            _remove(path)
            store = RestoringStore.at(path)
        if store.height > manifest.height:
            store.close()
            _remove(path)
            store = RestoringStore.at(path)
        if store.height < 0:
            reader = SqliteReader(self._data_dir / datadir.DATABASE)
            try:
                with reader.snapshot() as snap:
                    store.begin(self.genesis.data, self._bundles, read_block(snap, 0))
            finally:
                reader.close()
        return store

    def _audit(self, manifest: Manifest) -> None:
        """Everything that `ledger verify --runtime none` checks. Raises `VerificationError` (code `snapshot-audit`)."""
        self._tell("audit", 0, manifest.size)
        source = DataDirectorySource(self._folder)
        options = Options(Trust(origin=self.genesis.origin, max_age_s=None), time.time_ns() // 1_000_000, replay=False)
        try:
            with ScratchState() as scratch:
                report = verify_ledger(
                    source,
                    options,
                    scratch,
                    rules_loader(NONE),
                    progress=lambda _h, n: self._tell("audit", n, manifest.size),
                )
        finally:
            source.close()
        if report.findings.total or (report.size, report.root) != (manifest.size, manifest.root.hex()):
            found = [each.document() for each in report.findings.kept][:3]
            raise VerificationError(
                "snapshot-audit", "the audit finds faults", findings=report.findings.total, first=found
            )

    def _exchange(self, made: Path) -> None:
        """Put the new database in place; one rename, so that a crash leaves one or the other."""
        SqliteStore.open(made).close()  # readers left its log
        for name in ("-wal", "-shm"):
            if made.with_name(made.name + name).exists():
                raise UnavailableError("store-open", "the new database is still open", path=str(made))
        lock = DataDirLock(self._data_dir)
        try:
            for path in [path for name in self._derived for path in self._data_dir.glob(f"{name}*")]:
                path.unlink()
            for name in ("-wal", "-shm"):
                (self._data_dir / f"{datadir.DATABASE}{name}").unlink(missing_ok=True)
            os.replace(made, self._data_dir / datadir.DATABASE)  # noqa: PTH105 - over the old one
            _sync(self._data_dir)
        finally:
            lock.close()

    def clear(self) -> None:
        """Remove what a restore needed."""
        shutil.rmtree(self._folder, ignore_errors=True)


def _log_keys(rows: Iterable[Row]) -> list[PublicKey]:
    """Every key that was ever registered for ordering, as the snapshot says; what it says is checked later."""
    keys: list[PublicKey] = []
    for key, value in rows:
        if key[0] == NS_KEY and value:
            with suppress(LedgerError):
                entry = parse_key_entry(parse_object_value(value)[1])
                if entry.use == LOG:
                    keys.append(entry.public)
    return keys


def _kept_note(block: BlockData, origin: str, log_keys: Sequence[PublicKey]) -> bytes:
    """The note of a block as a peer gave it, where a log key of this network signed it for this block; else none.

    A node keeps no note for blocks before its own key either (SPEC R-N21), so that leaving one out is no fault.
    """
    with suppress(LedgerError):
        unverified = parse_note(block.note)
        checkpoint = parse_checkpoint_text(unverified.text)
        opened = open_note(unverified, [NoteVerifier(origin, key) for key in log_keys])
        if (
            opened.verified
            and not opened.unknown
            and checkpoint.origin == origin
            and block.leaves
            and checkpoint.size == parse_header(block.leaves[-1]).index + 1
        ):
            return block.note
    return b""


def _certificates(covered: Covered, manifest: Manifest) -> list[tuple[int, bytes]]:
    """Certificates over sizes of the restored log: those of the epochs' ends, and the covering one where it ends there."""
    found: list[tuple[int, bytes]] = []
    for note in (*(end.certificate for end in covered.ends), covered.note):
        size = parse_checkpoint_text(parse_note(note).text).size
        if size <= manifest.size:
            found.append((size, note))
    return found


def _get(peer: Peer, path: str, bytes_max: int) -> bytes:
    answer = peer.request("GET", path, bytes_max=bytes_max)
    if answer.status != 200:
        raise UnavailableError("peer", "the node refused", peer=peer.url, path=path, status=answer.status)
    return answer.body


def _fields(data: bytes) -> dict[str, object]:
    """The fields of an answer."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise MalformedError("node-answer", "not a JSON object")
    return found


def _other(manifest: Manifest, certified: bytes) -> VerificationError:
    return VerificationError(
        "snapshot-root", "the certified log is another one", size=manifest.size, expected=certified, got=manifest.root
    )


def _remove(path: Path) -> None:
    for found in path.parent.glob(f"{path.name}*"):
        found.unlink()


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


__all__ = ["Covered", "Restoring", "Standing", "standing"]
