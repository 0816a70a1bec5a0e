"""`ledger doctor` on a data directory whose node does not run: what is stored, byte by byte, when asked."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from ledger.adapters.home.datadir import DATABASE
from ledger.cli.exits import Exit
from tests.models.real_ledger import RealLedger, real_ledger
from tests.unit.cli.runner import ledger


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A few blocks under the real rulebook."""
    return real_ledger(tmp_path_factory.mktemp("doctor") / "node", grants=1, uses=1)


def stored(folder: Path) -> list[dict[str, str]]:
    """The checks of what is stored."""
    ran = ledger("doctor", "--data", folder, "--node", "http://127.0.0.1:9", "--timeout", "1", "--scrub", "--json")
    assert ran.code == Exit.OPERATIONAL  # no node answers
    return [check for check in ran.json["checks"] if check["name"] == "stored"]


def test_a_sound_database_is_read_whole(made: RealLedger) -> None:
    """One line says how much was read; nothing of it happens unless it is asked for."""
    (check,) = stored(made.folder)
    assert check["state"] == "ok" and check["found"].endswith("leaves")
    ran = ledger("doctor", "--data", made.folder, "--node", "http://127.0.0.1:9", "--timeout", "1", "--json")
    assert "stored" not in {each["name"] for each in ran.json["checks"]}


def test_damage_is_named_and_advised(made: RealLedger, tmp_path: Path) -> None:
    """Changed hashes and lost timers are faults with their places, and the advice stands below them."""
    folder = tmp_path / "node"
    shutil.copytree(made.folder, folder)
    with sqlite3.connect(folder / DATABASE) as connection:
        connection.execute("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE tree = 0 AND level = 0")
        connection.execute("DELETE FROM timers")
    checks = stored(folder)
    assert checks and {check["state"] for check in checks} == {"fault"}
    assert any("hash tile" in check["found"] for check in checks), checks
    text = ledger("doctor", "--data", folder, "--node", "http://127.0.0.1:9", "--timeout", "1", "--scrub")
    assert text.out.count("The disk gave back other bytes") + text.err.count("The disk gave back other bytes") >= 1


def test_a_scrub_needs_a_data_directory() -> None:
    """Without --data there is nothing to read: a usage error."""
    assert ledger("doctor", "--scrub").code == Exit.USAGE


def test_marks_on_a_terminal_are_coloured() -> None:
    """On a terminal with colours the marks of a table are in colour, and no escape code stands there as text."""
    shown = ledger("doctor", "--node", "http://127.0.0.1:9", "--timeout", "1", terminal=True, env={"TERM": "xterm"}).out
    assert "\x1b[31m×\x1b[0m" in shown and "\\u001b" not in shown
