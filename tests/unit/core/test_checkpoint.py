"""Checkpoints and cosignatures: three lines, and a statement in time over them."""

from __future__ import annotations

import pytest

from ledger.core import checkpoint, cosignature, note
from ledger.core.hashing import Digest
from ledger.core.keys import parse_public_key
from ledger.core.merkle import EMPTY_ROOT
from ledger.errors import MalformedError, VerificationError
from ledger.limits import INT_MAX
from tests.unit.core.samples import ORIGIN, TIME_S, assert_each_refused, digest, signer

HEAD = checkpoint.Checkpoint(ORIGIN, 20852163, digest(1))
TEXT = checkpoint.encode_checkpoint(HEAD)
ROOT_LINE = note.encode_base64(digest(1))


def test_text_byte_for_byte() -> None:
    """Origin, size and root stand on a line each, and parse back."""
    assert f"{ORIGIN}\n20852163\n{ROOT_LINE}\n" == TEXT
    assert checkpoint.parse_checkpoint_text(TEXT) == HEAD


@pytest.mark.parametrize("size", [1, 9, 10, 2**32, INT_MAX])
def test_sizes(size: int) -> None:
    """Every size up to the largest exact JSON integer has one spelling."""
    head = checkpoint.Checkpoint(ORIGIN, size, digest(1))
    assert checkpoint.parse_checkpoint_text(checkpoint.encode_checkpoint(head)) == head


def test_the_empty_tree() -> None:
    """Size 0 goes with the empty root and no other."""
    head = checkpoint.Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert checkpoint.parse_checkpoint_text(checkpoint.encode_checkpoint(head)) == head
    with pytest.raises(MalformedError):
        checkpoint.Checkpoint(ORIGIN, 0, digest(1))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        f"{ORIGIN}\n7\n{ROOT_LINE}",
        f"{ORIGIN}\n7\n{ROOT_LINE}\nextension\n",
        f"{ORIGIN}\n7\n{ROOT_LINE}\n\n",
        f"{ORIGIN}\n7\n",
        f"demo\n7\n{ROOT_LINE}\n",
        f"\n7\n{ROOT_LINE}\n",
        f"{ORIGIN}\n07\n{ROOT_LINE}\n",
        f"{ORIGIN}\n-7\n{ROOT_LINE}\n",
        f"{ORIGIN}\n+7\n{ROOT_LINE}\n",
        f"{ORIGIN}\n 7\n{ROOT_LINE}\n",
        f"{ORIGIN}\n٧\n{ROOT_LINE}\n",
        f"{ORIGIN}\n\n{ROOT_LINE}\n",
        f"{ORIGIN}\n{INT_MAX + 1}\n{ROOT_LINE}\n",
        f"{ORIGIN}\n{10**40}\n{ROOT_LINE}\n",
        f"{ORIGIN}\n7\n{ROOT_LINE[:-1]}\n",
        f"{ORIGIN}\n7\n{ROOT_LINE[:-4]}\n",
        f"{ORIGIN}\n7\n{note.encode_base64(digest(1) + b'x')}\n",
        f"{ORIGIN}\n7\n{digest(1).hex()}\n",
        f"{ORIGIN}\n0\n{ROOT_LINE}\n",
    ],
)
def test_other_texts_are_malformed(text: str) -> None:
    """Extensions, other spellings of size or root, and other origins are refused."""
    with pytest.raises(MalformedError) as caught:
        checkpoint.parse_checkpoint_text(text)
    assert caught.value.code in {"checkpoint", "origin"}


@pytest.mark.parametrize(("size", "root"), [(-1, digest(1)), (INT_MAX + 1, digest(1)), (1, Digest(b"short"))])
def test_values_out_of_range_are_refused(size: int, root: Digest) -> None:
    """A checkpoint cannot be built with a size or root that has no spelling."""
    with pytest.raises(MalformedError):
        checkpoint.Checkpoint(ORIGIN, size, root)


def test_damaged_texts_are_refused_or_differ() -> None:
    """No damaged text reads as the same checkpoint."""

    def judge(broken: bytes) -> None:
        try:
            text = broken.decode()
        except UnicodeDecodeError:
            raise MalformedError("utf-8") from None
        head = checkpoint.parse_checkpoint_text(text)
        assert head != HEAD
        assert checkpoint.encode_checkpoint(head) == text
        raise MalformedError("another")

    assert_each_refused(TEXT.encode(), judge, MalformedError)


# --- cosignatures


def test_message_as_in_the_specification() -> None:
    """The signed message is that of c2sp.org/tlog-cosignature."""
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    expected = b"cosignature/v1\ntime 1679315147\n" + text.encode()
    assert cosignature.cosignature_message(1679315147, text) == expected


def test_example_line_of_the_specification() -> None:
    """The published witness line has the published key hash and time."""
    line = note.parse_note(
        (
            "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
            "— witness.example.com/w1 "
            "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
        ).encode()
    ).lines[0]
    assert line.key_hash.hex() == "8d66cf3f"
    assert cosignature.timestamp_of(line.signature) == 1679315147


@pytest.mark.parametrize("time_s", [0, 1, TIME_S, 2**63 - 1])
def test_sign_and_verify(time_s: int) -> None:
    """A line carries its time in eight bytes and verifies over the same text only."""
    line = cosignature.sign_cosignature(TEXT, "w1", signer(1), time_s)
    verifier = cosignature.CosignatureVerifier("w1", signer(1).public)
    assert (line.name, line.key_hash) == (verifier.name, verifier.key_hash)
    assert line.signature[:8] == time_s.to_bytes(8, "big")
    assert cosignature.timestamp_of(line.signature) == time_s
    verifier.verify(TEXT, line.signature)
    with pytest.raises(VerificationError):
        verifier.verify(TEXT.replace("2", "3", 1), line.signature)


def test_every_damaged_cosignature_is_refused() -> None:
    """Time and signature are both covered; nothing shorter or longer passes."""
    verifier = cosignature.CosignatureVerifier("w1", signer(1).public)
    line = cosignature.sign_cosignature(TEXT, "w1", signer(1), TIME_S)
    assert_each_refused(line.signature, lambda data: verifier.verify(TEXT, data), VerificationError)


def test_type_separates_key_hashes() -> None:
    """One key has another hash as log key and as cosigner, and neither's line passes for the other's."""
    key = signer(1).public
    assert cosignature.CosignatureVerifier("n", key).key_hash != note.NoteVerifier("n", key).key_hash
    line = note.sign_note(TEXT, "n", signer(1))
    with pytest.raises(VerificationError) as caught:
        cosignature.CosignatureVerifier("n", key).verify(TEXT, line.signature)
    assert caught.value.code == "cosignature"
    assert parse_public_key(1, key.raw) == key


@pytest.mark.parametrize("time_s", [-1, 2**63])
def test_times_out_of_range(time_s: int) -> None:
    """Times below 0 or above 2^63-1 are neither signed nor accepted."""
    with pytest.raises(MalformedError):
        cosignature.sign_cosignature(TEXT, "w1", signer(1), time_s)
    if time_s > 0:
        forged = time_s.to_bytes(8, "big") + signer(1).sign(cosignature.cosignature_message(time_s, TEXT))
        with pytest.raises(VerificationError, match="out of range"):
            cosignature.CosignatureVerifier("w1", signer(1).public).verify(TEXT, forged)


@pytest.mark.parametrize("name", ["", "a b", "a+b"])
def test_bad_cosigner_names(name: str) -> None:
    """Names that a line cannot carry are refused."""
    with pytest.raises(MalformedError):
        cosignature.CosignatureVerifier(name, signer(1).public)
    with pytest.raises(MalformedError):
        cosignature.sign_cosignature(TEXT, name, signer(1), TIME_S)
