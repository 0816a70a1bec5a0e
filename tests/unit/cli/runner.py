"""Runs a command in this process as `ledger` would, and gives back what a shell would see."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.cli.main import console_for, run


@dataclass(frozen=True)
class Ran:
    """Exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on stdout; fails when there is anything beside it."""
        return json.loads(self.out)


class Stream(io.TextIOWrapper):
    """A text stream that is no terminal unless told so."""

    def __init__(self, *, encoding: str = "utf-8", terminal: bool = False) -> None:
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


def ledger(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    home: object = None,
    encoding: str = "utf-8",
    terminal: bool = False,
) -> Ran:
    """Run `ledger ARGUMENTS` with exactly this environment; `home` holds configuration and remembered checkpoints."""
    words = [str(argument) for argument in arguments]
    console = console_for(words)
    console.out = Stream(encoding=encoding, terminal=terminal)
    console.err = Stream(encoding=encoding, terminal=terminal)
    for stream in (console.out, console.err):
        stream.reconfigure(errors="replace")
    console.environment = {"HOME": str(home or "/nonexistent"), "LANG": "en_US.UTF-8", **(env or {})}
    console.language = next((words[at + 1] for at, word in enumerate(words[:-1]) if word == "--lang"), "auto")
    code = run(words, console)
    return Ran(code, console.out.text(), console.err.text())
