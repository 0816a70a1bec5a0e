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
from ledger.errors import LedgerError, MalformedError
from ledger.framing import open_envelope
from ledger_node.intake import checker as checker_module
from ledger_node.intake.checker import Checker
from ledger_node.intake.checkwire import check, check_all, encode_message, parse_message, rebuild
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
    found = rebuild(open_envelope(framed), answer[0])
    assert found == framing.parse(framed)
    assert repr(found.events) == repr(framing.parse(framed).events)


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_a_worker_survives_any_bytes(framed: bytes, raw_key: bytes) -> None:
    """Whatever is asked, the answer is nil or a submission that verified."""
    assert check(framed, raw_key) is None
    with pytest.raises(MalformedError):
        open_envelope(framed)


def test_a_worker_vouches_for_nothing_else() -> None:
    """Another key, another signature or a changed byte is answered nil, so that the node looks itself."""
    framed = framing.encode(submission([{"n": 1}]))
    assert check(framed, Ed25519Signer(sha256(b"another")).public.raw) is None
    assert check(framed, b"") is None
    for place in range(0, len(framed), 7):
        changed = bytearray(framed)
        changed[place] ^= 1
        answer = check(bytes(changed), SIGNER.public.raw)
        assert answer is None or rebuild(open_envelope(bytes(changed)), answer) == framing.parse(framed)


def test_an_envelope_is_opened_without_trust() -> None:
    """Origin, member, key and signature are those of the list; what is no such list is refused as parsing refuses it."""
    made = submission([{"n": 1}])
    found = open_envelope(framing.encode(made))
    assert (found.origin, found.member, found.key_id, found.signature) == (
        made.origin, made.member, made.key_id, made.signature,
    )  # fmt: skip
    for framed in (b"", b"\xc1", b"\x90", b"\x96\x01\x01\x01\x01\x01\x01", framing.encode(made) + b"x"):
        with pytest.raises(MalformedError) as here:
            open_envelope(framed)
        with pytest.raises(MalformedError) as there:
            framing.parse(framed)
        assert (here.value.code, str(here.value)) == (there.value.code, str(there.value))


def test_a_worker_answers_before_it_has_checked_all() -> None:
    """Large messages are answered in parts, every question once and in order; an empty one is answered empty."""
    asked = [
        (framing.encode(submission([{"n": number, "t": f"x{number}" * 3000}])), SIGNER.public.raw)
        for number in range(40)
    ]
    asked[7] = (b"nothing", SIGNER.public.raw)
    parts = list(check_all(asked))
    assert [answer for part in parts for answer in part] == [check(*question) for question in asked]
    assert list(check_all([])) == [[]]
    long = [
        (framing.encode(submission([{"t": random.Random(n).randbytes(9000).hex()}])), SIGNER.public.raw)
        for n in range(6)
    ]
    assert len(list(check_all(long))) == 3


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


def test_a_large_one_is_checked_by_the_worker_even_alone(live: LiveNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """A submission of many events, alone, is not parsed here; nor is one so large that it is read again in a thread."""
    refs = {"dataset": "ga/hukou", "grant": live.ids["grant"]}
    large = live.sign("rs", [live.event("use.access", refs, count=number) for number in range(200)])
    monkeypatch.setattr(checker_module, "REREAD_BYTES_MAX", 64 * 1024)
    huge = live.sign("rs", [live.event("use.access", refs, note=os.urandom(400).hex()) for _ in range(400)])
    assert len(framing.encode(huge)) > 64 * 1024 > len(framing.encode(large))

    async def work(checker: Checker) -> list[Submission]:
        checker.active = 1
        monkeypatch.setattr(checker, "_check_here", None)
        return [await checker.check(framing.encode(each)) for each in (large, huge)]

    assert run(live, work) == [large, huge]


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
