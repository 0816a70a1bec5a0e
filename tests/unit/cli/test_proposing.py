"""What the options of `ledger approve propose` become: the sets of cosigners and validators, and the move of the engine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ledger.cli.proposing import Wishes, complete
from ledger.cli.settings import SettingError
from ledger.client.governance import key_fields
from ledger.core.keys import CONSENSUS, COSIGN, LOG, P2P
from tests.models.governed import HOUR_MS
from tests.models.tiny_ledger import MEMBERS, signer
from tests.unit.machine.test_governance import code
from tests.unit.machine.test_validators import key_id, newcomer, validating


def registration(origin: str, member: str, use: str, label: str) -> str:
    """The line that `ledger key show --register` prints."""
    fields = key_fields(signer(f"{member} {label}", use), origin, member, use)
    return json.dumps({**fields, "member": member, "origin": origin})


def test_both_sets_from_options() -> None:
    """Cosigners by key id, a validator's registration and one that ends make the args; the refs name everybody."""
    ledger = validating()
    ledger.change("sys.member.admit", {"member": "zx"}, newcomer(ledger, uses=(COSIGN, LOG, P2P)))
    cosigners = tuple(f"{member}={key_id(member, COSIGN)}" for member in MEMBERS[2::-1])
    line = registration(ledger.origin, "zx", CONSENSUS, "first")
    wishes = Wishes(registrations=(line,), cosigners=cosigners, ended=(f"wj={key_id('wj')}",))
    refs, args = complete("sys.set.change", {}, {}, wishes, ledger.origin)
    assert refs == {"member": ["ga", "gx", "mz", "wj", "zx"]} and "below_four" not in args
    ledger.change("sys.set.change", refs, args, cosign=True, wait_ms=24 * HOUR_MS + 1)
    ledger.block(ms=1)
    assert ledger.validators == ["ga", "gx", "mz", "zx"]


def test_fewer_than_four_is_said_in_the_proposal() -> None:
    """`--below-four` stands in the args, so that everybody votes for it."""
    ledger = validating()
    refs = {"key": key_id("wj"), "member": "wj"}
    for flag, expected in ((False, "validator-floor"), (True, "")):
        named, args = complete("sys.key.revoke", refs, {}, Wishes(below_four=flag), ledger.origin)
        assert code(ledger.record("ga", ledger.propose("sys.key.revoke", named, args))) == expected


def test_move_names_the_chain_that_follows() -> None:
    """Without arguments the first move is to CometBFT on the chain id that the ledger accepts; another may be named."""
    ledger = validating()
    refs, args = complete("sys.engine.move", {}, {}, Wishes(), ledger.origin)
    assert code(ledger.record("ga", ledger.propose("sys.engine.move", refs, args))) == ""
    named: dict[str, Any] = {"chain_id": "other"}
    assert complete("sys.engine.move", {}, named, Wishes(), ledger.origin)[1]["chain_id"] == "other"


@pytest.mark.parametrize("given", ["ga", "ga=", "=ab", "ga=0123456789abcdef", "ga=" + "G" * 64])
def test_pairs_are_whole(given: str) -> None:
    """A cosigner without a key id is an error of the call and no proposal."""
    with pytest.raises(SettingError):
        complete("sys.set.change", {}, {}, Wishes(cosigners=(given,)), "tiny/" + "0" * 64)


def test_odd_arguments_are_left_to_the_ledger() -> None:
    """What `--set` gives in a wrong form is neither mended nor a crash."""
    for args in ({"cosigners": 7}, {"cosigners": [[]]}, {"validators": []}, {"validators": {"add": 1}}):
        refs, made = complete("sys.set.change", {}, args, Wishes(), "tiny/" + "0" * 64)
        assert (refs, made) == ({}, args)
