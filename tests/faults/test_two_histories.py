"""Real node processes under a log key that signed two histories: the quorum goes on, the one that was misled follows it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.home.datadir import DATABASE, EVIDENCE, SIGNER_STATE, load_rules
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import COSIGN_KEY, LOG_KEY
from ledger.adapters.home.signerstate import SignerState
from ledger.adapters.ordering.engine import log_note
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import Application
from ledger.cli.node import readiness
from ledger.client.http import NodeClient
from ledger.client.request import get
from ledger_node.local import NodeProcess
from scripts.bench.bed import Bed, bed_in

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    """Four nodes that cosign, with a few grants on the ledger."""
    with bed_in(tmp_path, followers=3, grants=4) as found:
        yield found


def status(node: NodeProcess) -> dict[str, Any]:
    """What the node says of itself."""
    found: dict[str, Any] = NodeClient(node.url).get_json(["v1", "status"])
    return found


def until(holds: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    """Wait until `holds`; an error answer counts as not yet."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        try:
            if holds():
                return
        except Exception:  # noqa: BLE001 - a node that opens again refuses connections meanwhile
            time.sleep(0.1)
        time.sleep(0.1)
    pytest.fail(f"not in time: {what}")


def mislead(bed: Bed, folder: Path) -> int:
    """What a lying operator can do: a block of its own for one stopped follower, log-signed, and cosigned there in good
    faith; the size of that history."""
    store = SqliteStore.open(folder / DATABASE)
    app = Application(store, load_rules("inline"))
    submission = bed.workload.submission("ga", "office", bed.workload.mix("ga", 2))
    block, left_out = app.prepare([submission], time.time_ns() // 1_000_000)
    assert not left_out
    sealed = app.finalize(block)
    app.commit(log_note(read_key(bed.folder / LOG_KEY), app.origin, sealed.size, sealed.root))
    state = SignerState(folder / SIGNER_STATE, app.origin, read_key(folder / COSIGN_KEY).public.key_id)
    state.advance(sealed.size, sealed.root, time.time_ns() // 1_000_000)
    state.close()
    app.close()
    return sealed.size


def test_a_misled_follower_follows_the_certificate(bed: Bed) -> None:
    """SPEC R-Q31: it keeps the other history with a fork proof, is rebuilt while it runs, and its key signs no more."""
    misled = bed.network.nodes[-1]
    until(lambda: status(misled)["certified_size"] == status(bed.network.nodes[0])["size"], "the start is certified")
    assert misled.stop() == 0
    size = mislead(bed, misled.folder)
    bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 3)))
    until(lambda: status(bed.network.nodes[0])["certified_size"] > size, "three of four certify the other history")
    misled.start()
    misled.wait_listening()
    until((misled.folder / EVIDENCE / "abandoned" / DATABASE).exists, "the replica is exchanged")
    until(lambda: status(misled)["size"] == status(bed.network.nodes[0])["size"], "it has the certified history")
    bed.record(bed.workload.submission("ga", "office", bed.workload.mix("ga", 1)))
    until(lambda: status(misled)["certified_size"] == status(bed.network.nodes[0])["size"], "it goes on")

    found = NodeClient(misled.url).get_json(["v1", "events"], {"member": "ga", "limit": 100})
    assert found == NodeClient(bed.network.nodes[0].url).get_json(["v1", "events"], {"member": "ga", "limit": 100})
    (proof,) = (misled.folder / EVIDENCE).glob("fork-????????????????.json")
    ran = ledger("proof", "verify", str(proof), "--trust", str(misled.folder / "genesis.json"))
    assert ran["exit_code"] == 6 and bed.made.genesis.origin in json.dumps(ran)
    _, checks = readiness(NodeClient(misled.url).send(get(["readyz"])).body)
    (cosigner,) = [check for check in checks if check["check"] == "cosigner"]
    assert not cosigner["ok"] and "signer-locked-elsewhere" in cosigner["detail"]
    note = NodeClient(bed.network.nodes[0].url).get_bytes(["checkpoint"]).decode()
    assert note.count("\n— ") == 4 and f"\n— {misled.folder.name} " not in note  # the log's line and three cosigners
    assert misled.stop() == 0
    checked = ledger("verify", str(misled.folder), "--origin", bed.made.genesis.origin, "--no-remember")
    assert checked["verdict"] == "intact", checked["findings"]


def ledger(*arguments: str) -> dict[str, Any]:
    """The JSON document of a command."""
    done = subprocess.run(
        [sys.executable, "-m", "ledger.cli.main", *arguments, "--json"], capture_output=True, check=False
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found
