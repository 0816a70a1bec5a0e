"""Writes the test vectors of the core formats: tests/vectors/core/*.json.

    python scripts/make_vectors.py           write the files
    python scripts/make_vectors.py --check   write nothing; exit 1 when a file is not what this program makes

Deterministic: fixed seeds, no clock, no compressor (the one zstd frame is made by hand of raw blocks), so that the same
code always makes the same bytes. Bytes are hex, texts are JSON strings; `code` is the error code of ours, for reference:
other implementations need only refuse. Each file names the requirements of docs/SPEC.md that it exercises.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

from ledger import framing
from ledger.core import canonical, ed25519_points, event, ident, keys, merkle, note, quorum, submission, tlogproof
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.cosignature import TYPE_COSIGNATURE, cosignature_message, sign_cosignature
from ledger.core.hashing import TAGS, Digest
from ledger.core.tlogpolicy import encode_policy
from ledger.errors import LedgerError

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "core"
ORIGIN = ident.origin_of("demo", Digest(hashlib.sha256(b"vectors: genesis").digest()))
TIME_MS = 1_795_248_000_123
TIME_S = 1_795_248_060
Json = dict[str, Any]


def digest(text: str) -> Digest:
    """A hash of a text, where any 32 bytes would do."""
    return Digest(hashlib.sha256(f"vectors: {text}".encode()).digest())


def signer(text: str) -> keys.Ed25519Signer:
    """The signer of a text."""
    return keys.Ed25519Signer(digest(f"seed of {text}"))


def code_of(call: Callable[..., object], *arguments: object) -> str:
    """The code with which a call refuses; a vector that is accepted by mistake stops the program."""
    try:
        call(*arguments)
    except LedgerError as error:
        return error.code
    raise SystemExit("a vector of the refused kind was accepted")


def an_event(number: int, **changes: Any) -> event.Event:
    """An event with every field."""
    parts: Json = {
        "event_id": ident.uuid7_at(TIME_MS + number, digest(f"id {number}")[:10]),
        "kind": "share.deliver",
        "refs": {"dataset": "ga/hukou", "grant": ["ga/g1", "ga/g2"]},
        "time_ms": TIME_MS + number,
        "salt": digest(f"salt {number}")[:16],
        "content": {"actor": "p:5b1e", "method": "api", "purpose": "人口统计", "volume": 1200 + number},
    }
    return event.new_event(**{**parts, **changes})


def make_hashing() -> Json:
    """Tags and their bytes."""
    return {"requirements": ["R-E01"], "tags": {name: tag.hex() for name, tag in sorted(TAGS.items())}}


def make_canonical() -> Json:
    """Documents that are canonical, with the value they stand for, and bytes that are not."""
    every = '"\\/\b\t\n\f\r\u0001\u001f\u007f\u2028\u2029é中😀'
    values: list[Json] = [
        {},
        {"": ""},
        {"a": [True, False, None, 0, -1, 2**53 - 1, -(2**53 - 1)], "b": {"c": {}, "d": []}},
        {"Z": 1, "a": 2, "aa": 3, "b": 4, "~": 5},
        {"text": every},
        {"x": [[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]},
    ]
    refused = [
        b"", b"[]", b"null", b"{}\n", b" {}", b'{"a": 1}', b'{"b":1,"a":1}', b'{"a":1,"a":1}', b'{"a":1.0}', b'{"a":1e3}',
        b'{"a":-0}', b'{"a":01}', b'{"a":9007199254740992}', b'{"a":-9007199254740992}', b'{"a":NaN}', b'{"a":"\\u0000"}',
        b'{"a":"\\u000a"}', b'{"a":"\\u001F"}', b'{"a":"\\u0041"}', b'{"a":"\\/"}', b'{"a":"\x1f"}', b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}', b'{"a":"\\ud800"}', b'{"a":"\\ud83d\\ude00"}', '{"é":1}'.encode(), b"\xef\xbb\xbf{}",
        b'{"a":' * 17 + b"1" + b"}" * 17, b'{"a":' + b"[" * 16 + b"]" * 16 + b"}",
    ]  # fmt: skip
    return {
        "requirements": ["R-E02"],
        "accepted": [{"bytes": canonical.encode(value).hex(), "value": value} for value in values],
        "refused": [{"bytes": data.hex(), "code": code_of(canonical.parse, data)} for data in refused],
    }


def make_ident() -> Json:
    """Identifiers, UUIDs, times and origins, accepted and refused."""
    uuid = ident.uuid7_at(TIME_MS, digest("uuid")[:10])
    groups: dict[str, tuple[Callable[[str], object], list[str], list[str]]] = {
        "identifier": (
            lambda text: ident.check_identifier(text, "vector"),
            ["a", "0", "ga/hukou", "t:9f.x_y~z-", "a" * 128],
            ["", "A", "-a", "/a", "a b", "é", "a+b", "a" * 129, "a\n"],
        ),
        "uuid7": (
            lambda text: ident.check_uuid7(text, "vector"),
            [uuid, ident.uuid7_at(0, bytes(10)), ident.uuid7_at(2**48 - 1, b"\xff" * 10)],
            [uuid.upper(), uuid.replace("-", ""), uuid[:14] + "4" + uuid[15:], uuid[:19] + "c" + uuid[20:], ""],
        ),
        "time": (
            ident.parse_time,
            [
                "1970-01-01T00:00:00.000Z",
                "2026-11-21T08:00:00.123Z",
                "2028-02-29T23:59:59.999Z",
                "9999-12-31T23:59:59.999Z",
            ],
            [
                "1969-12-31T23:59:59.999Z",
                "2026-02-29T00:00:00.000Z",
                "2100-02-29T00:00:00.000Z",
                "2026-13-01T00:00:00.000Z",
                "2026-01-01T24:00:00.000Z",
                "2026-12-31T23:59:60.000Z",
                "2026-01-01T00:00:00Z",
                "2026-01-01T00:00:00.000+08:00",
            ],
        ),
        "origin": (
            ident.check_origin,
            [ORIGIN, "gov.example/share/" + "0" * 64],
            ["demo", "/" + "0" * 64, "demo/" + "A" * 64, "demo/" + "0" * 63, "Demo/" + "0" * 64],
        ),
    }
    made: Json = {"requirements": ["R-E03", "R-G02"]}
    for name, (check, accepted, refused) in groups.items():
        made[name] = {
            "accepted": [{"text": text, **({"ms": check(text)} if name == "time" else {})} for text in accepted],
            "refused": [{"text": text, "code": code_of(check, text)} for text in refused],
        }
    return made


def make_merkle() -> Json:
    """Roots, inclusion, consistency and range proofs over leaves `vectors: leaf <i>`."""
    leaves = [merkle.leaf_hash(b"vectors: leaf %d" % number) for number in range(21)]
    levels = merkle.EMPTY_RANGE.grow(leaves)[1]
    nodes = {(level, first + at): each for level, (first, row) in enumerate(levels) for at, each in enumerate(row)}

    def texts(path: list[Digest]) -> list[str]:
        return [each.hex() for each in path]

    return {
        "requirements": ["R-S01", "R-V03", "R-V05"],
        "leaf_data": [(b"vectors: leaf %d" % number).hex() for number in range(21)],
        "roots": [merkle.root(leaves[:size]).hex() for size in range(22)],
        "inclusion": [
            {"index": index, "size": size, "path": texts(merkle.prove_inclusion(index, size, nodes))}
            for index, size in ((0, 1), (0, 2), (6, 7), (3, 8), (12, 13), (20, 21), (5, 21))
        ],
        "consistency": [
            {"old": old, "new": new, "path": texts(merkle.prove_consistency(old, new, nodes))}
            for old, new in ((0, 5), (1, 2), (3, 7), (4, 8), (6, 8), (8, 21), (13, 21), (21, 21))
        ],
        "range": [
            {"begin": begin, "end": end, "size": size, "path": texts(merkle.prove_range(begin, end, size, nodes))}
            for begin, end, size in ((0, 21, 21), (0, 3, 7), (2, 5, 8), (5, 20, 21), (20, 21, 21), (4, 4, 9))
        ],
    }


def make_keys() -> Json:
    """Keys and signatures that are accepted, and those on which implementations differ and that SPEC refuses."""
    good = signer("key")
    message = b"vectors: message"
    signature = good.sign(message)
    s = int.from_bytes(signature[32:], "little")
    torsion = ed25519_points.decompress(min(ed25519_points.SMALL_ORDER))
    point = ed25519_points.decompress(good.public.raw)
    if torsion is None or point is None:
        raise SystemExit("a known point does not decompress")
    bad_keys = {
        **{f"small order {each.hex()[:8]}": each for each in sorted(ed25519_points.SMALL_ORDER)},
        "y not reduced": (ed25519_points.P + 3).to_bytes(32, "little"),
        "y not reduced, small order": ed25519_points.P.to_bytes(32, "little"),
        "minus zero": (1 | 1 << 255).to_bytes(32, "little"),
        "not on the curve": (2).to_bytes(32, "little"),
        "mixed order": ed25519_points.compress(ed25519_points.add(point, torsion)),
        "31 bytes": good.public.raw[:31],
    }
    bad_signatures = {
        "S + L": signature[:32] + (s + ed25519_points.L).to_bytes(32, "little"),
        "S = L": signature[:32] + ed25519_points.L.to_bytes(32, "little"),
        "R neutral": (1).to_bytes(32, "little") + signature[32:],
        "R not reduced": ed25519_points.P.to_bytes(32, "little") + signature[32:],
        "R minus zero": (1 | 1 << 255).to_bytes(32, "little") + signature[32:],
        "63 bytes": signature[:63],
        "65 bytes": signature + b"\0",
        "of another message": good.sign(message + b"x"),
        "of another key": signer("other key").sign(message),
    }
    blank = digest("genesis without proofs")
    return {
        "requirements": ["R-K01", "R-K02", "R-K04"],
        "seed": digest("seed of key").hex(),
        "algorithm": keys.ED25519,
        "public": good.public.raw.hex(),
        "key_id": good.public.key_id.hex(),
        "message": message.hex(),
        "signature": signature.hex(),
        "refused_keys": [{"why": why, "public": raw.hex()} for why, raw in bad_keys.items()],
        "refused_signatures": [{"why": why, "signature": each.hex()} for why, each in bad_signatures.items()],
        "registration": {
            "origin": ORIGIN,
            "member": "ga",
            "use": "event",
            "message": keys.registration_message(ORIGIN, "ga", "event").hex(),
        },
        "genesis_registration": {
            "name": "demo",
            "blank_genesis_hash": blank.hex(),
            "member": "ga",
            "use": "log",
            "message": keys.genesis_registration_message("demo", blank, "ga", "log").hex(),
        },
    }


def make_event() -> Json:
    """Events, a commitment, and heads and bodies that are refused."""
    full = an_event(1, commitments={"list": digest("payload").hex()}, data_subjects=["t:9f00"], intent=True)
    least = an_event(2, refs={}, content={})
    fields = full.fields
    bad_heads: dict[str, Json] = {
        "unknown field": {**fields, "extra": 1},
        "no kind": {name: value for name, value in fields.items() if name != "kind"},
        "version 2": {**fields, "v": 2},
        "version true": {**fields, "v": True},
        "intent false": {**fields, "intent": False},
        "empty subjects": {**fields, "data_subjects": []},
        "doubled subject": {**fields, "data_subjects": ["a", "a"]},
        "empty commitments": {**fields, "commitments": {}},
        "upper-case commitment": {**fields, "commitments": {"a": "AB" * 32}},
        "empty list of refs": {**fields, "refs": {"a": []}},
        "doubled ref": {**fields, "refs": {"a": ["b", "b"]}},
        "upper-case ref": {**fields, "refs": {"a": "B"}},
        "17 refs": {**fields, "refs": {f"r{number}": "a" for number in range(17)}},
        "65 values": {**fields, "refs": {"a": [f"v{number}" for number in range(65)]}},
        "no such day": {**fields, "time": "2026-02-30T00:00:00.000Z"},
        "id of version 4": {**fields, "id": str(fields["id"]).replace("-7", "-4", 1)},
    }
    bad_bodies: list[Json] = [{}, {"salt": ""}, {"salt": "A" * 21 + "B"}, {"salt": "A" * 22 + "=="}, {"salt": 1}]
    salt32 = digest("commitment salt")
    return {
        "requirements": ["R-E10", "R-E11", "R-E12", "R-E13", "R-E14", "R-E15"],
        "accepted": [
            {"head": each.head.hex(), "body": each.body.hex(), "event_hash": each.hash.hex()} for each in (full, least)
        ],
        "refused_heads": [
            {
                "why": why,
                "head": canonical.encode(each).hex(),
                "code": code_of(event.check_fields, each),
            }
            for why, each in bad_heads.items()
        ],
        "refused_bodies": [
            {
                "body": canonical.encode(each).hex(),
                "code": code_of(event.parse_body, canonical.encode(each)),
            }
            for each in bad_bodies
        ],
        "commitment": {
            "salt32": salt32.hex(),
            "origin": ORIGIN,
            "member": "ga",
            "id": full.id,
            "field": "list",
            "payload": b"payload".hex(),
            "commitment": event.commitment(salt32, ORIGIN, "ga", full.id, "list", b"payload").hex(),
        },
    }


def raw_frame(content: bytes) -> bytes:
    """A zstd frame of raw blocks (RFC 8878, 3.1.1): single segment, content size in four bytes, no checksum."""
    frame = b"\x28\xb5\x2f\xfd\xa0" + len(content).to_bytes(4, "little")
    blocks = [content[at : at + 65_536] for at in range(0, len(content), 65_536)]
    for number, block in enumerate(blocks):
        frame += (len(block) << 3 | (number == len(blocks) - 1)).to_bytes(3, "little") + block
    return frame


def make_submission() -> Json:
    """A submission of three events with its message, identity and one framing, and one event shown alone."""
    made = submission.new_submission(ORIGIN, "ga", signer("key"), [an_event(number) for number in range(3)])
    flat = [part for each in made.events for part in (each.head, each.body)]
    framed = msgpack.packb([1, ORIGIN, "ga", made.key_id, raw_frame(msgpack.packb(flat)), made.signature])
    if framing.parse(framed) != made:
        raise SystemExit("the hand-made frame does not parse")
    trailing = msgpack.packb([1, ORIGIN, "ga", made.key_id, raw_frame(msgpack.packb(flat)) + b"\0", made.signature])
    lying = raw_frame(msgpack.packb(flat))
    lying = lying[:5] + (len(msgpack.packb(flat)) + 1).to_bytes(4, "little") + lying[9:]
    refused = {
        "bytes behind the list": framed + b"\0",
        "version 2": msgpack.packb([2, ORIGIN, "ga", made.key_id, raw_frame(msgpack.packb(flat)), made.signature]),
        "origin as bytes": msgpack.packb(
            [1, ORIGIN.encode(), "ga", made.key_id, raw_frame(msgpack.packb(flat)), made.signature]
        ),
        "five fields": msgpack.packb([1, ORIGIN, "ga", made.key_id, raw_frame(msgpack.packb(flat))]),
        "bytes behind the frame": trailing,
        "frame lies about its size": msgpack.packb([1, ORIGIN, "ga", made.key_id, lying, made.signature]),
        "no events": msgpack.packb([1, ORIGIN, "ga", made.key_id, raw_frame(msgpack.packb([])), made.signature]),
        "head without body": msgpack.packb(
            [1, ORIGIN, "ga", made.key_id, raw_frame(msgpack.packb(flat[:3])), made.signature]
        ),
        "signature of 63 bytes": msgpack.packb(
            [1, ORIGIN, "ga", made.key_id, raw_frame(msgpack.packb(flat)), made.signature[:63]]
        ),
    }
    return {
        "requirements": ["R-P01", "R-P02"],
        "origin": ORIGIN,
        "member": "ga",
        "public": signer("key").public.raw.hex(),
        "key_id": made.key_id.hex(),
        "events": [
            {"head": each.head.hex(), "body": each.body.hex(), "event_hash": each.hash.hex()} for each in made.events
        ],
        "root": made.root.hex(),
        "message": made.message.hex(),
        "signature": made.signature.hex(),
        "identity": made.identity.hex(),
        "framed": framed.hex(),
        "shown_alone": [
            {"index": index, "path": [each.hex() for each in submission.prove_event(made, index)]} for index in range(3)
        ],
        "refused": [
            {"why": why, "framed": data.hex(), "code": code_of(framing.parse, data)} for why, data in refused.items()
        ],
    }


def make_certificate() -> Json:
    """A certificate by three of four cosigners, notes that are none, a policy and a proof file."""
    leaves = [merkle.leaf_hash(b"vectors: leaf %d" % number) for number in range(13)]
    levels = merkle.EMPTY_RANGE.grow(leaves)[1]
    nodes = {(level, first + at): each for level, (first, row) in enumerate(levels) for at, each in enumerate(row)}
    text = encode_checkpoint(Checkpoint(ORIGIN, 13, merkle.root(leaves)))
    members = [(name, signer(name).public) for name in ("bj", "ga", "mz", "sj")]
    log = signer("log")
    log_line = note.sign_note(text, ORIGIN, log)
    lines = [
        sign_cosignature(text, name, signer(name), TIME_S + seconds)
        for name, seconds in zip(("bj", "ga", "mz", "sj"), (7, 3, 5, 9), strict=True)
    ]
    good = note.encode_note(text, [log_line, *lines[:3]])
    certified = quorum.verify_certificate(good, ORIGIN, [log.public], members)
    swapped = note.NoteLine(lines[3].name, lines[3].key_hash, lines[0].signature)
    refused = {
        "two of four": note.encode_note(text, [log_line, *lines[:2]]),
        "no log line": note.encode_note(text, lines),
        "one key twice": note.encode_note(
            text, [log_line, *lines[:3], sign_cosignature(text, "bj", signer("bj"), TIME_S)]
        ),
        "one bad line beside a quorum": note.encode_note(text, [log_line, *lines[:3], swapped]),
        "two of four and a stranger": note.encode_note(
            text, [log_line, *lines[:2], sign_cosignature(text, "xx", signer("xx"), TIME_S)]
        ),
        "extension line": note.encode_note(text + "more\n", [note.sign_note(text + "more\n", ORIGIN, log), *lines]),
        "hyphen for em dash": good.replace("— bj".encode(), b"- bj"),
        "no newline at the end": good[:-1],
        "base64 with stray bits": good.replace(b"=\n", b"=\n\n", 1),
    }
    path = tuple(merkle.prove_inclusion(6, 13, nodes))
    proof = tlogproof.encode_tlog_proof(tlogproof.TlogProof(6, path, good, b"vectors: extra"))
    return {
        "requirements": ["R-Q01", "R-Q02", "R-Q03", "R-V01"],
        "origin": ORIGIN,
        "log_keys": [note.encode_vkey(ORIGIN, note.TYPE_ED25519, log.public)],
        "cosigners": [note.encode_vkey(name, TYPE_COSIGNATURE, key) for name, key in members],
        "thresholds": [quorum.threshold(count) for count in range(1, 33)],
        "text": text,
        "cosignature_message": cosignature_message(TIME_S, text).hex(),
        "certificate": good.decode(),
        "recorded_by_s": certified.recorded_by_s,
        "fresh_at_s": certified.fresh_at_s,
        "refused": [
            {
                "why": why,
                "note": data.decode(),
                "code": code_of(quorum.verify_certificate, data, ORIGIN, [log.public], members),
            }
            for why, data in refused.items()
        ],
        "policy": encode_policy(ORIGIN, [log.public], members).decode(),
        "tlog_proof": {"leaf_hash": leaves[6].hex(), "file": proof.decode()},
    }


FILES: dict[str, Callable[[], Json]] = {
    "hashing": make_hashing,
    "canonical": make_canonical,
    "ident": make_ident,
    "merkle": make_merkle,
    "keys": make_keys,
    "event": make_event,
    "submission": make_submission,
    "certificate": make_certificate,
}


def render(made: Json) -> str:
    """The text of one file."""
    return json.dumps(made, ensure_ascii=True, indent=1, sort_keys=True) + "\n"


def write_or_compare(script: str, folder: Path, files: dict[str, Callable[[], Json]], arguments: list[str]) -> int:
    """What a script of vectors does: write its files, or with `--check` say which of them differ (1)."""
    stale = []
    for name, make in files.items():
        path = folder / f"{name}.json"
        text = render(make())
        if arguments == ["--check"]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path.name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if stale:
        print(f"not what {script} makes: {', '.join(stale)}", file=sys.stderr)
    return 1 if stale else 0


def main(arguments: list[str]) -> int:
    """Write the files, or compare them."""
    return write_or_compare("scripts/make_vectors.py", FOLDER, FILES, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
