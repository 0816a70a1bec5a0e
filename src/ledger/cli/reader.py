"""`ledger node reader DIR NAME`: the token of somebody who may read through a node that answers named readers only.

Rule: the token is printed once, where it is made, and stands in a 0600 file of the data directory; a new one replaces the
old. Not here: what a reader may see (the node judges each reading).
"""

from __future__ import annotations

from pathlib import Path

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.tables import fields, safe


@command("reader")
@argument("data_dir", metavar="DIR", type=click.Path())
@argument("reader", metavar="NAME")
@option("--remove", is_flag=True)
def reader(console: Console, data_dir: str, reader: str, remove: bool) -> None:
    """Make or remove a reader's token."""
    from ledger.adapters.home.nodefile import read_settings
    from ledger.adapters.home.readertokens import Reader, make_reader, remove_reader
    from ledger.errors import NotFoundError

    read_settings(Path(data_dir))  # it is a node's
    if remove:
        if not remove_reader(Path(data_dir), reader):
            raise NotFoundError("reader-absent", "no such reader", reader=reader)
        console.result({"reader": reader, "removed": True}, console.text("reader.removed", reader=safe(reader)))
        return
    path, token = make_reader(Path(data_dir), Reader(reader, person="/" in reader))
    document = {"reader": reader, "path": str(path), "token": token}
    console.result(document, fields((console.text(f"reader.{name}"), value) for name, value in document.items()))
    console.hint(console.text("reader.give"))
