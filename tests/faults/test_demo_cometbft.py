"""The demo of departments that do not trust one operator: it does what it says, and the lying build lies as it claims."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ledger.adapters.home.datadir import EVIDENCE
from ledger.core.event import new_event
from ledger.core.ident import uuid7_at
from ledger_node.demo import liar
from ledger_node.demo.bft import MEMBERS
from tests.models.comet_traced import traced_environment
from tests.models.traces import check_trace

RUN = [sys.executable, "-m", "ledger_node.demo", "--engine", "cometbft", "--once"]
NOW = 1_760_000_000_000
UNWRAPPED = {name: value for name, value in os.environ.items() if name != "COLUMNS"}


def run_demo(
    folder: Path, engine: str, language: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, "--dir", str(folder / "demo")],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=570,
        check=False,
        env={
            **UNWRAPPED,
            "LEDGER_LANG": language,
            "PYTHONIOENCODING": "utf-8",
            "LEDGER_COMETBFT": engine,
            **(environment or {}),
        },
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_departments_one_killed_one_lying(tmp_path: Path, cometbft: Path) -> None:
    """Four validators decide alike, go on without the one that is killed, and convict the one that lies; exit code 0,
    nothing on standard error, no evidence against anybody else, and no process left behind; what CometBFT asked of each
    node, the liar too, had a legal order."""
    done = run_demo(tmp_path, str(cometbft), "en", traced_environment(tmp_path / "site"))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-3000:]
    assert done.stderr == "" and "×" not in done.stdout
    for line in (
        "each decided as it should be",
        "the same height, the same size, the same root",
        "a second proof, says the same",
        "the other three go on",
        "has caught up",
        "stands exactly once",
        "ga notices that",
        "sj notices that",
        "ws notices that",
        "certified by ga, sj, ws",
        "no fork",
        "names the altered record: submission-signature",
        "every level holds",
        "is caught and named",
    ):
        assert line in done.stdout, f"{line!r} was not said:\n{done.stdout[-4000:]}"
    network = tmp_path / "demo" / "network"
    # The liar's node, which holds its own history for the true one, may keep what contradicts it too before it stops.
    assert {path.parts[-3] for path in network.glob(f"*/{EVIDENCE}/*")} - {"rs"} == {"ga", "sj", "ws"}
    assert left_running(network) == []
    for member in MEMBERS:
        check_trace(network / member)


def left_running(network: Path) -> list[str]:
    """Command lines of processes that still work on a folder below `network`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it ended meanwhile
        if str(network) in line:
            found.append(line)
    return found


def test_without_an_engine_the_demo_says_so(tmp_path: Path) -> None:
    """Where no CometBFT is, the demo ends with one line that names what to run, and makes no network."""
    for language, words in (("en", "run ./dev engine first"), ("zh", "请先运行 ./dev engine")):
        done = run_demo(tmp_path, str(tmp_path / "none"), language)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("× ") and words in done.stderr and done.stderr.count("\n") == 1
        assert not (tmp_path / "demo" / "network").exists()


def test_permits_go_with_the_sequencer_only(tmp_path: Path) -> None:
    """A permit log and CometBFT together are a usage error."""
    done = subprocess.run([*RUN, "--permits", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "--permits" in done.stderr


def test_the_liar_alters_large_accesses_only() -> None:
    """The lying build writes down a thousandth of a large access under the same head, and leaves every other event alone."""
    for kind, content, after in (
        ("use.access", {"count": 5_000}, 5),
        ("use.access", {"count": liar.LARGE - 1}, None),
        ("use.access", {}, None),
        ("use.record", {"count": 5_000}, None),
    ):
        event = new_event(
            event_id=uuid7_at(NOW, bytes(10)), kind=kind, refs={}, time_ms=NOW, salt=bytes(16), content=content
        )
        changed = liar.altered(event)
        if after is None:
            assert changed == event
        else:
            assert changed.head == event.head and changed.hash != event.hash
            assert changed.content == {**event.content, "count": after}
