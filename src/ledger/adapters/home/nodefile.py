"""Writes a node's `node.toml`, and reads from a data directory what a program beside the node needs: address and token.

    [node]
    role = "sequencer"                             # sequencer | validator | follower | observer
    peers = ["http://127.0.0.1:7302"]              # the other nodes, the ordering node's first

    [http]
    host = "127.0.0.1"
    port = 7301

    [comet]                                        # of a validator
    p2p_listen = "10.0.0.1:26656"
    p2p_address = "<node id>@10.0.0.1:26656"       # what others call this node
    p2p_peers = ["<node id>@10.0.0.2:26656"]       # the other validators

Keys: `keys/event-<member>.key` for each member this node signs for, `keys/cosign.key`, `keys/log.key`; further event keys
of a member stand beside them as `<label>-<member>.key`.
Not here: every other setting and its checks (the node's own loader has them), and what a node does with them.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home.keyfile import read_key, read_secret
from ledger.adapters.home.links import DEFAULT, Links
from ledger.core.genesis import GENESIS_BYTES_MAX, parse_genesis
from ledger.core.keys import COSIGN
from ledger.errors import MalformedError, NotFoundError

SETTINGS: Final = "node.toml"
GENESIS: Final = "genesis.json"
KEYS: Final = "keys"
EVENT_KEY: Final = "event"
COSIGN_KEY: Final = f"{KEYS}/cosign.key"
LOG_KEY: Final = f"{KEYS}/log.key"
TOKEN: Final = "token"  # noqa: S105 - the name of the file
SETTINGS_BYTES_MAX: Final = 256 * 1024
HOST_DEFAULT: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class CometSettings:
    """The table `[comet]` of a validator's `node.toml`: host:port, and `<node id>@host:port` of it and of its peers."""

    p2p_listen: str
    p2p_address: str
    p2p_peers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What `node.toml` says of role and address; other settings are the node's own business."""

    role: str
    peers: tuple[str, ...]
    host: str
    port: int
    comet: CometSettings | None = None
    links: Links = DEFAULT

    @property
    def url(self) -> str:
        """Where the node answers."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def event_key_file(member: str, label: str = EVENT_KEY) -> str:
    """The key file of `member` below a data directory."""
    return f"{KEYS}/{label}-{member}.key"


def encode_settings(
    role: str,
    peers: Sequence[str],
    host: str,
    port: int,
    comment: str = "",
    comet: CometSettings | None = None,
    pass_seams: int = 0,
) -> str:
    """The text of a `node.toml`."""
    lines = [f"# {line}" for line in comment.splitlines()]
    lines += [
        "[node]",
        f"role = {_quote(role)}",
        f"peers = [{', '.join(map(_quote, peers))}]",
        *([f"pass_seams = {pass_seams}"] if pass_seams else []),
        "",
        "[http]",
        f"host = {_quote(host)}",
        f"port = {port}",
    ]
    if comet is not None:
        lines += [
            "",
            "[comet]",
            f"p2p_listen = {_quote(comet.p2p_listen)}",
            f"p2p_address = {_quote(comet.p2p_address)}",
            f"p2p_peers = [{', '.join(map(_quote, comet.p2p_peers))}]",
        ]
    return "\n".join(lines) + "\n"


def edit_settings(text: str, role: str, comet: CometSettings, file: str) -> str:
    """The text of a `node.toml` with another role and `[comet]`; every other setting and comment stays.

    Raises `MalformedError` (code `node-settings`) for a text in which these cannot be exchanged line by line.
    """
    wanted = tomllib.loads(text)
    new = {"p2p_listen": comet.p2p_listen, "p2p_address": comet.p2p_address, "p2p_peers": list(comet.p2p_peers)}
    wanted.setdefault("node", {})["role"] = role
    wanted.setdefault("comet", {}).update(new)
    lines = _exchange(text.splitlines(), "node", [f"role = {_quote(role)}"])
    own = [
        f"p2p_listen = {_quote(comet.p2p_listen)}",
        f"p2p_address = {_quote(comet.p2p_address)}",
        f"p2p_peers = [{', '.join(map(_quote, comet.p2p_peers))}]",
    ]
    edited = "\n".join(_exchange(lines, "comet", own)) + "\n"
    try:
        done = tomllib.loads(edited) == wanted
    except tomllib.TOMLDecodeError:
        done = False
    if not done:
        raise MalformedError("node-settings", "write each setting of [node] and [comet] on one line", file=file)
    return edited


def _exchange(lines: Sequence[str], table: str, new: Sequence[str]) -> list[str]:
    """`lines` with the assignments `new` at the head of a table instead of those that it has of the same names."""
    names = {line.partition(" =")[0] for line in new}
    kept: list[str] = []
    inside = found = False
    for line in lines:
        plain = line.strip()
        if plain.startswith("["):
            inside = plain.partition("#")[0].strip() == f"[{table}]"
            found = found or inside
            kept += [line, *new] if inside else [line]
        elif not (inside and plain.partition("=")[0].strip() in names):
            kept.append(line)
    return kept if found else [*kept, "", f"[{table}]", *new]


def read_settings(data_dir: Path) -> NodeSettings:
    """Role and address in a data directory; `NotFoundError` (code `data-dir`) where there is no `node.toml`."""
    path = data_dir / SETTINGS
    try:
        with path.open("rb") as file:
            data = file.read(SETTINGS_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            "data-dir", "not a node's data directory: it has no node.toml", path=str(data_dir)
        ) from error
    if len(data) > SETTINGS_BYTES_MAX:
        raise MalformedError("node-settings", "too large", file=str(path), limit=SETTINGS_BYTES_MAX)
    try:
        document = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedError("node-settings", "not TOML", file=str(path), reason=str(error)) from None
    node, http = _table(document, "node", path), _table(document, "http", path)
    role, peers = node.get("role", "sequencer"), node.get("peers", [])
    host, port = http.get("host", HOST_DEFAULT), http.get("port")
    if not isinstance(port, int) or not 0 < port < 65_536 or not isinstance(host, str):
        raise MalformedError(
            "node-settings", "http.host and http.port do not say where the node answers", file=str(path)
        )
    if not isinstance(role, str) or not isinstance(peers, list) or not all(isinstance(peer, str) for peer in peers):
        raise MalformedError("node-settings", "node.role or node.peers has another type", file=str(path))
    return NodeSettings(role, tuple(peers), host, port, _comet(document, path), _links(node))


def read_token(data_dir: Path) -> str | None:
    """The local writers' token, None where the node has none."""
    path = data_dir / TOKEN
    return read_secret(path).decode("ascii", "replace").strip() if path.exists() else None


def members_held(data_dir: Path) -> list[str]:
    """Members whose event keys lie in a data directory, in order."""
    prefix = f"{EVENT_KEY}-"
    names = sorted(path.name for path in (data_dir / KEYS).glob(f"{prefix}*.key"))
    return [name.removeprefix(prefix).removesuffix(".key") for name in names]


def member_of(data_dir: Path) -> str | None:
    """Whose node this is: the one member it holds a key of, else the one its cosigning key is registered for."""
    held = members_held(data_dir)
    if len(held) <= 1:
        return held[0] if held else None
    genesis, key = data_dir / GENESIS, data_dir / COSIGN_KEY
    if not genesis.exists() or not key.exists() or genesis.stat().st_size > GENESIS_BYTES_MAX:
        return None
    own = read_key(key).public.key_id
    registered = parse_genesis(genesis.read_bytes()).keys(COSIGN)
    return next((member for member, entry in registered if entry.public.key_id == own), None)


def _links(node: dict[str, Any]) -> Links:
    """How the node talks to others, where `[node]` says so; what has another type is the node's to refuse."""
    files = [node.get(name, "") for name in ("tls_ca", "tls_cert", "tls_key")]
    ca, certificate, key = (name if isinstance(name, str) else "" for name in files)
    return Links(node.get("plain_http") is True, ca, certificate, key)


def _comet(document: dict[str, Any], path: Path) -> CometSettings | None:
    """The table `[comet]` where it names an address; whatever else it says is the node's own business."""
    table = _table(document, "comet", path)
    listen, address, peers = table.get("p2p_listen", ""), table.get("p2p_address", ""), table.get("p2p_peers", [])
    texts = [listen, address, *peers] if isinstance(peers, list) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise MalformedError("node-settings", "an address in [comet] has another type", file=str(path))
    return CometSettings(listen, address, tuple(peers)) if listen else None


def _table(document: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise MalformedError("node-settings", f"{name} is no table", file=str(path))
    return table


def _quote(text: str) -> str:
    # A JSON string without surrogates is a TOML basic string.
    return json.dumps(text, ensure_ascii=False)
