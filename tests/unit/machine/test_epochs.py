"""Change of the cosigner set: announced, then adopted at the last block of an epoch, under the old set's certificate."""

from __future__ import annotations

from typing import Any

import pytest

from ledger.core.keys import COSIGN, Ed25519Signer
from ledger.verify.report import Report
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS, signer
from tests.unit.machine.test_governance import code, propose

NOTICE = 24 * HOUR_MS
OLD = [(member, signer(member, COSIGN)) for member in MEMBERS]


def add_cosigner(ledger: Governed) -> Ed25519Signer:
    """A second cosigning key for wj, by vote."""
    key, fields = ledger.new_key("wj", COSIGN, "spare")
    ledger.change("sys.key.add", {"key": key.public.key_id.hex(), "member": "wj"}, {"key": fields})
    return key


def set_parts(pairs: list[tuple[str, Ed25519Signer]]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The parts of a proposal for this set."""
    names = [name for name, _ in pairs]
    listed = [[name, key.public.key_id.hex()] for name, key in pairs]
    return "sys.set.change", {"member": names if len(names) > 1 else names[0]}, {"cosigners": listed}


def changed_set(ledger: Governed, *, boundary: str = "old") -> list[tuple[str, Ed25519Signer]]:
    """Change wj's cosigning key; certify the epoch's last block by the `old` set, the `new` one, or not at all."""
    new = [*OLD[:3], ("wj", add_cosigner(ledger))]
    ledger.certify_by(OLD[:3])
    ledger.change(*set_parts(new), cosign=True, wait_ms=NOTICE + 1)
    ledger.certify_by(OLD[:3])
    ledger.block(ms=1)
    if boundary != "none":
        ledger.certify_by(OLD[1:] if boundary == "old" else new[1:])
    ledger.block(ledger.sign("ga", ledger.event()))
    ledger.certify_by(new[1:])
    return new


def codes(report: Report) -> list[str]:
    """Codes of findings and of gaps that limit the answer."""
    return [each.code for each in report.findings.kept] + [each.code for each in report.gaps if each.limits]


def test_set_changes_in_two_steps() -> None:
    """SPEC R-G20: announced in one block, in force after a later one, at least two blocks after the vote."""
    ledger = Governed()
    new = [*OLD[:3], ("wj", add_cosigner(ledger))]
    name, event = propose(ledger, "ga", *set_parts(new))
    items = [ledger.record(voter, ledger.approve(name, event, voter)) for voter in MEMBERS[:3]]
    voted = ledger.app.head.height
    assert items[-1].timers[0][1] == ledger.app.head.time + 1 + NOTICE
    ledger.block(ms=NOTICE + 1)
    wanted = tuple((member, key.public.key_id) for member, key in new)
    config = ledger.app.head.config
    assert config.cosigners != wanted and config.next_cosigners == wanted and config.epoch == 0
    assert ledger.proposal(name).status == "announced"
    last = ledger.block(ms=1)
    config = ledger.app.head.config
    assert (config.cosigners, config.next_cosigners, config.epoch) == (wanted, wanted, 1)
    assert last.height >= voted + 2 and ledger.proposal(name).status == "enacted"


@pytest.mark.parametrize("replay", [True, False])
def test_each_epoch_is_certified_by_its_set(replay: bool) -> None:
    """SPEC R-G21: certificates up to the epoch's last block are by the old set, later ones by the new one."""
    ledger = Governed()
    changed_set(ledger)
    report = ledger.verify(replay=replay)
    assert report.findings.kept == [] and report.counts.certificates == 4
    assert "epoch-uncertified" not in codes(report)


@pytest.mark.parametrize("replay", [True, False])
def test_new_set_cannot_certify_itself(replay: bool) -> None:
    """SPEC R-G21: without the old set's certificate over its last block nobody vouches for the new set."""
    ledger = Governed()
    changed_set(ledger, boundary="none")
    report = ledger.verify(replay=replay)
    assert report.findings.kept == [] and "epoch-uncertified" in codes(report)
    ledger = Governed()
    changed_set(ledger, boundary="new")
    assert "certificate" in codes(ledger.verify(replay=replay))


def test_old_set_cannot_go_on() -> None:
    """SPEC R-G21: after its last block the old set's signatures make no certificate."""
    ledger = Governed()
    changed_set(ledger)
    ledger.block(ledger.sign("ga", ledger.event()))
    ledger.certify_by([OLD[3], *OLD[:2]])
    report = ledger.verify()
    assert codes(report)[0] == "certificate"


def test_two_changes_do_not_cross() -> None:
    """SPEC R-G20: no second change while one is announced; one voted on in an older epoch is stale."""
    ledger = Governed()
    spare = add_cosigner(ledger)
    new = [*OLD[:3], ("wj", spare)]
    names = [propose(ledger, "ga", *set_parts(each)) for each in (new, OLD[:3])]
    for name, event in names:
        for voter in MEMBERS[:3]:
            ledger.record(voter, ledger.approve(name, event, voter), ms=0)
    first, second, third = (ledger.block(ms=NOTICE + 1), ledger.block(ms=0), ledger.block(ms=1))
    assert [code(each.decision.items[0]) for each in (first, second, third)] == ["", "set-changing", ""]
    assert ledger.app.head.config.epoch == 1
    assert code(ledger.record("ga", ledger.propose(*set_parts(new)))) == "in-force"
    assert ledger.verify().findings.kept == []


def test_announced_set_whose_key_ended_does_not_take_over() -> None:
    """SPEC R-G20: a key of the announced set that ends in between keeps the old set in office."""
    ledger = Governed()
    spare = add_cosigner(ledger)
    ledger.change(*set_parts([*OLD[:3], ("wj", spare)]), cosign=True, wait_ms=NOTICE + 1)
    refs = {"key": spare.public.key_id.hex(), "member": "wj"}
    assert code(ledger.record("wj", ledger.sys("sys.key.revoke", refs), ms=0)) == ""
    item = ledger.block(ms=1).decision.items[0]
    config = ledger.app.head.config
    assert code(item) == "key-revoked" and config.epoch == 0 and config.cosigners == config.next_cosigners
    assert ledger.verify().findings.kept == [] and ledger.verify(replay=False).findings.kept == []


def test_sets_that_cannot_be() -> None:
    """SPEC R-G20: an event key, a stranger's, a doubled member, another order and the set in force are refused."""
    ledger = Governed()
    from ledger.core.keys import EVENT

    _, refs, args = set_parts([("ga", signer("ga", EVENT))])
    assert code(ledger.record("ga", ledger.propose("sys.set.change", refs, args))) == "key-use"
    assert code(ledger.record("ga", ledger.propose(*set_parts([("ga", signer("gx", COSIGN))])))) == "key-unknown"
    assert code(ledger.record("ga", ledger.propose(*set_parts([OLD[1], OLD[0]])))) == "shape"
    assert code(ledger.record("ga", ledger.propose(*set_parts(OLD)))) == "in-force"
