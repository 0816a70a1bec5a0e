"""Decides what `node.toml` may say, and reads the keys that it names: the settings of one node beside its data.

    member = "ga"                                  # whose node this is
    role = "sequencer"                             # sequencer | follower | observer
    listen = "127.0.0.1:7301"                      # where the HTTP interface listens
    peers = ["http://127.0.0.1:7302"]              # the other nodes, the sequencer's first
    runtime = "worker"                             # worker | inline: where rules run

    [[event_key]]                                  # keys this node signs its own systems' events with
    member = "ga"
    file = "keys/event.key"

Rules: unknown names are errors; files are below the data directory or absolute; the first key of a member is the one
that local intake signs with. `keys/cosign.key` and `keys/log.key` are used where they exist.
Not here: what a node does with it (see `ledger_node`).
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ledger.adapters.keyfile import read_key
from ledger.core.ident import check_identifier
from ledger.core.keys import Ed25519Signer
from ledger.errors import MalformedError, NotFoundError

SETTINGS: Final = "node.toml"
EVENT_KEY: Final = "keys/event.key"
COSIGN_KEY: Final = "keys/cosign.key"
LOG_KEY: Final = "keys/log.key"
TOKEN: Final = "token"
ROLES: Final = ("sequencer", "follower", "observer")
RUNTIMES: Final = ("worker", "inline")
SETTINGS_BYTES_MAX: Final = 256 * 1024

_NAMES: Final = ("member", "role", "listen", "peers", "runtime", "event_key")
_KEY_NAMES: Final = ("member", "file")


@dataclass(frozen=True, slots=True)
class EventKey:
    """A key file this node signs with, for events of `member`."""

    member: str
    file: str


@dataclass(frozen=True, slots=True)
class NodeFile:
    """The settings of one node, as `node.toml` states them."""

    member: str
    role: str
    listen: str
    peers: tuple[str, ...] = ()
    runtime: str = "worker"
    event_keys: tuple[EventKey, ...] = ()
    comment: str = field(default="", compare=False)

    @property
    def url(self) -> str:
        """Where the node answers; a wildcard address is reached over loopback."""
        host, _, port = self.listen.rpartition(":")
        return f"http://{'127.0.0.1' if host in ('', '0.0.0.0', '[::]') else host}:{port}"  # noqa: S104 - compared, not bound

    def encode(self) -> str:
        """The TOML text; `parse_node_file` gives an equal value back."""
        lines = [f"# {line}" for line in self.comment.splitlines()]
        lines += [
            f"member = {_quote(self.member)}",
            f"role = {_quote(self.role)}",
            f"listen = {_quote(self.listen)}",
            f"peers = [{', '.join(map(_quote, self.peers))}]",
            f"runtime = {_quote(self.runtime)}",
        ]
        for key in self.event_keys:
            lines += ["", "[[event_key]]", f"member = {_quote(key.member)}", f"file = {_quote(key.file)}"]
        return "\n".join(lines) + "\n"


def parse_node_file(text: str, where: str = SETTINGS) -> NodeFile:
    """The settings of TOML `text`; `MalformedError` (code `node-settings`) naming `where` and the offending name."""
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MalformedError("node-settings", "not TOML", file=where, reason=str(error)) from None
    _known(fields, _NAMES, where)
    keys = fields.get("event_key", [])
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise MalformedError("node-settings", "event_key is a list of tables", file=where, name="event_key")
    for key in keys:
        _known(key, _KEY_NAMES, where)
    peers = fields.get("peers", [])
    if not isinstance(peers, list) or not all(isinstance(peer, str) for peer in peers):
        raise MalformedError("node-settings", "peers is a list of addresses", file=where, name="peers")
    return NodeFile(
        member=check_identifier(_text(fields, "member", where), "member"),
        role=_choice(_text(fields, "role", where), ROLES, "role", where),
        listen=_listen(_text(fields, "listen", where), where),
        peers=tuple(peers),
        runtime=_choice(fields.get("runtime", "worker"), RUNTIMES, "runtime", where),
        event_keys=tuple(EventKey(_text(key, "member", where), _text(key, "file", where)) for key in keys),
    )


def read_node_file(data_dir: Path) -> NodeFile:
    """The settings in a data directory; `NotFoundError` (code `data-dir`) where there are none."""
    path = data_dir / SETTINGS
    try:
        with path.open("rb") as file:
            data = file.read(SETTINGS_BYTES_MAX + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError("data-dir", "not a node's data directory: it has no node.toml", path=str(data_dir)) from error
    if len(data) > SETTINGS_BYTES_MAX:
        raise MalformedError("node-settings", "too large", file=str(path), limit=SETTINGS_BYTES_MAX)
    try:
        return parse_node_file(data.decode("utf-8"), str(path))
    except UnicodeDecodeError:
        raise MalformedError("node-settings", "not UTF-8", file=str(path)) from None


def read_event_signers(
    data_dir: Path, settings: NodeFile, passphrase: bytes | None = None
) -> dict[str, Ed25519Signer]:
    """Event keys by member: the first one listed of each."""
    signers: dict[str, Ed25519Signer] = {}
    for key in settings.event_keys:
        if key.member not in signers:
            signers[key.member] = read_key(data_dir / key.file, passphrase)
    return signers


def read_optional_key(path: Path, passphrase: bytes | None = None) -> Ed25519Signer | None:
    """The key in `path`, None where there is no such file."""
    return read_key(path, passphrase) if path.exists() else None


def _known(fields: Mapping[str, Any], names: tuple[str, ...], where: str) -> None:
    for name in fields:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            hint = {"meant": near[0]} if near else {}
            raise MalformedError("node-settings", "unknown setting", file=where, name=name, **hint)


def _text(fields: Mapping[str, Any], name: str, where: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise MalformedError("node-settings", "setting is missing or no text", file=where, name=name)
    return value


def _choice(value: object, choices: tuple[str, ...], name: str, where: str) -> str:
    if not isinstance(value, str) or value not in choices:
        raise MalformedError("node-settings", f"expected {' | '.join(choices)}", file=where, name=name, got=value)
    return value


def _listen(value: str, where: str) -> str:
    host, colon, port = value.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise MalformedError("node-settings", "expected host:port", file=where, name="listen", got=value)
    return value


def _quote(text: str) -> str:
    # A JSON string without surrogates is a TOML basic string.
    return json.dumps(text, ensure_ascii=False)
