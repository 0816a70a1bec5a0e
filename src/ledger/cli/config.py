"""`ledger config show`: every setting with its value and where it came from; secrets are never shown."""

from __future__ import annotations

from ledger.cli.command import command
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_settings
from ledger.cli.settings import KNOWN, variable
from ledger.cli.tables import screen_columns, table


@command("show")
@node_options
def show(console: Console, **connection: str | None) -> None:
    """Show the settings in force."""
    settings = open_settings(console, connection)
    rows, values = [], {}
    for setting in KNOWN:
        value = settings.value(setting.name)
        text = value.text
        if text is not None and setting.secret:
            text = console.text("config.secret")
        values[setting.name] = {"value": text, "origin": value.origin, "variable": variable(setting.name)}
        rows.append((setting.name, "-" if text is None else text, value.origin, variable(setting.name)))
    others = settings.unknown_variables()
    document = {"file": str(settings.config_path), "settings": values, "other_variables": others}
    head = [console.text(f"config.{name}") for name in ("name", "value", "origin", "variable")]
    lines = [table(rows, head, screen_columns(console.out, console.environment))]
    present = "config.file" if settings.config_path.is_file() else "config.no-file"
    lines.append(console.text(present, path=settings.config_path))
    console.result(document, "\n".join(lines))
    if others:
        console.hint(console.text("config.others", names=", ".join(others)))
