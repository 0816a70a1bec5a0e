"""Proofs of later epochs, checked by somebody who knows only the genesis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from ledger.core.cosignature import sign_cosignature
from ledger.core.keys import LOG, Ed25519Signer
from ledger.core.mapkeys import key_key
from ledger.core.note import encode_note, parse_note, sign_note
from ledger.core.proof import (
    Completeness,
    Consistency,
    EpochEnd,
    Fork,
    History,
    LogKey,
    StreamName,
    parse_proof,
    trust_genesis,
)
from ledger.core.proofepochs import adopt, encode_epochs, parse_ends, parse_epochs
from ledger.core.proofstate import encode_logs, parse_logs
from ledger.core.prooftrust import verify_under
from ledger.errors import LedgerError, MalformedError, VerificationError
from tests.models.epoch_proofs import OLD, Changed
from tests.models.small_ledger import SmallLedger, signer
from tests.models.tiny_ledger import MEMBERS
from tests.models.tiny_ledger import signer as tiny_signer


@cache
def changed() -> Changed:
    """One ledger for all tests here; none changes it."""
    return Changed()


def test_genesis_leads_to_the_newest_set() -> None:
    """SPEC R-V12: two ends lead to the set of epoch 2, under which the certified state holds."""
    made = changed()
    trust = made.trust()
    found = adopt(made.epochs(), trust)
    assert [name for name, _ in found.cosigners_at(made.size)] == [name for name, _ in OLD[:3]]
    assert found.cosigners_at(found.adopted[0].checkpoint.size) == trust.cosigners
    state = made.state_proof().verify(trust)
    assert state.config.epoch == 2 and state.not_checked == ("anchor",)


def test_without_the_ends_a_later_set_is_not_believed() -> None:
    """SPEC R-V12: the genesis alone does not vouch for a set that came later."""
    made = changed()
    with pytest.raises(VerificationError) as caught:
        replace(made.state_proof(), epochs=()).verify(made.trust())
    assert caught.value.code == "cosigner-set"
    with pytest.raises(VerificationError) as caught:
        replace(made.state_proof(), epochs=made.epochs()[:1]).verify(made.trust())
    assert caught.value.code in {"quorum", "cosigner-set", "consistency"}


def test_a_checkpoint_behind_the_last_change_anchors_history() -> None:
    """SPEC R-V06, R-V12: known keys of a set that left cannot make another history for who holds a later checkpoint."""
    made = changed()
    proof = made.state_proof()
    assert proof.verify(made.trust(made.notes[made.size])).not_checked == ()
    last = made.ledger.sealed[made.ends[-1]].size
    tied = replace(proof, history=History(last, made.consistency(last, made.size)))
    assert tied.verify(made.trust(made.notes[last])).not_checked == ()
    first = made.ledger.sealed[made.ends[0]].size
    early = replace(proof, history=History(first, made.consistency(first, made.size)))
    assert early.verify(made.trust(made.notes[first])).not_checked == ("anchor",)


def test_files_carry_the_ends() -> None:
    """A file with ends comes back as it was, and holds; an empty list of ends is no spelling of having none."""
    made = changed()
    first = made.ledger.sealed[made.ends[0]].size
    proof = made.extension(first)
    data = proof.encode()
    again = parse_proof(data)
    assert again == proof and isinstance(again, Consistency)
    result = again.verify(made.trust())
    assert (result.old.size, result.new.size, result.not_checked) == (first, made.size, ("anchor",))
    with pytest.raises(MalformedError):
        parse_proof(replace(proof, epochs=()).encode().replace(b'{"kind"', b'{"epochs":[],"kind"'))


def test_a_fork_after_a_change_names_the_guilty() -> None:
    """SPEC R-V05, R-V12: notes of two histories are each read with the lines of the set of their size."""
    made = changed()
    ledger = Changed()
    ledger.ledger.block(ledger.ledger.sign(OLD[1][0], ledger.ledger.event()))
    ledger.certify()
    mine = Changed()
    mine.block()
    assert mine.size == ledger.size
    fork = Fork(mine.notes[mine.size], ledger.notes[ledger.size], epochs=made.epochs())
    guilty = fork.verify(made.trust()).guilty
    assert {name for name, _ in guilty} == {*[name for name, _ in OLD[:3]], made.ledger.origin}


WRONG: dict[str, Callable[[Changed, EpochEnd], EpochEnd]] = {
    "keys": lambda made, end: replace(end, keys=tuple(key.public for _, key in OLD)),
    "config": lambda made, end: replace(end, config=made.ledger.app.head.config.encode()),
    "announced": lambda made, end: replace(end, announced=end.effect),
    "effect": lambda made, end: replace(end, effect=end.announced),
    "not-a-timer": lambda made, end: replace(end, announced=made.part(1, made.ledger.sealed[made.ends[0]].size)),
    "header": lambda made, end: replace(end, header=replace(end.header, path=end.header.path[::-1])),
    "certificate": lambda made, end: replace(end, certificate=made.notes[made.size]),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_what_is_no_change_of_the_set_is_refused(name: str) -> None:
    """SPEC R-V12: every part of an end is needed, and another in its place leads nowhere."""
    made = changed()
    first, *others = made.epochs()
    with pytest.raises(LedgerError) as caught:
        adopt((WRONG[name](made, first), *others), made.trust())
    assert isinstance(caught.value, (MalformedError, VerificationError))


def test_ends_stand_in_the_order_of_epochs_and_in_one_history() -> None:
    """SPEC R-V12: a gap, another order and a path that does not hold are refused."""
    made = changed()
    first, second = made.epochs()
    for ends in ((second, first), (second,), (replace(first, path=first.path[::-1]), second)):
        with pytest.raises(VerificationError):
            adopt(ends, made.trust())
    wrong = replace(made.state_proof(), epochs=(first, replace(second, path=())))
    with pytest.raises(VerificationError):
        wrong.verify(made.trust())


def test_an_end_behind_the_proof_is_refused() -> None:
    """SPEC R-V12: an end that comes after the checkpoint that it should lead to is no part of its proof."""
    made = changed()
    first: Any = made.ledger.sealed[made.ends[0]].size
    proof = Consistency(made.notes[first], made.notes[first], (), made.epochs(1, first + 1))
    with pytest.raises(VerificationError) as caught:
        proof.verify(made.trust())
    assert caught.value.code == "epochs"


def later_log() -> tuple[SmallLedger, Completeness]:
    """A complete answer under a note whose only log line is by a key that the genesis does not name."""
    made, key = SmallLedger(), signer("ba", "another log")
    made.add_log_key(key)
    made.block("ga", [made.event(refs={"dataset": "ga/hukou"})])
    logs = (LogKey(made.values[key_key(key.public.key_id)], made.map_proof(key_key(key.public.key_id))),)
    return made, signed_by(made, key, logs)


def signed_by(made: SmallLedger, key: Ed25519Signer, logs: tuple[LogKey, ...]) -> Completeness:
    """The answer with another log line in its certificate."""
    note = parse_note(made.note())
    lines = [line for line in note.lines if line.name != made.origin]
    state = made.state_proof()
    certificate = encode_note(note.text, [sign_note(note.text, made.origin, key), *lines])
    proof = made.completeness(StreamName("dataset", "ga/hukou"))
    return replace(proof, state=replace(state, certificate=certificate, logs=logs))


def test_the_state_vouches_for_later_keys_for_ordering() -> None:
    """SPEC R-V12: a log line by a key that a vote registered counts, once the certified state shows the registration."""
    made, proof = later_log()
    trust = trust_genesis(made.genesis, made.now_s + 5)
    assert proof.verify(trust).size == 1
    assert parse_proof(proof.encode()) == proof
    with pytest.raises(VerificationError) as caught:
        replace(proof, state=replace(proof.state, logs=())).verify(trust)
    assert caught.value.code == "log-line"


def test_a_key_for_ordering_that_the_state_lacks_is_refused() -> None:
    """SPEC R-V12: a proof cannot bring a log key along that nobody registered, nor one of another use."""
    made = SmallLedger()
    key = signer("ba", "another log")
    made.block("ga", [made.event(refs={"dataset": "ga/hukou"})])
    trust = trust_genesis(made.genesis, made.now_s + 5)
    other, _ = later_log()
    stolen = LogKey(other.values[key_key(key.public.key_id)], made.map_proof(key_key(key.public.key_id)))
    with pytest.raises(VerificationError) as caught:
        signed_by(made, key, (stolen,)).verify(trust)
    assert caught.value.code == "registration"
    event = next(entry.public for entry in trust.keys.values() if entry.use == "event")
    wrong = LogKey(made.values[key_key(event.key_id)], made.map_proof(key_key(event.key_id)))
    with pytest.raises(VerificationError) as caught:
        signed_by(made, key, (wrong,)).verify(trust)
    assert caught.value.code == "registration"


def test_lists_of_ends_and_keys_have_one_spelling() -> None:
    """SPEC R-V12: what is written is read again; an empty list, an unknown field and a wrong type are no spelling."""
    ends = changed().epochs()
    fields = encode_epochs(ends)
    assert parse_epochs(fields) == parse_ends(fields["epochs"]) == ends
    assert encode_epochs(()) == {} == encode_logs(()) and parse_epochs({}) == () == parse_logs({})
    _, proof = later_log()
    listed = encode_logs(proof.state.logs)
    assert parse_logs(listed) == proof.state.logs
    first = fields["epochs"][0]
    wrong: list[Any] = [None, {}, [1], [{**first, "more": 1}], [{**first, "keys": [{"algorithm": 1, "public": "zz"}]}]]
    for value in wrong:
        with pytest.raises(MalformedError):
            parse_ends(value)
    for value in ([], None, [{"map": {}}], [{**listed["logs"][0], "value": 1}]):
        with pytest.raises(MalformedError):
            parse_logs({"logs": value})
    with pytest.raises(MalformedError):
        parse_epochs({"epochs": []})


def test_a_certificate_is_read_with_the_set_of_its_size() -> None:
    """SPEC R-G21: up to an epoch's end the leaving set counts, behind it the next one only."""
    made = changed()
    trust = adopt(made.epochs(), made.trust())
    for size, note in made.notes.items():
        assert verify_under(note, trust).checkpoint.size == size
    text = parse_note(made.notes[made.size]).text
    last = made.sets[1][3]
    lines = [sign_note(text, made.ledger.origin, tiny_signer(MEMBERS[0], LOG))]
    lines += [sign_cosignature(text, name, key, 1) for name, key in (*OLD[:2], last)]
    with pytest.raises(VerificationError) as caught:
        verify_under(encode_note(text, lines), trust)
    assert caught.value.code == "quorum"
