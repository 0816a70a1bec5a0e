"""The spool: safe before `append` returns, read once in order, nothing lost by kill -9, torn lines, forks or full disks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.client import spool as spool_module
from ledger.client.spool import (
    DAMAGED,
    OFFSETS,
    REJECTED,
    Entry,
    SpoolReader,
    SpoolWriter,
    backlog,
    count_lines,
    parse_entry,
    segment_names,
)
from ledger.errors import ConflictError, FatalError, LedgerError, MalformedError, UnavailableError


def entry(number: int) -> Entry:
    """A spooled event; the spool does not look into it."""
    return Entry("ga", b'{"n":%d}' % number, '{"文":"\\n"}'.encode())


def numbers(entries: list[Entry]) -> list[int]:
    return [json.loads(each.head)["n"] for each in entries]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_line_comes_back_as_it_was(head: str, body: str) -> None:
    """Any text survives the line form, and a line is one line."""
    made = Entry("ga", head.encode(), body.encode())
    line = made.encode()
    assert line.count(b"\n") == 1 and parse_entry(line) == made


@given(st.binary(max_size=60))
def test_other_lines_are_refused(data: bytes) -> None:
    """Any bytes are an entry or `spool-line`."""
    codes = []
    try:
        parse_entry(data)
    except MalformedError as error:
        codes.append(error.code)
    assert codes in ([], ["spool-line"])


def test_entries_come_out_once_and_in_order(tmp_path: Path) -> None:
    """What was shipped is not read again, also by the next process; the rest comes in the order it was written."""
    writer = SpoolWriter(tmp_path)
    for number in range(10):
        writer.append([entry(number)])
    reader = SpoolReader(tmp_path)
    first = reader.read(4, 10_000)
    assert numbers(first) == [0, 1, 2, 3] and numbers(reader.read(4, 10_000)) == [0, 1, 2, 3]
    reader.shipped(first)
    reader.close()
    reader = SpoolReader(tmp_path)
    assert numbers(reader.read(100, 10_000)) == [4, 5, 6, 7, 8, 9] and backlog(tmp_path)[0] == 6
    assert numbers(reader.read(100, 1)) == [4]  # always at least one
    writer.append([entry(10), entry(11)])
    assert numbers(reader.read(100, 10_000))[-2:] == [10, 11]
    reader.close()
    writer.close()


def test_shipped_files_go_when_nobody_writes_them(tmp_path: Path) -> None:
    """A file is removed once it is shipped to its end and its writer has let go, and not before."""
    writer = SpoolWriter(tmp_path, segment_bytes=200)
    for number in range(8):
        writer.append([entry(number)])
    assert len(segment_names(tmp_path)) > 2
    reader = SpoolReader(tmp_path)
    reader.shipped(reader.read(100, 10_000))
    assert len(segment_names(tmp_path)) == 1  # the one that is being written
    writer.close()
    reader.tidy()
    assert segment_names(tmp_path) == [] and json.loads((tmp_path / OFFSETS).read_text()) == {}
    reader.close()


def test_a_writer_that_never_wrote_keeps_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipper that looks between creation and first line does not tidy the new file away."""
    seen: list[list[str]] = []
    writer = SpoolWriter(tmp_path)
    original = Path.rename

    def rename(self: Path, target: Path) -> Path:
        result = original(self, target)
        reader = SpoolReader(tmp_path)
        reader.tidy()
        seen.append(segment_names(tmp_path))
        reader.close()
        return result

    monkeypatch.setattr(Path, "rename", rename)
    writer.append([entry(1)])
    assert len(seen[0]) == 1 and backlog(tmp_path)[0] == 1
    writer.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_was_never_acknowledged(tmp_path: Path, cut: int) -> None:
    """A line without its end is left while its writer lives and skipped afterwards; all whole lines are read."""
    writer = SpoolWriter(tmp_path)
    writer.append([entry(1), entry(2)])
    path = tmp_path / segment_names(tmp_path)[0]
    with path.open("ab") as file:
        file.write(entry(3).encode()[:-cut])
    reader = SpoolReader(tmp_path)
    assert numbers(reader.read(10, 10_000)) == [1, 2]
    writer.close()
    found = reader.read(10, 10_000)
    # Without its line feed alone the event is whole: sending it is harmless, leaving it would be too.
    assert numbers(found) == ([1, 2, 3] if cut == 1 else [1, 2])
    reader.shipped(found)
    assert reader.read(10, 10_000) == []
    reader.tidy()
    assert segment_names(tmp_path) == [] and not (tmp_path / DAMAGED).exists()
    reader.close()


def test_a_damaged_line_is_kept_aside_and_hides_nothing(tmp_path: Path) -> None:
    """An unreadable line goes to damaged.jsonl once; events before and behind it are shipped, in any restart."""
    writer = SpoolWriter(tmp_path)
    for number in range(3):
        writer.append([entry(number)])
    writer.close()
    path = tmp_path / segment_names(tmp_path)[0]
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], b"\0garbage\xff", lines[1], b"{}", lines[2], b"end", b""]))
    reader = SpoolReader(tmp_path)
    assert numbers(reader.read(1, 10_000)) == [0]
    assert numbers(reader.read(10, 10_000)) == numbers(reader.read(10, 10_000)) == [0, 1, 2]
    assert count_lines(tmp_path / DAMAGED) == 3
    reader.shipped(reader.read(1, 10_000))
    reader.close()
    reader = SpoolReader(tmp_path)
    assert numbers(reader.read(10, 10_000)) == [1, 2]
    reader.shipped(reader.read(10, 10_000))
    assert reader.read(10, 10_000) == []
    reader.tidy()
    assert segment_names(tmp_path) == []
    reader.close()


def test_only_one_process_ships(tmp_path: Path) -> None:
    """A second reader is told, and may begin when the first ends."""
    reader = SpoolReader(tmp_path)
    with pytest.raises(ConflictError) as caught:
        SpoolReader(tmp_path)
    assert caught.value.code == "spool-busy"
    reader.close()
    SpoolReader(tmp_path).close()


def test_damaged_offsets_stop_the_shipper(tmp_path: Path) -> None:
    """Guessing would send everything again, so the shipper says which file is damaged."""
    (tmp_path / OFFSETS).write_text("{")
    with pytest.raises(FatalError) as caught:
        SpoolReader(tmp_path)
    assert caught.value.code == "spool-offsets"


def test_a_rejected_entry_is_kept_with_its_reason(tmp_path: Path) -> None:
    """What no node takes stands in rejected.jsonl before it is passed over."""
    writer = SpoolWriter(tmp_path)
    writer.append([entry(1)])
    writer.close()
    reader = SpoolReader(tmp_path)
    found = reader.read(1, 100)
    reader.reject(found[0], "event-time: too old")
    line = json.loads((tmp_path / REJECTED).read_text())
    assert line == {"reason": "event-time: too old", "member": "ga", "head": '{"n":1}', "body": '{"文":"\\n"}'}
    reader.close()


def test_threads_share_their_fdatasyncs_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads append at once: every line is there once, across files, with fewer syncs than lines."""
    syncs = []
    original = os.fdatasync
    monkeypatch.setattr(spool_module.os, "fdatasync", lambda fd: (syncs.append(fd), time.sleep(0.001), original(fd))[2])
    writer = SpoolWriter(tmp_path, segment_bytes=4_000)

    def work(start: int) -> None:
        for number in range(start, start + 25):
            writer.append([entry(number)])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 200, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    reader = SpoolReader(tmp_path)
    assert sorted(numbers(reader.read(1000, 10**6))) == list(range(200))
    assert len(syncs) < 200 + len(segment_names(tmp_path))
    reader.close()


@pytest.mark.parametrize("call", ["write", "fdatasync", "open"])
def test_a_failing_disk_is_told_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """When a system call fails the append raises; lines acknowledged before stay, and the next append works again."""
    writer = SpoolWriter(tmp_path)
    if call != "open":
        writer.append([entry(1)])
    original = getattr(os, call)

    def failing(*arguments: object) -> object:
        if call == "write":
            original(arguments[0], bytes(arguments[1])[:7])  # a short write, then the disk is full
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(spool_module.os, call, failing)
    with pytest.raises(UnavailableError) as caught:
        writer.append([entry(2)])
    assert caught.value.code == "spool" and "No space left" in str(caught.value)
    monkeypatch.setattr(spool_module.os, call, original)
    writer.append([entry(3)])
    writer.close()
    reader = SpoolReader(tmp_path)
    found = numbers(reader.read(100, 10_000))
    # After a failed fdatasync nobody knows whether the line is safe: it may be sent, for it really happened.
    assert found in ([1, 3], [1, 2, 3], [3]) and found[-1] == 3 and (call == "open" or found[0] == 1)
    assert count_lines(tmp_path / DAMAGED) == 0
    reader.close()


def test_a_forked_child_writes_a_file_of_its_own(tmp_path: Path) -> None:
    """Parent and child both append after a fork, and every line is whole."""
    writer = SpoolWriter(tmp_path)
    writer.append([entry(0)])
    child = os.fork()
    if child == 0:
        try:
            writer.append([entry(1)])
            writer.append([entry(2)])
        finally:
            os._exit(0)
    writer.append([entry(3)])
    os.waitpid(child, 0)
    assert len(segment_names(tmp_path)) == 2
    reader = SpoolReader(tmp_path)
    assert sorted(numbers(reader.read(10, 10_000))) == [0, 1, 2, 3]
    reader.shipped(reader.read(10, 10_000))
    assert len(segment_names(tmp_path)) == 1  # the parent still writes its own
    reader.close()
    writer.close()


WRITER = """
import sys
from pathlib import Path
from ledger.client.spool import Entry, SpoolWriter
writer = SpoolWriter(Path(sys.argv[1]), segment_bytes=5_000)
for number in range(10**9):
    writer.append([Entry("ga", b'{"n":%d}' % number, b"{}")])
    # Only now is the event acknowledged.
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_kill_9_loses_no_acknowledged_event(tmp_path: Path) -> None:
    """A writer killed at a random moment, five times: every number it told us about is in the spool once, in order."""
    for round_number in range(5):
        folder = tmp_path / str(round_number)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, env={**os.environ}
        )
        told: list[bytes] = []
        assert process.stdout is not None
        while len(told) < 40 + 17 * round_number:
            told.append(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().splitlines(keepends=True)
        process.wait()
        acknowledged = [int(line) for line in told if line.endswith(b"\n")]
        reader = SpoolReader(folder)
        found = numbers(reader.read(10**6, 10**9))
        assert found[: len(acknowledged)] == acknowledged and len(found) <= len(acknowledged) + 1
        assert found == list(range(len(found))) and count_lines(folder / DAMAGED) == 0
        reader.close()


def test_an_empty_or_missing_spool_has_no_backlog(tmp_path: Path) -> None:
    """Looking creates nothing."""
    assert backlog(tmp_path / "none") == (0, 0) and not (tmp_path / "none").exists()
    with pytest.raises((LedgerError, OSError)):
        SpoolWriter(Path("/proc/nothing"))
