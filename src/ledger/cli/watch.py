"""`ledger watch`: follow a node's checkpoints and demand that each extends the one before, today's and last year's alike.

Rules: a checkpoint counts when more than two thirds of its cosigners signed it: those of the pinned genesis, or a later
set to which the certificates of the leaving ones lead; the last one is remembered between calls. Two histories end the
command with exit 6 and an evidence file; a node that is behind what is remembered, or whose newest certificate is too old,
is exit 7 under --once and a warning otherwise.
Not here: re-executing blocks (a follower does, and `ledger verify`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ledger.cli.command import command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.settings import state_folder
from ledger.cli.verdicts import format_time
from ledger.errors import (
    ForkError,
    LedgerError,
    MalformedError,
    NotFoundError,
    UnavailableError,
    VerificationError,
)

if TYPE_CHECKING:
    from ledger.adapters.remembered import Remembered
    from ledger.client.http import NodeClient
    from ledger.client.receipt import Pinned
    from ledger.core.checkpoint import Checkpoint
    from ledger.core.hashing import Digest
    from ledger.core.proof import EpochEnd, Fork
    from ledger.core.quorum import CertifiedCheckpoint

WAIT_S: Final = 20
RETRY_S: Final = 2.0
KEPT_MAX: Final = 1_000  # checkpoints in the JSON document; older ones are counted


@dataclass(slots=True)
class Seen:
    """What this call has seen."""

    checkpoints: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    problem: str = ""

    def add(self, entry: dict[str, Any]) -> None:
        """One more verified checkpoint."""
        self.count += 1
        self.checkpoints = [*self.checkpoints[-KEPT_MAX + 1 :], entry]


@command("watch")
@option("--trust", metavar="FILE", type=click.Path())
@option("--genesis", metavar="FILE", type=click.Path())
@option("--once", is_flag=True)
@option("--count", type=click.IntRange(1), metavar="N")
@option("--evidence", metavar="DIR", type=click.Path(), default=".")
@node_options
def watch(
    console: Console,
    trust: str | None,
    genesis: str | None,
    once: bool,
    count: int | None,
    evidence: str,
    **connection: str | None,
) -> None:
    """Follow a ledger."""
    from ledger.adapters.remembered import Remembered
    from ledger.cli.trusting import keep_genesis, pinned_or_first

    settings = open_settings(console, {"trust": trust, **connection})
    client = open_client(console, settings)
    fetched = client.get_bytes(("v1", "genesis"))
    pinned, first_sight = pinned_or_first(settings, genesis, fetched)
    origin = pinned.genesis.origin
    memory = Remembered(state_folder(console.environment) / "verified")
    if first_sight and memory.read(origin) is None:
        console.warn(console.text("watch.first-sight", origin=origin))
    watcher = Watcher(client, pinned, memory, Path(evidence))
    keep_genesis(console.environment, origin, pinned.genesis.data)
    console.hint(console.text("watch.following", node=client.url, origin=origin))
    seen, code = Seen(), Exit.OK
    limit = 1 if once else count
    try:
        while limit is None or seen.count < limit:
            entry = _next(console, watcher, patient=not once)
            seen.add(entry)
            console.line(_line(console, entry))
            if entry["stale"]:
                console.warn(console.text("watch.stale", age=entry["age_s"]))
                code = Exit.INCOMPLETE
            elif not once:
                code = Exit.OK
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BehindError as error:
        seen.problem, code = error.code, Exit.INCOMPLETE
        console.warn(console.text("watch.behind", **error.evidence))
    verdict = {Exit.OK: "consistent", Exit.INTERRUPTED: "interrupted"}.get(code, "incomplete")
    document = {"verdict": verdict, "origin": origin, "node": client.url, "seen": seen.count}
    console.result({**document, "checkpoints": seen.checkpoints, "problem": seen.problem}, "", code)


class BehindError(LedgerError):
    """The node shows a smaller checkpoint than is remembered."""


class Watcher:
    """Follows one node; `step` gives the next certified checkpoint that extends what is known."""

    def __init__(self, client: NodeClient, pinned: Pinned, memory: Remembered, evidence: Path) -> None:
        self._client, self._memory, self._evidence = client, memory, evidence
        self._genesis_trust = self._trust = pinned.trust(int(time.time()))
        self._ends: tuple[EpochEnd, ...] = ()
        self._max_age_s = pinned.max_age_s
        self._known = self._start(pinned)
        self._after: str | None = None
        self._size = -1
        self._gathering = False
        self._follow_epochs_at_start()

    def step(self, wait_s: int) -> dict[str, Any] | None:
        """A newly certified checkpoint, None when there was none within `wait_s`.

        Raises `ForkError` and `VerificationError` with the evidence written, `BehindError`, `UnavailableError`.
        """
        from ledger.core.hashing import sha256

        query = {"wait": wait_s, "after": self._after}
        try:
            note = self._client.get_bytes(("v1", "checkpoint"), query, wait_s=wait_s)
        except NotFoundError:
            return None  # the node has not written a block yet
        self._after = sha256(note).hex()
        self._gathering = False
        found = self._take(note)
        return self._take_certified() if self._gathering else found

    def _follow_epochs_at_start(self) -> None:
        try:
            self._follow_epochs()
        except UnavailableError:
            return  # a step will say so, or try again

    def _take_certified(self) -> dict[str, Any] | None:
        """The node's newest certified checkpoint, while the one it proposes still gathers lines."""
        try:
            self._follow_epochs()
            return self._take(self._client.get_bytes(("checkpoint",)))
        except UnavailableError as error:
            if error.code != "uncertified":
                raise
            return None

    def _follow_epochs(self) -> None:
        """Be led to the newest set, by the certificates of those that left (SPEC R-V12); what does not hold is kept."""
        import json

        from ledger.core.proofepochs import adopt, parse_ends
        from ledger.core.prooftrust import verify_certification

        try:
            data = self._client.get_bytes(("v1", "proofs", "epochs"))
        except NotFoundError:
            return  # a node of an older version knows of no change
        try:
            answer = json.loads(data)
            ends = parse_ends(answer["epochs"])
            if len(ends) <= len(self._trust.adopted):
                return
            trust = adopt(ends, self._genesis_trust)
            note = str(answer["checkpoint"]["note"]).encode("utf-8")
            verify_certification(note, None, replace(trust, anchor=None))
        except (VerificationError, MalformedError) as error:
            raise self._keep("epochs", error, proof=data) from error
        except (KeyError, TypeError, ValueError, RecursionError):
            raise MalformedError("node-answer", "not the ends of epochs") from None
        self._trust, self._ends = trust, ends

    def _take(self, note: bytes) -> dict[str, Any] | None:
        """What a note adds: a newly certified checkpoint that extends what is known, or None."""
        from ledger.core.quorum import certify, verify_note

        try:
            cosigners = self._trust.cosigners_at(self._size_of(note))
            verified = verify_note(note, self._trust.origin, self._trust.log_keys, cosigners)
        except (VerificationError, MalformedError) as error:
            raise self._keep("note", error, second=note) from error
        try:
            certified = certify(verified, cosigners)
        except VerificationError:
            self._gathering = True
            return None  # not yet; the same note with more lines will come
        checkpoint = certified.checkpoint
        self._check(checkpoint, note)
        newly = checkpoint.size > self._size
        self._size = max(self._size, checkpoint.size)
        return self._entry(certified) if newly else None

    def _check(self, checkpoint: Checkpoint, note: bytes) -> None:
        from ledger.core.checkpoint import parse_checkpoint_text
        from ledger.core.note import parse_note

        if self._known is not None:
            known = parse_checkpoint_text(parse_note(self._known).text)
            if checkpoint.size < known.size:
                raise BehindError(
                    "behind", "the node is behind what is remembered", size=checkpoint.size, known=known.size
                )
            if checkpoint.size == known.size and checkpoint.root != known.root:
                raise self._fork(note)
            if checkpoint.size > known.size > 0:
                self._check_extends(known, checkpoint, note)
        if self._known is None or checkpoint.size > parse_checkpoint_text(parse_note(self._known).text).size:
            self._memory.write(self._trust.origin, note)
            self._known = note

    def _check_extends(self, known: Checkpoint, shown: Checkpoint, note: bytes) -> None:
        from ledger.core.merkle import verify_consistency

        data = self._client.get_bytes(("v1", "proofs", "consistency"), {"old": known.size, "new": shown.size})
        try:
            path = consistency_path(data)
            verify_consistency(known.size, known.root, shown.size, shown.root, path)
        except (VerificationError, MalformedError) as error:
            fork = self._fork_of_sizes(known, shown, note)
            if fork is not None:
                path_kept = self._write(f"fork-{known.size}-{shown.size}", fork.encode())
                raise ForkError(
                    "fork-seen", "two histories were signed", size=shown.size, known=known.size, evidence=str(path_kept)
                ) from error
            raise self._keep("inconsistent", error, first=self._known, second=note, proof=data) from error

    def _fork_of_sizes(self, known: Checkpoint, shown: Checkpoint, note: bytes) -> Fork | None:
        """The proof that what is shown does not begin with what is known, from the node's own hash tiles.

        None where the node gives no tiles under its own root: then both notes are kept as they are.
        """
        from ledger.client.tiles import read_nodes
        from ledger.core.merkle import range_nodes
        from ledger.core.proof import Fork

        inside, rest = range_nodes(0, known.size), range_nodes(known.size, shown.size)
        try:
            nodes = read_nodes(self._client.get_bytes, [*inside, *rest])
            subtrees, path = tuple(nodes[each] for each in inside), tuple(nodes[each] for each in rest)
            fork = Fork(self._known or b"", note, subtrees, path, self._ends)
            fork.verify(self._genesis_trust)
        except LedgerError:
            return None
        return fork

    def _fork(self, note: bytes) -> ForkError:
        """Two certified trees of one size: the evidence is a proof that `ledger proof verify` checks."""
        from ledger.core.proof import Fork

        first = self._known or b""
        path = self._write(f"fork-{self._size_of(note)}", Fork(first, note, epochs=self._ends).encode())
        return ForkError("fork-seen", "two histories were signed", size=self._size_of(note), evidence=str(path))

    def _keep(self, kind: str, error: LedgerError, **parts: bytes | None) -> VerificationError:
        """Evidence of an answer that does not hold, as it came."""
        import json

        document = {name: None if data is None else data.decode("utf-8", "replace") for name, data in parts.items()}
        document.update(kind=kind, origin=self._trust.origin, node=self._client.url, error=str(error))
        name = f"{kind}-{int(time.time())}"
        path = self._write(name, json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8"))
        code = "history-inconsistent" if kind == "inconsistent" else "checkpoint-invalid"
        return VerificationError(code, error.message, reason=error.code, evidence=str(path))

    def _write(self, name: str, data: bytes) -> Path:
        self._evidence.mkdir(parents=True, exist_ok=True)
        path = self._evidence / f"{name}.json"
        number = 1
        while path.exists():
            number += 1
            path = self._evidence / f"{name}-{number}.json"
        path.write_bytes(data)
        return path

    def _start(self, pinned: Pinned) -> bytes | None:
        """The larger of the anchor and what is remembered."""
        notes = [note for note in (pinned.anchor, self._memory.read(pinned.genesis.origin)) if note is not None]
        return max(notes, key=self._size_of) if notes else None

    @staticmethod
    def _size_of(note: bytes) -> int:
        from ledger.core.checkpoint import parse_checkpoint_text
        from ledger.core.note import parse_note

        return parse_checkpoint_text(parse_note(note).text).size

    def _entry(self, certified: CertifiedCheckpoint) -> dict[str, Any]:
        age_s = int(time.time()) - certified.fresh_at_s
        return {
            "size": certified.checkpoint.size,
            "root": certified.checkpoint.root.hex(),
            "cosigners": [name for name, _, _ in certified.lines],
            "of": len(self._trust.cosigners_at(certified.checkpoint.size)),
            "recorded_by_s": certified.recorded_by_s,
            "age_s": age_s,
            "stale": self._max_age_s is not None and age_s > self._max_age_s,
        }


def consistency_path(data: bytes) -> list[Digest]:
    """The path in a node's answer; sizes and roots are the caller's own, so only the path is taken from it."""
    import json

    from ledger.core.hashing import parse_hex_digest

    try:
        path = json.loads(data)["path"]
        return [parse_hex_digest(item) for item in path]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MalformedError("node-answer", "not a consistency path") from None


def _next(console: Console, watcher: Watcher, *, patient: bool) -> dict[str, Any]:
    """The next checkpoint; waits for as long as it takes when patient."""
    told = False
    until = time.monotonic() + WAIT_S
    while True:
        try:
            entry = watcher.step(WAIT_S if patient else 2)
        except UnavailableError as error:
            if not patient:
                raise
            if not told:
                console.warn(console.text("watch.unreachable", reason=str(error)))
                told = True
            time.sleep(RETRY_S)
            continue
        except BehindError as error:
            if not patient:
                raise
            if not told:
                console.warn(console.text("watch.behind", **error.evidence))
                told = True
            time.sleep(RETRY_S)
            continue
        if entry is not None:
            return entry
        if not patient and time.monotonic() > until:
            raise UnavailableError("uncertified", "no certified checkpoint within the time")


def _line(console: Console, entry: dict[str, Any]) -> str:
    return console.text(
        "watch.line",
        mark=console.mark(True),
        time=format_time(entry["recorded_by_s"] * 1000),
        size=entry["size"],
        root=entry["root"][:16],
        count=len(entry["cosigners"]),
        of=entry["of"],
    )
