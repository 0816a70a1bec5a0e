"""A small ledger under the real rulebook, in a data directory: what an auditor meets in a department."""

from __future__ import annotations

import time
from pathlib import Path

from ledger.adapters.datadir import create_ledger, load_rules, read_bundle_folder
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.genesis import Genesis, new_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import COSIGN, EVENT, LOG, Ed25519Signer
from ledger.core.note import encode_note, sign_note
from ledger.core.submission import Submission
from scripts.bench.workload import KEYS, MEMBERS, Workload

CONTRACT = Path(__file__).parents[2] / "contracts" / "data-sharing"
CALENDARS = "calendars/"


def signer(member: str, label: str) -> Ed25519Signer:
    """A key of a member."""
    return Ed25519Signer(sha256(f"{member} {label}".encode()))


def bundles() -> tuple[Digest, Digest, dict[Digest, bytes]]:
    """Hashes of rulebook and calendar, and both bundles."""
    files = read_bundle_folder(CONTRACT)
    calendar = {name[len(CALENDARS) :]: data for name, data in files.items() if name.startswith(CALENDARS)}
    rulebook = {name: data for name, data in files.items() if not name.startswith((CALENDARS, "cases/"))}
    book, days = bundle_hash(rulebook), bundle_hash(calendar)
    return book, days, {book: encode_bundle(rulebook), days: encode_bundle(calendar)}


def make_genesis(rulebook: Digest, calendar: Digest, start_ms: int) -> Genesis:
    """Four departments with a cosign key each; the first orders events."""
    sign: dict[str, Ed25519Signer] = {}
    members = []
    for member in sorted(MEMBERS):
        keys = [(signer(member, label), EVENT, sorted(roles)) for label, roles in KEYS.items()]
        keys.append((signer(member, COSIGN), COSIGN, []))
        if member == MEMBERS[0]:
            keys.append((signer(member, LOG), LOG, []))
        sign.update({each.public.raw.hex(): each for each, _, _ in keys})
        members.append(
            {
                "attributes": {},
                "id": member,
                "keys": [
                    {"algorithm": 1, "public": each.public.raw.hex(), "use": use, "roles": roles}
                    for each, use, roles in keys
                ],
                "roles": ["authority", "department"] if member == "sj" else ["department"],
                "title": {"en": member, "zh": member},
            }
        )
    return new_genesis(
        name="real.example", time=start_ms, members=members, rulebook=rulebook, calendar=calendar, sign=sign
    )


class RealLedger:
    """A data directory at `folder`, made block by block; `close` before another process reads it."""

    def __init__(self, folder: Path) -> None:
        rulebook, calendar, stored = bundles()
        self.folder = folder
        self.genesis = make_genesis(rulebook, calendar, time.time_ns() // 1_000_000 - 60_000)
        folder.mkdir(parents=True)
        create_ledger(folder, self.genesis, stored)
        self.store = SqliteStore.open(folder / "ledger.sqlite")
        self.app = Application(self.store, load_rules("inline"))
        labels = {(member, label): signer(member, label) for member in MEMBERS for label in KEYS}
        self.workload = Workload(self.genesis.origin, labels)

    def block(self, submissions: list[Submission]) -> None:
        """Decide, seal and store a block."""
        block, left_out = self.app.prepare(submissions, time.time_ns() // 1_000_000)
        if left_out:
            raise left_out[0][1]
        sealed = self.app.finalize(block)
        self.app.commit(self._note(sealed.size, sealed.root, []))

    def certify(self) -> None:
        """Certify the head by everybody, now."""
        head = self.app.head
        self.store.write_certificates([(head.size, self._note(head.size, head.log.root(), sorted(MEMBERS)))])

    def close(self) -> None:
        """Release the database."""
        self.app.close()

    def _note(self, size: int, root: Digest, members: list[str]) -> bytes:
        text = encode_checkpoint(Checkpoint(self.genesis.origin, size, root))
        lines = [sign_note(text, self.genesis.origin, signer(MEMBERS[0], LOG))]
        lines.extend(sign_cosignature(text, member, signer(member, COSIGN), int(time.time())) for member in members)
        return encode_note(text, lines)


def real_ledger(folder: Path, *, grants: int = 3, uses: int = 4) -> RealLedger:
    """A catalogue, some grants, a few uses; certified at the head and once before."""
    ledger = RealLedger(folder)
    waves = ledger.workload.setup(grants)
    for wave in waves:
        ledger.block(wave)
    ledger.certify()
    for member in sorted({grant.user for grant in ledger.workload.grants}):
        ledger.block([ledger.workload.submission(member, "office", ledger.workload.mix(member, uses))])
    ledger.certify()
    ledger.close()
    return ledger
