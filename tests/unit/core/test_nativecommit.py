"""CometBFT's own commits: every part is bound, every vote counts once, and nothing malformed is read."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.core import nativecommit
from ledger.core.hashing import Digest, sha256
from ledger.core.keys import PublicKey
from ledger.core.nativecommit import (
    ABSENT,
    ABSENT_VOTE,
    COMMIT,
    NIL,
    BlockId,
    NativeCommit,
    Vote,
    address_of,
    chain_id_of,
    from_rpc,
    parse,
    validators_hash,
    verify_native,
    verify_signed,
    without_bad_votes,
)
from ledger.errors import LedgerError, MalformedError, VerificationError
from ledger.limits import VALIDATORS_MAX
from tests.models.native_commits import consensus_signer, make_commit, make_header, rpc_answer, sign_commit

CHAIN = chain_id_of(sha256(b"genesis"))
STATE = sha256(b"state")
SIGNERS = [consensus_signer(member) for member in ("ga", "gx", "mz", "wj")]
KEYS = [each.public for each in SIGNERS]
NATIVE = make_commit(CHAIN, STATE, SIGNERS, round_=2)


def code_of(native: NativeCommit, keys: list[PublicKey] = KEYS, chain: str = CHAIN, state: bytes = STATE) -> str:
    """The code with which a commit is refused; "" where it holds."""
    try:
        verify_native(native, chain, keys, state)
    except VerificationError as error:
        return error.code
    return ""


def test_a_commit_of_all_holds_in_any_order_of_the_set() -> None:
    """A set has no order of its own: CometBFT's is made here."""
    assert code_of(NATIVE) == ""
    assert code_of(NATIVE, KEYS[::-1]) == ""
    assert [address_of(key) for key in nativecommit.in_order(KEYS)] == sorted(address_of(key) for key in KEYS)


def test_chain_ids_fit_cometbft() -> None:
    """The chain id names the genesis and keeps within CometBFT's 50 characters."""
    assert chain_id_of(sha256(b"genesis")).removeprefix("suyuan-") == sha256(b"genesis").hex()[:40]
    assert len(CHAIN) == 47


def changed(value: Any) -> Any:
    """The value with something else in its place."""
    match value:
        case str():
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case bytes():
            return bytes((value[0] ^ 1,)) + value[1:]
        case int():
            return value + 1
        case (int(), int()):
            return value[0], value[1] + 1
        case BlockId():
            return replace(value, hash=changed(value.hash))
    raise AssertionError(value)


HEADER_CODES = {
    "chain_id": "native-chain",
    "height": "native-height",
    "app_hash": "native-app-hash",
    "validators_hash": "native-validators",
}


@pytest.mark.parametrize("name", [each.name for each in fields(NATIVE.header)])
def test_each_field_of_the_header_is_bound(name: str) -> None:
    """A header with any one field changed is refused, and the error says what it is about."""
    header = replace(NATIVE.header, **{name: changed(getattr(NATIVE.header, name))})
    assert code_of(replace(NATIVE, header=header)) == HEADER_CODES.get(name, "native-block")
    # Even where the block id follows the changed header nobody has signed it; the height and the chain come first.
    again = replace(NATIVE, header=header, block_id=replace(NATIVE.block_id, hash=header.hash()))
    assert code_of(again) == HEADER_CODES.get(name, "native-vote")


@pytest.mark.parametrize("name", ["hash", "parts_total", "parts_hash"])
def test_each_field_of_the_last_block_id_is_bound(name: str) -> None:
    """The id of the block before is part of the header's hash, parts included."""
    last = NATIVE.header.last_block_id
    header = replace(NATIVE.header, last_block_id=replace(last, **{name: changed(getattr(last, name))}))
    assert code_of(replace(NATIVE, header=header)) == "native-block"


def test_each_field_of_the_commit_is_bound() -> None:
    """Height, round, block id and parts are signed."""
    assert code_of(replace(NATIVE, height=8)) == "native-height"
    assert code_of(replace(NATIVE, round=3)) == "native-vote"
    block_id = NATIVE.block_id
    assert code_of(replace(NATIVE, block_id=replace(block_id, hash=sha256(b"other")))) == "native-block"
    assert code_of(replace(NATIVE, block_id=replace(block_id, parts_total=2))) == "native-vote"
    assert code_of(replace(NATIVE, block_id=replace(block_id, parts_hash=sha256(b"other")))) == "native-vote"


@pytest.mark.parametrize("place", range(4))
def test_each_field_of_each_vote_is_bound(place: int) -> None:
    """Flag, address, time and signature of every vote matter, also where three other votes would do."""
    vote = NATIVE.votes[place]
    for other in (
        replace(vote, flag=NIL),
        replace(vote, address=changed(vote.address)),
        replace(vote, time=changed(vote.time)),
        replace(vote, time=(vote.time[0] + 1, vote.time[1])),
        replace(vote, signature=changed(vote.signature)),
        replace(vote, signature=vote.signature[:32] + changed(vote.signature[32:])),
    ):
        assert code_of(with_vote(NATIVE, place, other)) == "native-vote"


def with_vote(native: NativeCommit, place: int, vote: Vote) -> NativeCommit:
    """The commit with another vote in a place."""
    return replace(native, votes=(*native.votes[:place], vote, *native.votes[place + 1 :]))


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ([2, 2, 2, 2], ""),
        ([2, 2, 2, 1], ""),
        ([2, 3, 2, 2], ""),
        ([2, 2, 1, 1], "native-quorum"),
        ([2, 2, 3, 1], "native-quorum"),
        ([3, 3, 3, 3], "native-quorum"),
        ([1, 1, 1, 1], "native-quorum"),
    ],
)
def test_more_than_two_thirds_for_the_block(flags: list[int], code: str) -> None:
    """Only votes for the block count; a vote for no block is verified and not counted."""
    assert code_of(make_commit(CHAIN, STATE, SIGNERS, flags=flags)) == code


@pytest.mark.parametrize(("total", "needed"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (10, 7)])
def test_two_thirds_are_exact(total: int, needed: int) -> None:
    """One vote fewer than more than two thirds does not do."""
    signers = [consensus_signer(f"m{number}") for number in range(total)]
    keys = [each.public for each in signers]
    for count, code in ((needed, ""), (needed - 1, "native-quorum")):
        native = make_commit(CHAIN, STATE, signers, flags=[COMMIT] * count + [ABSENT] * (total - count))
        assert code_of(native, keys) == code


def test_a_vote_for_no_block_is_not_a_vote_for_it() -> None:
    """Turning votes for no block into votes for the block is found, and the other way round."""
    native = make_commit(CHAIN, STATE, SIGNERS, flags=[2, 2, 3, 3])
    forged = replace(native, votes=tuple(replace(vote, flag=COMMIT) for vote in native.votes))
    assert code_of(forged) == "native-vote"


def test_no_vote_is_counted_twice() -> None:
    """A validator's vote in another's place, or in both, is refused, whatever address stands beside it."""
    native = make_commit(CHAIN, STATE, SIGNERS, flags=[2, 2, 1, 1])
    for place in (2, 3):
        assert code_of(with_vote(native, place, native.votes[0])) == "native-vote"
        posing = replace(native.votes[0], address=address_of(nativecommit.in_order(KEYS)[place]))
        assert code_of(with_vote(native, place, posing)) == "native-vote"
    twice = [KEYS[0], KEYS[0], *KEYS[1:3]]
    signers = [SIGNERS[0], SIGNERS[0], *SIGNERS[1:3]]
    assert code_of(make_commit(CHAIN, STATE, signers), twice) == "native-validators"


def test_other_validators_are_refused() -> None:
    """A set with one more, one fewer, another one or none is not the one that signed."""
    other = consensus_signer("xx").public
    for keys in ([*KEYS, other], KEYS[:3], [*KEYS[:3], other], []):
        assert code_of(NATIVE, keys) == "native-validators"
    assert code_of(replace(NATIVE, votes=NATIVE.votes[:3])) == "native-validators"
    assert code_of(replace(NATIVE, votes=(*NATIVE.votes, ABSENT_VOTE))) == "native-validators"


def test_votes_of_another_chain_do_not_count() -> None:
    """The chain id stands in the header and under every signature."""
    foreign = make_commit("suyuan-other", STATE, SIGNERS)
    assert code_of(foreign) == "native-chain"
    header = replace(foreign.header, chain_id=CHAIN)
    moved = replace(foreign, header=header, block_id=replace(foreign.block_id, hash=header.hash()))
    assert code_of(moved) == "native-vote"


def test_a_vote_that_only_cometbft_counts_is_left_out() -> None:
    """ZIP-215 takes an R of small order, we do not: such a vote becomes an absent one before a node stores the commit."""
    small = replace(NATIVE.votes[1], signature=b"\x01" + bytes(31) + NATIVE.votes[1].signature[32:])
    native = with_vote(NATIVE, 1, small)
    assert code_of(native) == "native-vote"
    cleaned = without_bad_votes(native, CHAIN, KEYS)
    assert cleaned.votes[1] == ABSENT_VOTE
    assert code_of(cleaned) == ""
    with pytest.raises(VerificationError, match="native-quorum"):
        without_bad_votes(with_vote(native, 2, replace(NATIVE.votes[2], time=(1, 1))), CHAIN, KEYS)
    with pytest.raises(VerificationError, match="native-chain"):
        without_bad_votes(native, "suyuan-other", KEYS)
    assert without_bad_votes(NATIVE, CHAIN, KEYS) == NATIVE


def test_the_state_is_checked_apart_from_the_signatures() -> None:
    """`verify_signed` says who signed, `verify_native` also what."""
    verify_signed(NATIVE, CHAIN, KEYS)
    with pytest.raises(VerificationError) as caught:
        verify_native(NATIVE, CHAIN, KEYS, sha256(b"another state"))
    assert caught.value.code == "native-app-hash"
    assert caught.value.evidence["got"] == STATE


# --- reading ---------------------------------------------------------------------------------------------------------


def test_encoded_commits_parse_back() -> None:
    """Our encoding keeps every field, whatever the flags."""
    for flags in ([2, 2, 2, 2], [2, 1, 3, 2], [3, 3, 3, 3]):
        native = make_commit(CHAIN, STATE, SIGNERS, flags=flags)
        assert parse(native.encode()) == native
        assert from_rpc(rpc_answer(native)) == native


def test_the_first_block_has_no_block_before() -> None:
    """At height 1 the id of the block before is empty, and only there may all of it be."""
    header = replace(make_header(CHAIN, 1, SIGNERS, STATE), last_block_id=BlockId(b"", 0, b""))
    native = sign_commit(header, SIGNERS)
    assert code_of(parse(native.encode())) == ""
    with pytest.raises(MalformedError):
        parse(replace(native, block_id=BlockId(b"", 0, b"")).encode())


def document(**changes: Any) -> dict[str, Any]:
    """The document of a commit with parts replaced by path, such as `header.time`; `...` takes a part out."""
    made: dict[str, Any] = json.loads(NATIVE.encode())
    for path, value in changes.items():
        *way, last = path.split("__")
        inner: Any = made
        for name in way:
            inner = inner[int(name) if name.isdigit() else name]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return made


WRONG: list[dict[str, Any]] = [
    {"v": 2}, {"v": True}, {"v": ...}, {"extra": 1}, {"commit": []}, {"header": None},
    {"commit__votes": []}, {"commit__votes": [{"flag": 1}] * (VALIDATORS_MAX + 1)}, {"commit__votes": {}},
    {"commit__votes__0__flag": 0}, {"commit__votes__0__flag": 4}, {"commit__votes__0__flag": True},
    {"commit__votes__0__flag": 1}, {"commit__votes__0__signature": "00"}, {"commit__votes__0__signature": ...},
    {"commit__votes__0__address": "00"}, {"commit__votes__0__time": [1]}, {"commit__votes__0__time": [0, 10**9]},
    {"commit__votes__0__time": [-1, 0]}, {"commit__height": 0}, {"commit__height": "7"}, {"commit__round": -1},
    {"commit__round": 2**31}, {"commit__block_id__hash": "AB" * 32}, {"commit__block_id__hash": ""},
    {"commit__block_id__parts_total": 0}, {"commit__block_id__parts_total": 2**31}, {"commit__block_id__more": 1},
    {"header__chain_id": ""}, {"header__chain_id": "x" * 51}, {"header__chain_id": "链"}, {"header__height": 0},
    {"header__app_hash": "00" * 65}, {"header__data_hash": "00" * 31}, {"header__data_hash": 1},
    {"header__time": [0.5, 1]}, {"header__version": [11]}, {"header__version": ["11", 1]},
    {"header__proposer_address": ""}, {"header__last_block_id__parts_total": 0}, {"header__evidence_hash": ...},
]  # fmt: skip


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_what_is_no_commit_is_refused(changes: dict[str, Any]) -> None:
    """Closed schemas: another type, length, range, or name is malformed."""
    data = json.dumps(document(**changes), ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(MalformedError) as caught:
        parse(data)
    assert caught.value.code in ("native-commit", "canonical")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_are_a_commit_or_malformed(data: st.DataObject) -> None:
    """Bytes near a commit, and any others, parse to a value that encodes to the same bytes, or are malformed."""
    near = NATIVE.encode()
    at = data.draw(st.integers(0, len(near)))
    cut = data.draw(st.integers(at, min(len(near), at + 8)))
    given_bytes = data.draw(
        st.one_of(st.binary(max_size=60), st.just(near[:at] + data.draw(st.binary(max_size=8)) + near[cut:]))
    )
    try:
        parsed = parse(given_bytes)
    except MalformedError:
        return
    assert parsed.encode() == given_bytes


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_answer_is_a_commit_or_malformed(data: st.DataObject) -> None:
    """What CometBFT, or whoever poses as it, answers is a commit or malformed; nothing else is raised."""
    answer = rpc_answer(NATIVE)
    target: Any = answer
    for _ in range(data.draw(st.integers(0, 4))):
        if not isinstance(target, dict | list) or not target:
            break
        keys = list(target) if isinstance(target, dict) else list(range(len(target)))
        key = data.draw(st.sampled_from(keys))
        if data.draw(st.booleans()):
            target[key] = data.draw(VALUES)
            break
        target = target[key]
    try:
        parsed = from_rpc(answer if data.draw(st.integers(0, 9)) else data.draw(VALUES))
    except MalformedError:
        return
    assert parse(parsed.encode()) == parsed


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 3), st.binary(min_size=64, max_size=64), st.integers(0, 2**31 - 1))
def test_no_forged_vote_holds(place: int, signature: bytes, round_: int) -> None:
    """Whatever is put in a vote's place, the commit is refused by a named error."""
    forged = replace(with_vote(NATIVE, place, replace(NATIVE.votes[place], signature=signature)), round=round_)
    with pytest.raises(LedgerError) as caught:
        verify_native(forged, CHAIN, KEYS, STATE)
    assert caught.value.code == "native-vote"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("1970-01-01T00:00:00Z", [0, 0]),
        ("2026-11-22T14:05:59.641093954Z", [1795356359, 641093954]),
        ("2026-11-22T14:05:59.6Z", [1795356359, 600000000]),
        ("2028-02-29T23:59:59.000000001Z", [1835481599, 1]),
    ],
)
def test_times_of_the_engine(text: str, time: list[int]) -> None:
    """RFC 3339 with up to nine decimals, as Go writes them."""
    answer = rpc_answer(NATIVE)
    answer["signed_header"]["header"]["time"] = text
    assert list(from_rpc(answer).header.time) == time


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-22", "2026-11-22T14:05:59", "2026-11-22T14:05:59+00:00", "2026-02-30T00:00:00Z",
     "2026-11-22T14:05:59.1234567890Z", "1969-12-31T23:59:59Z", "２026-11-22T14:05:59Z", "2026-11-22T24:00:00Z"],
)  # fmt: skip
def test_other_times_are_malformed(text: str) -> None:
    """No other spelling of a time is read, and none before 1970."""
    answer = rpc_answer(NATIVE)
    answer["signed_header"]["commit"]["signatures"][0]["timestamp"] = text
    with pytest.raises(MalformedError):
        from_rpc(answer)


def test_the_largest_commit_can_be_stored() -> None:
    """As many votes as are ever allowed fit into the bound on a commit's bytes."""
    signers = [consensus_signer(f"m{number}") for number in range(VALIDATORS_MAX)]
    native = make_commit(CHAIN, STATE, signers, height=2**53 - 1, round_=2**31 - 1)
    assert parse(native.encode()) == native
    assert validators_hash(KEYS) != Digest(bytes(32))
