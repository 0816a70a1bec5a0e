"""Decides what goes where: the result to stdout and nothing else, hints, warnings and progress to stderr.

Rules: with `--json` stdout is exactly one JSON document, on success and on failure; colour only on a terminal, never
under NO_COLOR or TERM=dumb; characters that the console's encoding lacks are replaced, never a crash.
Not here: tables (see `tables`) and progress bars (see `progress`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final, Self, TextIO

from ledger.cli.exits import Exit
from ledger.cli.texts import Texts, choose_language, fill

_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}


class Painted(str):
    """A text in one of our own colours, `plain` without it: a table counts the columns of `plain`, and shows the colour
    where it escapes the control characters of every other text."""

    __slots__ = ("plain",)
    plain: str

    def __new__(cls, text: str, colour: str) -> Self:
        """`text` between the codes of `colour`."""
        made = super().__new__(cls, f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m")
        made.plain = text
        return made


class Console:
    """One command's output. `exit` is what the process ends with; `result` may be called once."""

    def __init__(
        self,
        *,
        out: TextIO | None = None,
        err: TextIO | None = None,
        environment: Mapping[str, str] | None = None,
        language: str | None = None,
        as_json: bool = False,
    ) -> None:
        self.out = sys.stdout if out is None else out
        self.err = sys.stderr if err is None else err
        self.environment = os.environ if environment is None else environment
        self.as_json = as_json
        self.quiet = False
        self.colour_wanted = True
        self.exit = Exit.OK
        self.texts = Texts(choose_language(language, self.environment))
        self.overrides: dict[str, str] = {}
        self._done = False
        for stream in (self.out, self.err):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                reconfigure(errors="replace")

    @property
    def language(self) -> str:
        """`zh` or `en`."""
        return self.texts.language

    @language.setter
    def language(self, wanted: str) -> None:
        self.texts = Texts(choose_language(wanted, self.environment))

    def text(self, key: str, /, **values: object) -> str:
        """A text of the catalogue `cli`."""
        found = self.texts.find(key)
        return key if found is None else fill(found, values)

    # --- stdout ------------------------------------------------------------------------------------------------------

    def result(self, document: Mapping[str, Any], text: str, exit_code: Exit = Exit.OK) -> None:
        """The command's one result: `document` under --json, else `text`; the process ends with `exit_code`."""
        self.exit = exit_code
        if self.as_json:
            self.document({"ok": exit_code == Exit.OK, "exit_code": int(exit_code), **document})
        elif text:
            self.out.write(text if text.endswith("\n") else text + "\n")
        self._done = True

    def line(self, text: str) -> None:
        """A line of a result that grows; nothing under --json, where the document comes at the end."""
        if not self.as_json:
            self.out.write(text + "\n")
            self.out.flush()

    def document(self, document: Mapping[str, Any]) -> None:
        """The one JSON document; ASCII only where the console is not UTF-8."""
        import json

        if self._done:
            return
        plain = "utf" not in (getattr(self.out, "encoding", None) or "utf-8").lower()
        self.out.write(json.dumps(document, ensure_ascii=plain, indent=2, default=_encode) + "\n")
        self._done = True

    @property
    def done(self) -> bool:
        """Whether the result has been written."""
        return self._done

    # --- stderr ------------------------------------------------------------------------------------------------------

    def hint(self, text: str) -> None:
        """Something useful to know, on stderr; silent with --quiet and --json."""
        if not self.quiet and not self.as_json:
            self.err.write(self.paint(text, "dim", self.err) + "\n")

    def warn(self, text: str) -> None:
        """Something the user should see, on stderr, whatever the format of the result."""
        self.err.write(self.paint(text, "yellow", self.err) + "\n")

    # --- looks -------------------------------------------------------------------------------------------------------

    def paint(self, text: str, colour: str, stream: TextIO | None = None) -> str:
        """`text` in colour where `stream` (stdout) is a terminal that wants it."""
        if not self.coloured(self.out if stream is None else stream):
            return text
        return Painted(text, colour)

    def coloured(self, stream: TextIO) -> bool:
        """Whether colours go to `stream`: a terminal, no NO_COLOR, no TERM=dumb, no --no-color."""
        if not self.colour_wanted or self.environment.get("NO_COLOR") or self.environment.get("TERM") == "dumb":
            return False
        return is_terminal(stream)

    def mark(self, ok: bool) -> str:
        """√ or ×, in ASCII consoles `ok` or `!!`; both exist in GBK, unlike ✔ and ✘."""
        encoding = getattr(self.out, "encoding", None) or "utf-8"
        try:
            "√×".encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return "ok" if ok else "!!"
        return self.paint("√", "green") if ok else self.paint("×", "red")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person looks at `stream`."""
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False


def _encode(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)
