"""The checked-in vectors of state map, streams and proof files: what the generator makes, and what the code does.

A program in another language can be held against the same files: each test here reads nothing but JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ledger.core import buckets, mapkeys, mapproof, merkle, stream
from ledger.core.cosignature import TYPE_COSIGNATURE
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import Digest
from ledger.core.note import TYPE_ED25519, parse_vkey
from ledger.core.proof import CompletenessResult, Trust, parse_proof, trust_genesis, verify_proof
from ledger.core.proofjson import encode_map_proof, map_proof
from ledger.errors import LedgerError, VerificationError
from tests.models.reference_map import ReferenceMap, ReferenceStream, bucket_data

FOLDER = Path(__file__).parent / "state"
ROOT = Path(__file__).resolve().parents[2]


@cache
def vectors(name: str) -> dict[str, Any]:
    """One file of vectors."""
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def raw(text: str) -> Digest:
    """Bytes from hex."""
    return Digest(bytes.fromhex(text))


def refused(code: str, call, *arguments) -> None:
    """The call refuses with the code of the vector."""
    with pytest.raises(LedgerError) as caught:
        call(*arguments)
    assert caught.value.code == code


def test_files_are_what_the_generator_makes():
    """Running the generator changes no file."""
    script = str(ROOT / "scripts" / "make_state_vectors.py")
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_names_its_requirements():
    """Each vector file says which requirements of SPEC it exercises, and SPEC has them."""
    spec = (ROOT / "docs" / "SPEC.md").read_text(encoding="utf-8")
    for file in FOLDER.glob("*.json"):
        for number in vectors(file.stem)["requirements"]:
            assert f"**{number}**" in spec, (file.name, number)


def test_keys_values_and_blinds():
    """R-M01, R-M02, R-M05, R-M06: keys, hashes, blinds and blinded objects have these bytes."""
    found = vectors("keys")
    keys = {each["name"]: raw(each["key"]) for each in found["keys"]}
    assert keys["stream dataset/ga/hukou!refused"] == mapkeys.stream_key("dataset", "ga/hukou", refused=True)
    assert keys["object timer/A3/application/x/y"] == mapkeys.object_key("timer/A3/application/x/y")
    for each in found["keys"]:
        assert mapkeys.key_hash(raw(each["key"])).hex() == each["hash"]
    for each in found["values"]:
        assert mapkeys.value_hash(raw(each["value"])).hex() == each["hash"]
    blind = None
    for each in found["blinds"]:
        blind = mapkeys.next_blind(blind, raw(each["touch"]))
        assert blind.hex() == each["blind"]
    held = found["object"]
    assert mapkeys.parse_object_value(held["value"].encode()) == (raw(held["blind"]), held["object"].encode())
    for each in found["refused"]:
        refused(each["code"], mapkeys.parse_object_value, raw(each["value"]))


def test_buckets():
    """R-M03, R-M04: counts, places and commitments, by the code and by the definition."""
    found = vectors("buckets")
    for each in found["counts"]:
        assert buckets.bucket_count(each["keys"]) == each["n"]
    for each in found["places"]:
        assert buckets.bucket_index(raw(each["hash"]), each["n"]) == each["index"]
    for each in found["buckets"]:
        packed = raw(each["pairs"])
        assert len(packed) == 64 * each["count"]
        assert buckets.bucket_leaf_hash(packed).hex() == each["leaf_hash"]
        assert merkle.leaf_hash(bucket_data(packed)).hex() == each["leaf_hash"]


def test_map():
    """R-M03, R-M04, R-M07: the state after each block by the definition, and the proofs at its end."""
    found, reference = vectors("map"), ReferenceMap()
    for block in found["blocks"]:
        reference.write({raw(key): raw(value) for key, value in block["changes"]})
        assert (reference.n, len(reference.pairs), reference.root().hex()) == (block["n"], block["keys"], block["root"])
    last = found["blocks"][-1]
    for each in found["proofs"]:
        proof = map_proof(each["proof"], "proof")
        shown = mapproof.verify_map(raw(last["root"]), last["n"], last["keys"], raw(each["key_hash"]), proof)
        assert (shown and shown.hex()) == each["value_hash"]
        assert encode_map_proof(proof) == each["proof"]


def test_stream():
    """R-S01, R-S04: the stream's value after each block by the definition; other values are none."""
    found, reference = vectors("stream"), ReferenceStream()
    for block in found["blocks"]:
        hashes = [raw(each) for each in block["leaf_hashes"]]
        reference.join(block["seqs"], hashes, block["time"], [raw(block["touch"])])
        assert reference.value().decode() == block["value"]
        assert stream.parse_stream_value(block["value"].encode()).encode().decode() == block["value"]
    for each in found["refused"]:
        refused(each["code"], stream.parse_stream_value, each["value"].encode())


def trust() -> Trust:
    """The trust of the proof vectors: keys from their own lines, which are those of the genesis."""
    found = vectors("proofs")["trust"]
    made = trust_genesis(parse_genesis(found["genesis"].encode()), found["now_s"], max_age_s=found["max_age_s"])
    logs = tuple(parse_vkey(each, (TYPE_ED25519,))[2] for each in found["log_keys"])
    cosigners = [parse_vkey(each, (TYPE_COSIGNATURE,)) for each in found["cosigners"]]
    assert made.origin == found["origin"]
    assert (made.log_keys, made.cosigners) == (logs, tuple((name, key) for name, _, key in cosigners))
    return made


@pytest.mark.parametrize("case", vectors("proofs")["accepted"], ids=lambda case: case["name"])
def test_proofs_accepted(case):
    """R-V01 to R-V06: the file holds, says what it leaves open, and encodes to itself; later it may be stale."""
    data, found = case["file"].encode(), vectors("proofs")
    assert parse_proof(data).encode() == data
    result = verify_proof(data, trust())
    assert list(getattr(result, "not_checked", ())) == case["not_checked"]
    later = replace(trust(), now_s=found["stale_at_s"])
    if isinstance(result, CompletenessResult):
        counts = {level: getattr(result.counts, level) for level in ("full", "head", "record", "hash")}
        assert counts == found["counts"][case["name"]]
    if case["name"].startswith(("completeness", "absence")):
        with pytest.raises(VerificationError) as caught:
            verify_proof(data, later)
        assert caught.value.code == "stale"
    else:
        verify_proof(data, later)


@pytest.mark.parametrize("case", vectors("proofs")["refused"], ids=lambda case: case["why"])
def test_proofs_refused(case):
    """R-V01 to R-V06: the file does not hold."""
    refused(case["code"], verify_proof, case["file"].encode(), trust())
