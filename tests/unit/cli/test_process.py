"""The command as a process: start-up, pipes, consoles, signals, completion."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.cli.exits import Exit
from tests.unit.client.server import problem, serve

COMMAND = [sys.executable, "-m", "ledger.cli.main"]
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """What is started here hears Ctrl-C, also where the suite itself runs in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(*arguments: object, **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run `ledger` as a process."""
    env = {**PLAIN, "LANG": "en_US.UTF-8", **more.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, env=env, check=False, **more)  # type: ignore[call-overload]


def cpu_seconds(*command: str, tries: int = 5) -> float:
    """The least processor time of some runs: what a command costs, however busy the machine is."""
    found = []
    for _ in range(tries):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, env={**PLAIN, "LANG": "en_US.UTF-8"})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_costs_less_than_a_tenth_of_a_second() -> None:
    """`ledger --help` takes under 0.1 s of processor time as a whole process."""
    bare = cpu_seconds(sys.executable, "-c", "pass")  # 0.01 s on the machine that the limit was set for
    assert cpu_seconds(*COMMAND, "--help") < 0.1 * max(1.0, bare / 0.02)


def test_client_commands_import_no_server() -> None:
    """Neither help nor a client command loads server modules, pydantic or rich, and the first page not even click."""
    script = "import sys; from ledger.cli.main import run; run({0}); print(sorted(sys.modules), file=sys.stderr)"
    heavy = ("pydantic", "fastapi", "rich", "sqlite_utils", "uvicorn", "msgspec.structs", "ledger_node")
    for arguments in (["--help"], ["key", "new", "--help"], ["config", "show"], ["event", "append", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", script.format(arguments)], capture_output=True, text=True, env=PLAIN, check=True
        )
        loaded = done.stderr
        assert not [name for name in heavy if f"'{name}'" in loaded], arguments
        if arguments == ["--help"]:
            assert "'click'" not in loaded and "'tomllib'" not in loaded


def test_a_closed_pipe_is_quiet() -> None:
    """A reader that goes away ends the command with 141 and without a word."""
    process = subprocess.Popen([*COMMAND, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=PLAIN)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b"" and process.wait() == Exit.PIPE_CLOSED


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "ascii", "cp1252"])
def test_a_console_of_another_encoding_does_not_crash(encoding: str) -> None:
    """Chinese help on a GBK console is readable, on an ASCII one replaced; JSON stays JSON."""
    env = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "LEDGER_LANG": "zh"}
    shown = run("--help", env=env)
    assert shown.returncode == 0 and shown.stderr == b""
    if encoding.startswith("gb"):
        assert "账本" in shown.stdout.decode(encoding)
    document = json.loads(run("nope", "--json", env=env).stdout.decode(encoding))
    assert document["error"]["code"] == "usage-command"


def test_ctrl_c_is_clean(tmp_path: Path) -> None:
    """An interrupted `watch` ends with 130, no trace, and under --json still one document."""
    from tests.models.small_ledger import SmallLedger

    small = SmallLedger()
    note = small.note(time_s=int(time.time()))
    looks: list[str] = []
    again = threading.Event()

    def answer(asked):
        if asked.path == "/v1/genesis":
            return 200, "application/json", small.genesis.data
        if asked.path == "/v1/checkpoint":
            looks.append(asked.path)
            if len(looks) == 2:  # it asks again once it has counted the first
                again.set()
            time.sleep(0.2)
            return 200, "text/plain", note
        return problem(404, "path")

    with serve(answer) as url:
        command = [*COMMAND, "watch", "--node", url, "--json"]
        env = {**PLAIN, "HOME": str(tmp_path)}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
        assert again.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == Exit.INTERRUPTED, err
    document = json.loads(out)
    assert document["verdict"] == "interrupted" and document["seen"] == 1 and b"Traceback" not in err


INTERRUPT_AT = """
import os, signal, sys
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {0!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.argv = ["ledger", *{1!r}]
from ledger.cli.entry import main
main()
"""


@pytest.mark.parametrize(
    "module",
    ["ledger.cli.main", "ledger.cli.exits", "ledger.errors", "ledger.cli.texts", "click", "click.core",
     "ledger.cli.command", "ledger.cli.commands", "ledger.cli.key", "ledger.cli.settings"],
)  # fmt: skip
@pytest.mark.parametrize("arguments", [["key", "new", "x.key"], ["key", "new", "x.key", "--json"]])
def test_ctrl_c_while_modules_are_imported_is_quiet(module: str, arguments: list[str], tmp_path: Path) -> None:
    """Whichever import Ctrl-C hits, the command ends with 130, without a trace, and nothing has been done."""
    script = INTERRUPT_AT.format(module, arguments)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=PLAIN, cwd=tmp_path, check=False)
    assert done.returncode == Exit.INTERRUPTED, done.stderr
    assert done.stderr.strip() == b"" and list(tmp_path.iterdir()) == []


def test_an_ignored_ctrl_c_stays_ignored(tmp_path: Path) -> None:
    """Where whoever started the command had Ctrl-C ignored (nohup, a job in the background), it does not end it."""
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + INTERRUPT_AT
    script = script.format("ledger.cli.main", ["key", "new", "x.key"])
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=PLAIN, cwd=tmp_path, check=False)
    assert done.returncode == 0 and (tmp_path / "x.key").exists(), done.stderr


def test_on_a_terminal_there_is_colour_and_width() -> None:
    """On a pseudo-terminal of 80 columns, help keeps to it."""
    leader, follower = pty.openpty()
    env = {**PLAIN, "TERM": "xterm", "LANG": "zh_CN.UTF-8", "COLUMNS": "80"}
    process = subprocess.Popen([*COMMAND, "event", "append", "--help"], stdout=follower, stderr=follower, env=env)
    os.close(follower)
    data = b""
    try:
        while chunk := os.read(leader, 4096):
            data += chunk
    except OSError:
        pass  # the terminal is gone when the process is
    assert process.wait() == 0
    from ledger.cli.tables import width

    assert max(width(line) for line in data.decode().replace("\r", "").split("\n")) <= 80


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_back(shell: str) -> None:
    """The script names the program and its variable; what it asks is answered with commands and their texts."""
    script = run("completion", shell).stdout.decode()
    assert "_LEDGER_COMPLETE" in script and "ledger" in script
    env = {"_LEDGER_COMPLETE": f"{shell}_complete", "COMP_WORDS": "ledger pro", "COMP_CWORD": "1"}
    if shell == "fish":
        env["COMP_CWORD"] = "pro"
    answer = run(env=env).stdout.decode()
    assert "proof" in answer
    env.update(COMP_WORDS="ledger proof ", COMP_CWORD="2" if shell != "fish" else "")
    assert "verify" in run(env=env).stdout.decode()


def test_version_and_module_entry() -> None:
    """`ledger --version` names a version."""
    done = run("--version", "--json")
    assert json.loads(done.stdout)["version"]
