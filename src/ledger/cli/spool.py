"""`ledger spool status|flush`: what an application has recorded and no node has acknowledged yet."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ledger.cli.command import command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.progress import Progress
from ledger.cli.session import node_options, open_client, open_key, open_settings
from ledger.cli.settings import SettingError
from ledger.cli.tables import fields


@command("status")
@option("--spool", metavar="DIR", type=click.Path())
def status(console: Console, spool: str | None) -> None:
    """Show a spool."""
    folder = _folder(open_settings(console, {"spool": spool}).need("spool"))
    document = _state(folder)
    console.result(document, fields((console.text(f"spool.{name}"), value) for name, value in document.items()))


@command("flush")
@option("--spool", metavar="DIR", type=click.Path())
@option("--member", metavar="ID")
@option("--key", metavar="FILE", type=click.Path())
@option("--wait", "wait_s", type=click.IntRange(1, 86_400), default=60, metavar="SECONDS")
@node_options
def flush(
    console: Console, spool: str | None, member: str | None, key: str | None, wait_s: int, **connection: str | None
) -> None:
    """Ship a spool now."""
    from ledger.client.shipper import Shipper, node_signs, sign_with
    from ledger.core.genesis import parse_genesis

    settings = open_settings(console, {"spool": spool, "member": member, "key": key, **connection})
    folder = _folder(settings.need("spool"))
    client = open_client(console, settings)
    key_file, token = settings.get("key"), settings.get("token")
    if key_file is not None:
        signers = {settings.need("member"): open_key(console, settings, key_file)}
        seal = sign_with(lambda: parse_genesis(client.get_bytes(("v1", "genesis"))).origin, signers)
    elif token is not None:
        seal = node_signs(token)
    else:
        raise SettingError("no-signer", "no key and no token of a local node")
    before = _state(folder)["waiting"]
    shipper = Shipper(folder, client, seal)
    shipper.start()
    until = time.monotonic() + wait_s
    try:
        with Progress(console, console.text("append.progress"), before) as progress:
            while (left := _state(folder)["waiting"]) and time.monotonic() < until:
                progress.at(max(0, before - left))
                time.sleep(0.1)
    finally:
        shipper.close()
    document = {"shipped": shipper.progress.shipped, **_state(folder)}
    if shipper.progress.waiting is not None and document["waiting"]:
        document["problem"] = str(shipper.progress.waiting)
    code = Exit.OK if not document["waiting"] else Exit.UNREACHABLE
    console.result(document, fields((console.text(f"spool.{name}"), value) for name, value in document.items()), code)


def _folder(text: str) -> Path:
    folder = Path(text)
    if not folder.is_dir():
        raise SettingError("spool-missing", "no such folder", path=text)
    return folder


def _state(folder: Path) -> dict[str, Any]:
    from ledger.client.spool import DAMAGED, REJECTED, backlog, count_lines

    waiting, size = backlog(folder)
    return {
        "folder": str(folder),
        "waiting": waiting,
        "bytes": size,
        "rejected": count_lines(folder / REJECTED),
        "damaged": count_lines(folder / DAMAGED),
    }
