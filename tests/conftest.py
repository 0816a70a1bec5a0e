"""What every test may use, and an honest account of what a run did not try.

Fixtures `go`, `cometbft` and `shared_data` skip with a reason where the machine lacks a Go toolchain, the engine, or the
recorded data; the last lines of a run count the skips by reason, so that a green run that tried less is seen to have.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# ci: the same examples for the same code, so that a submission is judged by what it changed and not by luck.
# dev: new examples every run, kept in .hypothesis when they fail. soak: many.
# LEDGER_HYPOTHESIS_PROFILE chooses; without it CI has ci and everybody else dev.
_COMMON = settings(
    deadline=None,  # shared machines: a slow example is not a wrong one
    suppress_health_check=[HealthCheck.too_slow],  # same reason
)
settings.register_profile("ci", _COMMON, max_examples=60, derandomize=True, print_blob=True)
settings.register_profile("dev", _COMMON, max_examples=60)
settings.register_profile("soak", _COMMON, max_examples=20_000)
settings.load_profile(os.environ.get("LEDGER_HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def go_toolchain() -> str | None:
    """The `go` command, None where there is none."""
    return shutil.which("go")


def data_folder() -> Path | None:
    """The folder of recorded data: LEDGER_TEST_DATA, else ../shared/data; None where it is absent."""
    named = os.environ.get("LEDGER_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def go() -> str:
    """Path of the `go` command; the test is skipped where there is none."""
    command = go_toolchain()
    if command is None:
        pytest.skip("no Go toolchain: install go to check against programs that no one here wrote")
    return command


def engine_version() -> str:
    """The version of the CometBFT that a node would run, "absent" where there is none."""
    from ledger.errors import LedgerError
    from ledger_node.comet.binary import find_binary, version_of

    try:
        return version_of(find_binary())
    except (LedgerError, OSError):
        return "absent"


@pytest.fixture(scope="session")
def cometbft() -> Path:
    """Path of the CometBFT that a node would run; the test is skipped where there is none of the right version."""
    from ledger.errors import LedgerError
    from ledger_node.comet.binary import check_binary, find_binary

    try:
        found = find_binary()
        check_binary(found)
    except LedgerError as error:
        pytest.skip(f"no CometBFT ({error.code}): ./dev engine finds or builds it")
    return found


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded data; the test is skipped where it is absent."""
    folder = data_folder()
    if folder is None:
        pytest.skip("no recorded data: set LEDGER_TEST_DATA, or put it in ../shared/data")
    return folder


@pytest.fixture(scope="session")
def permit_log(shared_data: Path) -> Path:
    """The recorded permit log (gzip CSV); the test is skipped where it is absent."""
    file = shared_data / "permit-cases.csv.gz"
    if not file.exists():
        pytest.skip("no recorded data: permit-cases.csv.gz is not in the data folder")
    return file


def pytest_report_header() -> str:
    """What this machine offers to the tests."""
    profile = settings.get_current_profile_name()
    data = "present" if data_folder() else "absent"
    go = "present" if go_toolchain() else "absent"
    return f"go: {go} · CometBFT: {engine_version()} · recorded data: {data} · hypothesis profile: {profile}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts the skipped tests by reason."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[reason.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("not tried on this machine")
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count} × {reason}")
