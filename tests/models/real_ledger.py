"""A small ledger under the real rulebook, in a data directory: what an auditor meets in a department."""

from __future__ import annotations

import time
from pathlib import Path

from ledger.adapters.home.datadir import create_ledger, load_rules, read_bundle_folder
from ledger.adapters.home.handover import write_pinned
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.core.bundle import bundle_hash, encode_bundle
from ledger.core.checkpoint import Checkpoint, app_hash, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.genesis import COMETBFT, Genesis, new_genesis
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P, Ed25519Signer
from ledger.core.nativecommit import chain_id_of
from ledger.core.note import encode_note, sign_note
from ledger.core.submission import Submission
from scripts.bench.workload import KEYS, MEMBERS, Workload
from tests.models.native_commits import consensus_signer, make_commit

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


def make_genesis(rulebook: Digest, calendar: Digest, start_ms: int, engine: str = "sequencer") -> Genesis:
    """Four departments with a cosign key each; the first orders events, or with CometBFT all validate."""
    sign: dict[str, Ed25519Signer] = {}
    members = []
    for member in sorted(MEMBERS):
        keys = [(signer(member, label), EVENT, sorted(roles)) for label, roles in KEYS.items()]
        keys.append((signer(member, COSIGN), COSIGN, []))
        if member == MEMBERS[0] or engine == COMETBFT:
            keys.append((signer(member, LOG), LOG, []))
        if engine == COMETBFT:
            keys += [(consensus_signer(member), CONSENSUS, []), (signer(member, P2P), P2P, [])]
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
        name="real.example",
        time=start_ms,
        members=members,
        rulebook=rulebook,
        calendar=calendar,
        sign=sign,
        engine=engine,
    )


class RealLedger:
    """A data directory at `folder`, made block by block; `close` before another process reads it."""

    def __init__(self, folder: Path, engine: str = "sequencer") -> None:
        rulebook, calendar, stored = bundles()
        self.folder = folder
        self.genesis = make_genesis(rulebook, calendar, time.time_ns() // 1_000_000 - 60_000, engine)
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

    def vouch(self) -> None:
        """Store a native commit over the head, as a node under CometBFT does."""
        head = self.app.head
        state, signers = app_hash(head.size, head.log.root()), [consensus_signer(member) for member in sorted(MEMBERS)]
        native = make_commit(chain_id_of(self.genesis.hash), state, signers, height=head.height + 2)
        self.store.write_native(head.size, native.encode())

    def close(self) -> None:
        """Release the database."""
        self.app.close()

    def _note(self, size: int, root: Digest, members: list[str]) -> bytes:
        text = encode_checkpoint(Checkpoint(self.genesis.origin, size, root))
        lines = [sign_note(text, self.genesis.origin, signer(MEMBERS[0], LOG))]
        lines.extend(sign_cosignature(text, member, signer(member, COSIGN), int(time.time())) for member in members)
        return encode_note(text, lines)


def real_ledger(folder: Path, *, grants: int = 3, uses: int = 4, engine: str = "sequencer") -> RealLedger:
    """A catalogue, some grants, a few uses; certified at the head and once before.

    With CometBFT there is a native commit over every block but the one certified first.
    """
    ledger = RealLedger(folder, engine)
    waves = ledger.workload.setup(grants)
    for wave in waves:
        if engine == COMETBFT:
            ledger.vouch()
        ledger.block(wave)
    ledger.certify()
    for member in sorted({grant.user for grant in ledger.workload.grants}):
        ledger.block([ledger.workload.submission(member, "office", ledger.workload.mix(member, uses))])
        if engine == COMETBFT:
            ledger.vouch()
    ledger.certify()
    ledger.close()
    return ledger


def begin_ledger(folder: Path, genesis: Genesis) -> Path:
    """The data directory of a node of the same network that has block 0 and nothing else."""
    stored = bundles()[2]
    write_pinned(folder, genesis, stored)
    create_ledger(folder, genesis, stored)
    return folder
