"""What the demo says: every line in zh or en, as the terminal asks for; facts on standard output."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import NoReturn

from ledger.cli.tables import fitted, screen_columns

_CHINESE = ("zh", "cn")


def language() -> str:
    """`LEDGER_LANG` (zh, en, auto), else the locale's language."""
    asked = os.environ.get("LEDGER_LANG", "auto")
    if asked in ("zh", "en"):
        return asked
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "zh" if locale.lower().startswith(_CHINESE) else "en"


class DemoError(Exception):
    """Something did not come out as the demo promises."""


class Teller:
    """Prints the demo's chapters and facts with the time that each chapter took."""

    def __init__(self) -> None:
        self.language = language()
        self._started = time.monotonic()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # a GBK console prints what it can

    def pick(self, zh: str, en: str) -> str:
        """The text in the chosen language."""
        return zh if self.language == "zh" else en

    def chapter(self, zh: str, en: str) -> None:
        """A heading, with the seconds since the start."""
        print()
        _say(f"[{time.monotonic() - self._started:5.1f} s] {self.pick(zh, en)}")

    def fact(self, zh: str, en: str) -> None:
        """One line below a heading."""
        _say(f"  {self.pick(zh, en)}")

    def command(self, line: str) -> None:
        """A command to try, whole however long, for people copy it."""
        print(f"  {line}", flush=True)

    def good(self, zh: str, en: str) -> None:
        """Something that was checked and holds."""
        _say(f"  √ {self.pick(zh, en)}")

    def fail(self, zh: str, en: str) -> NoReturn:
        """Stop the demo: the exit code becomes non-zero."""
        raise DemoError(self.pick(zh, en))

    def check(self, holds: bool, zh: str, en: str) -> None:
        """`good` when it holds, `fail` otherwise."""
        if not holds:
            self.fail(zh, en)
        self.good(zh, en)


def _say(line: str) -> None:
    """Print a line, on a terminal in as many as its width needs."""
    columns = screen_columns(sys.stdout, os.environ)
    print(line if columns is None else fitted(line, columns), flush=True)


def stay(tell: Teller, url: str, origin: str) -> None:
    """Say what can be asked of the node at `url`, and wait until somebody stops the demo."""
    tell.chapter(f"接口仍在运行：{url}  (Ctrl-C 停止)", f"The API keeps running: {url}  (Ctrl-C stops it)")
    for command in (
        f"curl {url}/v1/datasets/ga/hukou/timeline",
        f"./dev run ledger lineage show ga/hukou --node {url}",
        f"./dev run ledger verify {url} --origin {origin}",
    ):
        tell.command(command)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        stop.wait()
    except KeyboardInterrupt:
        print()
