"""`ledger export report`: duties, findings, grants, copies … as tables, counted from a ledger's own records and state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ledger.cli.command import command, option
from ledger.cli.output import Console
from ledger.cli.tables import on_screen

if TYPE_CHECKING:
    from ledger.report.facts import Filter


@command("report")
@option("--from", "source", metavar="SOURCE")
@option("--data", metavar="DIR")
@option("--member", metavar="MEMBER")
@option("--dataset", metavar="ID")
@option("--period", metavar="FIRST..LAST")
@option("--html", "page", metavar="FILE")
def report(
    console: Console,
    source: str | None,
    data: str | None,
    member: str | None,
    dataset: str | None,
    period: str | None,
    page: str | None,
) -> None:
    """Report on a ledger."""
    from pathlib import Path

    from ledger.adapters.audit.reporting import parse_period
    from ledger.adapters.audit.reporting import report as make_report
    from ledger.adapters.audit.sources import open_source
    from ledger.cli.progress import Progress
    from ledger.cli.reportview import html_page, text_tables
    from ledger.cli.settings import Settings
    from ledger.errors import UnavailableError
    from ledger.report.facts import Filter

    settings = Settings(console.environment, {"data": data})
    opened = open_source(source or settings.get("data") or settings.need("node"), timeout_s=settings.timeout_s())

    def wanted(zone_ms: int) -> Filter:
        since, until = None, None
        if period:
            try:
                since, until = parse_period(period, zone_ms)
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--period") from None
        return Filter(member or "", dataset or "", since, until)

    label = console.texts.text("report.progress", catalogue_name="verify")
    with Progress(console, label, getattr(opened, "events_hint", lambda: None)()) as bar:
        made = make_report(opened, wanted, bar.at)
    if page is not None:
        try:
            Path(page).write_text(html_page(made, console.texts), encoding="utf-8")
        except OSError as error:
            raise UnavailableError("write", "the page cannot be written", path=page, reason=error.strerror) from None
        console.hint(console.texts.text("report.written", catalogue_name="verify", path=page))
    console.result(made.document(), on_screen(console, text_tables(made, console)))
