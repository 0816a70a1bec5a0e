"""A whole node whose disk fills up: an error to the client, nothing acknowledged that is not kept, and on again with space.

Two ways of running out: a small file system of its own (ENOSPC, where one may be mounted), and a limit on the size of the
running node's files (EFBIG). Not here: the store alone (see `test_store_full`).
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.client.http import NodeClient
from ledger.client.request import get
from ledger.core.event import Event
from ledger.errors import LedgerError, NotFoundError, UnavailableError
from scripts.bench.bed import Bed, bed_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MEDIUM_BYTES = 40 * 1024 * 1024
FREE_BYTES = 600 * 1024  # left when the disk is made full
BATCH = 200
WRITES_MAX = 400  # far more than fits
ANSWER_S = 30.0


def test_a_full_file_system(tmp_path: Path) -> None:
    """ENOSPC: a file system that other files fill up while the node writes."""
    medium = tmp_path / "medium"
    medium.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={MEDIUM_BYTES}", "tmpfs", str(medium)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    ballast = medium / "ballast"

    def fill() -> None:
        usage = subprocess.run(["df", "--output=avail", "-B1", str(medium)], capture_output=True, check=True)
        with ballast.open("wb") as file:
            file.write(bytes(int(usage.stdout.split()[-1]) - FREE_BYTES))

    try:
        with bed_in(medium, grants=8) as bed:
            check_full_and_back(bed, fill, ballast.unlink)
    finally:
        subprocess.run(["umount", str(medium)], check=True)


def test_a_file_size_limit(tmp_path: Path) -> None:
    """EFBIG: the system refuses to let the node's files grow."""
    with bed_in(tmp_path, grants=8) as bed:
        pid = bed.network.nodes[0].pid

        def limit(to: int) -> None:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (to, resource.RLIM_INFINITY))

        def fill() -> None:
            largest = max(path.stat().st_size for path in bed.folder.rglob("*") if path.is_file())
            limit(largest + FREE_BYTES)

        check_full_and_back(bed, fill, lambda: limit(resource.RLIM_INFINITY) if bed.network.nodes[0].running else None)


def check_full_and_back(bed: Bed, fill: Callable[[], None], free: Callable[[], object]) -> None:
    """Write until refused; read what there is; give space back; write again; the auditor agrees with all of it."""
    user = bed.workload.grants[0].user
    node = bed.network.nodes[0]
    client = NodeClient(node.url)
    acknowledged = [event.id for event in write(bed, user)]
    fill()
    refused = None
    for _ in range(WRITES_MAX):
        try:
            acknowledged.extend(event.id for event in write(bed, user))
        except LedgerError as error:
            refused = error
            break
    # An error that says to try again later, or a connection that ended: never an answer that acknowledges.
    assert isinstance(refused, UnavailableError), refused
    with pytest.raises(UnavailableError):
        write(bed, user)
    if node.running:
        # It answers readers from what is there, and says that it does not write.
        assert client.get_json(["v1", "events", user, acknowledged[0]])["entry"]["head"]["id"] == acknowledged[0]
        checks = client.send(get(["readyz"]))
        assert checks.status == 503 and b'"engine","ok":false' in checks.body.replace(b" ", b""), checks.body
    free()
    node.stop()
    node.start()
    node.wait_listening()
    node.wait_ready()
    acknowledged.extend(event.id for event in write(bed, user))
    await_certified(client)
    seqs = [client.get_json(["v1", "events", user, event_id])["entry"]["seq"] for event_id in acknowledged]
    assert len(set(seqs)) == len(acknowledged)
    node.stop()
    done = subprocess.run(
        [sys.executable, "-m", "ledger.cli.main", "verify", str(bed.folder), "--origin", bed.made.genesis.origin,
         "--no-remember", "--max-age", "none", "--json"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-800:]


def write(bed: Bed, user: str) -> list[Event]:
    """One acknowledged submission; its events."""
    events = bed.workload.mix(user, BATCH)
    bed.record(bed.workload.submission(user, "office", events))
    return events


def await_certified(client: NodeClient) -> None:
    until = time.monotonic() + ANSWER_S
    while time.monotonic() < until:
        status = client.get_json(["v1", "status"])
        if status["certified_size"] == status["size"]:
            return
        time.sleep(0.05)
    raise NotFoundError("certificate", "the head was not certified in time")
