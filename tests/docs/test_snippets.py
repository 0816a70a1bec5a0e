"""The README's session, run as it stands: blocks marked `run` in order, in one shell, in an empty folder.

A command must end with exit code 0, or with the one that its comment names (`# exit 6`). Ports are replaced by free
ones; every process that the session starts is ended with it.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.adapters.home.networkplan import PORTS
from tests.architecture.tree import ROOT
from tests.docs.markdown import Block, blocks, documents
from tests.models.comet_traced import traced_environment
from tests.models.traces import check_trace

PORT = 8650  # as the documents write it; with the three after it
P2P_PORT = 26656  # likewise
NODES = 4
SESSION_S = 600
MEMBERS = "city.toml"
OPERATIONS, OPERATIONS_CHINESE = "docs/OPERATIONS.md", "docs/OPERATIONS.zh.md"
ROTATION = re.compile(r"(systemctl stop suyuan-node\n)?ledger node renew-")
WANTED = re.compile(r"\s+# exit (\d+)$")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(SESSION_S + 60)]


def commands(body: str) -> list[tuple[str, int]]:
    """(command, wanted exit code) of a block; a backslash at the end of a line goes on in the next."""
    found = []
    for line in body.replace("\\\n", " ").splitlines():
        wanted = WANTED.search(line)
        command = WANTED.sub("", line).strip()
        if command and not command.startswith("#"):
            found.append((command, int(wanted[1]) if wanted else 0))
    return found


def script(parts: list[Block], folder: Path) -> str:
    """A bash program that runs the blocks and stops at the first command that ends otherwise than it should.

    A TOML block is the file that a later command names.
    """
    lines = ["trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    for number, part in enumerate(parts):
        if part.language == "python":
            file = folder / f"block{number}.py"
            file.write_text(part.body, encoding="utf-8")
            todo = [(f"{shlex.quote(sys.executable)} {shlex.quote(str(file))}", 0)]
        elif part.language == "toml":
            (folder / MEMBERS).write_text(part.body, encoding="utf-8")
            continue
        else:
            todo = commands(part.body)
        for command, wanted in todo:
            where = shlex.quote(f"line {part.line}: {command}")
            lines.append(command)
            lines.append(f"code=$?; [ $code -eq {wanted} ] || {{ echo {where} ended with $code >&2; exit 90; }}")
    return "\n".join(lines) + "\n"


def free_ports(count: int = NODES) -> int:
    """The first of `count` neighbouring ports that are free now.

    Drawn at random: a session binds its ports seconds later, and one beside it may look for its own meanwhile.
    """
    bases = PORTS[: -count + 1]
    for base in secrets.SystemRandom().sample(bases, len(bases)):
        held = []
        try:
            for port in range(base, base + count):
                held.append(socket.socket())
                held[-1].bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for each in held:
                each.close()
        return base
    raise RuntimeError("no free ports")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables of a fresh user, with `ledger` and `python3` of this environment in the path."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, arguments in (("ledger", "-m ledger.cli.main"), ("python3", "")):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n', encoding="utf-8")
        tool.chmod(0o755)
    kept = {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "PATH": f"{tools}:/usr/bin:/bin", "HOME": str(tmp_path), "LEDGER_LANG": "en", "LC_ALL": "C.UTF-8"}


def run(body: str, folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a bash program in a process group of its own, which ends with it."""
    with subprocess.Popen(
        ["bash", "-c", body],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=SESSION_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            pytest.fail(f"not done after {SESSION_S} s:\n{output[-6000:]}")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return subprocess.CompletedProcess(body, process.returncode, output)


def test_readme_session(tmp_path: Path, environment: dict[str, str]) -> None:
    """A reader who types what the README says gets a network, a receipt, a refusal with its article, proofs, and a caught
    forgery; the SDK's event is recorded."""
    folder = tmp_path / "session"
    folder.mkdir()
    base = free_ports()
    parts = [
        Block(
            part.info,
            re.sub(r"\b86(5\d)\b", lambda found: str(base + int(f"86{found[1]}") - PORT), part.body),
            part.line,
        )
        for part in blocks("README.md")
        if part.is_run
    ]
    done = run(script(parts, folder), folder, environment)
    assert done.returncode == 0, done.stdout[-6000:]
    for words in ("refused", "E1 head-consent", "The proof holds", "INTACT", "BROKEN", "These are all", "Only refused"):
        assert words in done.stdout, f"{words!r} was not said:\n{done.stdout[-6000:]}"
    assert "accepted" in done.stdout.splitlines()


def test_operations_session(tmp_path: Path, environment: dict[str, str], cometbft: Path) -> None:
    """An operator who types what docs/OPERATIONS.md says hands four departments their folders; each starts two commands,
    and an event is recorded, certified, proven and verified offline; CometBFT called the nodes in a legal order."""
    folder = tmp_path / "session"
    folder.mkdir()
    base = free_ports(2 * NODES)

    def moved(body: str) -> str:
        body = re.sub(r"\b2665([6-9])\b", lambda found: str(base + NODES + int(found[1]) - P2P_PORT % 10), body)
        return re.sub(r"\b865([0-3])\b", lambda found: str(base + int(found[1])), body)

    parts = [Block(part.info, moved(part.body), part.line) for part in blocks(OPERATIONS) if part.is_run]
    traced = traced_environment(tmp_path / "site")
    done = run(script(parts, folder), folder, {**environment, "LEDGER_COMETBFT": str(cometbft), **traced})
    assert done.returncode == 0, done.stdout[-6000:]
    for words in ("The proof holds", "INTACT"):
        assert words in done.stdout, f"{words!r} was not said:\n{done.stdout[-6000:]}"
    for member in ("sj", "ga", "rs", "ws"):
        check_trace(folder / f"node-{member}")


def test_a_wrong_exit_code_is_noticed(tmp_path: Path, environment: dict[str, str]) -> None:
    """The runner stops at a command that ends otherwise than its comment says, and names its line."""
    good = Block("sh run", "true\nfalse   # exit 1\n", 7)
    assert run(script([good], tmp_path), tmp_path, environment).returncode == 0
    for body in ("false\n", "true   # exit 1\n", "exit 0\n"):
        done = run(script([Block("sh run", body + "echo end\n", 7)], tmp_path), tmp_path, environment)
        assert "end" not in done.stdout.split("ended")[0].splitlines()
    assert (
        "line 7: true ended with 0"
        in run(script([Block("sh run", "true  # exit 1\n", 7)], tmp_path), tmp_path, environment).stdout
    )


def test_every_shell_block_is_run_or_known() -> None:
    """No document holds a shell or Python block that the tests neither run nor know the reason for.

    A rule shown in a document stands word for word in a shipped rulebook, whose cases run it.
    """
    demos = ("./dev demo\n./dev test\n", "./dev demo --engine cometbft\n")  # tests/faults run both
    known = {(path, demo) for path in ("README.md", "README.zh.md") for demo in demos}
    shipped = [path.read_text("utf-8") for path in (ROOT / "contracts").glob("*/rules/*.py")]
    left = [
        f"{path}:{part.line}"
        for path in documents()
        for part in blocks(path)
        if part.language in ("sh", "bash", "console", "python")
        and not part.is_run
        and (path, part.body) not in known
        # One's own key and proposal stand in it; tests/unit/cli and tests/faults run these commands on real networks.
        and not (path.startswith("README") and part.body.startswith("ledger key show event.key --register zx"))
        # They change the machine; tests/architecture/test_deploy.py checks the files that they install.
        and not (path in (OPERATIONS, OPERATIONS_CHINESE) and part.body.startswith(("umask", "useradd", "podman")))
        # It needs systemd; tests/faults/test_comet_byzantine.py has a real node begin again.
        and not (path in (OPERATIONS, OPERATIONS_CHINESE) and part.body.startswith("systemctl stop suyuan-node\n"))
        # Key ids and votes of one's own stand in it; tests/faults/test_comet_members.py exchanges keys of real nodes.
        and not (path in (OPERATIONS, OPERATIONS_CHINESE) and ROTATION.match(part.body))
        # Addresses of one's own stand in it; tests/unit/cli/test_watch_others.py runs it.
        and not (path in (OPERATIONS, OPERATIONS_CHINESE) and part.body.startswith("$ ledger watch --node"))
        # Keys, votes and addresses of one's own stand in it; tests/faults/test_move_engine.py moves a real network.
        and not path.startswith("docs/MOVING.")
        and not any(part.body.strip() in rule for rule in shipped)
    ]
    assert not left, f"mark them `run` and let README's session run them, or give a reason here: {left}"
    assert (ROOT / "dev").exists()
