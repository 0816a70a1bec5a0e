"""What a node costs: CPU seconds and resident memory of its processes, and bytes on disk (Linux /proc)."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

from ledger_node.__main__ import GC_THRESHOLDS

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def collect_as_a_node() -> None:
    """Give this process the collector's settings of a node; call it when all that stays has been loaded."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def family(pid: int) -> list[int]:
    """`pid` and its descendants."""
    found = [pid]
    for parent in found:
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found.extend(int(child) for child in task.read_text().split())
            except OSError:
                continue  # a thread that has ended
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its living descendants."""
    total = 0
    for each in family(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def stolen_share() -> Callable[[], float]:
    """Called now and its result later: the part of this machine's processor time between that its host withheld."""

    def read() -> tuple[int, int]:
        fields = [int(each) for each in Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]]
        return fields[7], sum(fields)

    begun = read()

    def share() -> float:
        now = read()
        return round((now[0] - begun[0]) / max(now[1] - begun[1], 1), 3)

    return share


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its descendants, summed."""
    return sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) * _PAGE for each in family(pid))


def peak_bytes(pid: int) -> int:
    """The most memory that one process had resident at any time so far; 0 for one that is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def command_line(pid: int) -> str:
    """What a process was started with; "" for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
