"""Fixed keys, events, submissions and notes that the tests of core share, all functions of small integers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.cosignature import sign_cosignature
from ledger.core.event import Event, new_event
from ledger.core.hashing import Digest
from ledger.core.ident import uuid7_at
from ledger.core.keys import Ed25519Signer
from ledger.core.note import encode_note, sign_note
from ledger.core.submission import Submission, new_submission

ORIGIN = "demo/" + hashlib.sha256(b"genesis").hexdigest()
OTHER_ORIGIN = "demo/" + hashlib.sha256(b"another genesis").hexdigest()
TIME_MS = 1_795_248_000_123  # 2026-11-21T08:00:00.123Z
TIME_S = 1_795_248_060


def digest(number: int) -> Digest:
    """The SHA-256 of a small integer."""
    return Digest(hashlib.sha256(number.to_bytes(8, "big")).digest())


def signer(number: int) -> Ed25519Signer:
    """The signer of a small integer."""
    return Ed25519Signer(hashlib.sha256(b"key %d" % number).digest())


def event(number: int, **changes: object) -> Event:
    """An ordinary event; `changes` replace arguments of `new_event`."""
    seed = digest(number)
    parts: dict[str, object] = {
        "event_id": uuid7_at(TIME_MS + number, seed[:10]),
        "kind": "share.deliver",
        "refs": {"dataset": "ga/hukou", "grant": ["ga/g1", "ga/g2"]},
        "time_ms": TIME_MS + number,
        "salt": seed[10:26],
        "content": {"actor": "p:5b1e", "purpose": "人口统计", "rows": [1, None, True], "volume": 1200 + number},
        "commitments": {"list": digest(number + 1).hex()},
        "data_subjects": ["t:9f00"],
    }
    return new_event(**{**parts, **changes})


def submission(count: int = 3, key: int = 1) -> Submission:
    """A signed submission of `count` events."""
    return new_submission(ORIGIN, "ga", signer(key), [event(number) for number in range(count)])


def cosigners(count: int) -> list[tuple[str, object]]:
    """A set of cosigners named `c00`, `c01`, …; their signers are `signer(100)` and on."""
    return [(f"c{number:02d}", signer(100 + number).public) for number in range(count)]


def certificate(
    count: int, signing: int, size: int = 7, root: Digest | None = None, log_key: int = 50, time_s: int = TIME_S
) -> bytes:
    """A note by log key and the first `signing` of `count` cosigners, one second apart, latest first."""
    text = encode_checkpoint(Checkpoint(ORIGIN, size, root or digest(size)))
    lines = [sign_note(text, ORIGIN, signer(log_key))]
    for number, (name, _) in enumerate(cosigners(count)[:signing]):
        lines.append(sign_cosignature(text, name, signer(100 + number), time_s + count - number))
    return encode_note(text, lines)


def damaged(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every truncation, every flipped byte (by two masks), some appended bytes and swapped halves of `data`."""
    for length in range(len(data)):
        yield f"first {length} bytes", data[:length]
    for at in range(len(data)):
        for mask in (0x01, 0x80):
            yield f"byte {at} ^ {mask:#x}", data[:at] + bytes((data[at] ^ mask,)) + data[at + 1 :]
    for tail in (b"\0", b"\n", b" ", data[-1:], data):
        yield f"followed by {tail[:8]!r}", data + tail
    half = len(data) // 2
    if data[:half] != data[half:]:
        yield "halves swapped", data[half:] + data[:half]


def assert_each_refused(data: bytes, attempt: Callable[[bytes], object], errors: type | tuple[type, ...]) -> None:
    """Every damage of `data` makes `attempt` raise one of `errors`, and nothing else."""
    for what, broken in damaged(data):
        try:
            attempt(broken)
        except errors:
            continue
        raise AssertionError(f"accepted: {what}")
