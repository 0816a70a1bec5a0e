"""tlog-proof files and tlog-policy files, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core import merkle, tlogpolicy, tlogproof
from ledger.core.note import encode_base64
from ledger.errors import LedgerError, MalformedError, VerificationError
from ledger.limits import INT_MAX
from tests.unit.core.samples import ORIGIN, assert_each_refused, certificate, cosigners, digest, signer

LEAVES = [digest(number) for number in range(13)]
ROOT = merkle.root(LEAVES)
NODES = {
    (level, first + at): each
    for level, (first, row) in enumerate(merkle.EMPTY_RANGE.grow(LEAVES)[1])
    for at, each in enumerate(row)
}
NOTE = certificate(3, 3, size=13, root=ROOT)
LOG = [signer(50).public]
INDEX = 6
PATH = tuple(merkle.prove_inclusion(INDEX, 13, NODES))
PROOF = tlogproof.TlogProof(INDEX, PATH, NOTE)


def test_file_byte_for_byte() -> None:
    """Header, extra, index, path, empty line and note stand as the specification says."""
    lines = "".join(encode_base64(each) + "\n" for each in PATH).encode()
    assert tlogproof.encode_tlog_proof(PROOF) == b"c2sp.org/tlog-proof@v1\nindex 6\n" + lines + b"\n" + NOTE
    with_extra = tlogproof.TlogProof(INDEX, PATH, NOTE, b"\0extra")
    data = tlogproof.encode_tlog_proof(with_extra)
    assert data == b"c2sp.org/tlog-proof@v1\nextra AGV4dHJh\nindex 6\n" + lines + b"\n" + NOTE
    assert tlogproof.parse_tlog_proof(data) == with_extra


@pytest.mark.parametrize("index", range(13))
def test_every_leaf_verifies(index: int) -> None:
    """Each leaf's file verifies for that leaf and for no other."""
    proof = tlogproof.TlogProof(index, tuple(merkle.prove_inclusion(index, 13, NODES)), NOTE)
    parsed = tlogproof.parse_tlog_proof(tlogproof.encode_tlog_proof(proof))
    certified = tlogproof.verify_tlog_proof(parsed, LEAVES[index], ORIGIN, LOG, cosigners(3))
    assert (certified.checkpoint.size, certified.checkpoint.root) == (13, ROOT)
    with pytest.raises(VerificationError) as caught:
        tlogproof.verify_tlog_proof(parsed, LEAVES[index - 1], ORIGIN, LOG, cosigners(3))
    assert caught.value.code == "inclusion"


def test_a_tree_of_one_leaf_has_an_empty_path() -> None:
    """Without a path the empty line follows the index at once."""
    proof = tlogproof.TlogProof(0, (), certificate(1, 1, size=1, root=LEAVES[0]))
    data = tlogproof.encode_tlog_proof(proof)
    assert data.startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n\n" + ORIGIN.encode())
    tlogproof.verify_tlog_proof(tlogproof.parse_tlog_proof(data), LEAVES[0], ORIGIN, LOG, cosigners(1))


def test_every_damaged_proof_is_refused() -> None:
    """Flipped, truncated, extended or swapped, a proof file never verifies."""

    def judge(broken: bytes) -> None:
        tlogproof.verify_tlog_proof(tlogproof.parse_tlog_proof(broken), LEAVES[INDEX], ORIGIN, LOG, cosigners(3))

    assert_each_refused(tlogproof.encode_tlog_proof(PROOF), judge, LedgerError)


HASH_LINE = encode_base64(digest(1)).encode() + b"\n"
HEAD = b"c2sp.org/tlog-proof@v1\n"
REFUSED = {
    "empty": b"",
    "header only": HEAD,
    "other version": b"c2sp.org/tlog-proof@v2\nindex 0\n\n" + NOTE,
    "no index": HEAD + HASH_LINE + b"\n" + NOTE,
    "nothing before the note": HEAD + b"\n" + NOTE,
    "index leading zero": HEAD + b"index 06\n\n" + NOTE,
    "index negative": HEAD + b"index -6\n\n" + NOTE,
    "index two spaces": HEAD + b"index  6\n\n" + NOTE,
    "index too large": HEAD + b"index %d\n\n" % (INT_MAX + 1) + NOTE,
    "index too long": HEAD + b"index " + b"9" * 99 + b"\n\n" + NOTE,
    "extra empty": HEAD + b"extra \nindex 6\n\n" + NOTE,
    "extra not base64": HEAD + b"extra ?\nindex 6\n\n" + NOTE,
    "extra not canonical": HEAD + b"extra AB==\nindex 6\n\n" + NOTE,
    "extra too long": HEAD + b"extra " + b"AAAA" * 11_000 + b"\nindex 6\n\n" + NOTE,
    "extra twice": HEAD + b"extra AAAA\nextra AAAA\nindex 6\n\n" + NOTE,
    "extra alone": HEAD + b"extra AAAA\n\n" + NOTE,
    "extra after index": HEAD + b"index 6\nextra AAAA\n\n" + NOTE,
    "short hash": HEAD + b"index 6\nAAAA\n\n" + NOTE,
    "65 hashes": HEAD + b"index 6\n" + HASH_LINE * 65 + b"\n" + NOTE,
    "carriage returns": HEAD.replace(b"\n", b"\r\n") + b"index 6\r\n\r\n" + NOTE,
    "not ASCII": HEAD + "index ６\n\n".encode() + NOTE,
    "no note": HEAD + b"index 6\n\n",
    "note not signed": HEAD + b"index 6\n\n" + NOTE.split(b"\n\n")[0] + b"\n",
    "huge": HEAD + b"index 6\n\n" + NOTE + b"x" * 200_000,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_malformed_files(data: bytes) -> None:
    """Other spellings are refused as malformed."""
    with pytest.raises(MalformedError) as caught:
        tlogproof.parse_tlog_proof(data)
    assert caught.value.code in {"tlog-proof", "note"}


@given(st.binary(max_size=80) | st.binary(max_size=60).map(lambda tail: HEAD + tail))
def test_any_bytes_are_malformed(data: bytes) -> None:
    """No bytes make the parser raise anything but MalformedError."""
    with pytest.raises(MalformedError):
        tlogproof.parse_tlog_proof(data)


@pytest.mark.parametrize(
    "proof",
    [
        tlogproof.TlogProof(-1, PATH, NOTE),
        tlogproof.TlogProof(INDEX, (digest(1)[:31],), NOTE),
        tlogproof.TlogProof(INDEX, PATH, b"no note"),
        tlogproof.TlogProof(INDEX, PATH, NOTE, b""),
        tlogproof.TlogProof(INDEX, [*PATH], NOTE),
    ],
)
def test_encode_refuses_what_would_not_parse_back(proof: Any) -> None:
    """encode never writes a file that reads differently."""
    with pytest.raises(MalformedError):
        tlogproof.encode_tlog_proof(proof)


def test_policy_byte_for_byte() -> None:
    """One log, three witnesses, a group with the threshold of more than two thirds."""
    made = tlogpolicy.encode_policy(ORIGIN, LOG, cosigners(3), {"c01": "https://ga.example/cosign"}).decode()
    lines = made.split("\n")
    assert lines[0].startswith(f"log {ORIGIN}+")
    assert [line.split(" ")[:2] for line in lines[1:4]] == [["witness", f"cosigner-{n}"] for n in (1, 2, 3)]
    assert [line.split(" ")[2].split("+")[0] for line in lines[1:4]] == ["c00", "c01", "c02"]
    assert [len(line.split(" ")) for line in lines[1:4]] == [3, 4, 3]
    assert lines[2].endswith(" https://ga.example/cosign")
    assert lines[4:] == [
        "group more-than-two-thirds 3 cosigner-1 cosigner-2 cosigner-3",
        "quorum more-than-two-thirds",
        "",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("demo", LOG, cosigners(1)), "origin"),
        ((ORIGIN, [], cosigners(1)), "log-keys"),
        ((ORIGIN, [*LOG, *LOG], cosigners(1)), "log-keys"),
        ((ORIGIN, LOG, []), "cosigners"),
        ((ORIGIN, LOG, cosigners(1), {"c00": "https://a b"}), "url"),
        ((ORIGIN, LOG, cosigners(1), {"c00": "https://a\nquorum none"}), "url"),
        ((ORIGIN, LOG, cosigners(1), {"c00": "https://a#b"}), "url"),
    ],
)
def test_policies_refuse_bad_parts(arguments: tuple[Any, ...], code: str) -> None:
    """Nothing that would end a line or a field early gets into a policy."""
    with pytest.raises(MalformedError) as caught:
        tlogpolicy.encode_policy(*arguments)
    assert caught.value.code == code
