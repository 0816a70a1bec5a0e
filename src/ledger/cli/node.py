"""`ledger node init|start|status`: one node's data directory, its process, its health."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.tables import fields, table
from ledger.errors import LedgerError, UnavailableError

NODE_PACKAGE = "ledger_node"


@command("init")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--from", "source", metavar="FOLDER", type=click.Path())
def init(console: Console, data_dir: str, source: str | None) -> None:
    """Make a data directory from a hand-over folder."""
    from ledger.adapters.network import init_node

    genesis, settings = init_node(Path(source or data_dir), Path(data_dir))
    document = {"origin": genesis.origin, "data_dir": data_dir, "role": settings.role, "url": settings.url}
    console.result(document, fields((console.text(f"node.{name}"), value) for name, value in document.items()))
    console.hint(console.text("network.start", folder=data_dir))


@command("renew-cosigner")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--member", metavar="ID")
def renew_cosigner(console: Console, data_dir: str, member: str | None) -> None:
    """Make a new cosigner key for a node whose old one signs no more."""
    from ledger.adapters.network import renew_cosigner as renew
    from ledger.adapters.nodefile import member_of
    from ledger.cli.settings import SettingError
    from ledger.core.keys import key_id_of

    owner = member or member_of(Path(data_dir))
    if owner is None:
        raise SettingError("setting-missing", "whose key is it?", name="member")
    genesis, key = renew(Path(data_dir), owner)
    key_id = key_id_of(int(key["algorithm"]), bytes.fromhex(key["public"])).hex()
    document = {"origin": genesis.origin, "member": owner, "key_id": key_id, "key": key}
    names = ("origin", "member", "key_id", "key")
    shown = {**document, "key": json.dumps(key, sort_keys=True, separators=(",", ":"))}
    console.result(document, fields((console.text(f"node.{name}"), shown[name]) for name in names))
    console.hint(console.text("node.renewed"))


@command("start")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--port", type=click.IntRange(0, 65_535), metavar="PORT")
def start(console: Console, data_dir: str, port: int | None) -> None:
    """Run a node until it is stopped."""
    import importlib.util

    from ledger.adapters.nodefile import read_settings

    settings = read_settings(Path(data_dir))
    if importlib.util.find_spec(NODE_PACKAGE) is None:
        raise UnavailableError("node-package", "suyuan-node is not installed", python=sys.executable)
    arguments = [sys.executable, "-m", NODE_PACKAGE, data_dir]
    if port is not None:
        arguments += ["--port", str(port)]
    console.hint(console.text("node.starting", role=settings.role, url=settings.url))
    console.out.flush()
    console.err.flush()
    # The node takes this process over, so that signals and the exit code are its own.
    os.execv(sys.executable, arguments)  # noqa: S606 - our own module, no shell


@command("status")
@node_options
def status(console: Console, node: str | None, data: str | None, timeout: str | None) -> None:
    """Show whether a node works."""
    settings = open_settings(console, {"node": node, "data": data, "timeout": timeout})
    client = open_client(console, settings)
    state = client.get_json(("v1", "status"))
    ready, checks = readiness(client.send(_get("readyz")).body)
    document = {"node": client.url, "ready": ready, "status": state, "checks": checks}
    # Names of what a node reports are part of its interface and stay as they are.
    lines = [fields([(console.text("node.url"), client.url), *_flat(state)])]
    if checks:
        head = [console.text(f"status.{name}") for name in ("check", "ok", "detail")]
        lines.append(table([(c["check"], console.mark(c["ok"]), c["detail"]) for c in checks], head))
    console.result(document, "\n\n".join(lines), Exit.OK if ready else Exit.OPERATIONAL)


def _get(path: str) -> Any:
    from ledger.client.request import get

    return get((path,))


def readiness(body: bytes) -> tuple[bool, list[dict[str, Any]]]:
    """Whether the node says it is ready, and each check as {check, ok, detail}."""
    import json

    try:
        document = json.loads(body)
        entries = document["checks"]
        if isinstance(entries, dict):
            entries = [{"check": name, **value} for name, value in entries.items()]
        checks = [
            {
                "check": str(entry.get("check") or entry.get("name")),
                "ok": entry.get("ok") is True,
                "detail": str(entry.get("detail") or ""),
            }
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LedgerError("node-answer", "not a readiness report") from None
    return all(check["ok"] for check in checks), checks


def _flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Scalars of a status document by dotted name."""
    found: list[tuple[str, object]] = []
    for name, value in document.items():
        if isinstance(value, dict):
            found.extend(_flat(value, f"{prefix}{name}."))
        elif not isinstance(value, list):
            found.append((f"{prefix}{name}", value))
        elif all(isinstance(item, (str, int)) for item in value):
            found.append((f"{prefix}{name}", ", ".join(map(str, value))))
    return found
