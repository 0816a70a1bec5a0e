"""The main job: `./dev demo` does everything it says and ends with exit code 0."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

UNWRAPPED = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run_demo(folder: Path, *arguments: str, language: str = "en") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ledger_node.demo", "--once", "--dir", str(folder / "demo"), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=590,
        check=False,
        env={**UNWRAPPED, "LEDGER_LANG": language, "PYTHONIOENCODING": "utf-8"},
    )


def test_demo_with_a_real_log(tmp_path: Path, permit_log: Path) -> None:
    """With a real permit log: every chapter's check holds, in Chinese, and the process ends by itself with 0."""
    done = run_demo(tmp_path, "--permits", str(permit_log), language="zh")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for line in (
        "埋设的违规全部发现",
        "全部层级核验通过",
        "答案自证完整",
        "被发现并指名",
        "已确认的事件一个不少",
        "也没有一个重复",
    ):
        assert line in done.stdout


def test_demo_alone(tmp_path: Path) -> None:
    """Without any file of the user's: exit code 0, every check shown, nothing on standard error."""
    done = run_demo(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.count("√") >= 7 and "×" not in done.stdout
    assert done.stderr == ""


def test_demo_refuses_a_folder_in_use(tmp_path: Path) -> None:
    """A folder that is not empty is refused with a non-zero exit code, and nothing in it is touched."""
    (tmp_path / "demo" / "network").mkdir(parents=True)
    (tmp_path / "demo" / "network" / "mine").write_text("keep")
    done = run_demo(tmp_path)
    assert done.returncode == 1 and "folder-not-empty" in done.stderr
    assert (tmp_path / "demo" / "network" / "mine").read_text() == "keep"
