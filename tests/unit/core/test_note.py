"""Signed notes: the examples of the specification, what Go refuses, and every damage to a note."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core import note
from ledger.core.keys import PublicKey
from ledger.errors import MalformedError, VerificationError
from ledger.limits import NOTE_BYTES_MAX
from tests.unit.core.samples import assert_each_refused, signer

# The example of c2sp.org/signed-note, "Verifier keys".
EXAMPLE_VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
TEXT = "demo\n\nsecond paragraph\n"
A = note.sign_note(TEXT, "a.example", signer(1))
B = note.sign_note(TEXT, "b.example", signer(2))
VERIFY_A = note.NoteVerifier("a.example", signer(1).public)
VERIFY_B = note.NoteVerifier("b.example", signer(2).public)


def test_example_of_the_specification() -> None:
    """The published key opens the published note, and both encode to the published bytes."""
    name, kind, key = note.parse_vkey(EXAMPLE_VKEY)
    assert (name, kind) == ("example.com/foo", note.TYPE_ED25519)
    assert note.encode_vkey(name, kind, key) == EXAMPLE_VKEY
    parsed = note.parse_note(EXAMPLE_NOTE)
    opened = note.open_note(parsed, [note.NoteVerifier(name, key)])
    assert opened.text == "This is an example message.\n"
    assert len(opened.verified) == 1
    assert note.encode_note(parsed.text, parsed.lines) == EXAMPLE_NOTE


def test_example_with_unknown_key_type() -> None:
    """The first example's note parses though nobody here knows its key, and opens for nobody."""
    data = (
        "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
        "— quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
    ).encode()
    parsed = note.parse_note(data)
    assert parsed.text.count("\n") == 4
    assert parsed.lines[0].key_hash.hex() == "367ba04b"
    with pytest.raises(VerificationError) as caught:
        note.open_note(parsed, [VERIFY_A])
    assert caught.value.code == "note-unsigned"


def test_sign_and_open() -> None:
    """Lines of known keys come out verified, those of unknown keys apart, in the order of the note."""
    data = note.encode_note(TEXT, [B, A])
    assert note.open_note(note.parse_note(data), [VERIFY_A, VERIFY_B]) == note.OpenedNote(TEXT, (B, A), ())
    assert note.open_note(note.parse_note(data), [VERIFY_A]) == note.OpenedNote(TEXT, (A,), (B,))
    same_name = note.NoteVerifier("a.example", signer(2).public)
    assert note.open_note(note.parse_note(data), [VERIFY_B, same_name]).unknown == (A,)


def test_a_bad_line_of_a_known_key_refuses_the_note() -> None:
    """One bad line is enough, also beside good ones; the same line of an unknown key is only set apart."""
    bad = note.NoteLine(B.name, B.key_hash, A.signature)
    parsed = note.parse_note(note.encode_note(TEXT, [A, bad]))
    with pytest.raises(VerificationError) as caught:
        note.open_note(parsed, [VERIFY_A, VERIFY_B])
    assert (caught.value.code, caught.value.evidence["name"]) == ("note-line", "b.example")
    assert note.open_note(parsed, [VERIFY_A]).unknown == (bad,)


def test_doubled_and_ambiguous_keys_are_refused() -> None:
    """Two lines of one key, and two verifiers that a line cannot tell apart, are refused."""
    parsed = note.parse_note(note.encode_note(TEXT, [A, B, A]))
    with pytest.raises(VerificationError) as caught:
        note.open_note(parsed, [VERIFY_A])
    assert caught.value.code == "note-doubled"
    with pytest.raises(VerificationError) as caught:
        note.open_note(parsed, [VERIFY_A, VERIFY_A])
    assert caught.value.code == "note-ambiguous"


def test_every_damaged_note_is_refused() -> None:
    """No damaged note opens: malformed, or a known line that does not hold, or none left."""
    data = note.encode_note(TEXT, [A, B])

    def open_same(broken: bytes) -> None:
        parsed = note.parse_note(broken)
        assert note.encode_note(parsed.text, parsed.lines) == broken
        opened = note.open_note(parsed, [VERIFY_A, VERIFY_B])
        assert opened.text == TEXT
        assert set(opened.verified) <= {A, B}
        raise VerificationError("weaker", "same text with fewer good lines")

    assert_each_refused(data, open_same, (MalformedError, VerificationError))


GOOD_BASE64 = b64encode(A.key_hash + A.signature).decode()
REFUSED = {
    "empty": "",
    "no signatures": "a\n",
    "no blank line": "a\n— n AAAAAAA=\n",
    "blank line, nothing after": "a\n\n",
    "blank line, newline after": "a\n\n\n",
    "no final newline": f"a\n\n— n {GOOD_BASE64}",
    "hyphen for dash": f"a\n\n- n {GOOD_BASE64}\n",
    "no space": f"a\n\n—n {GOOD_BASE64}\n",
    "no name": f"a\n\n— {GOOD_BASE64}\n",
    "empty name": f"a\n\n—  {GOOD_BASE64}\n",
    "plus in name": f"a\n\n— n+m {GOOD_BASE64}\n",
    "unicode space in name": f"a\n\n— n\u2003m {GOOD_BASE64}\n",
    "no-break space in name": f"a\n\n— n\u00a0m {GOOD_BASE64}\n",
    "no base64": "a\n\n— n \n",
    "not base64": "a\n\n— n ????\n",
    "base64 not padded": "a\n\n— n AAAAAAA\n",
    "base64 trailing bits": "a\n\n— n AAAAAAB=\n",
    "base64 url alphabet": "a\n\n— n AAAA_w==AAAA\n",
    "base64 not ASCII": "a\n\n— n ÀAAAAAA=\n",
    "only key hash": "a\n\n— n AAAAAA==\n",
    "tail": f"a\n\n— n {GOOD_BASE64} x\n",
    "two spaces": f"a\n\n— n  {GOOD_BASE64}\n",
    "tab": f"a\tb\n\n— n {GOOD_BASE64}\n",
    "carriage return": f"a\r\n\n— n {GOOD_BASE64}\n",
    "NUL": f"a\0\n\n— n {GOOD_BASE64}\n",
    "text line among signatures": f"a\n\n— n {GOOD_BASE64}\nb\n",
    "101 lines": "a\n\n" + f"— n {GOOD_BASE64}\n" * 101,
    "too long": "a" * NOTE_BYTES_MAX + f"\n\n— n {GOOD_BASE64}\n",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_malformed_notes(text: str) -> None:
    """What is no signed note is malformed, with code note, key-name where a name is at fault."""
    with pytest.raises(MalformedError) as caught:
        note.parse_note(text.encode())
    assert caught.value.code in {"note", "key-name"}


def test_not_utf8_is_malformed() -> None:
    """Broken UTF-8, surrogates and overlong forms are refused."""
    for bad in (b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x80"):
        with pytest.raises(MalformedError, match="UTF-8"):
            note.parse_note(b"a" + bad + b"\n\n" + A.encode().encode())


def test_a_hundred_lines_are_accepted() -> None:
    """The limit itself is allowed, and a text of nothing but a newline too, as in Go."""
    data = ("\n\n" + f"— n {GOOD_BASE64}\n" * 100).encode()
    assert len(note.parse_note(data).lines) == 100
    assert note.parse_note(data).text == "\n"


@given(
    st.binary(max_size=60)
    | st.text(max_size=40).map(lambda text: (text + "\n\n" + A.encode()).encode("utf-8", "replace"))
)
def test_any_bytes_parse_or_are_malformed(data: bytes) -> None:
    """Whatever is accepted encodes to the same bytes; everything else is MalformedError."""
    try:
        parsed = note.parse_note(data)
    except MalformedError:
        return
    assert note.encode_note(parsed.text, parsed.lines) == data


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("no newline", [A]),
        ("a\n", []),
        ("a\n\n— looks like a line", [A]),
        ("\ud800\n", [A]),
        ("a\tb\n", [A]),
        ("a\n", [note.NoteLine("bad name", A.key_hash, A.signature)]),
        ("a\n", [note.NoteLine("n", A.key_hash[:3], b"")]),
        ("a\n", [note.NoteLine("n", A.key_hash + b"x", A.signature)]),
        ("a\n", [A] * 101),
    ],
    ids=str,
)
def test_encode_refuses_what_would_not_parse_back(text: str, lines: list[note.NoteLine]) -> None:
    """encode_note never writes a note that reads differently."""
    with pytest.raises(MalformedError):
        note.encode_note(text, lines)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u3000b", "a\nb", "a\x1cb", "a\u0085b", "\ud800"])
def test_bad_key_names(name: str) -> None:
    """Names that a line cannot carry are refused wherever a name is given."""
    key = signer(1).public
    for call in (
        lambda: note.NoteVerifier(name, key),
        lambda: note.sign_note(TEXT, name, signer(1)),
        lambda: note.encode_vkey(name, 1, key),
    ):
        with pytest.raises(MalformedError) as caught:
            call()
        assert caught.value.code == "key-name"


def test_signing_needs_a_final_newline() -> None:
    """Text without its newline is refused before it is signed."""
    with pytest.raises(MalformedError):
        note.sign_note("a", "n", signer(1))


def vkey(name: str, kind: int, raw: bytes, hashed: bytes | None = None) -> str:
    """A verifier key of any parts."""
    data = b64encode(bytes((kind,)) + raw).decode()
    return f"{name}+{(hashed or note.key_hash_of(name, kind, raw)).hex()}+{data}"


RAW = signer(1).public.raw


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "vkey"),
        ("a", "vkey"),
        ("a+b", "vkey"),
        ("a+00000000+", "vkey"),
        (vkey("n", 1, RAW, b"\0\0\0\1"), "vkey"),
        (vkey("n", 1, RAW).replace("+", "+0", 1), "vkey"),
        (vkey("n", 4, RAW), "vkey"),
        (vkey("n", 2, RAW), "vkey"),
        (vkey("n m", 1, RAW), "key-name"),
        (vkey("", 1, RAW), "key-name"),
        (vkey("n", 1, RAW[:31]), "public-key"),
        (vkey("n", 1, bytes(32)), "public-key"),
        (vkey("n", 1, RAW) + "=", "vkey"),
        (vkey("n", 1, RAW) + "+x", "vkey"),
        (vkey("n", 1, RAW).upper(), "vkey"),
    ],
)
def test_bad_verifier_keys(text: str, code: str) -> None:
    """Each part of a verifier key is checked, and the key inside as at registration."""
    with pytest.raises(MalformedError) as caught:
        note.parse_vkey(text)
    assert caught.value.code == code


def test_verifier_keys_of_other_types() -> None:
    """A wanted type other than 1 is read with its own hash."""
    name, kind, key = note.parse_vkey(vkey("n", 4, RAW), (1, 4))
    assert (name, kind, key) == ("n", 4, PublicKey(1, RAW))


@pytest.mark.parametrize("text", ["A", "AA", "AAA", "AA==AA==", "AB==", "AAB=", "A A=", "AA\n=", "-_==", "é"])
def test_base64_has_one_spelling(text: str) -> None:
    """Padding, trailing bits and alphabet are exact."""
    with pytest.raises(MalformedError) as caught:
        note.decode_base64(text, "x")
    assert caught.value.code == "x"


def test_base64_accepts_the_canonical_form() -> None:
    """Encoding and decoding invert each other, for the empty string too."""
    for data in (b"", b"\0", b"\xff\xfe", bytes(range(256))):
        assert note.decode_base64(note.encode_base64(data), "x") == data


def test_protocol_is_met() -> None:
    """A verifier names its key whole, so that others can count distinct keys."""
    verifier: Any = VERIFY_A
    assert verifier.key.key_id == signer(1).public.key_id
