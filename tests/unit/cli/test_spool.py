"""`ledger spool`: what waits, and sending it now."""

from __future__ import annotations

from pathlib import Path

from ledger.adapters.home.keyfile import write_key
from ledger.cli.exits import Exit
from ledger.client.recorder import mint
from ledger.client.spool import Entry, SpoolWriter
from tests.models.small_ledger import digest, make_genesis
from tests.unit.cli.runner import ledger
from tests.unit.client.server import Ledger, serve


def fill(folder: Path, count: int) -> None:
    """A spool with events of `ga`."""
    writer = SpoolWriter(folder)
    for number in range(count):
        event = mint("use.access", {"dataset": "ga/x"}, {"n": number}, now_ms=1_795_248_000_000)
        writer.append([Entry("ga", event.head, event.body)])
    writer.close()


def test_status_counts_and_flush_sends(tmp_path: Path) -> None:
    """Status names what waits; flush ships it with the member's key and says so; nothing waits afterwards."""
    spool = tmp_path / "spool"
    fill(spool, 12)
    assert ledger("spool", "status", "--spool", spool, "--json").json["waiting"] == 12
    write_key(tmp_path / "ga.key", digest("ga event"))
    node = Ledger(make_genesis().data)
    with serve(node.answer) as url:
        ran = ledger(
            "spool", "flush", "--spool", spool, "--node", url, "--member", "ga", "--key", tmp_path / "ga.key", "--json"
        )
    assert ran.code == 0 and ran.json["shipped"] == 12 and ran.json["waiting"] == 0 and len(node.events) == 12
    assert ledger("spool", "status", "--spool", spool, "--json").json["waiting"] == 0


def test_flush_without_a_node_is_5_and_keeps_everything(tmp_path: Path) -> None:
    """What could not be sent stays, with the reason."""
    fill(tmp_path / "spool", 2)
    write_key(tmp_path / "ga.key", digest("ga event"))
    where = (
        "--spool",
        tmp_path / "spool",
        "--node",
        "http://127.0.0.1:9",
        "--member",
        "ga",
        "--key",
        tmp_path / "ga.key",
    )
    ran = ledger("spool", "flush", *where, "--wait", "1", "--json")
    assert ran.code == Exit.UNREACHABLE and ran.json["waiting"] == 2 and "127.0.0.1:9" in ran.json["problem"]


def test_a_spool_that_is_not_there_is_usage(tmp_path: Path) -> None:
    """A mistyped folder is told and not made."""
    ran = ledger("spool", "status", "--spool", tmp_path / "none")
    assert ran.code == Exit.USAGE and not (tmp_path / "none").exists()
