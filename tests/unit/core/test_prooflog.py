"""Consistency between checkpoints, and evidence of forks."""

from __future__ import annotations

from dataclasses import replace

from ledger.core import merkle
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.note import encode_note, sign_note
from ledger.core.proof import (
    Consistency,
    Fork,
    verify_proof,
)
from tests.models.small_ledger import MEMBERS, SmallLedger, digest, nodes_of, signer
from tests.unit.core.proof_samples import LEDGER, TRUST, fork_of_one_size, refusal


def test_consistency_between_certificates():
    """One certificate extends another, for every pair of sizes."""
    for old in range(1, LEDGER.size + 1):
        result = verify_proof(Consistency(LEDGER.note(old), LEDGER.note(), LEDGER.consistency(old)).encode(), TRUST)
        assert (result.old.size, result.new.size, result.not_checked) == (old, LEDGER.size, ())


def test_consistency_with_a_remembered_checkpoint():
    """What the verifier remembers needs no certificate; what it does not, does; a third one leaves history open."""
    remembered = LEDGER.note(7, by=())
    proof = Consistency(remembered, LEDGER.note(), LEDGER.consistency(7))
    assert refusal(proof) == "quorum"
    assert proof.verify(replace(TRUST, anchor=remembered)).not_checked == ()
    whole = Consistency(LEDGER.note(7), LEDGER.note(), LEDGER.consistency(7))
    assert whole.verify(replace(TRUST, anchor=LEDGER.note())).not_checked == ()
    assert whole.verify(replace(TRUST, anchor=LEDGER.note(5))).not_checked == ("history",)


def test_consistency_refuses_another_history():
    """Another old root, a wrong path, sizes the wrong way round."""
    path = LEDGER.consistency(7)
    assert refusal(Consistency(LEDGER.note(7, root=digest("x")), LEDGER.note(), path)) == "consistency"
    assert refusal(Consistency(LEDGER.note(7), LEDGER.note(), path[:-1])) == "consistency"
    assert refusal(Consistency(LEDGER.note(), LEDGER.note(7), path)) == "consistency"


def two_histories() -> tuple[SmallLedger, SmallLedger]:
    """Two ledgers of one genesis that differ from the first block on."""
    first, second = SmallLedger(), SmallLedger()
    first.block("ga", [first.event(content={"n": "one"}), first.event()])
    for _ in range(4):
        second.block("ga", [second.event()])
    return first, second


def fork_of(small: SmallLedger, large: SmallLedger, size: int) -> Fork:
    """The evidence from a note of `small` and the whole of `large`."""
    nodes = nodes_of(large.hashes())
    return Fork(
        small.note(size),
        large.note(by=MEMBERS[1:]),
        tuple(nodes[node] for node in merkle.range_nodes(0, size)),
        tuple(nodes[node] for node in merkle.range_nodes(size, large.size)),
    )


def test_a_fork_of_one_size_names_the_guilty():
    """Keys on both notes are guilty, others are not."""
    proof = Fork(LEDGER.note(by=("ba", "ga")), LEDGER.note(by=("ga", "fa"), root=digest("x")))
    result = verify_proof(proof.encode(), TRUST)
    assert {(name, key_id) for name, key_id in result.guilty} == {
        (LEDGER.origin, signer("ba", "log").public.key_id),
        ("ga", signer("ga", "cosign").public.key_id),
    }


def test_a_fork_of_two_sizes_is_shown_by_subtrees():
    """The larger tree's own subtrees over the smaller one's leaves give another root."""
    small, large = two_histories()
    for size in (2, 3, 4):
        result = verify_proof(fork_of(small, large, size).encode(), TRUST)
        assert (result.first.size, result.second.size) == (size, large.size)
        assert [name for name, _ in result.guilty][:2] == [name for name, _ in sorted(result.guilty)][:2]
        assert {name for name, _ in result.guilty} == {"fa", "ga", small.origin}


def test_what_is_no_fork_is_refused():
    """One history, an order that is not theirs, subtrees of another tree, or no common key."""
    small, large = two_histories()
    good = fork_of(small, large, 3)
    same = fork_of(large, large, 3)
    assert refusal(same) == "fork"
    assert refusal(Fork(LEDGER.note(), LEDGER.note(by=MEMBERS[1:]))) == "fork"
    assert refusal(Fork(good.second, good.first, good.subtrees, good.path)) == "fork"
    assert refusal(replace(good, subtrees=good.subtrees[:-1])) == "fork"
    assert refusal(replace(good, subtrees=(digest("x"), *good.subtrees[1:]))) == "range"
    assert refusal(replace(good, path=good.path[:-1])) == "range"
    assert refusal(replace(fork_of_one_size(), path=(digest("x"),))) == "fork"
    assert refusal(replace(fork_of_one_size(), subtrees=(digest("x"),))) == "fork"


def test_guilt_needs_a_key_on_both():
    """Two orderers with two histories are not proof against either."""
    other = signer("zz", "log")
    text = encode_checkpoint(Checkpoint(LEDGER.origin, LEDGER.size, digest("x")))
    proof = Fork(LEDGER.note(by=()), encode_note(text, [sign_note(text, LEDGER.origin, other)]))
    assert refusal(proof, replace(TRUST, log_keys=(*TRUST.log_keys, other.public))) == "fork"
