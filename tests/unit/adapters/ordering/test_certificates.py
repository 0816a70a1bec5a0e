"""Collecting cosignatures: proposals, merging, quorum, forks; and the cosigner's rule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering import certificates
from ledger.adapters.ordering.certificates import CertificateBook, Certified
from ledger.adapters.ordering.cosigner import Cosigner
from ledger.adapters.ordering.engine import log_note
from ledger.adapters.ordering.epochs import EpochEnd, Epochs
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import Ed25519Signer
from ledger.core.note import encode_note, parse_note
from ledger.core.quorum import verify_certificate
from ledger.errors import FatalError, ForkError, VerificationError

ORIGIN = "test/" + "0" * 64
LOG = Ed25519Signer(sha256(b"log"))
NAMES = ("a", "b", "c", "d")
SIGNERS = {name: Ed25519Signer(sha256(name.encode())) for name in NAMES}
COSIGNERS = [(name, SIGNERS[name].public) for name in NAMES]


def root(size: int) -> Digest:
    return sha256(b"root %d" % size)


def make_book() -> CertificateBook:
    return CertificateBook(ORIGIN, [LOG.public], COSIGNERS)


def commit(book: CertificateBook, size: int, height: int = 1) -> None:
    book.committed(height, size, root(size), log_note(LOG, ORIGIN, size, root(size)))


def cosigned(size: int, *names: str, time_s: int = 1_000, tree: Digest | None = None) -> bytes:
    """A note over (size, tree) with the log line and lines by `names`."""
    text = encode_checkpoint(Checkpoint(ORIGIN, size, tree or root(size)))
    lines = [sign_cosignature(text, name, SIGNERS[name], time_s) for name in names]
    note = parse_note(log_note(LOG, ORIGIN, size, tree or root(size)))
    return encode_note(text, [*note.lines, *lines])


def test_quorum_of_merged_lines_certifies_once() -> None:
    """SPEC R-Q02, R-Q03: three of four certify, the first certificate is announced once, and it verifies offline."""
    book, seen = make_book(), list[Certified]()
    book.on_certified.append(seen.append)
    commit(book, 5)
    book.propose()
    for name in ("a", "b"):
        book.add_note(cosigned(5, name))
    assert book.certified() is None and seen == []
    book.add_note(cosigned(5, "c", time_s=1_007))
    assert [c.result.checkpoint.size for c in seen] == [5]
    first = seen[0].note
    book.add_note(cosigned(5, "d"))
    assert len(seen) == 1 and seen[0].note == first
    checked = verify_certificate(first, ORIGIN, [LOG.public], COSIGNERS)
    assert checked.recorded_by_s == 1_007


def test_next_proposal_waits_for_the_certificate() -> None:
    """SPEC R-Q15: a newer checkpoint is proposed only when the one before is certified, so that all sign one size."""
    book = make_book()
    commit(book, 5)
    book.propose()
    commit(book, 9, 2)
    book.propose()
    assert parse_note(book.note()).text.split("\n")[1] == "5"
    book.add_note(cosigned(5, "a", "b", "c"))
    book.propose()
    assert parse_note(book.note()).text.split("\n")[1] == "9"


def test_notes_from_ahead_wait_for_our_own_tree() -> None:
    """A follower that lags merges a peer's note only after it has computed that checkpoint itself."""
    book = make_book()
    commit(book, 5)
    book.add_note(cosigned(9, "a", "b", "c"))
    assert book.certified() is None
    commit(book, 9, 2)
    certified = book.certified()
    assert certified is not None and certified.result.checkpoint.size == 9


def test_another_root_under_valid_lines_is_fork_evidence() -> None:
    """SPEC R-V05: a peer's note with another root at our size raises with the signed bytes and is not merged."""
    book = make_book()
    commit(book, 5)
    book.propose()
    other = cosigned(5, "a", "b", "c", tree=sha256(b"other"))
    with pytest.raises(ForkError) as caught:
        book.add_note(other)
    assert caught.value.evidence["theirs"] == other
    assert book.certified() is None


@pytest.mark.parametrize("size", [5, 7])
def test_a_smaller_checkpoint_of_another_history_is_noticed(size: int) -> None:
    """SPEC R-B03: behind what is proposed, another root at a block's end, or an end where we have none, is a fork."""
    book = make_book()
    for height, end in enumerate((5, 8, 11), start=1):
        commit(book, end, height)
    book.propose()
    book.add_note(cosigned(5, "b"))  # ours, only late
    other = cosigned(size, "a", "b", "c", tree=sha256(b"other"))
    with pytest.raises(ForkError) as caught:
        book.add_note(other)
    assert caught.value.evidence["theirs"] == other


def test_a_false_note_of_a_size_to_come_is_its_givers_fault() -> None:
    """A liar that shows another history of a size before this node has come so far stops nobody: once the node has, who
    keeps evidence is told of the giver, and an honest note of that size counts as ever."""
    book, told = make_book(), list[tuple[str, ForkError]]()
    book.on_fork.append(lambda giver, error: told.append((giver, error)))
    commit(book, 5, 1)
    book.propose()
    false = cosigned(9, "b", tree=sha256(b"another history"))
    book.add_note(false, "http://liar")
    assert not told
    commit(book, 9, 2)
    [(giver, error)] = told
    assert giver == "http://liar" and parse_note(error.evidence["theirs"]).text == parse_note(false).text
    book.propose(at_once=True)
    book.add_note(cosigned(9, "a", "b", "c"), "http://honest")
    assert book.certified() is not None and len(told) == 1


def test_notes_of_a_size_to_come_are_kept_for_each_giver() -> None:
    """What a liar shows of sizes to come displaces no honest note, and a size that no block ended with convicts it too."""
    book, told = make_book(), list[str]()
    book.on_fork.append(lambda giver, _: told.append(giver))
    commit(book, 5, 1)
    book.add_note(cosigned(9, "a", "b", "c"), "http://honest")
    for size in range(6, 9):
        book.add_note(cosigned(size, "d", tree=sha256(b"another history")), "http://liar")
    for number in range(64):
        book.add_note(cosigned(1_000, "d", tree=sha256(b"another history")), f"http://{number}")
        book.add_note(cosigned(9, "a", "b", "c"), "http://honest")
        book.add_note(cosigned(8, "d", tree=sha256(b"another history")), "http://liar")
    commit(book, 9, 2)
    assert set(told) == {"http://liar"}
    certified = book.certified()
    assert certified is not None and certified.result.checkpoint.size == 9


def test_blocks_that_the_book_was_not_told_of_are_no_fork() -> None:
    """After blocks that it did not see, sizes between the ones it knows may be ours: nothing is claimed of them."""
    book = make_book()
    commit(book, 5, 1)
    commit(book, 20, 9)
    book.propose()
    book.add_note(cosigned(12, "b"))
    book.add_note(cosigned(5, "b", tree=sha256(b"long ago")))


def test_lines_of_strangers_prove_nothing_and_bad_lines_refuse_the_note() -> None:
    """SPEC R-Q01: an unknown cosigner does not count; one bad line of a known key refuses the whole note."""
    book = make_book()
    commit(book, 5)
    book.propose()
    text = encode_checkpoint(Checkpoint(ORIGIN, 5, root(5)))
    stranger = sign_cosignature(text, "mallory", Ed25519Signer(sha256(b"m")), 1_000)
    note = parse_note(cosigned(5, "a", "b"))
    book.add_note(encode_note(text, [*note.lines, stranger]))
    assert book.certified() is None
    stolen = sign_cosignature(encode_checkpoint(Checkpoint(ORIGIN, 6, root(6))), "c", SIGNERS["c"], 1_000)
    with pytest.raises(VerificationError):
        book.add_note(encode_note(text, [*note.lines, stolen]))


@pytest.fixture
def cosigner(tmp_path: Path) -> Iterator[tuple[Cosigner, CertificateBook, SignerState, dict[int, Digest]]]:
    """A cosigner `a` that is stepped by hand, over a tree given as size → root."""
    book = make_book()
    state = SignerState.create(tmp_path / "signer.state", ORIGIN, SIGNERS["a"].public.key_id)
    tree = {size: root(size) for size in (5, 9)}
    made = Cosigner(book, "a", SIGNERS["a"], state, tree.get, lambda: 0, check_skew=True)
    yield made, book, state, tree
    state.close()


def lines_of(book: CertificateBook) -> list[str]:
    proposal = book.proposal()
    return [] if proposal is None else [line.name for line in proposal.cosignatures]


def test_cosigner_signs_what_it_computed_and_locks_it(cosigner: tuple) -> None:  # type: ignore[type-arg]
    """SPEC R-Q10, R-Q11: the line appears in the note, and the state holds (size, root)."""
    signer, book, state, _ = cosigner
    commit(book, 5)
    book.propose()
    signer._sign_proposal()
    assert lines_of(book) == ["a"] and state.signed.size == 5


@pytest.mark.parametrize("fault", ["other tree now", "locked root gone"])
def test_cosigner_stops_when_its_own_tree_disagrees(cosigner: tuple, fault: str) -> None:  # type: ignore[type-arg]
    """SPEC R-Q10: another root at the proposed size, or at the locked one, ends signing without a line."""
    signer, book, state, tree = cosigner
    commit(book, 5)
    book.propose()
    signer._sign_proposal()
    book.add_note(cosigned(5, "b", "c", "d"))
    commit(book, 9, 2)
    book.propose()
    tree[9 if fault == "other tree now" else 5] = sha256(b"bent")
    with pytest.raises(FatalError) as caught:
        signer._sign_proposal()
    code = "signer-rule" if fault == "other tree now" else "signer-locked-elsewhere"
    assert caught.value.code == code and state.signed.size == 5 and lines_of(book) == []


def test_cosigner_withholds_while_block_time_is_ahead(tmp_path: Path) -> None:
    """SPEC R-Q13: a block time far ahead of this machine's clock is not cosigned, and the alarm says so."""
    book = make_book()
    state = SignerState.create(tmp_path / "signer.state", ORIGIN, SIGNERS["a"].public.key_id)
    signer = Cosigner(book, "a", SIGNERS["a"], state, {5: root(5)}.get, lambda: 2**50, check_skew=True)
    commit(book, 5)
    book.propose()
    signer._sign_proposal()
    assert lines_of(book) == [] and "ahead" in signer.alarm and state.signed.size == 0


# --- epochs ------------------------------------------------------------------------------------------------------------

NEW = Ed25519Signer(sha256(b"new"))
NEXT = [*COSIGNERS[:3], ("d", NEW.public)]


def ended_book(size: int = 5) -> CertificateBook:
    """A book whose epoch ends with the checkpoint of `size`; d's key changes, and one block follows."""
    book = make_book()
    commit(book, size)
    note = log_note(LOG, ORIGIN, size, root(size))
    book.end_epoch(EpochEnd(1, size, root(size), note, tuple(COSIGNERS)), NEXT)
    commit(book, size + 4, 2)
    return book


def by_new(size: int, *names: str) -> bytes:
    """A note with lines by `names`, d's by its new key."""
    signers = {**SIGNERS, "d": NEW}
    text = encode_checkpoint(Checkpoint(ORIGIN, size, root(size)))
    note = parse_note(log_note(LOG, ORIGIN, size, root(size)))
    return encode_note(text, [*note.lines, *(sign_cosignature(text, name, signers[name], 1_000) for name in names)])


def test_nothing_is_proposed_behind_an_uncertified_end_of_an_epoch() -> None:
    """SPEC R-G21: first the leaving set certifies its last block, then the next set signs what follows."""
    book = ended_book()
    book.propose()
    proposal = book.proposal()
    assert proposal is not None and proposal.checkpoint.size == 5
    old, new = SIGNERS["d"].public.key_id, NEW.public.key_id
    assert book.may_sign(5, old) and not book.may_sign(5, new)
    assert not book.may_sign(9, old) and not book.may_sign(9, new)
    assert not book.signs_next(old) and not book.signs_next(new)
    for name in ("b", "c", "d"):
        book.add_note(cosigned(5, name))
    certified = book.certified()
    assert certified is not None and certified.result.checkpoint.size == 5 and book.pending_end() is None
    assert book.may_sign(9, new) and not book.may_sign(9, old)
    assert book.signs_next(new) and not book.signs_next(old)
    book.propose()
    proposal = book.proposal()
    assert proposal is not None and proposal.checkpoint.size == 9
    book.add_note(by_new(9, "b", "c"))
    book.add_note(by_new(9, "d"))
    certified = book.certified()
    assert certified is not None and certified.result.checkpoint.size == 9


def test_next_set_is_not_believed_before_its_adoption() -> None:
    """SPEC R-G21: a node without the leaving set's certificate takes no certificate of the next set, until it has it."""
    book = ended_book()
    book.add_note(by_new(9, "b", "c", "d"))
    assert book.certified() is None and book.pending_end() is not None
    with pytest.raises(VerificationError):
        book.add_end(by_new(5, "b", "c", "d"))
    with pytest.raises(VerificationError):
        book.add_end(cosigned(4, "a", "b", "c"))
    seen: list[int] = []
    book.on_certified.append(lambda certified: seen.append(certified.result.checkpoint.size))
    book.add_end(cosigned(5, "a", "b", "c"))
    assert seen == [5, 9] and book.pending_end() is None  # what waited is looked at again


@pytest.mark.parametrize("early", [False, True])
def test_nobody_leads_past_an_epochs_end(early: bool) -> None:
    """SPEC R-G21: a true note of the block behind the end, shown before or after that block is ours, takes nobody's eyes off
    the end: it is certified with the lines of the honest, and then what is behind it."""
    book = make_book()
    commit(book, 5)
    book.end_epoch(EpochEnd(1, 5, root(5), log_note(LOG, ORIGIN, 5, root(5)), tuple(COSIGNERS)), NEXT)
    book.propose()
    lie = log_note(LOG, ORIGIN, 9, root(9))  # what a validator's log key signs of the same tree
    if early:
        book.add_note(lie, "http://liar")
    commit(book, 9, 2)
    book.add_note(lie, "http://liar")
    proposal = book.proposal()
    assert proposal is not None and proposal.checkpoint.size == 5
    for name in ("b", "c", "d"):
        book.add_note(cosigned(5, name), f"http://{name}")
    assert book.certified_size() == 5 and book.pending_end() is None
    book.add_note(by_new(9, "b", "c", "d"), "http://b")
    assert book.certified_size() == 9


def test_an_epochs_end_is_proposed_again_after_a_start() -> None:
    """A book that starts at a later block still proposes the end that nobody certified, and takes lines over it."""
    book = make_book()
    end = EpochEnd(1, 5, root(5), log_note(LOG, ORIGIN, 5, root(5)), tuple(COSIGNERS))
    book.follow(Epochs(tuple(NEXT), [end]))
    commit(book, 9, 2)
    book.propose()
    proposal = book.proposal()
    assert proposal is not None and proposal.checkpoint.size == 5
    book.add_note(cosigned(5, "a", "b", "c"), "http://a")
    assert book.certified_size() == 5 and book.pending_end() is None


@pytest.mark.parametrize("late", [0, 1, 3])
def test_a_liar_that_proposes_every_block_starves_no_certificate(late: int) -> None:
    """SPEC R-N20: where nodes propose by one rule, a peer's larger note with nobody's line but its own replaces the
    proposal once that is certified, so lines that come blocks later still meet what they were given for."""
    book, seen = make_book(), set[int]()
    book.proposers = frozenset()
    book.on_certified.append(lambda certified: seen.add(certified.result.checkpoint.size))
    lines: list[tuple[int, int]] = []
    for height in range(1, 41):
        commit(book, 10 * height, height)
        if height % 10 == 0:
            book.propose(at_once=True)
        book.add_note(log_note(LOG, ORIGIN, 10 * height, root(10 * height)), "http://liar")
        proposal = book.proposal()
        assert proposal is not None
        lines.append((height + late, proposal.checkpoint.size))
        for size in [size for due, size in lines if due == height]:
            for name in "abc":
                book.add_note(cosigned(size, name), f"http://{name}")
    assert len(seen) >= 4


def test_the_line_of_somebody_honest_replaces_a_proposal() -> None:
    """A larger checkpoint that more than a third has signed is taken at once, as is any of a proposer; with a single line it
    waits until the proposal is certified."""
    book = make_book()
    book.proposers = frozenset({"http://orders"})
    for height, size in enumerate((5, 9, 12), start=1):
        commit(book, size, height)
    book.add_note(cosigned(5), "http://orders")
    sizes = []
    for note, giver in (
        (cosigned(9, "d"), "http://d"), (cosigned(9, "c", "d"), "http://d"), (cosigned(12, "d"), "http://d"),
        (cosigned(12), "http://orders"),
    ):  # fmt: skip
        book.add_note(note, giver)
        proposal = book.proposal()
        assert proposal is not None
        sizes.append(proposal.checkpoint.size)
    assert sizes == [5, 9, 9, 12]


def test_restarted_book_shows_the_certificate_it_kept() -> None:
    """After a start peers see the head's certificate with its lines at once, and it is not announced a second time."""
    note = cosigned(5, "a", "b", "c")
    book, seen = make_book(), list[Certified]()
    book.on_certified.append(seen.append)
    commit(book, 5)
    book.restore(Certified(1, note, verify_certificate(note, ORIGIN, [LOG.public], COSIGNERS)))
    book.propose()
    assert book.note() == note
    assert seen == []


def test_a_late_line_is_shown_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that comes right after the quorum is shown as soon as the note stood for a second, to whoever looks; peers
    that wait for a larger checkpoint are shown it too, and none of them before, so that nothing is sent twice under load."""
    now = 100.0
    monkeypatch.setattr(certificates.time, "monotonic", lambda: now)
    book = make_book()
    commit(book, 5)
    book.propose()
    book.add_note(cosigned(5, "a", "b", "c"))
    shown = book.note()
    known = sha256(shown).hex()
    book.add_note(cosigned(5, "d"))
    now += certificates.SERVE_AGAIN_S - 0.01
    assert (book.note(), book.settled()) == (shown, False)
    assert book.note_above(5, known) is None
    now += 0.02
    assert book.settled() and book.note_above(5) is None
    late = book.note_above(5, known)
    assert late is not None and {line.name for line in parse_note(late).lines} == {ORIGIN, *NAMES}
    assert book.note() == late
    assert book.note_above(5, sha256(late).hex()) is None
    assert book.note_above(4, sha256(late).hex()) == late
    commit(book, 9, 2)
    book.propose()
    assert not book.settled() and book.note_above(9, known) is None


def test_an_own_line_that_comes_after_the_certificate_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow cosigner learns the certificate first; its own line follows a second later, and no other reader hurries it."""
    now = 100.0
    monkeypatch.setattr(certificates.time, "monotonic", lambda: now)
    book = CertificateBook(ORIGIN, [LOG.public], COSIGNERS, SIGNERS["d"].public.key_id)
    commit(book, 5)
    book.propose()
    assert book.note() == b""
    book.add_note(cosigned(5, "a", "b", "c"))
    assert {line.name for line in parse_note(book.note()).lines} == {ORIGIN, "a", "b", "c"}
    proposed = book.proposal()
    assert proposed is not None
    now += 0.05
    book.add_line(proposed.checkpoint, sign_cosignature(proposed.text, "d", SIGNERS["d"], 1_000))
    assert b" d " not in book.note()
    now += certificates.SERVE_AGAIN_S
    assert {line.name for line in parse_note(book.note()).lines} == {ORIGIN, *NAMES}


def test_a_new_cosigner_on_an_idle_ledger_waits_without_an_alarm(tmp_path: Path) -> None:
    """SPEC R-G21: its set has nothing to sign until the next event; one that is in no set is told so."""
    book = make_book()
    commit(book, 5)
    book.end_epoch(EpochEnd(1, 5, root(5), log_note(LOG, ORIGIN, 5, root(5)), tuple(COSIGNERS)), NEXT)
    book.propose()
    with ExitStack() as kept:
        signers = []
        for name, key in (("d", NEW), ("x", Ed25519Signer(sha256(b"stranger")))):
            state = kept.enter_context(
                closing(SignerState.create(tmp_path / f"{name}.state", ORIGIN, key.public.key_id))
            )
            signers.append(Cosigner(book, name, key, state, {5: root(5)}.get, lambda: 0, check_skew=True))
            signers[-1]._sign_proposal()
        assert [bool(signer.alarm) for signer in signers] == [True, True]
        book.add_note(cosigned(5, "b", "c", "d"))
        book.propose()
        for signer in signers:
            signer._sign_proposal()
        assert [bool(signer.alarm) for signer in signers] == [False, True]


def test_nothing_behind_an_end_is_signed_before_its_certificate_is_on_disk() -> None:
    """A key that signed behind an end can never sign the end again: were all nodes to lose the certificate together, nobody
    could make it anew."""
    book = ended_book()
    kept: set[int] = set()
    book.is_kept = kept.__contains__
    book.propose()
    book.add_note(cosigned(5, "a", "b", "c"), "http://b")
    assert book.pending_end() is None and book.may_sign(5, SIGNERS["d"].public.key_id)
    assert not book.may_sign(9, NEW.public.key_id)
    kept.add(5)
    assert book.may_sign(9, NEW.public.key_id)
    kept.clear()
    assert book.may_sign(9, NEW.public.key_id)  # it was there once


def test_evidence_that_cannot_be_written_stops_nobody() -> None:
    """Where the evidence of a note that waited finds no room, the block is taken all the same, and what else waited too."""
    book, told = make_book(), list[str]()

    def full(giver: str, _error: ForkError) -> None:
        told.append(giver)
        raise OSError(28, "no space")

    book.on_fork.append(full)
    commit(book, 5, 1)
    book.add_note(cosigned(9, "d", tree=sha256(b"another history")), "http://liar")
    book.add_note(cosigned(9, "a", "b", "c"), "http://honest")
    commit(book, 9, 2)
    assert told == ["http://liar"] and book.certified_size() == 9


def test_what_waits_behind_an_end_is_taken_without_a_note_of_ours() -> None:
    """A node whose head bears no log line of its own merges what peers showed of it, once the end before is certified."""
    book = make_book()
    end = EpochEnd(1, 5, root(5), log_note(LOG, ORIGIN, 5, root(5)), tuple(COSIGNERS))
    book.follow(Epochs(tuple(NEXT), [end]))
    book.know(2, 9, root(9))
    book.add_note(by_new(9, "b", "c", "d"), "http://b")
    assert book.certified_size() == 0
    book.add_end(cosigned(5, "a", "b", "c"))
    assert book.certified_size() == 9
