"""The genesis: closed, self-consistent, every key proving that its holder asked for it; the origin pins it all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ledger.core import canonical
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.genesis import GENESIS_BYTES_MAX, PARAMETERS, Genesis, Predecessor, new_genesis, parse_genesis
from ledger.core.keys import CONSENSUS, COSIGN, EVENT, LOG, P2P, Ed25519Signer
from ledger.core.note import parse_note
from ledger.errors import LedgerError, MalformedError, VerificationError
from tests.models.small_ledger import MEMBERS, SmallLedger, digest, make_genesis, signer

GENESIS = make_genesis()
Change = Callable[[dict[str, Any]], object]


def altered(change: Change) -> bytes:
    """The genesis after `change`, its proofs as they were."""
    document = json.loads(GENESIS.data)
    change(document)
    return canonical.encode(document, bytes_max=GENESIS_BYTES_MAX)


def made(uses: dict[str, list[str]], **parts: Any) -> Genesis:
    """A genesis of members with a key for each use, `parts` replaced."""
    sign: dict[str, Ed25519Signer] = {}
    members = []
    for member, wanted in uses.items():
        keys = [signer(member, use) for use in wanted]
        sign.update({key.public.raw.hex(): key for key in keys})
        members.append(
            {
                "attributes": {}, "id": member, "roles": [], "title": {"en": member, "zh": member},
                "keys": [
                    {"algorithm": 1, "public": key.public.raw.hex(), "roles": [], "use": use}
                    for key, use in zip(keys, wanted, strict=True)
                ],
            }
        )  # fmt: skip
    given: dict[str, Any] = {"name": "net", "time": 0, "rulebook": digest("r"), "calendar": digest("c")}
    return new_genesis(members=members, sign=sign, **{**given, **parts})


def test_origin_pins_every_byte() -> None:
    """SPEC R-G02: the origin is the name and the hash of the bytes; parsing keeps the bytes."""
    again = parse_genesis(GENESIS.data)
    assert again == GENESIS
    assert again.origin == f"demo/{GENESIS.hash.hex()}"
    assert make_genesis("demo2").origin != GENESIS.origin


def test_keys_are_listed_by_use() -> None:
    """Keys of one use come in order of member and key id."""
    assert [member for member, _ in GENESIS.keys(COSIGN)] == list(MEMBERS)
    assert [member for member, _ in GENESIS.keys(LOG)] == ["ba"]


def test_parameters_have_defaults() -> None:
    """SPEC R-G03: what is not given has its default."""
    assert GENESIS.parameters == PARAMETERS
    assert made({"a": [LOG]}, parameters={"skew_ms": 1}).parameters == {**PARAMETERS, "skew_ms": 1}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d.pop("clock"), "genesis-fields"),
        (lambda d: d.update(more=1), "genesis-fields"),
        (lambda d: d.update(v=2), "genesis-version"),
        (lambda d: d.update(v=True), "genesis-version"),
        (lambda d: d.update(name="a/b"), "genesis-name"),
        (lambda d: d.update(name="A"), "genesis-name"),
        (lambda d: d.update(name=""), "genesis-name"),
        (lambda d: d.update(clock="sun"), "genesis"),
        (lambda d: d.update(engine="raft"), "genesis"),
        (lambda d: d["parameters"].pop("skew_ms"), "genesis-fields"),
        (lambda d: d["parameters"].update(skew_ms="1"), "genesis-number"),
        (lambda d: d.update(time=-1), "genesis-number"),
        (lambda d: d.update(members=[]), "genesis-members"),
        (lambda d: d["members"].reverse(), "genesis-members"),
        (lambda d: d["members"].append(d["members"][0]), "genesis-members"),
        (lambda d: d["members"][0].update(id="a/b"), "member-id"),
        (lambda d: d["members"][0].update(id="A"), "identifier"),
        (lambda d: d["members"][0].update(title={"en": "x"}), "genesis-fields"),
        (lambda d: d["members"][0]["title"].update(zh=""), "genesis-title"),
        (lambda d: d["members"][0].update(attributes=[]), "genesis-attributes"),
        (lambda d: d["members"][0].update(roles=["b", "a"]), "roles"),
        (lambda d: d["members"][0].update(keys=d["members"][0]["keys"] * 9), "genesis-keys"),
        (lambda d: d["members"][0]["keys"][0].update(use="sign"), "key-use"),
        (lambda d: d["members"][0]["keys"][0].update(algorithm=2), "public-key"),
        (lambda d: d["members"][0]["keys"][0].update(public="00" * 32), "public-key"),
        (lambda d: d["members"][0]["keys"][0].update(proof="XY"), "genesis-hex"),
        (lambda d: d.update(rulebook="00"), "digest"),
    ],
)
def test_what_is_no_genesis(change: Change, code: str) -> None:
    """SPEC R-G01, R-G04: a missing, unknown, odd or doubled part is refused with its code."""
    with pytest.raises(MalformedError) as caught:
        parse_genesis(altered(change))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(name="other"),
        lambda d: d.update(time=1),
        lambda d: d.update(rulebook="0" * 64),
        lambda d: d["members"][0].update(roles=["admin"]),
        lambda d: d["members"][0]["keys"][0].update(proof="00" * 64),
        lambda d: d["members"][0]["keys"][0].update(proof=d["members"][1]["keys"][0]["proof"]),
        lambda d: d["members"][0]["keys"][0].update(use="http"),
    ],
)
def test_every_proof_covers_the_whole_document(change: Change) -> None:
    """SPEC R-K04, R-G04: whoever changes anything needs new proofs of every key."""
    with pytest.raises(VerificationError) as caught:
        parse_genesis(altered(change))
    assert caught.value.code == "key-proof"


def test_somebody_must_order_and_cosigners_are_bounded() -> None:
    """SPEC R-G04: no log key, one key twice, or more than 32 cosigners, is no network."""
    with pytest.raises(MalformedError) as caught:
        made({"a": [LOG, LOG]})
    assert caught.value.code == "key-twice"
    with pytest.raises(MalformedError) as caught:
        made({"a": [EVENT]})
    assert caught.value.code == "log-key"
    many = {f"m{number:02}": [COSIGN] for number in range(33)}
    with pytest.raises(MalformedError) as caught:
        made({"a": [LOG], **many})
    assert caught.value.code == "cosigners"
    many.popitem()
    assert len(made({"a": [LOG], **many}).keys(COSIGN)) == 32


VALIDATOR = [CONSENSUS, COSIGN, EVENT, LOG, P2P]


def test_validators_of_the_first_block() -> None:
    """SPEC R-N01: with CometBFT each validator holds consensus, cosign, log and p2p keys; others need none of them."""
    genesis = made({"a": VALIDATOR, "b": [EVENT, COSIGN], "c": VALIDATOR}, engine="cometbft")
    assert parse_genesis(genesis.data).engine == "cometbft"
    assert [member for member, _ in genesis.keys(CONSENSUS)] == ["a", "c"]


@pytest.mark.parametrize(
    ("uses", "engine"),
    [
        ({"a": [COSIGN, EVENT, LOG, P2P]}, "cometbft"),
        *(
            ({"a": VALIDATOR, "b": [use for use in VALIDATOR if use != gone]}, "cometbft")
            for gone in (LOG, COSIGN, P2P)
        ),
        ({"a": [LOG, CONSENSUS]}, "sequencer"),
        ({"a": [LOG, P2P]}, "sequencer"),
        ({f"m{number:02}": [CONSENSUS, LOG] for number in range(65)}, "cometbft"),
    ],
)
def test_who_cannot_validate(uses: dict[str, list[str]], engine: str) -> None:
    """SPEC R-N01: no validator, too many, one that lacks a key, or one beside a sequencer, is no network."""
    with pytest.raises(MalformedError) as caught:
        made(uses, engine=engine)
    assert caught.value.code == "validators"


def test_a_validator_has_one_vote() -> None:
    """SPEC R-N01: a member with two consensus keys would count twice."""
    sign: dict[str, Ed25519Signer] = {}
    for number, use in enumerate((*VALIDATOR, CONSENSUS)):
        key = signer("a", f"{use}-{number}")
        sign[key.public.raw.hex()] = key
    keys = [
        {"algorithm": 1, "public": public, "roles": [], "use": use}
        for public, use in zip(sign, (*VALIDATOR, CONSENSUS), strict=True)
    ]
    member = {"attributes": {}, "id": "a", "keys": keys, "roles": [], "title": {"en": "a", "zh": "a"}}
    with pytest.raises(MalformedError) as caught:
        new_genesis(
            name="net",
            time=0,
            rulebook=digest("r"),
            calendar=digest("c"),
            members=[member],
            sign=sign,
            engine="cometbft",
        )
    assert caught.value.code == "validators"


def test_no_other_bytes_are_this_genesis() -> None:
    """Truncations and changed bytes are refused, here and there along the document."""
    data = GENESIS.data
    for at in range(0, len(data), 37):
        for broken in (data[:at], data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]):
            with pytest.raises(LedgerError):
                parse_genesis(broken)


def predecessor() -> Predecessor:
    """The end of a ledger of two blocks."""
    ledger = SmallLedger()
    ledger.block(events=[ledger.event()])
    note = ledger.note()
    return Predecessor(parse_checkpoint_text(parse_note(note).text), note, digest("state"))


def test_a_successor_pins_where_its_predecessor_ended() -> None:
    """SPEC R-G06: the origin it continues, the last certified note and the state root are part of what the origin pins."""
    before = predecessor()
    genesis = make_genesis("next", before)
    again = parse_genesis(genesis.data)
    assert again == genesis and again.continues == before
    assert before.origin == GENESIS.origin and before.checkpoint.size > 0
    assert genesis.origin != make_genesis("next").origin and GENESIS.continues is None


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d.update(continues=None), "genesis-fields"),
        (lambda d: d.update(continues={}), "genesis-fields"),
        (lambda d: d["continues"].update(more=1), "genesis-fields"),
        (lambda d: d["continues"].update(note=1), "genesis-continues"),
        (lambda d: d["continues"].update(note="x" * 65_537), "genesis-continues"),
        (lambda d: d["continues"].update(note="x"), "note"),
        (lambda d: d["continues"].update(origin="other"), "genesis-continues"),
        (lambda d: d["continues"].update(origin=1), "genesis-continues"),
        (lambda d: d["continues"].update(state_root="00"), "digest"),
    ],
)
def test_what_continues_nothing(change: Change, code: str) -> None:
    """SPEC R-G06: a predecessor is a whole checkpoint note of the origin it names."""
    document = json.loads(make_genesis("next", predecessor()).data)
    change(document)
    with pytest.raises(MalformedError) as caught:
        parse_genesis(canonical.encode(document, bytes_max=GENESIS_BYTES_MAX))
    assert caught.value.code == code
