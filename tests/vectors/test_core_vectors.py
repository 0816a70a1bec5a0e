"""The checked-in vectors of the core formats: they are what the generator makes, and the code does what they say.

A program in another language can be held against the same files: each test here reads nothing but JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ledger import framing
from ledger.core import (
    canonical,
    cosignature,
    event,
    hashing,
    ident,
    keys,
    merkle,
    note,
    quorum,
    submission,
    tlogpolicy,
    tlogproof,
)
from ledger.core.hashing import Digest
from ledger.errors import LedgerError, VerificationError

FOLDER = Path(__file__).parent / "core"
ROOT = Path(__file__).resolve().parents[2]


@cache
def vectors(name: str) -> dict[str, Any]:
    """One file of vectors."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def raw(text: str) -> bytes:
    """Bytes from hex."""
    return bytes.fromhex(text)


def digests(texts: list[str]) -> list[Digest]:
    """Digests from hex."""
    return [Digest(raw(text)) for text in texts]


def cases(name: str, *path: str) -> list[Any]:
    """A list inside a file, as parameters."""
    found: Any = vectors(name)
    for step in path:
        found = found[step]
    return found


def assert_refused(code: str, call: Callable[[], object]) -> None:
    """The call refuses with the code of the vector."""
    with pytest.raises(LedgerError) as caught:
        call()
    assert caught.value.code == code


def test_files_are_what_the_generator_makes() -> None:
    """Running the generator changes no file."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "make_vectors.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_file_names_its_requirements() -> None:
    """Each vector file says which requirements of SPEC it exercises, and SPEC has them."""
    spec = (ROOT / "docs" / "SPEC.md").read_text(encoding="utf-8")
    for file in FOLDER.glob("*.json"):
        for number in vectors(file.stem)["requirements"]:
            assert f"**{number}**" in spec, (file.name, number)


def test_tags() -> None:
    """R-E01: the registry of tags has exactly these bytes."""
    assert {name: tag.hex() for name, tag in hashing.TAGS.items()} == vectors("hashing")["tags"]


@pytest.mark.parametrize("case", cases("canonical", "accepted"))
def test_canonical_accepted(case: dict[str, Any]) -> None:
    """R-E02: these bytes stand for this value, and the value for these bytes."""
    for parse, encode in ((canonical.parse, canonical.encode), (canonical.parse_reference, canonical.encode_reference)):
        assert parse(raw(case["bytes"])) == case["value"]
        assert encode(case["value"]) == raw(case["bytes"])


@pytest.mark.parametrize("case", cases("canonical", "refused"))
def test_canonical_refused(case: dict[str, Any]) -> None:
    """R-E02: these bytes are not canonical."""
    for parse in (canonical.parse, canonical.parse_reference):
        assert_refused(case["code"], lambda parse=parse: parse(raw(case["bytes"])))


CHECKS: dict[str, Callable[[str], object]] = {
    "identifier": lambda text: ident.check_identifier(text, "vector"),
    "uuid7": lambda text: ident.check_uuid7(text, "vector"),
    "time": ident.parse_time,
    "origin": ident.check_origin,
}


@pytest.mark.parametrize("name", CHECKS)
def test_ident(name: str) -> None:
    """R-E03: spellings of names and moments are accepted or refused as listed."""
    for case in cases("ident", name, "accepted"):
        got = CHECKS[name](case["text"])
        assert got == case.get("ms", case["text"])
        if name == "time":
            assert ident.format_time(case["ms"]) == case["text"]
    for case in cases("ident", name, "refused"):
        assert_refused(case["code"], lambda case=case: CHECKS[name](case["text"]))


def test_merkle() -> None:
    """R-S01: roots and every kind of path verify, and none for a neighbouring leaf."""
    made = vectors("merkle")
    leaves = [merkle.leaf_hash(raw(text)) for text in made["leaf_data"]]
    roots = digests(made["roots"])
    assert [merkle.root(leaves[:size]) for size in range(len(leaves) + 1)] == roots
    for case in made["inclusion"]:
        index, size, path = case["index"], case["size"], digests(case["path"])
        merkle.verify_inclusion(leaves[index], index, size, path, roots[size])
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(leaves[index - 1], index, size, path, roots[size])
    for case in made["consistency"]:
        old, new, path = case["old"], case["new"], digests(case["path"])
        merkle.verify_consistency(old, roots[old], new, roots[new], path)
        with pytest.raises(VerificationError):
            merkle.verify_consistency(old, roots[old - 1], new, roots[new], path)
    for case in made["range"]:
        begin, end, size, path = case["begin"], case["end"], case["size"], digests(case["path"])
        merkle.verify_range(begin, end, size, leaves[begin:end], path, roots[size])
        with pytest.raises(VerificationError):
            merkle.verify_range(begin, end, size, leaves[begin:end], path, roots[size - 1])


def test_keys() -> None:
    """R-K01, R-K02, R-K04: the key and signature verify, messages have these bytes, and the listed ones are refused."""
    made = vectors("keys")
    signer = keys.Ed25519Signer(raw(made["seed"]))
    key = keys.parse_public_key(made["algorithm"], raw(made["public"]))
    message, signature = raw(made["message"]), raw(made["signature"])
    assert signer.public == key
    assert key.key_id == raw(made["key_id"])
    assert signer.sign(message) == signature
    key.verify(message, signature)
    for case in made["refused_keys"]:
        assert_refused("public-key", lambda case=case: keys.parse_public_key(1, raw(case["public"])))
    for case in made["refused_signatures"]:
        assert_refused("signature", lambda case=case: key.verify(message, raw(case["signature"])))
    one = made["registration"]
    assert keys.registration_message(one["origin"], one["member"], one["use"]) == raw(one["message"])
    two = made["genesis_registration"]
    blank = Digest(raw(two["blank_genesis_hash"]))
    assert keys.genesis_registration_message(two["name"], blank, two["member"], two["use"]) == raw(two["message"])


def test_events() -> None:
    """R-E10 to R-E15: events hash as listed, the listed heads and bodies are refused, the commitment comes out."""
    made = vectors("event")
    for case in made["accepted"]:
        assert event.parse_event(raw(case["head"]), raw(case["body"])).hash == raw(case["event_hash"])
    for case in made["refused_heads"]:
        assert_refused(case["code"], lambda case=case: event.parse_head(raw(case["head"])))
    for case in made["refused_bodies"]:
        assert_refused(case["code"], lambda case=case: event.parse_body(raw(case["body"])))
    one = made["commitment"]
    got = event.commitment(
        raw(one["salt32"]), one["origin"], one["member"], one["id"], one["field"], raw(one["payload"])
    )
    assert got == raw(one["commitment"])


def test_submissions() -> None:
    """R-P01, R-P02: the framing parses to these parts, the signature covers this message, each event stands alone."""
    made = vectors("submission")
    parsed = framing.parse(raw(made["framed"]))
    assert (parsed.origin, parsed.member, parsed.key_id) == (made["origin"], made["member"], raw(made["key_id"]))
    assert [each.hash.hex() for each in parsed.events] == [case["event_hash"] for case in made["events"]]
    assert [each.head.hex() for each in parsed.events] == [case["head"] for case in made["events"]]
    assert [each.body.hex() for each in parsed.events] == [case["body"] for case in made["events"]]
    assert (parsed.root, parsed.message, parsed.signature, parsed.identity) == tuple(
        raw(made[name]) for name in ("root", "message", "signature", "identity")
    )
    key = keys.parse_public_key(1, raw(made["public"]))
    submission.verify_signature(parsed, key)
    assert framing.parse(framing.encode(parsed)) == parsed
    for case in made["shown_alone"]:
        identity = submission.verify_event(
            made["origin"],
            made["member"],
            key,
            parsed.signature,
            event_hash=parsed.events[case["index"]].hash,
            index=case["index"],
            count=len(parsed.events),
            root=parsed.root,
            path=digests(case["path"]),
        )
        assert identity == parsed.identity
    for case in made["refused"]:
        assert_refused(case["code"], lambda case=case: framing.parse(raw(case["framed"])))


def test_certificates() -> None:
    """R-Q01 to R-Q03: the certificate certifies with these times, the listed notes do not, the files come out."""
    made = vectors("certificate")
    origin = made["origin"]
    log_keys = [note.parse_vkey(text)[2] for text in made["log_keys"]]
    members = [(name, key) for name, _, key in (note.parse_vkey(text, (4,)) for text in made["cosigners"])]
    assert [quorum.threshold(count) for count in range(1, 33)] == made["thresholds"]
    certified = quorum.verify_certificate(made["certificate"].encode(), origin, log_keys, members)
    assert (certified.recorded_by_s, certified.fresh_at_s) == (made["recorded_by_s"], made["fresh_at_s"])
    assert cosignature.cosignature_message(1_795_248_060, made["text"]) == raw(made["cosignature_message"])
    for case in made["refused"]:
        assert_refused(
            case["code"],
            lambda case=case: quorum.verify_certificate(case["note"].encode(), origin, log_keys, members),
        )
    assert tlogpolicy.encode_policy(origin, log_keys, members).decode() == made["policy"]
    proof = tlogproof.parse_tlog_proof(made["tlog_proof"]["file"].encode())
    leaf = Digest(raw(made["tlog_proof"]["leaf_hash"]))
    assert tlogproof.verify_tlog_proof(proof, leaf, origin, log_keys, members).checkpoint == certified.checkpoint
    assert tlogproof.encode_tlog_proof(proof).decode() == made["tlog_proof"]["file"]
