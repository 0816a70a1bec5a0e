"""`ledger verify SOURCE`: a whole ledger, recomputed from raw bytes, with a report that says what was not checked.

Exit codes: 0 intact, 6 a finding, 7 nothing wrong but not everything checked. Not here: the checks (see `ledger.verify`).
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.tables import on_screen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ledger.adapters.audit.progressfile import ProgressFile
    from ledger.adapters.audit.scratch import ScratchState
    from ledger.cli.progress import Progress
    from ledger.cli.verifyreport import Shown
    from ledger.core.genesis import Predecessor
    from ledger.verify.ledger import Options
    from ledger.verify.report import Report
    from ledger.verify.source import LedgerSource, UnopenedError
    from ledger.verify.trust import Trust

RUNTIME_NAMES = ("compiled", "inline", "monty", "none")
PARALLEL_FROM_LEAVES = 20_000


@command("verify")
@argument("source")
@option("--trust", "trust_file", metavar="FILE", type=click.Path())
@option("--genesis", "genesis_file", metavar="FILE", type=click.Path())
@option("--origin", metavar="ORIGIN")
@option("--with", "copies", multiple=True, metavar="EXPORT", type=click.Path())
@option("--runtime", type=click.Choice(RUNTIME_NAMES), default="compiled")
@option("--jobs", type=click.IntRange(1, 256), metavar="N")
@option("--max-age", metavar="SECONDS")
@option("--remember/--no-remember", default=True)
@option("--html", "html_file", metavar="FILE", type=click.Path())
@option("--resume", "resume_file", metavar="FILE", type=click.Path())
@option("--fresh", is_flag=True)
def verify(
    console: Console,
    source: str,
    trust_file: str | None,
    genesis_file: str | None,
    origin: str | None,
    copies: tuple[str, ...],
    runtime: str,
    jobs: int | None,
    max_age: str | None,
    remember: bool,
    html_file: str | None,
    resume_file: str | None,
    fresh: bool,
) -> None:
    """Verify a ledger."""
    from ledger.adapters.audit.remembered import Remembered
    from ledger.cli.settings import Settings, state_folder
    from ledger.cli.verifyreport import Shown, document, render
    from ledger.verify.ledger import unopened_ledger
    from ledger.verify.report import INCOMPLETE, INTACT

    settings = Settings(console.environment, {"trust": trust_file})
    opened = _open(source, settings.timeout_s())
    memory = Remembered(state_folder(console.environment) / "verified") if remember else None
    trust = _trust(settings.get("trust"), genesis_file, origin, memory, opened, max_age)
    began = time.monotonic()
    if isinstance(opened, Exception):
        report = unopened_ledger(source, trust, opened)
    else:
        question = (runtime, *(str(Path(each).resolve()) for each in copies))
        keeping = _keeping(console, opened, question, resume_file, fresh)
        report = audit(console, _filled(opened, copies), trust, runtime, jobs, keeping)
    seconds = time.monotonic() - began
    kept = None
    if memory is not None and not report.findings.total and report.certified_note and report.pinned_by:
        kept = memory.write(report.origin, report.certified_note)
    code = {INTACT: Exit.OK, INCOMPLETE: Exit.INCOMPLETE}.get(report.verdict, Exit.INTEGRITY)
    continues = None if isinstance(opened, Exception) else _continues(opened, report)
    shown = Shown(report, seconds, continues, copies)
    if html_file is not None:
        _write_page(console, Path(html_file), shown)
    if kept and report.last_certified is not None:
        size = report.last_certified.size
        console.hint(console.texts.text("label.remembered", catalogue_name="verify", size=size))
    console.result(document(console, shown), on_screen(console, render(console, shown)), code)


def _open(text: str, timeout_s: float) -> LedgerSource | UnopenedError:
    """The source; or, of an export of which nothing can be read, why: that is a verdict, not an error."""
    from ledger.adapters.audit.sources import open_source
    from ledger.verify.source import UnopenedError

    try:
        return open_source(text, timeout_s=timeout_s)
    except UnopenedError as error:
        return error


def _filled(source: LedgerSource, copies: Sequence[str]) -> LedgerSource:
    """`source` with the bodies that kept exports still have."""
    if not copies:
        return source
    from ledger.adapters.audit.kept import FilledSource, open_copy

    return FilledSource(source, [open_copy(path, source) for path in copies])


def _continues(source: LedgerSource, report: Report) -> Predecessor | None:
    """The predecessor that the audited genesis pins (SPEC R-G06)."""
    from ledger.core.genesis import parse_genesis

    return parse_genesis(source.genesis()).continues if report.origin else None


def _write_page(console: Console, path: Path, shown: Shown) -> None:
    """The report as a page; an existing file is replaced, for a report names its own time."""
    from ledger.cli.verifypage import page

    path.write_text(page(console, shown, time.time_ns() // 1_000_000), "utf-8")
    console.hint(console.texts.text("label.written", catalogue_name="verify", path=str(path)))


def _trust(
    trust_file: str | None,
    genesis_file: str | None,
    origin: str | None,
    memory: Any,
    source: LedgerSource | UnopenedError,
    max_age: str | None,
) -> Trust:
    """What the auditor takes for granted, from the most explicit word to the least."""
    from dataclasses import replace

    from ledger.cli.settings import SettingError
    from ledger.core.ident import check_origin
    from ledger.verify.trust import MAX_AGE_DEFAULT_S, REMEMBERED, Trust, known_checkpoint

    live = not isinstance(source, Exception) and source.is_live
    trust = Trust(max_age_s=MAX_AGE_DEFAULT_S if live else None)
    if trust_file is not None:
        trust = _read_pin(Path(trust_file), "trust", trust)
    for pinned in (
        _read_pin(Path(genesis_file), "genesis", trust) if genesis_file is not None else None,
        replace(trust, origin=check_origin(origin), pinned_by="origin") if origin is not None else None,
    ):
        if pinned is None:
            continue
        if trust.origin not in (None, pinned.origin):
            expected, got = trust.origin, pinned.origin
            raise SettingError("trust-conflict", "pinned twice, to two networks", expected=expected, got=got)
        trust = replace(trust, origin=pinned.origin, pinned_by=trust.pinned_by or pinned.pinned_by)
    if memory is not None:
        found = _remembered(memory, trust.origin, source)
        if found is not None:
            known_origin, note = found
            known = (*trust.known, known_checkpoint(REMEMBERED, note, known_origin))
            trust = replace(trust, origin=known_origin, pinned_by=trust.pinned_by or REMEMBERED, known=known)
    if max_age is not None:
        trust = replace(trust, max_age_s=None if max_age == "none" else _seconds(max_age))
    return trust


def _read_pin(path: Path, name: str, base: Trust) -> Trust:
    """What a trust file, a genesis document or a node's folder pins."""
    from dataclasses import replace

    from ledger.core.genesis import GENESIS_BYTES_MAX, parse_genesis
    from ledger.errors import MalformedError, NotFoundError
    from ledger.verify.trust import parse_trust

    place = path / "genesis.json" if path.is_dir() else path
    try:
        with place.open("rb") as file:
            data = file.read(GENESIS_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError("trust-file", "no such file", path=str(place)) from error
    try:
        return parse_trust(data)
    except MalformedError as error:
        if b'"members"' not in data:
            raise MalformedError(error.code, error.message, **error.evidence, path=str(place)) from None
    return replace(base, origin=parse_genesis(data).origin, pinned_by=name)


def _remembered(memory: Any, origin: str | None, source: LedgerSource | UnopenedError) -> tuple[str, bytes] | None:
    """The remembered note of the pinned network, else of the one that the source says it is.

    An origin binds its genesis: whoever was remembered under it cannot be another network.
    """
    from ledger.core.genesis import parse_genesis
    from ledger.errors import LedgerError

    if origin is None:
        if isinstance(source, Exception):
            return None
        try:
            origin = parse_genesis(source.genesis()).origin
        except LedgerError:
            return None  # the audit itself will say what is wrong with the genesis
    note = memory.read(origin)
    return None if note is None else (origin, note)


def _seconds(text: str) -> int:
    from ledger.cli.settings import SettingError

    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise SettingError("setting-value", "expected seconds, or none", name="max-age", got=text)
    return int(text)


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where the progress of an audit is kept; `fresh` passes over what is there."""

    path: Path
    fresh: bool = False


def _keeping(console: Console, source: LedgerSource, question: Sequence[str], file: str | None, fresh: bool) -> Keeping:
    """The file that `--resume` names, else one for this source and `question` (runtime, kept copies) below the user's
    cache folder."""
    from hashlib import sha256

    from ledger.cli.settings import cache_folder

    if file is not None:
        return Keeping(Path(file), fresh)
    place = source.name if source.name.startswith(("http://", "https://")) else str(Path(source.name).resolve())
    name = sha256("\n".join((place, *question)).encode()).hexdigest()[:32]
    return Keeping(cache_folder(console.environment) / "verify" / f"{name}.progress", fresh)


def audit(
    console: Console,
    source: LedgerSource,
    trust: Trust,
    runtime: str,
    jobs: int | None,
    keeping: Keeping | None = None,
) -> Report:
    """Verify `source` with as many processes as it is worth, and a progress bar.

    With `keeping` the audit goes on where an interrupted one stood; where that cannot be, it says so and begins anew.
    """
    from ledger.adapters.audit.pool import ProcessPool, cores, relax_collector
    from ledger.adapters.audit.replayrules import NONE, rules_loader
    from ledger.adapters.audit.scratch import ScratchState
    from ledger.cli.progress import Progress
    from ledger.verify.ledger import Options, Serial, verify_ledger
    from ledger.verify.restoring import ResumeError

    relax_collector()
    total = getattr(source, "events_hint", lambda: None)()
    # A short ledger is verified before other processes would have started.
    processes = jobs or (1 if total is not None and total < PARALLEL_FROM_LEAVES else cores())
    # Replaying keeps this process busy, so that one of several only checks where there is no replay.
    workers = processes - 1 if runtime != NONE else processes
    options = Options(trust, time.time_ns() // 1_000_000, replay=runtime != NONE, runtime=runtime)
    label = console.texts.text("label.progress", catalogue_name="verify")
    while True:
        with (
            ScratchState() as scratch,
            Progress(console, label, total) as bar,
            ProcessPool(workers) if processes > 1 else nullcontext(Serial()) as parallel,
        ):
            keeper = _keeper(console, keeping, scratch) if keeping is not None and options.replay else None
            try:
                report = verify_ledger(
                    source,
                    options,
                    scratch,
                    rules_loader(runtime),
                    parallel=parallel,
                    progress=_showing(bar),
                    keeper=keeper,
                )
            except ResumeError as error:
                if keeping is None or keeping.fresh:
                    raise
                keeping = Keeping(keeping.path, fresh=True)
                reason = str(error.evidence.get("reason", error.evidence.get("place", "")))
                _tell(console, keeping.path, str(error.evidence["why"]), reason)
                continue
            except KeyboardInterrupt:
                if keeper is not None and (point := keeper.saved or keeper.found) is not None:
                    console.hint(console.texts.text("resume.interrupted", catalogue_name="verify", height=point.height))
                raise
        if keeper is not None:
            keeper.finish()
        return report


def _showing(bar: Progress) -> Callable[[int, int], None]:
    return lambda _height, leaves: bar.at(leaves)


def _keeper(console: Console, keeping: Keeping, scratch: ScratchState) -> ProgressFile:
    from ledger.adapters.audit.progressfile import ProgressFile

    return ProgressFile(
        keeping.path, scratch, fresh=keeping.fresh, tell=lambda code, reason: _tell(console, keeping.path, code, reason)
    )


def _tell(console: Console, path: Path, code: str, reason: str) -> None:
    """What became of the progress that was kept. What ends well is a hint; what costs the work of a run is a warning."""
    text = console.texts.text(f"resume.{code}", catalogue_name="verify", path=str(path), reason=reason or code)
    (console.hint if code == "continues" else console.warn)(text)


__all__ = ["Keeping", "Options", "audit", "verify"]
