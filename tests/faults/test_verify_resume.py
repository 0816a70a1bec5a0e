"""`ledger verify` killed or interrupted: the same command goes on from where it was, and says so."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ledger.adapters.audit import progressfile, sources
from ledger.cli.exits import Exit
from ledger.cli.main import run
from ledger.cli.output import Console
from ledger.cli.progress import Progress
from ledger.core.genesis import COMETBFT
from tests.models.real_ledger import RealLedger, real_ledger

ROOT = Path(__file__).parents[2]

# One block a piece and a save at every piece, as a ledger of many hours has; `SLOW_S` is what each block costs more.
SLOW = """
import sys, time
from ledger.adapters.audit import progressfile, sources
from ledger.cli import main, progress
progressfile.INTERVAL_S, progressfile.SHARE, sources.PIECE_LEAVES = 0.0, 0, 1
at = progress.Progress.at
progress.Progress.at = lambda self, done: (time.sleep({slow}), at(self, done))[1]
main.main()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> RealLedger:
    """A ledger of some blocks with certificates and native commits."""
    return real_ledger(tmp_path_factory.mktemp("real") / "node", grants=3, uses=3, engine=COMETBFT)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves at every block."""
    monkeypatch.setattr(progressfile, "INTERVAL_S", 0.0)
    monkeypatch.setattr(progressfile, "SHARE", 0)
    monkeypatch.setattr(sources, "PIECE_LEAVES", 1)


def arguments(made: RealLedger, *more: str) -> list[str]:
    """The command, in one process."""
    return [
        "verify", str(made.folder), "--origin", made.genesis.origin, "--jobs", "1", "--runtime", "inline",
        "--max-age", "none", "--no-remember", *more,
    ]  # fmt: skip


def call(made: RealLedger, home: Path, *more: str, lang: str = "en") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one run in this process."""
    out, err = io.StringIO(), io.StringIO()
    console = Console(out=out, err=err, environment={"HOME": str(home)}, language=lang, as_json="--json" in more)
    return run(arguments(made, *more), console), out.getvalue(), err.getvalue()


def document(made: RealLedger, home: Path, *more: str) -> dict[str, Any]:
    """The report without what differs from run to run."""
    code, out, _ = call(made, home, *more, "--json")
    report: dict[str, Any] = json.loads(out)
    del report["seconds"]
    assert code == Exit.OK, report
    return report


def interrupt(monkeypatch: pytest.MonkeyPatch, leaves: int) -> None:
    """Ctrl-C once so many leaves are done."""
    with_bar = Progress.at

    def at(self: Progress, done: int) -> None:
        with_bar(self, done)
        if done >= leaves:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "at", at)


def test_interrupted_run_goes_on(made: RealLedger, tmp_path: Path, often: None) -> None:
    """After Ctrl-C the same command goes on; text, JSON and page say what an earlier run judged; `--fresh` starts over."""
    whole = document(made, tmp_path)
    assert whole["resumed"] is None
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, made.app.head.size // 2)
        code, _, err = call(made, tmp_path)
    assert code == Exit.INTERRUPTED
    assert "Interrupted. The same command goes on after block" in err
    kept = list((tmp_path / ".cache" / "ledger" / "verify").iterdir())
    assert len(kept) == 1
    saved = kept[0].read_bytes()
    code, out, err = call(made, tmp_path, "--html", str(tmp_path / "page.html"))
    assert code == Exit.OK
    assert "--fresh begins anew" in err
    assert "earlier run" in out
    assert "were judged by a run that stood there on" in out.strip().split("\n")[-1]
    assert "takes nothing over" in (tmp_path / "page.html").read_text("utf-8")
    assert not kept[0].exists()
    kept[0].write_bytes(saved)
    report = document(made, tmp_path)
    assert 0 < report["resumed"]["height"] < whole["head"]["height"]
    report["resumed"] = None
    assert report == whole
    kept[0].write_bytes(saved)
    assert document(made, tmp_path, "--fresh") == whole


def test_changed_native_commit_before_the_cut_is_seen(made: RealLedger, tmp_path: Path, often: None) -> None:
    """Native commits are no part of pieces; those before the point are compared all the same."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, made.app.head.size // 2)
        call(made, tmp_path)
    natives = sources.DataDirectorySource.natives
    with pytest.MonkeyPatch.context() as patch:
        flipped = lambda self: ((at, data[:-1] + bytes((data[-1] ^ 1,))) for at, data in natives(self))  # noqa: E731
        patch.setattr(sources.DataDirectorySource, "natives", flipped)
        code, out, err = call(made, tmp_path)
    assert code == Exit.INTEGRITY
    assert "no longer holds what the interrupted run read" in err
    assert "[native]" in out or "native" in out


def test_words_in_chinese(made: RealLedger, tmp_path: Path, often: None) -> None:
    """The same in Chinese."""
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, made.app.head.size // 2)
        _, _, err = call(made, tmp_path, lang="zh")
    assert "已中断" in err
    _, out, err = call(made, tmp_path, lang="zh")
    assert "--fresh 从头开始" in err
    assert "先前的验证" in out


def test_explicit_file_and_damage(made: RealLedger, tmp_path: Path, often: None) -> None:
    """`--resume FILE` keeps it there; a damaged one is passed over with a word, a file of another kind is refused."""
    path = tmp_path / "audit.progress"
    with pytest.MonkeyPatch.context() as patch:
        interrupt(patch, made.app.head.size // 2)
        call(made, tmp_path, "--resume", str(path))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    code, out, err = call(made, tmp_path, "--resume", str(path))
    assert code == Exit.OK
    assert "cannot be used" in err and "earlier run" not in out
    path.write_bytes(b"my only copy")
    code, _, err = call(made, tmp_path, "--resume", str(path))
    assert code == Exit.CONFLICT
    assert "resume-file" in err and path.read_bytes() == b"my only copy"


def test_killed_at_random_goes_on(made: RealLedger, tmp_path: Path) -> None:
    """kill -9 at random moments, again and again, ends with the report of a run that nobody killed."""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'node' / 'src'}"}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-c", SLOW.format(slow=0.1), *arguments(made, "--json")]
    chance = random.Random(7)
    folder = tmp_path / ".cache" / "ledger" / "verify"

    def is_saved() -> bool:
        """Whether progress was kept whole; a file that is still written is hidden."""
        return folder.exists() and any(not each.name.startswith(".") for each in folder.iterdir())

    for _ in range(3):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while process.poll() is None and not is_saved() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == Exit.OK, done.stderr
    report = json.loads(done.stdout)
    assert report["resumed"]["height"] > 0
    del report["seconds"], report["resumed"]
    whole = document(made, tmp_path / "other")
    del whole["resumed"]
    assert report == whole
