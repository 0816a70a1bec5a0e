"""Quorum certificates: more than two thirds of distinct keys, each verified, and nothing less."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core import quorum
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.note import NoteLine, encode_note, parse_note, sign_note
from ledger.errors import LedgerError, MalformedError, VerificationError
from tests.unit.core import samples
from tests.unit.core.samples import (
    ORIGIN,
    OTHER_ORIGIN,
    TIME_S,
    assert_each_refused,
    certificate,
    cosigners,
    digest,
    signer,
)

LOG = [signer(50).public]


def note_lines(data: bytes) -> list[NoteLine]:
    """The lines of a note."""
    return list(parse_note(data).lines)


def test_threshold_is_more_than_two_thirds() -> None:
    """For every set size the threshold k is the smallest with 3k > 2n."""
    for count in range(1, 33):
        k = quorum.threshold(count)
        assert 3 * k > 2 * count >= 3 * (k - 1)
        assert k <= count
    assert [quorum.threshold(count) for count in (1, 2, 3, 4, 7, 32)] == [1, 2, 3, 3, 5, 22]
    with pytest.raises(MalformedError):
        quorum.threshold(0)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
def test_exactly_the_threshold_certifies(count: int) -> None:
    """One line fewer than the threshold is refused, the threshold and more are accepted."""
    needed = quorum.threshold(count)
    for signing in range(count + 1):
        data = certificate(count, signing)
        if signing < needed:
            with pytest.raises(VerificationError) as caught:
                quorum.verify_certificate(data, ORIGIN, LOG, cosigners(count))
            assert (caught.value.code, caught.value.evidence["got"]) == ("quorum", signing)
            assert len(quorum.verify_note(data, ORIGIN, LOG, cosigners(count)).cosignatures) == signing
            continue
        certified = quorum.verify_certificate(data, ORIGIN, LOG, cosigners(count))
        assert certified.checkpoint == Checkpoint(ORIGIN, 7, digest(7))
        assert [name for name, _, _ in certified.lines] == [f"c{number:02d}" for number in range(signing)]
        assert [key_id for _, key_id, _ in certified.lines] == [key.key_id for _, key in cosigners(signing)]
        times = sorted(TIME_S + count - number for number in range(signing))
        assert certified.recorded_by_s == times[needed - 1]
        assert certified.fresh_at_s == times[-needed]


def test_log_keys_in_any_shape() -> None:
    """Log keys may come as a mapping, a list with doubles, or with others that did not sign."""
    data = certificate(1, 1)
    for keys in ({LOG[0].key_id: LOG[0]}, [*LOG, *LOG], (signer(51).public, *LOG)):
        assert quorum.verify_certificate(data, ORIGIN, keys, cosigners(1)).checkpoint.size == 7


def certificate_with(*extra: NoteLine, signing: int = 3) -> bytes:
    """A certificate of four cosigners with more lines in front."""
    lines = note_lines(certificate(4, signing))
    return encode_note(parse_note(certificate(4, signing)).text, [*extra, *lines])


def test_order_and_unknown_lines_mean_nothing() -> None:
    """Lines in any order certify the same, and lines of strangers change nothing, not even with a known name."""
    text = parse_note(certificate(4, 3)).text
    stranger = sign_cosignature(text, "stranger", signer(9), TIME_S - 500)
    borrowed = sign_cosignature(text, "c03", signer(9), TIME_S - 500)
    plain = quorum.verify_certificate(certificate(4, 3), ORIGIN, LOG, cosigners(4))
    assert quorum.verify_certificate(certificate_with(stranger, borrowed), ORIGIN, LOG, cosigners(4)) == plain
    backwards = encode_note(text, note_lines(certificate(4, 3))[::-1])
    assert quorum.verify_certificate(backwards, ORIGIN, LOG, cosigners(4)) == plain


def test_strangers_and_repeats_do_not_count() -> None:
    """Two of four plus strangers are no quorum, and a key that signs twice refuses the note."""
    text = parse_note(certificate(4, 2)).text
    strangers = [sign_cosignature(text, f"s{n}", signer(n), TIME_S) for n in range(5)]
    with pytest.raises(VerificationError) as caught:
        quorum.verify_certificate(certificate_with(*strangers, signing=2), ORIGIN, LOG, cosigners(4))
    assert caught.value.code == "quorum"
    again = sign_cosignature(text, "c00", signer(100), TIME_S + 60)
    with pytest.raises(VerificationError) as caught:
        quorum.verify_certificate(certificate_with(again, signing=2), ORIGIN, LOG, cosigners(4))
    assert caught.value.code == "note-doubled"


def test_one_bad_known_line_refuses_the_note() -> None:
    """A quorum beside one bad line of a known cosigner or log key is refused, as in Go."""
    text = parse_note(certificate(4, 3)).text
    other = encode_checkpoint(Checkpoint(ORIGIN, 8, digest(8)))
    for bad in (sign_cosignature(other, "c03", signer(103), TIME_S), sign_note(other, ORIGIN, signer(51))):
        with pytest.raises(VerificationError) as caught:
            quorum.verify_certificate(certificate_with(bad), ORIGIN, [*LOG, signer(51).public], cosigners(4))
        assert caught.value.code == "note-line"
    assert parse_note(certificate_with()).text == text


def test_a_log_line_is_needed() -> None:
    """Cosignatures alone, or beside another log's key, do not certify."""
    lines = note_lines(certificate(1, 1))
    data = encode_note(parse_note(certificate(1, 1)).text, lines[1:])
    for keys, note in ((LOG, data), ([signer(51).public], certificate(1, 1)), ([], certificate(1, 1))):
        with pytest.raises(VerificationError) as caught:
            quorum.verify_certificate(note, ORIGIN, keys, cosigners(1))
        assert caught.value.code == "log-line"


def test_roles_do_not_mix() -> None:
    """A cosigner's plain signature is no cosignature, and a log key's cosignature no log line."""
    text = encode_checkpoint(Checkpoint(ORIGIN, 7, digest(7)))
    plain = encode_note(text, [sign_note(text, ORIGIN, signer(50)), sign_note(text, "c00", signer(100))])
    with pytest.raises(VerificationError) as caught:
        quorum.verify_certificate(plain, ORIGIN, LOG, cosigners(1))
    assert caught.value.code == "quorum"
    timed = encode_note(
        text, [sign_cosignature(text, ORIGIN, signer(50), TIME_S), sign_cosignature(text, "c00", signer(100), TIME_S)]
    )
    with pytest.raises(VerificationError) as caught:
        quorum.verify_certificate(timed, ORIGIN, LOG, cosigners(1))
    assert caught.value.code == "log-line"


def test_another_origin_is_refused() -> None:
    """A certificate of one network says nothing on another."""
    with pytest.raises(VerificationError) as caught:
        quorum.verify_certificate(certificate(1, 1), OTHER_ORIGIN, LOG, cosigners(1))
    assert caught.value.code == "origin"


def test_log_keys_that_a_line_cannot_tell_apart_are_refused(monkeypatch: Any) -> None:
    """Two log keys with one key hash are ambiguous, never a silent choice."""
    monkeypatch.setattr("ledger.core.note.key_hash_of", lambda *_: b"same")
    with pytest.raises(VerificationError) as caught:
        quorum.verify_note(certificate(1, 1), ORIGIN, [*LOG, signer(51).public], cosigners(1))
    assert caught.value.code == "note-ambiguous"


def test_the_largest_set_certifies() -> None:
    """32 cosigners are allowed, and 22 of them suffice."""
    assert len(quorum.verify_certificate(certificate(32, 22), ORIGIN, LOG, cosigners(32)).lines) == 22


@pytest.mark.parametrize(
    "members",
    [
        [],
        [*cosigners(2), cosigners(1)[0]],
        [("a", signer(1).public), ("b", signer(1).public)],
        [("a", signer(1).public), ("a", signer(2).public)],
        cosigners(33),
    ],
    ids=["empty", "doubled", "one key, two names", "one name, two keys", "33"],
)
def test_bad_sets_are_refused(members: list[Any]) -> None:
    """A set has 1 to 32 distinct names and distinct keys."""
    with pytest.raises(MalformedError) as caught:
        quorum.verify_certificate(certificate(1, 1), ORIGIN, LOG, members)
    assert caught.value.code == "cosigners"


def test_every_damaged_certificate_is_refused() -> None:
    """No damage leaves a certificate that verifies for anything but the same checkpoint by the same lines."""
    data = certificate(3, 3)
    good = quorum.verify_certificate(data, ORIGIN, LOG, cosigners(3))

    def judge(broken: bytes) -> None:
        assert quorum.verify_certificate(broken, ORIGIN, LOG, cosigners(3)) == good
        raise VerificationError("same", "the same certificate")

    assert_each_refused(data, judge, LedgerError)
    accepted = []
    for what, broken in samples.damaged(data):
        try:
            quorum.verify_certificate(broken, ORIGIN, LOG, cosigners(3))
        except (MalformedError, VerificationError):
            continue
        accepted.append(what)
    assert accepted == []  # with all three of three needed, every byte counts


def test_certify_counts_only_the_given_set() -> None:
    """Lines verified for one set count for another set only where the keys are the same."""
    verified = quorum.verify_note(certificate(4, 4), ORIGIN, LOG, cosigners(4))
    other = [*cosigners(2), ("x", signer(8).public), ("y", signer(9).public)]
    with pytest.raises(VerificationError) as caught:
        quorum.certify(verified, other)
    assert caught.value.evidence["names"] == ["c00", "c01"]
    assert len(quorum.certify(verified, cosigners(2)).lines) == 2


def test_merging_collects_lines_once() -> None:
    """Two partial notes make one certificate: log lines first, cosignatures by name, one a key."""
    members = cosigners(3)
    text = parse_note(certificate(3, 3)).text
    all_lines = note_lines(certificate(3, 3))
    first = quorum.verify_note(encode_note(text, [all_lines[0], all_lines[3]]), ORIGIN, LOG, members)
    second = quorum.verify_note(encode_note(text, [all_lines[0], all_lines[2], all_lines[1]]), ORIGIN, LOG, members)
    merged = quorum.merge_lines(first, second)
    assert merged.encode() == encode_note(text, all_lines)
    assert merged == quorum.merge_lines(second, first)
    assert quorum.certify(merged, members).checkpoint.size == 7


def test_merging_keeps_the_later_or_the_earlier_time() -> None:
    """Of two cosignatures of one key the later stays for freshness, the earlier for the time of record."""
    members = cosigners(2)
    early = quorum.verify_note(certificate(2, 2), ORIGIN, LOG, members)
    late = quorum.verify_note(certificate(2, 2, time_s=TIME_S + 60), ORIGIN, LOG, members)
    for a, b in ((early, late), (late, early)):
        assert quorum.merge_lines(a, b) == late
        assert quorum.merge_lines(a, b, keep_latest=False) == early
    assert quorum.merge_lines(late, late) == late


def test_merging_needs_one_text() -> None:
    """Notes over different trees are never merged; the evidence holds both texts."""
    a = quorum.verify_note(certificate(1, 1), ORIGIN, LOG, cosigners(1))
    b = quorum.verify_note(certificate(1, 1, root=digest(1)), ORIGIN, LOG, cosigners(1))
    with pytest.raises(VerificationError) as caught:
        quorum.merge_lines(a, b)
    assert caught.value.code == "note-text"
    assert (caught.value.evidence["first"], caught.value.evidence["second"]) == (a.text, b.text)


def test_several_log_lines() -> None:
    """More than one ordering node may sign; each line is verified and kept."""
    text = encode_checkpoint(Checkpoint(ORIGIN, 7, digest(7)))
    data = encode_note(
        text,
        [
            sign_note(text, ORIGIN, signer(50)),
            sign_note(text, ORIGIN, signer(51)),
            sign_cosignature(text, "c00", signer(100), 5),
        ],
    )
    keys = [signer(50).public, signer(51).public]
    verified = quorum.verify_note(data, ORIGIN, keys, cosigners(1))
    assert {line.key_id for line in verified.log_lines} == {key.key_id for key in keys}
    assert quorum.certify(verified, cosigners(1)).lines[0][2] == 5


def test_further_lines_are_verified_alone() -> None:
    """A note with more cosignatures over the same text, of which only the new ones are looked at; one that does not hold
    is refused, strangers' lines are left out."""
    known = quorum.verify_note(certificate(4, 1), ORIGIN, LOG, cosigners(4))
    lines = [line for line in note_lines(certificate(4, 4)) if line.name != ORIGIN]
    more = quorum.verify_cosignatures(known, lines, cosigners(4))
    assert more == quorum.verify_note(certificate(4, 4), ORIGIN, LOG, cosigners(4))
    assert quorum.verify_cosignatures(known, lines, cosigners(1)) == known
    forged = NoteLine(lines[2].name, lines[2].key_hash, bytes(len(lines[2].signature)))
    with pytest.raises(VerificationError):
        quorum.verify_cosignatures(known, [forged], cosigners(4))
