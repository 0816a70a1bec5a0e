"""Submissions: what one signature covers, and one event shown without its neighbours."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest

from ledger.core import merkle, submission
from ledger.core.event import Event
from ledger.errors import MalformedError, VerificationError
from tests.unit.core import samples
from tests.unit.core.samples import ORIGIN, signer


def test_identity_has_the_stated_preimage() -> None:
    """The signed message is tag, origin, member, key, count and root; the identity is its hash."""
    made = samples.submission(3)
    root = merkle.root([each.hash for each in made.events])
    message = (
        b"suyuan/submission/v1\0"
        + len(ORIGIN).to_bytes(2, "big")
        + ORIGIN.encode()
        + b"\x00\x02ga"
        + signer(1).public.key_id
        + b"\x00\x00\x00\x03"
        + root
    )
    assert made.message == message
    assert made.root == root
    assert made.identity == hashlib.sha256(message).digest()
    submission.verify_signature(made, signer(1).public)


def test_another_key_is_refused() -> None:
    """A key with another id is refused before its signature is looked at."""
    with pytest.raises(VerificationError) as caught:
        submission.verify_signature(samples.submission(), signer(2).public)
    assert caught.value.code == "submission-key"


def test_no_part_can_be_changed_under_the_signature() -> None:
    """Another origin, member, order, number or content of events, or a damaged signature, does not verify."""
    good = samples.submission(3)
    key = signer(1).public
    events = good.events
    changed = [
        submission.assemble(samples.OTHER_ORIGIN, "ga", good.key_id, events, good.signature),
        submission.assemble(ORIGIN, "gb", good.key_id, events, good.signature),
        submission.assemble(ORIGIN, "ga", good.key_id, events[:2], good.signature),
        submission.assemble(ORIGIN, "ga", good.key_id, events[::-1], good.signature),
        submission.assemble(ORIGIN, "ga", good.key_id, [*events[:2], samples.event(9)], good.signature),
        submission.assemble(ORIGIN, "ga", good.key_id, [*events, samples.event(9)], good.signature),
    ]
    for at in range(64):
        flipped = good.signature[:at] + bytes((good.signature[at] ^ 1,)) + good.signature[at + 1 :]
        changed.append(submission.assemble(ORIGIN, "ga", good.key_id, events, flipped))
    for each in changed:
        with pytest.raises(VerificationError) as caught:
            submission.verify_signature(each, key)
        assert caught.value.code == "submission-signature"
        assert caught.value.evidence["identity"] == each.identity


def assembled(**changes: Any) -> submission.Submission:
    """`assemble` with some arguments replaced."""
    good = samples.submission(1)
    parts = {
        "origin": ORIGIN,
        "member": "ga",
        "key_id": good.key_id,
        "events": good.events,
        "signature": good.signature,
    }
    return submission.assemble(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"origin": "demo"}, "origin"),
        ({"member": "GA"}, "identifier"),
        ({"key_id": bytes(31)}, "submission"),
        ({"key_id": bytes(33)}, "submission"),
        ({"events": ()}, "submission"),
        ({"events": (samples.event(1),) * 1001}, "submission"),
        ({"signature": bytes(63)}, "submission"),
        ({"signature": b""}, "submission"),
    ],
)
def test_misshapen_parts_are_refused(changes: dict[str, Any], code: str) -> None:
    """Each part has its form, and there are 1 to 1,000 events."""
    with pytest.raises(MalformedError) as caught:
        assembled(**changes)
    assert caught.value.code == code


def test_a_thousand_events_are_accepted() -> None:
    """The limit itself is allowed."""
    assert len(assembled(events=(samples.event(1),) * 1000).events) == 1000


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_one_event_shown_alone(count: int) -> None:
    """Each event's path leads to the signed root, and any other position, event, count, path or signature does not."""
    good = samples.submission(count)
    key = signer(1).public
    for index, each in enumerate(good.events):
        path = submission.prove_event(good, index)
        shown: dict[str, Any] = {
            "event_hash": each.hash,
            "index": index,
            "count": count,
            "root": good.root,
            "path": path,
        }
        assert submission.verify_event(ORIGIN, "ga", key, good.signature, **shown) == good.identity
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"event_hash": samples.digest(1)}, "inclusion"),
            ({"index": count}, "inclusion"),
            ({"count": 0}, "inclusion"),
            ({"count": 1001}, "inclusion"),
            ({"path": [*path, samples.digest(1)]}, "inclusion"),
            ({"root": samples.digest(1)}, "inclusion"),
        ]
        for change, code in wrong:
            with pytest.raises(VerificationError) as caught:
                submission.verify_event(ORIGIN, "ga", key, good.signature, **{**shown, **change})
            assert caught.value.code == code
        for origin, member, other, signature in (
            (samples.OTHER_ORIGIN, "ga", key, good.signature),
            (ORIGIN, "gb", key, good.signature),
            (ORIGIN, "ga", signer(2).public, good.signature),
            (ORIGIN, "ga", key, good.signature[::-1]),
        ):
            with pytest.raises(VerificationError) as caught:
                submission.verify_event(origin, member, other, signature, **shown)
            assert caught.value.code == "submission-signature"
    with pytest.raises(MalformedError):
        submission.prove_event(good, count)


def test_submissions_are_values() -> None:
    """Equal parts make equal submissions, and none can be changed in place."""
    assert samples.submission(2) == samples.submission(2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        samples.submission(1).member = "gb"  # type: ignore[misc]
    assert isinstance(samples.submission(1).events[0], Event)
