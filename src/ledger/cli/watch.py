"""`ledger watch`: follow a node's checkpoints and demand that each extends the one before, today's and last year's alike.

Rules: a checkpoint counts when more than two thirds of its cosigners signed it: those of the pinned genesis, or a later
set to which the certificates of the leaving ones lead; the last one is remembered between calls. Nodes named by --also
are held against it each time, so that two histories are noticed whoever is shown which, certified or not. Two histories
end the command with exit 6 and an evidence file; a node that is behind what is remembered, or whose newest certificate is
too old, is exit 7 under --once and a warning otherwise. Validators on record for two votes are told, with the receipt.
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
from ledger.cli.problems import because
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.settings import state_folder
from ledger.cli.tables import on_screen
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
    from ledger.adapters.audit.remembered import Remembered
    from ledger.cli.accused import Accusations
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
    misbehaviour: list[dict[str, Any]] = field(default_factory=list)

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
@option("--also", multiple=True, metavar="URL")
@node_options
def watch(
    console: Console,
    trust: str | None,
    genesis: str | None,
    once: bool,
    count: int | None,
    evidence: str,
    also: tuple[str, ...],
    **connection: str | None,
) -> None:
    """Follow a ledger."""
    from ledger.adapters.audit.remembered import Remembered
    from ledger.cli.accused import Accusations
    from ledger.cli.trusting import keep_genesis, pinned_or_first
    from ledger.client.http import NodeClient

    settings = open_settings(console, {"trust": trust, **connection})
    client = open_client(console, settings)
    fetched = client.get_bytes(("v1", "genesis"))
    pinned, first_sight = pinned_or_first(settings, genesis, fetched)
    origin = pinned.genesis.origin
    memory = Remembered(state_folder(console.environment) / "verified")
    if first_sight and memory.read(origin) is None:
        console.warn(on_screen(console, console.text("watch.first-sight", origin=origin), console.err))
    watcher = Watcher(client, pinned, memory, Path(evidence))
    keep_genesis(console.environment, origin, pinned.genesis.data)
    console.hint(on_screen(console, console.text("watch.following", node=client.url, origin=origin), console.err))
    others = [NodeClient(url, timeout_s=settings.timeout_s(), language=console.language) for url in also]
    accusations = Accusations(pinned, Path(evidence))
    seen, code = Seen(), Exit.OK
    limit = 1 if once else count
    try:
        while limit is None or seen.count < limit:
            entry = _next(console, watcher, patient=not once)
            entry["also"] = [_compared(console, watcher, other) for other in others]
            seen.add(entry)
            seen.misbehaviour += _accused(console, watcher, accusations, (client, *others))
            console.line(on_screen(console, _line(console, entry)))
            if entry["stale"]:
                console.warn(on_screen(console, console.text("watch.stale", age=entry["age_s"]), console.err))
                code = Exit.INCOMPLETE
            elif not once:
                code = Exit.OK
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BehindError as error:
        seen.problem, code = error.code, Exit.INCOMPLETE
        console.warn(on_screen(console, console.text("watch.behind", **error.evidence), console.err))
    verdict = {Exit.OK: "consistent", Exit.INTERRUPTED: "interrupted"}.get(code, "incomplete")
    document = {"verdict": verdict, "origin": origin, "node": client.url, "seen": seen.count}
    document |= {"misbehaviour": seen.misbehaviour, "problem": seen.problem}
    console.result({**document, "checkpoints": seen.checkpoints}, "", code)


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

    def compare(self, client: NodeClient) -> int | None:
        """Hold what another node shows against what is known; the size that it shows certified, None where there is none.

        Raises `ForkError` and `VerificationError` with the evidence written, `UnavailableError`.
        """
        try:
            size = self._held_against(client, client.get_bytes(("v1", "checkpoint")))
            return self._held_against(client, client.get_bytes(("checkpoint",))) if size is None else size
        except NotFoundError:
            return None
        except UnavailableError as error:
            if error.code != "uncertified":
                raise
            return None

    def keep_answer(self, kind: str, client: NodeClient, error: LedgerError, proof: bytes) -> VerificationError:
        """Keep an answer of a node that does not hold; the error to raise."""
        return self._keep(kind, error, client, proof=proof)

    def _held_against(self, client: NodeClient, note: bytes) -> int | None:
        from ledger.core.checkpoint import parse_checkpoint_text
        from ledger.core.note import parse_note

        shown, certified = self._opened(note, client)
        if self._known is not None:
            known = parse_checkpoint_text(parse_note(self._known).text)
            if shown.size == known.size and shown.root != known.root:
                self._contradicted(note)
            elif certified is not None and 0 < known.size < shown.size:
                self._check_extends(self._known, note, client)
            elif certified is not None and 0 < shown.size < known.size:
                self._check_extends(note, self._known, self._client)
        return None if certified is None else shown.size

    def _contradicted(self, note: bytes) -> None:
        """A second tree of the known size is a fork as soon as one key has signed both; with no such key it is noise."""
        from ledger.core.proof import Fork

        try:
            Fork(self._known or b"", note, epochs=self._ends).verify(self._genesis_trust)
        except VerificationError:
            return
        raise self._fork(note)

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
            raise self._keep("epochs", error, self._client, proof=data) from error
        except (KeyError, TypeError, ValueError, RecursionError):
            raise MalformedError("node-answer", "not the ends of epochs") from None
        self._trust, self._ends = trust, ends

    def _take(self, note: bytes) -> dict[str, Any] | None:
        """What a note adds: a newly certified checkpoint that extends what is known, or None."""
        checkpoint, certified = self._opened(note, self._client)
        if certified is None:
            self._gathering = True  # the same note with more lines will come
            self._held_against(self._client, note)
            return None
        self._check(checkpoint, note)
        newly = checkpoint.size > self._size
        self._size = max(self._size, checkpoint.size)
        return self._entry(certified) if newly else None

    def _opened(self, note: bytes, client: NodeClient) -> tuple[Checkpoint, CertifiedCheckpoint | None]:
        """The checkpoint of a note whose lines hold, and what it certifies, if it does."""
        from ledger.core.quorum import certify, verify_note

        try:
            cosigners = self._trust.cosigners_at(self._size_of(note))
            verified = verify_note(note, self._trust.origin, self._trust.log_keys, cosigners)
        except (VerificationError, MalformedError) as error:
            raise self._keep("note", error, client, second=note) from error
        try:
            return verified.checkpoint, certify(verified, cosigners)
        except VerificationError:
            return verified.checkpoint, None

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
                self._check_extends(self._known, note, self._client)
        if self._known is None or checkpoint.size > parse_checkpoint_text(parse_note(self._known).text).size:
            self._memory.write(self._trust.origin, note)
            self._known = note

    def _check_extends(self, first: bytes, second: bytes, client: NodeClient) -> None:
        """The tree of `second`, which `client` shows, begins with that of `first`."""
        from ledger.core.checkpoint import parse_checkpoint_text
        from ledger.core.merkle import verify_consistency
        from ledger.core.note import parse_note

        known, shown = (parse_checkpoint_text(parse_note(each).text) for each in (first, second))
        data = client.get_bytes(("v1", "proofs", "consistency"), {"old": known.size, "new": shown.size})
        try:
            path = consistency_path(data)
            verify_consistency(known.size, known.root, shown.size, shown.root, path)
        except (VerificationError, MalformedError) as error:
            fork = self._fork_of_sizes(first, second, client)
            if fork is not None:
                path_kept = self._write(f"fork-{known.size}-{shown.size}", fork.encode())
                raise ForkError(
                    "fork-seen", "two histories were signed", size=shown.size, known=known.size, evidence=str(path_kept)
                ) from error
            raise self._keep("inconsistent", error, client, first=first, second=second, proof=data) from error

    def _fork_of_sizes(self, first: bytes, second: bytes, client: NodeClient) -> Fork | None:
        """The proof that `second` does not begin with `first`, from the own hash tiles of the node that shows it.

        None where the node gives no tiles under its own root: then both notes are kept as they are.
        """
        from ledger.client.tiles import read_nodes
        from ledger.core.merkle import range_nodes
        from ledger.core.proof import Fork

        small, large = self._size_of(first), self._size_of(second)
        inside, rest = range_nodes(0, small), range_nodes(small, large)
        try:
            nodes = read_nodes(client.get_bytes, [*inside, *rest])
            subtrees, path = tuple(nodes[each] for each in inside), tuple(nodes[each] for each in rest)
            fork = Fork(first, second, subtrees, path, self._ends)
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

    def _keep(self, kind: str, error: LedgerError, client: NodeClient, **parts: bytes | None) -> VerificationError:
        """Evidence of an answer that does not hold, as it came."""
        import json

        document = {name: None if data is None else data.decode("utf-8", "replace") for name, data in parts.items()}
        document.update(kind=kind, origin=self._trust.origin, node=client.url, error=str(error))
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
                console.warn(
                    on_screen(
                        console, console.text("watch.unreachable", reason=because(console.texts, error)), console.err
                    )
                )
                told = True
            time.sleep(RETRY_S)
            continue
        except BehindError as error:
            if not patient:
                raise
            if not told:
                console.warn(on_screen(console, console.text("watch.behind", **error.evidence), console.err))
                told = True
            time.sleep(RETRY_S)
            continue
        if entry is not None:
            return entry
        if not patient and time.monotonic() > until:
            raise UnavailableError("uncertified", "no certified checkpoint within the time")


def _compared(console: Console, watcher: Watcher, other: NodeClient) -> dict[str, Any]:
    """What another node showed; one that does not answer is told and harms nothing."""
    try:
        return {"node": other.url, "size": watcher.compare(other), "problem": ""}
    except UnavailableError as error:
        console.warn(
            on_screen(
                console,
                console.text("watch.also-silent", node=other.url, reason=because(console.texts, error)),
                console.err,
            )
        )
        return {"node": other.url, "size": None, "problem": error.code}


def _accused(
    console: Console, watcher: Watcher, accusations: Accusations, clients: tuple[NodeClient, ...]
) -> list[dict[str, Any]]:
    """Who is on record for two votes and was not told by this call before."""
    from ledger.cli.accused import ReceiptError

    found: list[dict[str, Any]] = []
    for client in clients:
        try:
            new = accusations.look(client)
        except ReceiptError as error:
            raise watcher.keep_answer("receipt", client, error, bytes(error.evidence["data"])) from error  # type: ignore[call-overload]
        for each in new:
            found.append(each.document())
            if each.fresh:
                console.warn(on_screen(console, console.text("watch.accused", **each.document()), console.err))
    return found


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
