"""`ledger archive prune RECORD`: a stopped node erases the bodies that an accepted `archive.prune` lets go.

Rule: without `--erase` it only counts; with it the export that the record names must be given, is checked first, and
nothing is ever erased that the record does not cover. Not here: asking for a pruning (an event like any other).
"""

from __future__ import annotations

from pathlib import Path

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.settings import SettingError, Settings
from ledger.cli.tables import fields


@command("prune")
@argument("record", metavar="MEMBER/ID")
@option("--data", metavar="DIR")
@option("--export", metavar="PATH", type=click.Path())
@option("--erase", is_flag=True)
def prune(console: Console, record: str, data: str | None, export: str | None, erase: bool) -> None:
    """Erase bodies past their retention."""
    from ledger.adapters.audit import pruning
    from ledger.cli.progress import Progress

    folder = Path(Settings(console.environment, {"data": data}).need("data"))
    if erase and export is None:
        raise SettingError("setting-missing", "the export that the record names is needed", name="export")
    plan = pruning.plan_pruning(folder, record)
    permit = plan.permit
    if export is not None:
        pruning.check_export(folder, permit, Path(export))
    erased = 0
    if erase:
        with Progress(console, console.text("prune.progress"), len(plan.seqs)) as bar:
            erased = pruning.erase(folder, plan, bar.at)
    document = {
        "record": permit.name,
        "objects": sorted(permit.objects),
        "classes": sorted(permit.classes),
        "before": permit.before,
        "height": permit.height,
        "export": permit.export.hex(),
        "export_checked": export is not None,
        "prunable": len(plan.seqs),
        "erased": erased,
        "gone_before": plan.gone,
        "kept": dict(sorted(plan.kept.items())),
    }
    pairs: list[tuple[str, object]] = [
        (console.text("prune.record"), permit.name),
        (console.text("prune.objects"), ", ".join(sorted(permit.objects))),
        (console.text("prune.classes"), ", ".join(sorted(permit.classes))),
        (console.text("prune.before"), permit.before),
        (console.text("prune.export"), permit.export.hex()),
        (console.text("prune.prunable"), len(plan.seqs)),
        (console.text("prune.gone"), plan.gone),
        *((console.text(f"prune.kept-{reason}"), count) for reason, count in sorted(plan.kept.items())),
        (console.text("prune.erased"), erased),
    ]
    text = fields(pairs)
    if not erase:
        console.hint(console.text("prune.counted"))
    console.result(document, text)
