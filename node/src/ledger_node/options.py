"""What one node is started with: its folder, keys and settings, as values. Nothing here opens anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ledger.adapters.home.links import DEFAULT, Links
from ledger.core.keys import Signer


@dataclass(frozen=True, slots=True)
class NodeOptions:
    """What a node needs to start.

    `signers` are event keys by member id, `cosign_signer` and `log_signer` the node's own keys, `peers` the other nodes'
    addresses, the sequencer's first. `comet` is a validator's CometBFT binary; what else there is comes from node.toml.
    """

    data_dir: Path
    role: str
    peers: tuple[str, ...] = ()
    signers: Mapping[str, Signer] = field(default_factory=dict)
    cosign_signer: Signer | None = None
    log_signer: Signer | None = None
    runtime: str = "worker"
    recover_wait_s: float = 60.0
    comet: Path | None = None
    keep_blocks: int = 0
    links: Links = DEFAULT
    pass_seams: int = 0
    snapshots_every: int = 0
