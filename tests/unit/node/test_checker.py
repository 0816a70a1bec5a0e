"""Checking in a worker process: the same answers and errors as here, and a worker that dies costs nothing."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import framing
from ledger.core.event import new_event
from ledger.core.hashing import sha256
from ledger.core.ident import uuid7_at
from ledger.core.keys import Ed25519Signer
from ledger.core.submission import Submission, new_submission
from ledger.errors import LedgerError
from ledger_node.intake import checker as checker_module
from ledger_node.intake.checker import Checker
from ledger_node.intake.checkwire import check, encode_message, named_key, parse_message, rebuild
from tests.models.live_node import LiveNode

SIGNER = Ed25519Signer(sha256(b"a key of the test"))
ORIGIN = "x.test/" + "0" * 64


def submission(contents: list[dict[str, Any]], seed: int = 1) -> Submission:
    chance = random.Random(seed)
    events = [
        new_event(
            event_id=uuid7_at(1_790_000_000_000, chance.randbytes(10)),
            kind="test.event",
            refs={"dataset": "ga/a", "items": ["ga/b", "ga/c"]},
            time_ms=1_790_000_000_000,
            salt=chance.randbytes(16),
            content=content,
        )
        for content in contents
    ]
    return new_submission(ORIGIN, "ga", SIGNER, events)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex("[a-r]{1,5}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.from_regex("[a-r]{1,8}", fullmatch=True), JSON, max_size=4), min_size=1, max_size=3))
def test_a_worker_gives_back_what_parsing_gives(contents: list[dict[str, Any]]) -> None:
    """Over the wire and back, the submission equals the one that was parsed here, to the type of every value."""
    framed = framing.encode(submission(contents))
    answer = parse_message(encode_message([check(framed, SIGNER.public.raw)])[4:])
    found = rebuild(answer[0])
    assert found == framing.parse(framed)
    assert repr(found.events) == repr(framing.parse(framed).events)


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_a_worker_survives_any_bytes(framed: bytes, raw_key: bytes) -> None:
    """Whatever is asked, the answer is nil or a submission that verified."""
    assert check(framed, raw_key) is None
    named_key(framed)


def test_a_worker_vouches_for_nothing_else() -> None:
    """Another key, another signature or a changed byte is answered nil, so that the node looks itself."""
    framed = framing.encode(submission([{"n": 1}]))
    assert check(framed, Ed25519Signer(sha256(b"another")).public.raw) is None
    assert check(framed, b"") is None
    for place in range(0, len(framed), 7):
        changed = bytearray(framed)
        changed[place] ^= 1
        answer = check(bytes(changed), SIGNER.public.raw)
        assert answer is None or rebuild(answer) == framing.parse(framed)


def test_the_named_key_is_read_without_trust() -> None:
    """The key id comes from the fourth field; anything else names none."""
    made = submission([{"n": 1}])
    assert named_key(framing.encode(made)) == made.key_id
    for framed in (b"", b"\xc1", b"\x90", b"\x96\x01\x01\x01\x01\x01\x01", framing.encode(made) + b"x"):
        assert named_key(framed) is None


def run(live: LiveNode, work: Any, monkeypatch: pytest.MonkeyPatch | None = None) -> Any:
    """Run `work(checker)` with a started worker and many requests under way."""

    async def main() -> Any:
        with ThreadPoolExecutor(2) as pool:
            checker = Checker(live.node, pool)
            await checker.start()
            try:
                await started(checker)
                checker.active = 100
                return await work(checker)
            finally:
                await checker.close()

    return asyncio.run(main())


async def started(checker: Checker) -> None:
    until = time.monotonic() + 60
    while checker._writer is None:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


def made(live: LiveNode, count: int) -> list[Submission]:
    refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}
    return [live.sign("rs", [live.event("use.access", refs, count=number)]) for number in range(count)]


def test_many_are_checked_by_the_worker(live: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under load nothing is parsed here, and every answer is the caller's own."""
    submissions = made(live, 60)

    async def work(checker: Checker) -> list[Submission]:
        monkeypatch.setattr(checker, "_check_here", None)
        return await asyncio.gather(*(checker.check(framing.encode(each)) for each in submissions))

    assert run(live, work) == submissions


def test_errors_are_those_of_the_node(live: LiveNode) -> None:
    """Each bad submission raises the same code with and without a worker."""
    good = framing.encode(made(live, 1)[0])
    cases = [
        b"", b"\x96\x01", good[:-1] + bytes((good[-1] ^ 1,)), good.replace(b"live.test", b"lime.test"),
        good.replace(b"\xa2rs", b"\xa2ga"), good.replace(b"\xa2rs", b"\xa2zz"),
    ]  # fmt: skip

    async def code(checker: Checker, data: bytes) -> str:
        try:
            await checker.check(data)
        except LedgerError as error:
            return error.code
        return "accepted"

    async def work(checker: Checker) -> tuple[list[str], list[str]]:
        there = [await code(checker, data) for data in cases]
        checker.active = 0
        return there, [await code(checker, data) for data in cases]

    there, here = run(live, work)
    assert there == here
    assert there == ["framing", "framing", "submission-signature", "network", "key-unknown", "member-unknown"]


def test_a_killed_worker_is_replaced(live: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for it is answered, the next ones too, and after a moment a new worker serves."""
    monkeypatch.setattr(checker_module, "RESTART_S", 0.1)
    submissions = made(live, 50)

    async def work(checker: Checker) -> list[Submission]:
        assert checker._process is not None
        first = checker._process.pid
        os.kill(first, signal.SIGSTOP)  # so that the questions are under way when it dies
        waiting = [asyncio.create_task(checker.check(framing.encode(each))) for each in submissions]
        await asyncio.sleep(0.1)
        os.kill(first, signal.SIGKILL)
        answers = await asyncio.gather(*waiting)
        await asyncio.sleep(0.05)
        await started(checker)
        assert checker._process.pid != first
        return [*answers, await checker.check(framing.encode(submissions[0]))]

    assert run(live, work) == [*submissions, submissions[0]]


def test_a_closed_checker_leaves_no_process(live: LiveNode) -> None:
    """The worker ends with the application."""

    async def work(checker: Checker) -> int:
        assert checker._process is not None
        return checker._process.pid

    pid = run(live, work)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_worker_ends_when_its_node_is_gone() -> None:
    """A socket that closes is the end, so that a killed node leaves no worker behind."""
    import socket

    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-m", "ledger_node.intake.checkworker", str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    theirs.close()
    ours.close()
    assert process.wait(30) == 0
