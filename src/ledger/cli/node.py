"""`ledger node init|join|prepare-move|move|start|status`: one node's data directory, its process, its health."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.reasons import of_node
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.tables import fields, on_screen, table
from ledger.cli.verdicts import coded, format_time
from ledger.core.keys import CONSENSUS
from ledger.errors import LedgerError, NotFoundError, UnavailableError
from ledger.limits import ENGINE_MOVES_MAX

if TYPE_CHECKING:
    from ledger.client.http import NodeClient

NODE_PACKAGE = "ledger_node"
WORDED = ("clock", "role")
"""Members of a status document whose values are words of ours."""
WAIT_S_MAX = 3_600
LOOK_AGAIN_S = 0.3


@command("init")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--from", "source", metavar="FOLDER", type=click.Path())
@option("--again", is_flag=True)
def init(console: Console, data_dir: str, source: str | None, again: bool) -> None:
    """Make a data directory from a hand-over folder."""
    from ledger.adapters.home.handover import begin_again
    from ledger.adapters.home.network import init_node
    from ledger.cli.settings import SettingError

    if again and source is not None:
        raise SettingError(
            "setting-value", "--again begins in DIR itself, without another folder", name="from", got=source
        )
    aside = None
    if again:
        genesis, settings, aside = begin_again(Path(data_dir))
    else:
        genesis, settings = init_node(Path(source or data_dir), Path(data_dir))
    document = {"origin": genesis.origin, "data_dir": data_dir, "role": settings.role, "url": settings.url}
    if aside is not None:
        document["set_aside"] = str(aside)
    console.result(document, fields((console.text(f"node.{name}"), value) for name, value in document.items()))
    console.hint(console.text("network.start", folder=data_dir))


@command("join")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--from", "source", metavar="FOLDER|URL", required=True)
@option("--member", metavar="ID", required=True)
@option("--origin", metavar="ORIGIN")
@option("--listen", metavar="HOST:PORT")
@option("--p2p", metavar="HOST:PORT")
@option("--peer", "peers", multiple=True, metavar="ID@HOST:PORT")
@option("--moves", type=click.IntRange(0, ENGINE_MOVES_MAX), metavar="N")
@option("--state-sync", is_flag=True)
@option("--trusted-header", metavar="HEIGHT:HASH")
def join(
    console: Console,
    data_dir: str,
    source: str,
    member: str,
    origin: str | None,
    listen: str | None,
    p2p: str | None,
    peers: tuple[str, ...],
    moves: int | None,
    state_sync: bool,
    trusted_header: str | None,
) -> None:
    """Make the node of a department that joins a running network."""
    from dataclasses import replace

    from ledger.adapters.home.joining import FromSnapshot, join_node, read_invitation
    from ledger.adapters.home.statesyncfile import parse_trusted
    from ledger.cli.inviting import fetch_invitation
    from ledger.core.address import parse_peer
    from ledger.core.genesis import COMETBFT
    from ledger.errors import VerificationError

    for peer in peers:
        parse_peer(peer)
    trusted = parse_trusted(trusted_header) if trusted_header is not None else None
    snapshot = FromSnapshot(trusted) if state_sync or trusted is not None else None
    url = source.startswith(("http://", "https://"))
    invitation = fetch_invitation(source) if url else read_invitation(Path(source))
    genesis = invitation.genesis
    if origin is not None and genesis.origin != origin:
        raise VerificationError("join-origin", "this is another network", expected=origin, got=genesis.origin)
    invitation = replace(invitation, p2p=tuple(dict.fromkeys((*peers, *invitation.p2p))))
    if moves is not None:
        invitation = replace(invitation, moves=moves)
    connects = snapshot is not None or (genesis.engine == COMETBFT and not invitation.moves)
    if connects and not invitation.p2p:
        raise NotFoundError("join-peers", "no address of another engine is known", source=source)
    made = join_node(Path(data_dir), invitation, member, listen=listen or "", p2p=p2p or "", snapshot=snapshot)
    settings = made.settings
    document: dict[str, Any] = {
        "origin": genesis.origin, "data_dir": data_dir, "member": member, "role": settings.role, "url": settings.url,
    }  # fmt: skip
    if settings.comet is not None:
        document["p2p"] = settings.comet.p2p_address
    shown = fields((console.text(f"node.{name}"), value) for name, value in document.items())
    rows = [(use, str(path)) for use, path in made.files.items()]
    text = f"{shown}\n\n{table(rows, [console.text('node.use'), console.text('node.registration')])}"
    console.result({**document, "registrations": made.registrations}, text)
    admit = " ".join(f"--registration {path}" for use, path in made.files.items() if use != CONSENSUS)
    console.hint(console.text("node.join-admit", member=member, url=made.settings.url, registrations=admit))
    if invitation.moves and snapshot is None:
        console.hint(console.text("node.join-seam", moves=invitation.moves, folder=data_dir))
    if settings.comet is not None:
        console.hint(console.text("node.join-vote", member=member, registration=made.files[CONSENSUS]))
    console.hint(console.text("node.join-origin", origin=genesis.origin))
    console.hint(console.text("network.start", folder=data_dir))


@command("prepare-move")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--member", metavar="ID")
@option("--p2p", metavar="HOST:PORT")
def prepare_move(console: Console, data_dir: str, member: str | None, p2p: str | None) -> None:
    """Make the keys that a node needs before its ledger moves to CometBFT."""
    from ledger.adapters.ordering.moving import prepare_move as prepare

    made = prepare(Path(data_dir), _owner(data_dir, member), p2p or "")
    document = {"origin": made.genesis.origin, "data_dir": data_dir, "p2p": made.p2p}
    shown = fields((console.text(f"node.{name}"), value) for name, value in document.items())
    rows = [(use, str(path)) for use, path in made.files.items()]
    text = f"{shown}\n\n{table(rows, [console.text('node.use'), console.text('node.registration')])}"
    console.result({**document, "registrations": made.registrations}, text)
    console.hint(console.text("node.prepared"))


@command("move")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--peer", "peers", multiple=True, metavar="ID@HOST:PORT")
def move(console: Console, data_dir: str, peers: tuple[str, ...]) -> None:
    """Turn a node that stands at the seam into a validator of the engine in force."""
    from ledger.adapters.ordering.moving import move_node

    made = move_node(Path(data_dir), peers)
    comet = made.settings.comet
    document: dict[str, Any] = {
        "origin": made.genesis.origin, "data_dir": data_dir, "role": made.settings.role, "chain": made.engine.chain_id,
        "seam": made.engine.seam, "votes": made.votes, "peers": list(comet.p2p_peers) if comet is not None else [],
    }  # fmt: skip
    shown = {**document, "peers": " ".join(document["peers"]), "votes": console.mark(made.votes)}
    console.result(document, fields((console.text(f"node.{name}"), value) for name, value in shown.items()))
    if not made.votes:
        console.hint(console.text("node.no-vote"))
    console.hint(console.text("network.start", folder=data_dir))


def _owner(data_dir: str, member: str | None) -> str:
    """Whose node it is. Raises `SettingError` where neither the option nor its keys say so."""
    from ledger.adapters.home.nodefile import member_of
    from ledger.cli.settings import SettingError

    owner = member or member_of(Path(data_dir))
    if owner is None:
        raise SettingError("setting-missing", "whose key is it?", name="member")
    return owner


@command("renew-cosigner")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--member", metavar="ID")
def renew_cosigner(console: Console, data_dir: str, member: str | None) -> None:
    """Make a new cosigner key for a node whose old one signs no more."""
    from ledger.adapters.home.network import renew_cosigner as renew
    from ledger.core.keys import key_id_of

    owner = _owner(data_dir, member)
    genesis, key = renew(Path(data_dir), owner)
    key_id = key_id_of(int(key["algorithm"]), bytes.fromhex(key["public"])).hex()
    document = {"origin": genesis.origin, "member": owner, "key_id": key_id, "key": key}
    names = ("origin", "member", "key_id", "key")
    shown = {**document, "key": json.dumps(key, sort_keys=True, separators=(",", ":"))}
    console.result(document, fields((console.text(f"node.{name}"), shown[name]) for name in names))
    console.hint(console.text("node.renewed"))


@command("renew-consensus")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--switch", is_flag=True)
@option("--member", metavar="ID")
def renew_consensus(console: Console, data_dir: str, switch: bool, member: str | None) -> None:
    """Make a new consensus key for a validator, or put it in place once it was voted in."""
    from ledger.adapters.home import renewing

    if switch:
        key_id = renewing.switch_consensus(Path(data_dir)).key_id.hex()
        shown = {"data_dir": data_dir, "key_id": key_id}
        console.result(shown, fields((console.text(f"node.{name}"), value) for name, value in shown.items()))
        console.hint(console.text("node.switched"))
        return
    owner = _owner(data_dir, member)
    made = renewing.renew_consensus(Path(data_dir), owner)
    old = made.old.key_id.hex() if made.old is not None else None
    document = {
        "origin": made.genesis.origin, "member": owner, "old_key_id": old, "key_id": made.new.key_id.hex(),
        "registration": str(made.file),
    }  # fmt: skip
    rows = [(console.text(f"node.{name}"), value or "-") for name, value in document.items()]
    console.result({**document, "key": made.registration}, fields(rows))
    console.hint(console.text("node.renewed-consensus", registration=str(made.file), old=old or "…"))


@command("start")
@argument("data_dir", metavar="DIR", type=click.Path())
@option("--port", type=click.IntRange(0, 65_535), metavar="PORT")
@option("--engine", type=click.Choice(["sequencer", "cometbft"]))
def start(console: Console, data_dir: str, port: int | None, engine: str | None) -> None:
    """Run a node until it is stopped."""
    import importlib.util

    from ledger.adapters.home.nodefile import read_settings

    settings = read_settings(Path(data_dir))
    if importlib.util.find_spec(NODE_PACKAGE) is None:
        raise UnavailableError("node-package", "suyuan-node is not installed", python=sys.executable)
    arguments = [sys.executable, "-m", NODE_PACKAGE, data_dir]
    if port is not None:
        arguments += ["--port", str(port)]
    if engine is not None:
        arguments += ["--engine", engine]
    console.hint(console.text("node.starting", role=settings.role, url=settings.url))
    console.out.flush()
    console.err.flush()
    # The node takes this process over, so that signals and the exit code are its own.
    os.execv(sys.executable, arguments)  # noqa: S606 - our own module, no shell


@command("status")
@option("--wait", type=click.IntRange(0, WAIT_S_MAX), default=0, metavar="SECONDS")
@node_options
def status(console: Console, node: str | None, data: str | None, timeout: str | None, wait: int) -> None:
    """Show whether a node works."""
    settings = open_settings(console, {"node": node, "data": data, "timeout": timeout})
    client = open_client(console, settings)
    state, ready, checks = _look(client, settings.get("data"), time.monotonic() + wait)
    document = {"node": client.url, "ready": ready, "status": state, "checks": checks}
    shown = {**state, "time": format_time(state["time"])} if "time" in state else state
    named = [(_word(console, name), _word(console, str(v)) if name in WORDED else v) for name, v in _flat(shown)]
    lines = [fields([(console.text("node.url"), client.url), *named])]
    if checks:
        head = [console.text(f"status.{name}") for name in ("check", "ok", "detail")]
        lines.append(table([_check_row(console, check) for check in checks], head))
    console.result(document, on_screen(console, "\n\n".join(lines)), Exit.OK if ready else Exit.OPERATIONAL)


def _look(client: NodeClient, data: str | None, until: float) -> tuple[dict[str, Any], bool, list[dict[str, Any]]]:
    """(status, ready, checks) of a node once it is ready, or as it is at `until` (monotonic seconds)."""
    while True:
        last = time.monotonic() >= until
        try:
            state = client.get_json(("v1", "status"))
            ready, checks = readiness(client.send(_get("readyz")).body)
        except UnavailableError as error:
            if last:
                raise _joining(data) or error from None
        else:
            if ready or last:
                return state, ready, checks
        time.sleep(LOOK_AGAIN_S)


def _word(console: Console, name: str) -> str:
    """A name or word of a status document for a reader; what has no words here stays as it is."""
    return console.texts.find(f"status.is.{name}") or name


def _check_row(console: Console, check: dict[str, Any]) -> tuple[object, ...]:
    """A readiness check for a table: its name in words, with the name that metrics and logs use."""
    name = coded(console.texts.find(f"status.checks.{check['check']}"), check["check"])
    return name, console.mark(check["ok"]), of_node(console.texts, check["detail"])


def _joining(data: str | None) -> UnavailableError | None:
    """Why a node that takes a snapshot does not answer: how far it is, as it logged last."""
    from ledger.adapters.home.statesyncfile import read_said

    said = read_said(Path(data)) if data else None
    return None if said is None else UnavailableError("node-joins", "the node is joining", told=said or "-", path=data)


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
