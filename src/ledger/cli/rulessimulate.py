"""`ledger rules simulate DIR --ledger SOURCE`: what this rulebook would have decided on a real ledger, before it is voted.

Exit codes: 0 the whole ledger was decided again (whether anything differs is the result, not the exit code), 7 not all
of it could be. Not here: the comparison (see `ledger.verify.simulate`).
"""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.tables import on_screen, safe, screen_columns, table

if TYPE_CHECKING:
    from ledger.verify.simulate import Difference, Simulation

RUNTIMES = ("compiled", "inline", "monty")
LIMIT_DEFAULT = 50
_DUE = re.compile(r'"due": (\d{12,14})')


@command("simulate")
@argument("folder", metavar="DIR", type=click.Path())
@option("--ledger", "source", metavar="SOURCE", required=True)
@option("--limit", type=click.IntRange(0, 100_000), default=LIMIT_DEFAULT, metavar="N")
@option("--runtime", type=click.Choice(RUNTIMES), default="compiled")
def simulate(console: Console, folder: str, source: str, limit: int, runtime: str) -> None:
    """Decide a ledger's history by another rulebook."""
    from ledger.adapters.audit import simulation
    from ledger.adapters.audit.sources import open_source
    from ledger.adapters.home.network import read_rulebook
    from ledger.cli.progress import Progress
    from ledger.cli.settings import Settings
    from ledger.rules.program import Program

    program = Program.compile(*read_rulebook(Path(folder)))
    opened = open_source(source, timeout_s=Settings(console.environment, {}).timeout_s())
    total = getattr(opened, "events_hint", lambda: None)()
    began = time.monotonic()
    with Progress(console, _text(console, "simulate.progress"), total) as bar:
        found = simulation.simulate(opened, program, runtime=runtime, kept_max=limit, progress=bar.at)
    seconds = time.monotonic() - began
    book = f"{program.book.id} {program.book.version} ({program.rulebook_hash.hex()[:12]})"
    complete = not found.missing and found.stopped is None
    console.hint(_text(console, "simulate.believed", source=source))
    text = _render(console, found, source, book, seconds)
    document = _document(found, source, seconds)
    document["rulebook"] = {
        "id": program.book.id, "version": program.book.version, "hash": program.rulebook_hash.hex(),
        "program": program.source_hash.hex(),
    }  # fmt: skip
    console.result(document, on_screen(console, text), Exit.OK if complete else Exit.INCOMPLETE)


def _document(found: Simulation, source: str, seconds: float) -> dict[str, Any]:
    return {
        "source": source,
        "blocks": found.blocks,
        "events": found.events,
        "timers": found.timers,
        "different": found.different,
        "missing_bodies": found.missing,
        "stopped": None if found.stopped is None else {"height": found.stopped[0], "reason": found.stopped[1]},
        "outcomes": [
            {"recorded": before, "simulated": after, "count": count}
            for (before, after), count in found.outcomes.most_common()
        ],
        "summary": [
            {"part": part, "rule": rule, "code": code, "direction": direction, "count": count}
            for (part, rule, code, direction), count in _sorted(found)
        ],
        "differences": [asdict(difference) for difference in found.kept],
        "not_shown": found.different - len(found.kept),
        "seconds": round(seconds, 3),
    }


def _sorted(found: Simulation) -> list[tuple[tuple[str, str, str, str], int]]:
    return sorted(found.groups.items(), key=lambda pair: (pair[0][1], pair[0][2], pair[0][0], pair[0][3]))


def _render(console: Console, found: Simulation, source: str, book: str, seconds: float) -> str:
    columns = screen_columns(console.out, console.environment)
    counts = {name: f"{getattr(found, name):,}" for name in ("blocks", "events", "timers")}
    rate = f"{found.events / seconds:,.0f}" if seconds > 0 else "-"
    parts = [
        _text(console, "simulate.head", source=source, book=book, **counts)
        + f" ({_text(console, 'simulate.seconds', seconds=f'{seconds:.1f}', rate=rate)})"
    ]
    if found.missing:
        parts.append(console.paint(_text(console, "simulate.missing", count=found.missing), "yellow"))
    if found.stopped is not None:
        height, reason = found.stopped
        parts.append(console.paint(_text(console, "simulate.stopped", height=height, reason=safe(reason)), "red"))
    if not found.different:
        parts.append(_text(console, "simulate.same"))
        return "\n\n".join(parts)
    parts.append(_text(console, "simulate.different", count=f"{found.different:,}"))
    if found.outcomes:
        head = [_text(console, f"simulate.{name}") for name in ("recorded", "simulated", "count")]
        rows = [(_outcome(console, a), _outcome(console, b), count) for (a, b), count in found.outcomes.most_common()]
        parts.append(_text(console, "simulate.outcomes") + "\n" + table(rows, head, columns))
    if found.groups:
        names = ("rule", "code", "part", "direction", "count")
        lines = [
            (rule, code, _text(console, f"part.{part}"), _text(console, f"simulate.{direction}"), count)
            for (part, rule, code, direction), count in _sorted(found)
        ]
        head = [_text(console, f"simulate.{name}") for name in names]
        parts.append(_text(console, "simulate.summary") + "\n" + table(lines, head, columns))
    if found.kept:
        whole = len(found.kept) == found.different
        title = _text(console, "simulate.first-all" if whole else "simulate.first", count=len(found.kept))
        parts.append("\n".join([title, *(line for each in found.kept for line in _difference(console, each))]))
    return "\n\n".join(parts)


def _difference(console: Console, difference: Difference) -> list[str]:
    from ledger.cli.verdicts import format_time

    due = "" if difference.due is None else f"  {format_time(difference.due)}"
    block = _text(console, "simulate.block", height=difference.height)
    lines = [f"  {difference.kind}  {safe(difference.name)}{due}  {block}"]
    for change in difference.changes:
        nothing = _text(console, "simulate.nothing")
        label = " ".join(each for each in (_text(console, f"part.{change.part}"), change.rule, change.code) if each)
        before, after = (nothing if each is None else _dated(safe(each)) for each in (change.before, change.after))
        if change.part == "outcome":
            before, after = _outcome(console, change.before or "-"), _outcome(console, change.after or "-")
        lines.append(f"      {label}: {before or '·'} → {after or '·'}")
    return lines


def _dated(text: str) -> str:
    """`text` with its terms as dates."""
    from ledger.cli.verdicts import format_time

    return _DUE.sub(lambda found: f'"due": {format_time(int(found[1]))}', text)


def _outcome(console: Console, name: str) -> str:
    known = console.texts.find(f"outcome.{name}")
    return f"{known} [{name}]" if known else name


def _text(console: Console, key: str, /, **values: object) -> str:
    return console.texts.text(key, catalogue_name="rules", **values)
