"""The SDK end to end over loopback: spooled, signed, shipped once, again after every kind of failure."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.adapters.home.keyfile import write_key
from ledger.client import Recorder, acting, audited, use_recorder
from ledger.client.recorder import mint
from ledger.client.request import Recorded
from ledger.client.spool import REJECTED, backlog, count_lines
from ledger.core.event import parse_event
from ledger.core.genesis import parse_genesis
from ledger.errors import LedgerError, MalformedError, NotFoundError, UnavailableError
from tests.models.small_ledger import digest, make_genesis, signer
from tests.unit.client.server import Answer, Asked, Ledger, problem, serve

GENESIS = make_genesis()
KEY = signer("ga", "event")


@pytest.fixture
def node() -> Iterator[tuple[Ledger, str]]:
    """A ledger that takes submissions, and its address."""
    made = Ledger(GENESIS.data)
    with serve(made.answer) as url:
        yield made, url


def recorder(url: str, folder: Path, **more: object) -> Recorder:
    return Recorder(url, folder, member="ga", signer=KEY, **more)  # type: ignore[arg-type]


def test_what_is_recorded_arrives_signed_and_whole(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """The event's fields, actor and purpose reach the ledger under the member's signature; the result comes back."""
    ledger, url = node
    results: list[Recorded] = []
    with recorder(url, tmp_path, origin=GENESIS.origin, on_result=results.append) as made:
        with acting(actor="p:1", purpose="check"), acting(purpose="closer"):
            event_id = made.record("use.access", {"dataset": "ga/hukou"}, {"count": 3})
        assert event_id is not None
        assert made.wait(event_id, 10).outcome == "accepted"
        made.flush(10)
    member, head, body = ledger.events[event_id]
    event = parse_event(head, body)
    content = {name: value for name, value in event.content.items() if name != "salt"}
    assert (member, event.kind, content) == ("ga", "use.access", {"actor": "p:1", "purpose": "closer", "count": 3})
    assert [result.id for result in results] == [event_id] and made.backlog() == 0
    with pytest.raises(UnavailableError):
        made.record("use.access", {})


def test_many_events_travel_in_few_submissions(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """A backlog is shipped in batches, in order, each event once."""
    ledger, url = node
    ids = []
    # The node is unknown at first, so that a backlog gathers.
    with recorder("http://127.0.0.1:9", tmp_path, origin=GENESIS.origin) as made:
        ids = [made.record("use.access", {"dataset": "ga/x"}, {"n": number}) for number in range(120)]
        assert made.backlog() == 120
    with recorder(url, tmp_path, batch_events=50) as made:
        made.flush(20)
    assert list(ledger.events) == ids and ledger.submissions == 3 and ledger.duplicates == 0


def test_failures_are_retried_until_the_event_is_taken(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """503, a broken connection, a nonsense answer and 401 are all waited out; the event is recorded once."""
    ledger, url = node
    failures: list[Answer | None] = [
        problem(503, "queue-full"),
        (200, "text/html", b"<p>proxy</p>"),
        problem(401, "token"),
        problem(500, "internal"),
        problem(422, "key-revoked"),
    ]
    ledger.refuse = lambda _: failures.pop() if failures else None
    with recorder(url, tmp_path) as made:
        event_id = made.record("use.access", {"dataset": "ga/x"})
        made.flush(30)
    assert list(ledger.events) == [event_id] and failures == [] and count_lines(tmp_path / REJECTED) == 0


def test_an_acknowledgement_that_was_lost_doubles_nothing(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """The node records and the connection breaks before the answer: the same bytes go again and are absorbed."""
    ledger, _ = node
    lost = [True]

    def answer(asked: Asked) -> Answer | None:
        found = ledger.answer(asked)
        if asked.path == "/v1/submissions" and lost:
            lost.clear()
            return None
        return found

    with serve(answer) as url, recorder(url, tmp_path) as made:
        event_id = made.record("use.access", {"dataset": "ga/x"})
        made.flush(30)
    # http.client may have sent it again by itself; either way the ledger saw one event.
    assert list(ledger.events) == [event_id] and ledger.duplicates >= 1


def test_an_event_no_node_takes_is_put_aside_and_holds_up_no_other(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """The node names the event by index: it is kept in rejected.jsonl, all others are recorded."""
    ledger, url = node

    def refuse(submission: object) -> Answer | None:
        for index, event in enumerate(submission.events):  # type: ignore[attr-defined]
            if event.content.get("bad"):
                return problem(422, "event-time", index=index, id=event.id, block_time=2**48 - 1)
        return None

    ledger.refuse = refuse
    with recorder("http://127.0.0.1:9", tmp_path, origin=GENESIS.origin) as made:
        for number in range(7):
            made.record("use.access", {"dataset": "ga/x"}, {"n": number, "bad": number in (0, 3, 6)})
    with recorder(url, tmp_path) as made:
        made.flush(20)
    numbers = [parse_event(head, body).content["n"] for _, head, body in ledger.events.values()]
    assert numbers == [1, 2, 4, 5] and count_lines(tmp_path / REJECTED) == 3


def test_a_clock_that_is_ahead_is_waited_out(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """An id ahead of block time is no reason to put the event aside: the same event is taken later."""
    ledger, url = node
    early = [problem(422, "event-time", index=0, id=mint("k", {}, {}, now_ms=10**12).id, block_time=10**11)]
    ledger.refuse = lambda _: early.pop() if early else None
    with recorder(url, tmp_path) as made:
        event_id = made.record("use.access", {"dataset": "ga/x"})
        made.flush(20)
    assert list(ledger.events) == [event_id] and count_lines(tmp_path / REJECTED) == 0


def test_a_node_of_another_network_is_told_and_nothing_is_lost(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """Without an answer in time `flush` and `wait` say why; the event stays spooled."""
    with recorder("http://127.0.0.1:9", tmp_path, origin=GENESIS.origin) as made:
        event_id = made.record("use.access", {"dataset": "ga/x"})
        with pytest.raises(UnavailableError) as caught:
            made.flush(0.5)
        assert caught.value.code == "spool-backlog" and "127.0.0.1:9" in str(caught.value)
        with pytest.raises(UnavailableError):
            made.wait(str(event_id), 0.1)
        assert made.problem is not None
    assert backlog(tmp_path)[0] == 1


def test_fail_mode_is_the_departments_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the spool fails, closed raises and open goes on and counts; what is no event raises in both."""
    for mode in ("closed", "open"):
        with recorder("http://127.0.0.1:9", tmp_path / mode, origin=GENESIS.origin, fail_mode=mode) as made:
            with monkeypatch.context() as patch:
                patch.setattr(os, "fdatasync", lambda fd: (_ for _ in ()).throw(OSError(5, "Input/output error")))
                if mode == "closed":
                    with pytest.raises(UnavailableError) as caught:
                        made.record("use.access", {"dataset": "ga/x"})
                    assert caught.value.code == "spool"
                else:
                    assert made.record("use.access", {"dataset": "ga/x"}) is None and made.lost == 1
            with pytest.raises(MalformedError):
                made.record("Not A Kind", {})
    with pytest.raises(MalformedError):
        Recorder("http://127.0.0.1:9", tmp_path, member="ga")
    with pytest.raises(MalformedError):
        recorder("http://127.0.0.1:9", tmp_path, fail_mode="ajar")


def test_audited_functions_are_recorded_before_they_run(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """Plain and async functions record dataset, action, purpose and refs; without a spool the function does not run."""
    ledger, url = node
    ran: list[str] = []
    with recorder(url, tmp_path) as made:
        use_recorder(made)

        @audited("ga/hukou", "use.access", "check", refs={"grant": lambda grant: grant}, body={"count": 1})
        def read(grant: str) -> str:
            ran.append(grant)
            return grant

        @audited(dataset=lambda name: f"ga/{name}", action="use.access", recorder=made)
        async def read_later(name: str) -> str:
            return name

        async def both() -> tuple[str, str]:
            with acting(actor="p:2"):
                return await read_later("land"), await asyncio.to_thread(read, "ga/1")

        assert asyncio.run(both()) == ("land", "ga/1") and read.__name__ == "read"
        made.flush(20)
        said = [parse_event(head, body) for _, head, body in ledger.events.values()]
        assert [event.fields["refs"] for event in said] == [
            {"dataset": "ga/land"},
            {"dataset": "ga/hukou", "grant": "ga/1"},
        ]
        assert said[0].content["actor"] == said[1].content["actor"] == "p:2" and said[1].content["purpose"] == "check"
        made.close()
        with pytest.raises(UnavailableError):
            read("ga/2")
        assert ran == ["ga/1"]
    use_recorder(None)
    with pytest.raises(NotFoundError):
        read("ga/3")


def test_the_context_ends_with_its_block() -> None:
    """Fields of an `acting` block are gone behind it, also after an exception."""
    from ledger.client.actor import current_fields

    @acting(actor="p:1", method="api")
    def work() -> None:
        assert current_fields() == {"actor": "p:1", "method": "api"}
        raise LedgerError("x")

    with pytest.raises(LedgerError):
        work()
    assert current_fields() == {}


APPLICATION = """
import sys, time
from pathlib import Path
from ledger.adapters.home.keyfile import read_key
from ledger.client import Recorder
recorder = Recorder(sys.argv[1], sys.argv[2], member="ga", signer=read_key(Path(sys.argv[3])), batch_events=7)
for number in range(10**9):
    print(recorder.record("use.access", {"dataset": "ga/x"}, {"n": number}), flush=True)
"""


def test_kill_9_of_application_and_shipper_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """An application is killed twice while it records and ships; another process ships the rest: every
    acknowledged id is in the ledger, and every event there once."""
    ledger = Ledger(GENESIS.data)
    key = tmp_path / "ga.key"
    write_key(key, digest("ga event"))
    folder = tmp_path / "spool"
    acknowledged: list[str] = []
    with serve(ledger.answer) as url:
        for round_number in range(2):
            command = [sys.executable, "-c", APPLICATION, url, str(folder), str(key)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            for _ in range(20 + 25 * round_number):
                acknowledged.append(process.stdout.readline().strip())
            process.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
            process.wait()
        with recorder(url, folder) as made:
            made.flush(60)
    assert len(acknowledged) >= 65 and set(acknowledged) <= set(ledger.events)
    assert len(ledger.events) <= len(acknowledged) + 3 and backlog(folder)[0] == 0


def test_the_origin_is_asked_once(node: tuple[Ledger, str], tmp_path: Path) -> None:
    """Without a pinned origin the node's genesis gives it."""
    with recorder(node[1], tmp_path) as made:
        assert made.origin() == made.origin() == parse_genesis(GENESIS.data).origin
    started = time.monotonic()
    made.close()
    assert time.monotonic() - started < 5
