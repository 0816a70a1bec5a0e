"""Which texts name a place in a network: `host:port`, and `<node id>@host:port` for peers of the CometBFT engine.

Rules: an IPv6 host stands in brackets; a port is 1 to 65535; nothing else (no scheme, path, blank, comma), so that a
list of addresses may be joined by commas. Not here: names are never resolved, and URLs are taken apart by who calls them.
"""

from __future__ import annotations

import re
from typing import Final

from ledger.errors import MalformedError

_HOST: Final = r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})"
_ADDRESS: Final = re.compile(_HOST + r":([0-9]{1,5})")
HOST_CHARS_MAX: Final = 253  # of a whole name in the DNS
_PEER: Final = re.compile(r"([0-9a-f]{40})@(.*)", re.DOTALL)


def parse_address(text: object) -> tuple[str, int]:
    """(host without brackets, port) of `host:port`; `MalformedError` (code `address`) otherwise."""
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 0 < int(found[2]) < 65_536:
        raise MalformedError("address", "expected host:port", got=text)
    return found[1].strip("[]"), int(found[2])


def is_host(name: str) -> bool:
    """Whether a name or IP address (without brackets) is one that can be looked up at all: in IDNA at most 253 visible ASCII
    characters, and 1 to 63 in each label."""
    try:
        data = name.encode("idna") if len(name) <= HOST_CHARS_MAX else b""
    except UnicodeError:
        return False
    return 0 < len(data) <= HOST_CHARS_MAX and all(0x20 < byte < 0x7F for byte in data)


def encode_address(host: str, port: int) -> str:
    """`host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_peer(text: object) -> tuple[str, str, int]:
    """(node id, host, port) of `<node id>@host:port`; `MalformedError` (code `address`) otherwise."""
    found = _PEER.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise MalformedError("address", "expected <node id>@host:port, the id 40 hex digits", got=text)
    return found[1], *parse_address(found[2])
