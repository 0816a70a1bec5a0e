"""`ledger export archive TARGET`: the whole ledger as files that anybody can verify without a node or a database."""

from __future__ import annotations

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.tables import on_screen


@command("archive")
@argument("target")
@option("--from", "source", metavar="SOURCE")
@option("--data", metavar="DIR")
@option("--until", type=click.Choice(("certified", "head")), default="certified")
@option("--state/--no-state", default=False)
def archive(console: Console, target: str, source: str | None, data: str | None, until: str, state: bool) -> None:
    """Export a ledger."""
    from pathlib import Path

    from ledger.adapters.audit.exporting import export
    from ledger.adapters.audit.sources import open_source
    from ledger.cli.progress import Progress
    from ledger.cli.settings import Settings

    settings = Settings(console.environment, {"data": data})
    opened = open_source(source or settings.get("data") or settings.need("node"), timeout_s=settings.timeout_s())
    last = None
    if until == "certified" and not state:
        # Only a data directory goes on behind its newest certificate; exports and nodes are read up to theirs.
        latest = getattr(opened, "latest_certified", None)
        last = latest() if latest is not None else None
        if latest is not None and last is None:
            console.warn(console.texts.text("export.uncertified", catalogue_name="verify"))
    total = getattr(opened, "events_hint", lambda: None)()
    label = console.texts.text("export.progress", catalogue_name="verify")
    with Progress(console, label, last or total) as bar:
        result = export(opened, Path(target), last_size=last, state=state, progress=bar.at)
    values = {name: getattr(result, name) for name in result.__slots__}
    text = console.texts.text("export.done", catalogue_name="verify", target=target, **values)
    if result.natives:
        text += console.texts.text("export.natives", catalogue_name="verify", count=result.natives)
    if result.missing_bundles:
        console.warn(console.texts.text("export.bundles", catalogue_name="verify", count=result.missing_bundles))
    console.result({"target": target, **values}, on_screen(console, text))
