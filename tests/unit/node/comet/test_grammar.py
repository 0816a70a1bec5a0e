"""The order of CometBFT's calls: what the grammar allows, what it does not, and where it breaks."""

from __future__ import annotations

import re
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.grammar import LETTERS, check_calls

NAMES = {letter: name for name, letter in LETTERS.items()} | {"q": "query", "c": "check_tx", "l": "list_snapshots"}

# The grammar as one expression: state sync that was broken off, runs split at Info. The tables of the module are a machine
# for the same language; this is the slow reference.
ROUNDS = "[VPRE]*"
BLOCKS = f"(?:{ROUNDS}FM)*{ROUNDS}F?"
SYNC = "(?:OA*)*OA+I"
REFERENCE = re.compile(f"(?:(?:OA*)*|(?:(?:{SYNC}|IC?){BLOCKS})(?:IC?{BLOCKS})*)?")


def names(letters: str) -> list[str]:
    """The calls of a word."""
    return [NAMES[letter] for letter in letters]


def index_of_fault(letters: str, *, calm: bool = False) -> int | None:
    """Where the word breaks the grammar, None where it does not."""
    try:
        check_calls(names(letters), calm=calm)
    except VerificationError as error:
        return cast("int", {"abci-order": error.evidence["index"]}[error.code])
    return None


@pytest.mark.parametrize(
    "letters",
    [
        "",
        "I",
        "IC",
        "ICRFM",
        "ICPRFMRFMPRFM",
        "qIqCcRcFqM",  # calls without an order in between
        "ICVVVFM",  # the block came without ProcessProposal
        "ICFMFMFM",  # blocks of the past, as in a replay or block sync
        "ICPRRRFM",  # several rounds
        "ICPFM",  # the proposer's time ran out
        "ICPPRFM",
        "ICPREVVVFM",
        "ICPREEFM",  # a lock was held into the next round
        "ICIC",  # died before the first commit
        "ICRFIFM",  # died between FinalizeBlock and Commit: the block comes again
        "ICRFIFMIRFM",
        "ICRFMPII",
        "OAIFM",
        "OAAAIRFM",
        "OAIOAIFM",  # ended behind the Info, before CometBFT kept the state
        "OOAOAAIFM",  # offers that were refused, a snapshot that was given up
        "OAIFMIRFM",
        "OA",  # died during state sync
    ],
)
def test_legal_orders_pass(letters: str) -> None:
    """A trace that ABCI 2.0 allows is accepted, crashes and state sync included."""
    check_calls(names(letters))


@pytest.mark.parametrize(
    ("letters", "index"),
    [
        ("C", 0),
        ("RFM", 0),
        ("M", 0),
        ("A", 0),
        ("IM", 1),
        ("ICC", 2),
        ("ICM", 2),
        ("IRC", 2),
        ("ICRFF", 4),
        ("ICRFR", 4),
        ("ICRFMM", 5),
        ("ICFCM", 3),
        ("ICFMC", 4),
        ("ICFMO", 4),
        ("IO", 1),
        ("OI", 1),  # nothing was applied
        ("OAOI", 3),
        ("OAIC", 3),
        ("OF", 1),
        ("OAF", 2),
        ("qqIcM", 4),
    ],
)
def test_illegal_orders_are_refused_at_their_place(letters: str, index: int) -> None:
    """A call that may not come there is named with its place, what it is and what it followed."""
    assert index_of_fault(letters) == index
    with pytest.raises(VerificationError) as caught:
        check_calls(names(letters))
    assert caught.value.evidence["call"] == NAMES[letters[index]]
    ordered = [letter for letter in letters[:index] if letter.isupper()]
    assert caught.value.evidence["after"] == (NAMES[ordered[-1]] if ordered else "nothing")


@given(st.text("ICPREVFMOA", max_size=14) | st.lists(st.sampled_from(["IC", "PR", "FM", "OA", "I", "F"])).map("".join))
def test_tables_are_the_grammar(letters: str) -> None:
    """Any word is accepted if and only if the grammar, written as one regular expression, matches it."""
    assert (index_of_fault(letters) is None) == (REFERENCE.fullmatch(letters) is not None)


@pytest.mark.parametrize(
    "letters", ["ICPRFMRFM", "ICRPRFM", "ICPVRVEVVFM", "ICPREPREFM", "ICRRFM", "ICPIPRFM", "OAIPRFM"]
)
def test_calm_orders_pass(letters: str) -> None:
    """Rounds in their order, also cut short by a restart, are accepted where nothing disturbed the network."""
    assert index_of_fault(letters, calm=True) is None


@pytest.mark.parametrize(
    ("letters", "index"), [("ICPF", 3), ("ICPP", 3), ("ICPE", 3), ("ICE", 2), ("ICREE", 4), ("ICREVE", 5), ("ICPC", 3)]
)
def test_disorder_within_a_round_is_refused_when_calm(letters: str, index: int) -> None:
    """Without disturbance a proposal is processed by its proposer, and a vote is extended at most once in a round."""
    assert index_of_fault(letters, calm=True) == index


@given(st.text("ICPREVFM", max_size=12))
def test_calm_allows_nothing_more(letters: str) -> None:
    """What passes as calm passes at all."""
    if index_of_fault(letters, calm=True) is None:
        assert index_of_fault(letters) is None


def test_every_name_is_a_request() -> None:
    """Each name with a letter is a field of the request's oneof, so that no call escapes by its spelling."""
    assert set(LETTERS) <= set(pb.Request.DESCRIPTOR.fields_by_name)
    assert len(set(LETTERS.values())) == len(LETTERS)
