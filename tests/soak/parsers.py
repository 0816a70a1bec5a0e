"""Every parser of bytes from outside, with valid samples and, where a form is canonical, the way back.

Not here: damaging the samples (see `mutations`), and documents that only the ledger itself writes and reads back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack
import zstandard

from ledger import archiveformat, blockcodec, framing
from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.home.keyfile import read_key, write_key
from ledger.adapters.home.nodefile import read_settings
from ledger.adapters.ordering.follower import read_page
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.stored import read_block
from ledger.cli.eventinput import parse_events, parse_value
from ledger.cli.permit_log import parse_log
from ledger.client.request import Response, parse_appended
from ledger.client.spool import parse_entry
from ledger.core import bundle, canonical, event, keys, leaf, mapkeys, nativecommit, note, proof, stream, tlogproof
from ledger.core.canonical_reference import parse_reference
from ledger.core.checkpoint import encode_checkpoint, parse_checkpoint_text
from ledger.core.config import parse_config
from ledger.core.genesis import parse_genesis
from ledger.core.header import encode_header, parse_header
from ledger.core.ident import format_time, parse_time
from ledger.core.merkle import CompactRange
from ledger.core.proof import StreamName
from ledger.core.registry import parse_key_entry
from ledger.errors import LedgerError, MalformedError
from ledger.rules.program import Program
from ledger.verify.trust import parse_trust
from ledger_node.intake.drafts import parse_draft, parse_drafts
from tests.models.native_commits import consensus_signer, make_commit, rpc_answer
from tests.models.real_ledger import CONTRACT, RealLedger, real_ledger
from tests.models.small_ledger import SmallLedger, digest

FRAME = 4  # place of the compressed events in a framed submission


@dataclass(frozen=True)
class Parser:
    """`parse` takes bytes and answers with a value or raises one of the product's errors.

    `again` encodes the value; what was accepted must come out byte for byte. `weight` is its share of the time.
    """

    name: str
    parse: Callable[[bytes], Any]
    samples: Sequence[bytes]
    again: Callable[[Any], bytes] | None = None
    weight: float = 1.0
    check: Callable[[bytes], None] | None = field(default=None)


def every_parser(folder: Path) -> list[Parser]:
    """The parsers, with samples from a ledger that is made below `folder`."""
    ledger = real_ledger(folder / "ledger")
    return [*_stored(ledger), *_proofs(), *_small(), *_files(folder, ledger)]


def _stored(ledger: RealLedger) -> list[Parser]:
    reader = SqliteReader(ledger.folder / DATABASE)
    with reader.snapshot() as snap:
        blocks = [read_block(snap, height) for height in range(snap.head_height + 1)]
        rows = [(key, row.value) for key, row in snap.rows_with_prefix(b"", None, 5_000) if row.value]
        bundles = [snap.bundle(digest_) for digest_ in (ledger.genesis.rulebook, ledger.genesis.calendar)]
        latest = snap.certificates.latest()
    reader.close()
    assert latest is not None
    encoded = [blockcodec.encode_block(block) for block in blocks]
    origin = ledger.genesis.origin
    submissions = [blockcodec.to_submission(each, origin) for block in blocks for each in block.submissions]
    framed = [framing.encode(each) for each in submissions]
    expanded = [zstandard.ZstdDecompressor().decompress(msgpack.unpackb(data)[FRAME]) for data in framed]
    leaves = [each for block in blocks for each in block.leaves]
    headers = [block.leaves[-1] for block in blocks]
    events = [each for submission in submissions for each in submission.events][:200]
    head, body = events[0].head, events[0].body
    by_kind = {space: [value for key, value in rows if key[0] == space] for space in range(1, 8)}
    held, configs = ([mapkeys.parse_object_value(value)[1] for value in by_kind[n]] for n in (5, 6))
    found = [
        Parser("framing", framing.parse, framed, weight=4),
        Parser("block", blockcodec.parse_block, encoded, blockcodec.encode_block, weight=4),
        Parser("blocks page", read_page, [msgpack.packb(encoded[:2]), msgpack.packb([])], weight=2),
        Parser("leaf", leaf.parse_leaf, leaves, _encode_leaf, weight=2),
        Parser("header", parse_header, headers, encode_header),
        Parser("head", lambda data: event.parse_event(data, body), [each.head for each in events], _head, weight=2),
        Parser("body", lambda data: event.parse_event(head, data), [each.body for each in events], _body),
        Parser("canonical", canonical.parse, [head, body, *by_kind[2][:50]], canonical.encode, 2, _as_the_reference),
        Parser("stream value", stream.parse_stream_value, by_kind[1], lambda value: value.encode()),
        Parser("object value", mapkeys.parse_object_value, by_kind[2], lambda pair: mapkeys.object_value(*pair)),
        Parser("key", parse_key_entry, held, lambda value: value.encode()),
        Parser("config", parse_config, configs, lambda value: value.encode()),
        Parser("genesis", parse_genesis, [ledger.genesis.data], lambda value: value.data),
        Parser("bundle", bundle.parse_bundle, bundles, bundle.encode_bundle),
        Parser("note", note.parse_note, [latest[1], *(block.note for block in blocks if block.note)], None, 2),
        Parser("range", _parse_range, [b"\3" + bytes(64), b"\0", b"\1" + bytes(32)], None),
    ]
    found.append(Parser("framed events", lambda data: framing.parse(_reframed(framed[0], data)), expanded, weight=2))
    return found


def _reframed(framed: bytes, expanded: bytes) -> bytes:
    """A submission whose event list holds other bytes, compressed as it should be."""
    parts = msgpack.unpackb(framed)
    parts[FRAME] = zstandard.ZstdCompressor(write_checksum=False).compress(expanded)
    packed: bytes = msgpack.packb(parts)
    return packed


def _parse_range(data: bytes) -> CompactRange:
    return CompactRange.parse(data[0] if data else 0, data[1:])


def _encode_leaf(value: Any) -> bytes:
    if isinstance(value, leaf.Record):
        return leaf.encode_record(value)
    return leaf.encode_timer(value) if isinstance(value, leaf.TimerLeaf) else b"\0\1" + value  # a header's JSON


def _head(value: event.Event) -> bytes:
    return value.head


def _body(value: event.Event) -> bytes:
    return value.body


def _as_the_reference(data: bytes) -> None:
    """The fast parser and the slow one agree: the same value or a refusal by both."""
    answers: list[Any] = []
    for parse in (canonical.parse, parse_reference):
        try:
            answers.append(parse(data))
        except LedgerError:
            answers.append(None)
    assert answers[0] == answers[1]


def _proofs() -> list[Parser]:
    made = SmallLedger()
    made.block("ga", [made.event() for _ in range(3)])
    made.block("fa", [made.event()], timers=["timer/a3/dataset/ga/hukou"])
    dataset = StreamName("dataset", "ga/hukou")
    record = made.streams[dataset][1][1]
    history = proof.History(5, made.consistency(5))
    whole = made.completeness(dataset, 1, None, ("full", "head", "record", "hash"))
    files = [
        replace(made.receipt(record), history=history).encode(),
        replace(whole, state=replace(whole.state, history=history)).encode(),
        made.absence("dataset", "none").encode(),
        proof.Consistency(made.note(6), made.note(), made.consistency(6)).encode(),
        proof.Fork(made.note(by=()), made.note(by=(), root=digest("x"))).encode(),
    ]
    trust = proof.trust_genesis(made.genesis, made.now_s + 30)
    wholes = [json.loads(data) for data in files]

    def verified(data: bytes) -> object:
        result = proof.verify_proof(data, trust)
        shown = json.loads(data)
        parted = [
            {name for name in shown.keys() | whole.keys() if shown.get(name) != whole.get(name)} for whole in wholes
        ]
        # What is believed is one of ours, or one of ours that shows less (see tests/property/test_proof_damage.py).
        assert any(names <= {"history", "registration", "entries"} for names in parted), parted
        return result

    tlog = tlogproof.TlogProof(3, tuple(digest(str(n)) for n in range(4)), made.note(), b"extra")
    text = made.note().decode("utf-8").partition("\n\n")[0] + "\n"
    return [
        Parser("proof", proof.parse_proof, files, lambda value: value.encode(), 4),
        Parser("proof, verified", verified, files, None, 4),
        Parser("tlog proof", tlogproof.parse_tlog_proof, [tlogproof.encode_tlog_proof(tlog)], tlogproof.encode_tlog_proof),
        Parser(
            "checkpoint", lambda data: parse_checkpoint_text(data.decode("utf-8", "replace")), [text.encode()],
            lambda value: encode_checkpoint(value).encode(),
        ),
    ]  # fmt: skip


def _small() -> list[Parser]:
    public = keys.Ed25519Signer(bytes(32)).public
    vkey = note.encode_vkey("a.example/log", note.TYPE_ED25519, public)
    native = make_commit("suyuan-x", bytes(32), [consensus_signer(name) for name in "abcd"], flags=[1, 2, 2, 3])

    def answered(data: bytes) -> Any:
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MalformedError("json", "CometBFT's client reads this") from error
        return nativecommit.from_rpc(answer)

    return [
        Parser("public key", lambda data: keys.parse_public_key(1, data), [public.raw], lambda value: value.raw),
        Parser("vkey", lambda data: note.parse_vkey(data.decode("utf-8", "replace")), [vkey.encode()]),
        Parser(
            "time", lambda data: parse_time(data.decode("utf-8", "replace")), [b"2026-09-01T00:30:00.000Z"],
            lambda value: format_time(value).encode(),
        ),
        Parser("native commit", nativecommit.parse, [native.encode()], lambda value: value.encode(), 2),
        Parser("commit of the engine", answered, [json.dumps(rpc_answer(native)).encode()]),
        Parser(
            "native item", archiveformat.parse_native, [archiveformat.encode_native(9, b"{}")],
            lambda value: archiveformat.encode_native(*value),
        ),
    ]  # fmt: skip


def _files(folder: Path, ledger: RealLedger) -> list[Parser]:
    listed = archiveformat.tar_header(archiveformat.MANIFEST, 5)
    rulebook = {
        path.relative_to(CONTRACT).as_posix(): path.read_bytes()
        for path in sorted(CONTRACT.rglob("*"))
        if path.is_file()
    }
    calendars = {
        name.removeprefix("calendars/"): data for name, data in rulebook.items() if name.startswith("calendars/")
    }
    book = {name: data for name, data in rulebook.items() if not name.startswith(("calendars/", "cases/"))}
    names, years = sorted(book), sorted(calendars)

    def pick(data: bytes, among: Sequence[str]) -> tuple[str, bytes]:
        """The first byte says which file the others are."""
        return among[(data[0] if data else 0) % len(among)], data[1:]

    def compile_one(data: bytes) -> Program:
        name, text = pick(data, names)
        return Program.compile({**book, name: text}, calendars)

    def compile_calendar(data: bytes) -> Program:
        name, text = pick(data, years)
        return Program.compile(book, {**calendars, name: text})

    def through_file(read: Callable[[Path], Any], name: str) -> Callable[[bytes], Any]:
        (folder / "files").mkdir(exist_ok=True)
        path = folder / "files" / name

        def parse(data: bytes) -> Any:
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            path.chmod(0o600)
            return read(path if name != "node.toml" else path.parent)

        return parse

    sample_key = folder / "sample.key"
    write_key(sample_key, bytes(range(32)))
    head = b'{"id":"x","kind":"use.access","refs":{},"time":"2026-09-01T00:30:00.000Z","v":1}'
    draft = json.dumps({"kind": "use.access", "refs": {"dataset": "ga/x"}, "body": {"count": 1}}).encode()
    line = json.dumps({"body": "{}", "head": head.decode(), "m": "ga", "v": 1}).encode()
    trust = json.dumps({"origin": ledger.genesis.origin, "max_age_s": 60}).encode()
    log = b"case:concept:name,concept:name,org:group,time:timestamp\n1,register,desk 1,2026-09-01 00:30:00.5+08:00\n"
    settings = (
        b'[node]\nrole = "follower"\npeers = ["http://127.0.0.1:8402"]\n[http]\nhost = "127.0.0.1"\nport = 8401\n'
    )
    return [
        Parser("trust file", parse_trust, [trust]),
        Parser("tar header", archiveformat.parse_tar_header, [listed], lambda value: archiveformat.tar_header(*value)),
        Parser("spool line", parse_entry, [line]),
        Parser("drafts", parse_drafts, [draft, b'{"events":[' + draft + b"]}"], None, 2),
        Parser("draft line", parse_draft, [draft]),
        Parser("event input", lambda data: parse_events(data, "-"), [draft, b"[" + draft + b"]"]),
        Parser("value", lambda data: parse_value(data.decode("utf-8", "replace")), [b"12", b'{"a":1}', b"text"]),
        Parser("permit log", lambda data: parse_log(data, "log.csv"), [log]),
        Parser("answer", lambda data: parse_appended(Response(201, {}, data)), [_answer()]),
        Parser("node.toml", through_file(read_settings, "node.toml"), [settings]),
        Parser("key file", through_file(read_key, "event.key"), [sample_key.read_bytes()], None, 0.5),
        Parser("rulebook", compile_one, [bytes([n]) + book[name] for n, name in enumerate(names)], None, 4),
        Parser("calendar", compile_calendar, [bytes([n]) + calendars[name] for n, name in enumerate(years)], None, 0.5),
    ]


def _answer() -> bytes:
    recorded = {"member": "ga", "id": "x", "seq": 1, "outcome": "accepted", "verdict": {"outcome": "accepted"}}
    answer = {"height": 1, "time": 1_788_222_600_000, "size": 2, "certified": False, "checkpoint": "x"}
    return json.dumps({**answer, "events": [{**recorded, "duplicate": False}]}).encode()
