"""Makes or repairs `.venv` from `requirements.lock`; called by ./dev when its stamp does not match.

Rules: every downloaded file is checked by its hash; the stamp is written last, so that an interrupted run is seen and
repaired by the next one; a kernel lock keeps two runs apart and falls with the process that holds it.
Uses uv (from PATH, else the pinned one of the lock) and plain pip where uv cannot work. Needs nothing but the standard
library. Never touches a `.venv` that it did not make.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".dev-stamp"
UNFINISHED = VENV / ".dev-unfinished"
LOCK = ROOT / "requirements.lock"
EDITABLES = (ROOT, ROOT / "node")

# Settings of pip that have a uv equivalent: a mirror that is set up for pip serves the pinned uv too.
PIP_TO_UV = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
    "trusted-host": "UV_INSECURE_HOST",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}


class SetupError(Exception):
    """Ends the run with one line that says what to do."""


class Installer:
    """Runs installers with the lock held, so that a child that outlives us keeps the next run waiting."""

    def __init__(self, lock_file: int) -> None:
        self.lock_file = lock_file
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self.environment |= {"UV_PYTHON_DOWNLOADS": "never", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        self.uv = None if os.environ.get("LEDGER_DEV_PIP") else shutil.which("uv")

    def run(self, *command: str | Path) -> bool:
        """True when the command succeeded; what it says goes to the caller's stderr."""
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env=self.environment,
            pass_fds=[self.lock_file],
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return done.returncode == 0

    def create(self) -> None:
        """A fresh `.venv`, marked as unfinished before anything else is in it."""
        need_pip = self.uv is None
        if need_pip and not present("ensurepip"):
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            raise SetupError(
                f"{sys.executable} has no venv module (ensurepip is missing): install it (Debian: apt install "
                f"python{version}-venv), or install uv, or set LEDGER_PYTHON to another Python · 缺少 venv 模块"
            )
        shutil.rmtree(VENV, ignore_errors=True)
        VENV.mkdir()
        UNFINISHED.touch()
        if not self.run(sys.executable, "-I", "-m", "venv", *([] if need_pip else ["--without-pip"]), VENV):
            raise SetupError(f"{sys.executable} -m venv failed, see above; set LEDGER_PYTHON to another Python")

    def install(self, *, fresh: bool) -> None:
        """Everything of the lock and nothing else, then our two packages as editable."""
        editables = [part for path in EDITABLES for part in ("--editable", path)]
        uv = self.uv or (None if os.environ.get("LEDGER_DEV_PIP") else self._pinned_uv())
        if uv is not None:
            options = ("--quiet", "--python", PYTHON)
            if self.run(uv, "pip", "sync", *options, "--require-hashes", LOCK) and self.run(
                uv, "pip", "install", *options, "--no-deps", "--no-build-isolation", *editables
            ):
                return
            say("uv could not install, trying pip")
        if not fresh:  # pip does not remove what the lock no longer holds
            self.uv = None
            self.create()
        pip = (PYTHON, "-m", "pip", "--quiet")
        if not (
            (self.uv is None or self.run(PYTHON, "-m", "ensurepip"))
            and self.run(*pip, "install", "--require-hashes", "--requirement", LOCK)
            and self.run(*pip, "install", "--no-deps", "--no-build-isolation", *editables)
        ):
            raise SetupError("installing failed, see above; the next ./dev call tries again · 安装失败，可重试")

    def _pinned_uv(self) -> Path | None:
        """The uv of the lock, installed by pip; None where pip cannot get it (then pip does the whole work)."""
        uv = VENV / "bin" / "uv"
        pin = re.search(r"^uv==.*\n(?:[ \t]+.*\n)+", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
        if not uv.exists() and pin is not None:
            with tempfile.TemporaryDirectory() as folder:
                requirement = Path(folder) / "uv.txt"
                requirement.write_text(pin.group(), encoding="utf-8")
                options = ("--quiet", "--require-hashes", "--no-deps", "--only-binary", ":all:")
                self.run(PYTHON, "-m", "pip", "install", *options, "--requirement", requirement)
        self._adopt_pip_settings()
        return uv if uv.exists() else None

    def _adopt_pip_settings(self) -> None:
        """Tell uv what pip is configured to use, unless uv itself is configured."""
        listing = subprocess.run(
            [str(PYTHON), "-m", "pip", "config", "list"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for key, text in re.findall(r"^\S*?([a-z-]+)=(.*)$", listing.stdout, re.MULTILINE):
            name, value = PIP_TO_UV.get(key), str(ast.literal_eval(text))
            if key == "find-links":  # uv insists that a folder exists, pip does not
                value = " ".join(part for part in value.split() if "://" in part or Path(part).is_dir())
            if name is not None and value and name not in os.environ:
                self.environment[name] = value


def say(text: str) -> None:
    """One line for the person who waits."""
    print(f"dev: {text}", file=sys.stderr, flush=True)


def present(module: str) -> bool:
    """Whether the standard library holds `module`; an emptied folder of that name does not count."""
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def check_modules() -> None:
    """The parts of the standard library that distributors and self-made builds leave out."""
    for module in ("venv", "ssl", "sqlite3", "zlib"):
        if not present(module) or (module != "venv" and not _imports(module)):
            raise SetupError(
                f"{sys.executable} has no {module} module: install the full Python (Debian: apt install "
                f"python3-venv libpython3-stdlib) or set LEDGER_PYTHON to another · 缺少 {module} 模块"
            )


def _imports(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def hold_lock() -> int:
    """The descriptor of the locked lock file; waits while another run holds it."""
    descriptor = os.open(ROOT / ".dev.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another ./dev is making the environment, waiting for it · 正在等待另一个 ./dev")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def must_create() -> bool:
    """Whether to start from an empty folder; raises where `.venv` is somebody else's."""
    if STAMP.exists():
        made_at = STAMP.read_text(encoding="utf-8").partition("\n")[0]
        # Scripts of an environment hold its absolute path: a copied or moved one is made anew.
        return made_at != str(ROOT) or not os.access(PYTHON, os.X_OK)
    if VENV.exists() and any(VENV.iterdir()) and not UNFINISHED.exists():
        raise SetupError(f"{VENV} was not made by ./dev: move it away, then call again · 请先移走该目录")
    if UNFINISHED.exists():
        say("an earlier set-up did not finish, starting afresh · 上次安装未完成，重新开始")
    return True


def make(stamp: str) -> None:
    """Bring `.venv` to the state that `stamp` names."""
    check_modules()
    lock_file = hold_lock()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == stamp and os.access(PYTHON, os.X_OK):
        return  # the run that we waited for did it
    started_s = time.monotonic()
    fresh = must_create()
    installer = Installer(lock_file)
    if fresh:
        say("making .venv, once; about half a minute · 首次运行，正在安装环境")
        installer.create()
    else:
        say("dependencies changed, bringing .venv up to date · 依赖有变化，正在更新环境")
        UNFINISHED.touch()
        STAMP.unlink()
    installer.install(fresh=fresh)
    draft = STAMP.with_suffix(".draft")
    draft.write_text(stamp, encoding="utf-8")
    draft.replace(STAMP)
    UNFINISHED.unlink(missing_ok=True)
    say(f"environment ready in {time.monotonic() - started_s:.1f} s")


def main() -> int:
    """Exit code 0 when the environment is as the stamp says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stamp", help="what ./dev computes from place and inputs; written when all is in place")
    try:
        make(parser.parse_args().stamp)
    except SetupError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the next ./dev call goes on from here · 已中断")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
