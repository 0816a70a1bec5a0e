"""Shows how far long work has come: count, rate and time left, on stderr, when a person looks at it.

Rules: at most ten drawings a second; nothing into pipes, under TERM=dumb, --quiet or --json; the line is wiped at the
end, so that what follows stands clean. Not here: the work.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Final, Self

from ledger.cli.output import Console, is_terminal
from ledger.cli.tables import cut, screen_columns, width

REDRAW_S: Final = 0.1
BAR_COLUMNS: Final = 24


class Progress:
    """A progress line; use as context manager. `total` may be set late; None shows the count alone."""

    def __init__(self, console: Console, label: str, total: int | None = None, unit: str = "") -> None:
        self.total = total
        self._console, self._label, self._unit = console, label, unit
        self._done, self._began, self._drawn = 0, time.monotonic(), 0.0
        self._length = 0
        self._shown = (
            is_terminal(console.err)
            and not console.quiet
            and not console.as_json
            and console.environment.get("TERM") != "dumb"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wipe()

    def advance(self, count: int = 1) -> None:
        """`count` more are done."""
        self.at(self._done + count)

    def at(self, done: int) -> None:
        """`done` are done."""
        self._done = done
        now = time.monotonic()
        if self._shown and now - self._drawn >= REDRAW_S:
            self._drawn = now
            self._draw(now - self._began)

    def _draw(self, elapsed: float) -> None:
        rate = self._done / elapsed if elapsed > 0 else 0.0
        parts = [self._label]
        if self.total:
            share = min(1.0, self._done / self.total)
            filled = int(share * BAR_COLUMNS)
            parts.append(f"[{'#' * filled}{'.' * (BAR_COLUMNS - filled)}] {share:4.0%}")
            parts.append(f"{self._done:,}/{self.total:,}{self._unit}")
        else:
            parts.append(f"{self._done:,}{self._unit}")
        parts.append(f"{rate:,.0f}/s")
        if self.total and rate > 0:
            parts.append(f"~{_duration((self.total - self._done) / rate)}")
        columns = (screen_columns(self._console.err, self._console.environment) or 80) - 1
        line = cut("  ".join(parts), columns)
        self._console.err.write("\r" + line + " " * max(0, self._length - width(line)))
        self._console.err.flush()
        self._length = width(line)

    def _wipe(self) -> None:
        if self._length:
            self._console.err.write("\r" + " " * self._length + "\r")
            self._console.err.flush()
            self._length = 0


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
