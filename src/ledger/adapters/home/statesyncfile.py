"""The file that asks a node to join its chain from a snapshot at its next start, and what CometBFT is told for it (R-N74).

    state-sync.json   {"moved": false, "trust": null}, or "trust": {"hash": "…", "height": 1200}; removed once the node has
                      joined. "moved": CometBFT's genesis.json comes from other nodes, and is checked against the ledger.
    state-sync.said   what the node logged last about it, one line of JSON, for `ledger node status --data`

Rule: a height and its header hash that an operator was given by people go before what other nodes say.
Not here: asking other nodes for a hash to start from, and the sync itself (see `ledger_node.comet.statesync`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.core import canonical
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.errors import MalformedError
from ledger.limits import INT_MAX

STATE_SYNC: Final = "state-sync.json"
SAID: Final = "state-sync.said"
LIGHT_PATH: Final = "/v1/comet"
"""Where a node answers the questions of other nodes' light clients."""
SERVERS_MIN: Final = 2
"""CometBFT compares what one node says with what another one says."""
_BYTES_MAX: Final = 4_096
_SAID_CHARS: Final = 1_000


@dataclass(frozen=True, slots=True)
class TrustedHeader:
    """The height of a CometBFT block and its header's hash."""

    height: int
    hash: Digest


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The header that the operator named, None where other nodes are to be asked; `moved`: the ledger moved to this chain,
    so that its genesis.json is not made from the ledger's."""

    trusted: TrustedHeader | None = None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class LightClient:
    """What CometBFT's light client starts from: nodes to ask, `http://host:port`, and a header."""

    nodes: tuple[str, ...]
    trusted: TrustedHeader


def parse_trusted(text: str) -> TrustedHeader:
    """`HEIGHT:HASH`, the hash in hex of either case. Raises `MalformedError` (code `trusted-header`)."""
    height, _, digest = text.partition(":")
    if not height.isascii() or not height.isdecimal() or len(height) > 15 or int(height) < 1:
        raise MalformedError("trusted-header", "expected HEIGHT:HASH", got=text)
    try:
        return TrustedHeader(int(height), parse_hex_digest(digest.lower()))
    except MalformedError:
        raise MalformedError("trusted-header", "expected HEIGHT:HASH", got=text) from None


def write_request(data_dir: Path, asked: SyncRequest) -> None:
    """Ask the node in `data_dir` to join from a snapshot."""
    trusted = asked.trusted
    trust = None if trusted is None else {"hash": trusted.hash.hex(), "height": trusted.height}
    (data_dir / STATE_SYNC).write_bytes(canonical.encode({"moved": asked.moved, "trust": trust}) + b"\n")


def read_request(data_dir: Path) -> SyncRequest:
    """What the node is asked to do. Raises `MalformedError` (code `trusted-header`)."""
    with (data_dir / STATE_SYNC).open("rb") as file:
        data = file.read(_BYTES_MAX + 1)
    try:
        document = json.loads(data)
        trust, moved = document["trust"], document.get("moved", False)
        if type(moved) is not bool:
            raise ValueError
        if trust is None:
            return SyncRequest(None, moved)
        height, digest = trust["height"], parse_hex_digest(trust["hash"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MalformedError):
        raise MalformedError("trusted-header", "no request to join from a snapshot", got=STATE_SYNC) from None
    if type(height) is not int or not 0 < height <= INT_MAX:
        raise MalformedError("trusted-header", "no height", got=height)
    return SyncRequest(TrustedHeader(height, digest), moved)


def write_said(data_dir: Path, event: str, fields: Mapping[str, object]) -> None:
    """Keep what was logged last; a disk that does not take it is told elsewhere."""
    with suppress(OSError):
        text = json.dumps({"event": event, **fields}, default=str, ensure_ascii=False)
        (data_dir / SAID).write_text(text[:_SAID_CHARS] + "\n", "utf-8")


def read_said(data_dir: Path) -> str | None:
    """What a node that is joining logged last, empty before its first start; None for a node that is not joining."""
    if not (data_dir / STATE_SYNC).is_file():
        return None
    try:
        with (data_dir / SAID).open("rb") as file:
            return " ".join(file.read(_BYTES_MAX).decode("utf-8", "replace").split())
    except OSError:
        return ""


def encode_table(light: LightClient) -> str:
    """The table `[statesync]` of CometBFT's config.toml."""
    servers = ",".join(f"{node}{LIGHT_PATH}" for node in light.nodes)
    return _TABLE.format(
        servers=json.dumps(servers), height=light.trusted.height, hash=light.trusted.hash.hex().upper()
    )


_TABLE: Final = """
[statesync]
enable = true
rpc_servers = {servers}
trust_height = {height}
trust_hash = "{hash}"
trust_period = "168h0m0s"
discovery_time = "5s"        # the least that CometBFT takes
chunk_request_timeout = "30s"
chunk_fetchers = "4"
temp_dir = "data"            # relative to this home: /tmp may be memory
"""


def check_servers(nodes: Sequence[str]) -> tuple[str, ...]:
    """`nodes`, where they are enough. Raises `MalformedError` (code `state-sync-nodes`)."""
    if len(set(nodes)) < SERVERS_MIN:
        raise MalformedError("state-sync-nodes", "fewer nodes to ask than a light client needs", got=list(nodes))
    return tuple(dict.fromkeys(nodes))
