"""A validator as the tests of faults run it: the product's node, watched, and where asked for with a shifted clock or a lie.

`python comet_node.py [--trace FILE] [--shift-ms N] [--short-window] [--heartbeat-ms N] [--lie NAME] DATA_DIR`. `--trace`
appends the name of every ABCI call. With `--short-window` and `keep_blocks` CometBFT's old blocks go after seconds instead
of two days. `--heartbeat-ms` takes the place of the minute within which an idle ledger is signed again.
`--shift-ms` shifts this process's clock; CometBFT beside it keeps the machine's, unless it is the one that
`scripts.engine.shifted_engine` builds. A lie is told while the file `lie` stands in the data directory, so that a network
can be set up by honest nodes first:

    dissent     votes for no block where it is asked whether a proposal is right
    garbage     proposes blocks that no honest node would
    app-hash    answers FinalizeBlock with another app hash than the ledger's, just before it is to propose
    fork        shows peers a second checkpoint of a size that was certified, under its own keys for ordering and cosigning
    fork-ahead  shows peers such a checkpoint of the size that the log will have after `NEXT_LEAVES` more leaves
    faults      its rules fail whenever they are asked
    snapshot    the snapshots that it offers hold another state than the ledger's, under hashes that fit

Not here: anything that an honest node does (see `ledger_node`).
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

LIE = "lie"
LIES = ("dissent", "garbage", "app-hash", "fork", "fork-ahead", "faults", "snapshot")
NEXT_EVENTS = 3
NEXT_LEAVES = NEXT_EVENTS + 1  # a block of so many events has its header behind them
SHIFT = "TEST_CLOCK_SHIFT_S"  # what `scripts.engine` calls it, which a node's process does not see


def main(arguments: list[str]) -> int:
    """Prepare this process, then run the node."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--trace", type=Path)
    parser.add_argument("--shift-ms", type=int, default=0)
    parser.add_argument("--short-window", action="store_true")
    parser.add_argument("--heartbeat-ms", type=int, default=0)
    parser.add_argument("--lie", choices=LIES)
    given = parser.parse_args(arguments)
    if given.shift_ms:
        shift_clock(given.shift_ms)  # before anything can ask for the time
    if given.trace:
        trace_calls(given.trace)
    if given.short_window:
        shorten_window()
    if given.heartbeat_ms:
        hasten_heartbeat(given.heartbeat_ms)
    if given.lie:
        told = {
            "dissent": dissent, "garbage": propose_garbage, "app-hash": lie_in_app_hash, "fork": show_fork,
            "fork-ahead": show_fork_ahead, "faults": fail_rules, "snapshot": lie_in_snapshots,
        }  # fmt: skip
        told[given.lie](given.data_dir)
    from ledger_node.__main__ import main as run

    return run([str(given.data_dir)])


def shift_clock(by_ms: int) -> None:
    """Let this process's wall clock go wrong by `by_ms`."""
    true_ns, true_s, by_ns = time.time_ns, time.time, by_ms * 1_000_000
    time.time_ns = lambda: true_ns() + by_ns
    time.time = lambda: true_s() + by_ms / 1_000
    os.environ[SHIFT] = str(by_ms // 1_000)  # for CometBFT


def trace_calls(path: Path) -> None:
    """Have every engine of this process append the ABCI calls that it hears to `path`, through its own hook."""
    from ledger_node.comet.engine import CometEngine
    from ledger_node.comet.statesync import StateSync

    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def trace(made: type[CometEngine | StateSync]) -> None:
        built = made.__init__

        def traced(self: Any, *arguments: Any, **named: Any) -> None:
            built(self, *arguments, **named)
            self.trace = lambda name: _append(file, name)

        made.__init__ = traced  # type: ignore[method-assign]

    trace(CometEngine)
    trace(StateSync)


def shorten_window() -> None:
    """Let CometBFT's blocks go once they are some seconds old: the product keeps those in which a double vote can still be
    reported."""
    from ledger_node.comet import pruning

    built = pruning.Pruning.__init__

    def short(self: pruning.Pruning, keep_blocks: int, **_: Any) -> None:
        built(self, keep_blocks, evidence_blocks=4, evidence_ms=500, mark_every=1)

    pruning.Pruning.__init__ = short  # type: ignore[method-assign]


def hasten_heartbeat(limit_ms: int) -> None:
    """Let the cosigner sign an idle ledger again within `limit_ms`, as it does within a minute otherwise."""
    from ledger.adapters.ordering import cosigner

    cosigner.HEARTBEAT_MS = limit_ms  # type: ignore[attr-defined]


def _append(file: int, name: str) -> None:
    os.write(file, f"{name}\n".encode("ascii"))


def _tells(data_dir: Path) -> Callable[[], bool]:
    return (data_dir / LIE).exists


# --- lies --------------------------------------------------------------------------------------------------------------


def dissent(data_dir: Path) -> None:
    """Each proposal is refused, so CometBFT prevotes nil; beside another that signs with the same key, that is two votes."""
    from ledger_node.comet import abci_pb2 as pb
    from ledger_node.comet.handler import REJECT, Handler

    tells, honest = _tells(data_dir), Handler.process_proposal

    def process(self: Handler, request: pb.RequestProcessProposal) -> pb.ResponseProcessProposal:
        answer = honest(self, request)
        if not tells():
            return answer
        _append_line(data_dir / "lies", f"{request.height}")
        return pb.ResponseProcessProposal(status=REJECT)

    Handler.process_proposal = process  # type: ignore[method-assign]


def propose_garbage(data_dir: Path) -> None:
    """Each proposal of this node holds something that may not stand in a block, in turn; no two are alike."""
    from ledger_node.comet import abci_pb2 as pb
    from ledger_node.comet.handler import Handler

    tells, dice, honest = _tells(data_dir), random.Random(1), Handler.prepare_proposal
    turns = 0

    def prepare(self: Handler, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        nonlocal turns
        answer = honest(self, request)
        if not tells():
            return answer
        found = garbage(list(request.txs), turns, dice)
        turns += 1
        _append_line(data_dir / "lies", f"{turns} {len(found)}")
        return pb.ResponsePrepareProposal(txs=found)

    Handler.prepare_proposal = prepare  # type: ignore[method-assign]


def garbage(waiting: Sequence[bytes], turn: int, dice: random.Random) -> list[bytes]:
    """Transactions that no honest node would propose; the real ones among them where there are any."""
    from ledger_node.comet import transaction

    kinds: list[list[bytes]] = [[b""], [dice.randbytes(300)], [*waiting, b"\x94\x01"]]
    if waiting:
        parsed = transaction.parse(waiting[0])
        kinds.append([waiting[0][:-1]])
        kinds.append([transaction.make(parsed.nonce, [_forged(parsed.framed[0])], (), {}).encode()])
        kinds.append([transaction.make(parsed.nonce, [_stolen(parsed.framed[0])], (), {}).encode()])
    return kinds[turn % len(kinds)]


def _forged(framed: bytes) -> bytes:
    """A submission under a signature that nobody made."""
    from ledger import framing

    submission = framing.parse(framed)
    return framing.encode(replace(submission, signature=submission.signature[:32] + bytes(32)))


def _stolen(framed: bytes) -> bytes:
    """A submission in the name of another member."""
    from ledger import framing

    submission = framing.parse(framed)
    return framing.encode(replace(submission, member="ga" if submission.member != "ga" else "rs"))


def lie_in_app_hash(data_dir: Path) -> None:
    """CometBFT is told another app hash than the ledger's just before its turn, so that its own proposal shows it.

    When its turn is follows from a proposal of its own that was decided in the first round: validators of equal power take
    turns in it, and one that still catches up is asked for proposals that nobody waits for.
    """
    from ledger_node.comet import abci_pb2 as pb
    from ledger_node.comet.handler import Handler

    tells, honest, prepare_honest = _tells(data_dir), Handler.finalize_block, Handler.prepare_proposal
    proposed, decided, turn = (0, b""), 0, 0

    def prepare(self: Handler, request: pb.RequestPrepareProposal) -> pb.ResponsePrepareProposal:
        nonlocal proposed
        proposed = request.height, request.proposer_address
        return prepare_honest(self, request)

    def finalize(self: Handler, request: pb.RequestFinalizeBlock) -> pb.ResponseFinalizeBlock:
        nonlocal decided, turn
        answer = honest(self, request)
        if decided == request.height - 1 and request.decided_last_commit.round == 0:
            turn = decided + len(self.app.head.registry.validators())
        if (request.height, request.proposer_address) == proposed:
            decided = request.height
        if tells() and request.height == turn - 1:
            _append_line(data_dir / "lies", f"{request.height}")
            answer.app_hash = bytes(32)
        return answer

    Handler.prepare_proposal = prepare  # type: ignore[method-assign]
    Handler.finalize_block = finalize  # type: ignore[method-assign]


def show_fork_ahead(data_dir: Path) -> None:
    """Peers are shown a root for a log that nobody has yet: an honest node that gets there contradicts what it took."""
    show_fork(data_dir, NEXT_LEAVES)


def show_fork(data_dir: Path, ahead: int = 0) -> None:
    """Peers are shown a second history of the certified size and `ahead` leaves, signed with this node's own two keys."""
    from ledger.adapters.home.keyfile import read_key
    from ledger.adapters.home.nodefile import COSIGN_KEY, LOG_KEY
    from ledger.adapters.ordering import certificates

    tells, book = _tells(data_dir), certificates.CertificateBook
    log_key, cosign_key = read_key(data_dir / LOG_KEY), read_key(data_dir / COSIGN_KEY)
    honest, honest_above = book.note, book.note_above

    def forked(self: certificates.CertificateBook) -> bytes | None:
        certified = self.certified()
        if not tells() or certified is None:
            return None
        size = certified.result.checkpoint.size + ahead
        made = second_checkpoint(self.origin, size, data_dir.name, log_key, cosign_key)
        _append_line(data_dir / "lies", f"{size}")
        return made

    def note(self: certificates.CertificateBook) -> bytes:
        return forked(self) or honest(self)

    def note_above(self: certificates.CertificateBook, size: int, after: str | None = None) -> bytes | None:
        return forked(self) or honest_above(self, size, after)

    book.note, book.note_above = note, note_above  # type: ignore[method-assign]


def second_checkpoint(origin: str, size: int, member: str, log_key: Any, cosign_key: Any) -> bytes:
    """A note over `size` with a root that nobody computed, with the lines of one node."""
    from ledger.adapters.ordering.engine import log_note
    from ledger.core.cosignature import sign_cosignature
    from ledger.core.hashing import sha256
    from ledger.core.note import encode_note, parse_note

    unsigned = parse_note(log_note(log_key, origin, size, sha256(b"another history")))
    line = sign_cosignature(unsigned.text, member, cosign_key, int(time.time()))
    return encode_note(unsigned.text, [*unsigned.lines, line])


def fail_rules(data_dir: Path) -> None:
    """The rules' runtime of this node fails at every call."""
    from ledger.adapters.runtime.worker import Worker
    from ledger.errors import RuntimeFault

    tells, honest = _tells(data_dir), Worker.result

    def result(self: Worker, *arguments: Any, **named: Any) -> Any:
        found = honest(self, *arguments, **named)
        if tells():
            _append_line(data_dir / "lies", "fault")
            raise RuntimeFault("runtime-error", "a fault made by a test")
        return found

    Worker.result = result  # type: ignore[method-assign]


def lie_in_snapshots(data_dir: Path) -> None:
    """One document of every snapshot is changed in one character, before anything is hashed."""
    from ledger import snapshotformat

    tells, honest = _tells(data_dir), snapshotformat.encode_chunks

    def encode(rows: Any) -> Any:
        if not tells():
            return honest(rows)
        *kept, (key, value) = rows
        return honest([*kept, (key, value[:-2] + bytes((value[-2] ^ 1,)) + value[-1:])])

    snapshotformat.encode_chunks = encode


def _append_line(path: Path, text: str) -> None:
    with path.open("a", encoding="ascii") as file:
        file.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
