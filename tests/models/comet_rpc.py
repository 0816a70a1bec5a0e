"""What tests ask the CometBFT that runs in a folder. Not here: how it is asked (see `ledger_node.comet.rpc`)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ledger_node.comet.rpc import CometRpc


@contextmanager
def asking(home: Path) -> Iterator[CometRpc]:
    """Its RPC, closed at the end."""
    with closing(CometRpc(home)) as rpc:
        yield rpc


def sync_info(home: Path) -> dict[str, Any]:
    """What it says of the blocks that it has."""
    with asking(home) as rpc:
        return dict(rpc.status()["sync_info"])


def newest(home: Path) -> int:
    """The height of its last block."""
    return int(sync_info(home)["latest_block_height"])


def earliest(home: Path) -> int:
    """The first block that it still has."""
    return int(sync_info(home)["earliest_block_height"])


def signed_headers(home: Path, first: int = 1) -> list[dict[str, Any]]:
    """The headers of its blocks from `first` on, as far as it has them, each with its commit."""
    known = sync_info(home)
    heights = range(max(first, int(known["earliest_block_height"])), int(known["latest_block_height"]) + 1)
    with asking(home) as rpc:
        return [rpc.commit(height)["signed_header"] for height in heights]


def voters(home: Path) -> list[bytes]:
    """The public keys of its newest set of validators."""
    height = newest(home)
    with asking(home) as rpc:
        return [b64decode(each["pub_key"]["value"]) for each in rpc.validators(height)["validators"]]


def peers(home: Path) -> set[str]:
    """The node ids that it is connected to."""
    with asking(home) as rpc:
        return {str(peer["node_info"]["id"]) for peer in rpc.net_info()["peers"] or ()}
