"""CometBFT's home folder as this ledger needs it: genesis, settings and keys, written from a literal profile (SPEC R-N03).

    comet/config/genesis.json             the same on every node: a pure function of the ledger's genesis
    comet/config/config.toml              written anew at every start, from `[comet]` in node.toml and the profile below
    comet/config/priv_validator_key.json  the `consensus` key, 0600; behind `-next` the one that is to replace it
    comet/config/node_key.json            the `p2p` key, 0600
    comet/data/priv_validator_state.json  what this validator signed last: made once, on the machine that signs
    comet/abci.sock, comet/rpc.sock       the two sockets; nothing but p2p listens on a port

Rules: keys and signing state are created once and never overwritten; a state that starts anew beside an old key could
sign a height twice. Sockets are named relative to the home, because a socket path has at most 107 bytes.
Not here: the process that runs in the home (see `ledger_node.comet.process`), and who validates later (votes decide).
"""

from __future__ import annotations

import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home.keyfile import read_secret, write_secret
from ledger.core import canonical
from ledger.core.engine import chain_id
from ledger.core.genesis import GENESIS_BYTES_MAX, Genesis
from ledger.core.hashing import sha256
from ledger.core.ident import format_time, parse_time
from ledger.core.keys import CONSENSUS, ED25519, Ed25519Signer, PublicKey, node_id, parse_public_key
from ledger.core.nativecommit import VALIDATOR_POWER
from ledger.errors import LedgerError, MalformedError, NotFoundError

HOME: Final = "comet"
CONFIG: Final = "config/config.toml"
COMET_GENESIS: Final = "config/genesis.json"
CONSENSUS_KEY: Final = "config/priv_validator_key.json"
NEXT_KEY: Final = "config/priv_validator_key-next.json"
"""A consensus key that signs nothing yet: CometBFT does not know this name."""
P2P_KEY: Final = "config/node_key.json"
SIGNING_STATE: Final = "data/priv_validator_state.json"
ABCI_SOCKET: Final = "abci.sock"
RPC_SOCKET: Final = "rpc.sock"
SECRETS: Final = (CONSENSUS_KEY, P2P_KEY, SIGNING_STATE)
"""Files of a home that only their owner may read."""

BLOCK_BYTES: Final = 1024 * 1024
"""`block.max_bytes` and `max_tx_bytes`: larger blocks carried fewer bytes a second on every network that was measured."""
RPC_BODY_BYTES: Final = 1_500_000
"""A transaction of BLOCK_BYTES in base64 is 1,398,104 bytes; the rest is JSON around it."""
EVIDENCE_BLOCKS: Final = 100_000
EVIDENCE_MS: Final = 48 * 3_600_000
"""A double vote can be reported while its block is younger than either."""
MONIKER: Final = "node"
"""What a node calls itself where no member is named; CometBFT wants ASCII and not nothing."""
_PRIVATE_TYPE: Final = "tendermint/PrivKeyEd25519"
_PUBLIC_TYPE: Final = "tendermint/PubKeyEd25519"

_PROFILE: Final = """\
# CometBFT's settings, written by `ledger node start` from [comet] in node.toml; changes made here are lost.
# What is not named here has CometBFT's default.
moniker = {moniker}
abci = "socket"
proxy_app = "unix://{abci}"  # relative to this home: a socket path has at most 107 bytes
filter_peers = true          # the ledger's registry says who may connect; without it any stranger could
log_level = "error"          # "info" is some 60 MB a day on an idle network
log_format = "json"

[rpc]
laddr = "unix://{rpc}"       # no port: who may use this folder may use the RPC, nobody else
max_body_bytes = {body}      # one full transaction in base64
unsafe = true                # for dial_peers; the RPC is this folder owner's alone

[p2p]
laddr = {listen}
persistent_peers = {peers}
persistent_peers_max_dial_period = "10s"  # by default a peer that was away for long is called ever more rarely
pex = false                  # the peers are the members; nobody is introduced by others
addr_book_strict = false     # departments talk in private address ranges
allow_duplicate_ip = true    # several may stand behind one address; who they are is what their keys say
max_num_inbound_peers = 128  # all validators may call at once (at most 64), and replicas too
flush_throttle_timeout = "10ms"
max_packet_msg_payload_size = 16384
send_rate = 50000000         # the defaults (5 MB/s, 1 kB packets) are below what blocks need
recv_rate = 50000000

[p2p.libp2p]
enabled = false              # peers would be named otherwise, and the registry could not filter them

[mempool]
type = "flood"
recheck = true
size = 1000                  # what waits is bundled at its node, so few transactions are in flight
max_tx_bytes = {block}
max_txs_bytes = 33554432     # 32 blocks; beyond it the answer is 503 and the sender's spool keeps what it has

[consensus]
timeout_propose = "300ms"    # a validator that is away costs this and timeout_precommit whenever it would propose;
timeout_propose_delta = "100ms"  # on slow lines the deltas make each further round longer, so progress does not end
timeout_prevote = "100ms"
timeout_prevote_delta = "100ms"
timeout_precommit = "100ms"
timeout_precommit_delta = "100ms"
timeout_commit = "0s"
skip_timeout_commit = true
peer_gossip_sleep_duration = "10ms"
create_empty_blocks = false
# Block time is the time of the votes on the block before. So an idle network's next block is stale by up to this
# interval, and a timer fires up to twice as late: 2s keeps both below five seconds. Such blocks are pruned.
create_empty_blocks_interval = "2s"
double_sign_check_height = 0 # otherwise a validator that restarts soon would refuse to run; the signing state protects
block_time_tolerance = "10m" # a node whose clock is behind by more than this stops (default 1m); as the ledger's skew_ms

[storage]
discard_abci_responses = true  # the ledger holds the results

[tx_index]
indexer = "null"             # the ledger is the index; this one would grow for ever

[instrumentation]
prometheus = false           # it would listen on a port; the node's /metrics has what matters
"""


@dataclass(frozen=True, slots=True)
class HomeKeys:
    """The two keys of a home."""

    consensus: Ed25519Signer
    p2p: Ed25519Signer

    @property
    def node_id(self) -> str:
        """What peers call this node: `<node id>@host:port`."""
        return node_id(self.p2p.public)


def comet_genesis(
    *, chain_id: str, time_ms: int, validators: Sequence[tuple[str, PublicKey]], origin: str, app_hash: str = ""
) -> bytes:
    """CometBFT's genesis.json, byte-identical on every node; `validators` are (member, consensus key) (R-N03).

    `app_hash` is upper-case hex, empty for a ledger that begins here.
    """
    document: dict[str, Any] = {
        "app_hash": app_hash,
        "app_state": {"origin": origin},
        "chain_id": chain_id,
        "consensus_params": {
            "abci": {"vote_extensions_enable_height": "0"},
            "block": {"max_bytes": str(BLOCK_BYTES), "max_gas": "-1"},
            "evidence": {
                "max_age_duration": str(EVIDENCE_MS * 10**6),
                "max_age_num_blocks": str(EVIDENCE_BLOCKS),
                "max_bytes": str(64 * 1024),
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "1"},
        },
        "genesis_time": format_time(time_ms),
        "initial_height": "1",
        "validators": [
            {
                "address": sha256(key.raw)[:20].hex().upper(),
                "name": member,
                "power": str(VALIDATOR_POWER),
                "pub_key": {"type": _PUBLIC_TYPE, "value": _base64(key.raw)},
            }
            for member, key in validators
        ],
    }
    return canonical.encode(document, bytes_max=GENESIS_BYTES_MAX) + b"\n"


@dataclass(frozen=True, slots=True)
class ChainGenesis:
    """What a genesis.json says that is not the same in every network (R-N03, R-N63); time in unix ms."""

    chain_id: str
    time_ms: int
    validators: tuple[tuple[str, PublicKey], ...]
    origin: str

    def encode(self) -> bytes:
        """Its bytes, the same on every node."""
        return comet_genesis(
            chain_id=self.chain_id, time_ms=self.time_ms, validators=self.validators, origin=self.origin
        )

    def document(self) -> dict[str, Any]:
        """The same as JSON."""
        found: dict[str, Any] = json.loads(self.encode())
        return found


def parse_chain(data: bytes) -> ChainGenesis:
    """What a genesis.json says; the file's form is ours. Raises `MalformedError` (code `comet-genesis`) for any other."""
    try:
        document: Any = json.loads(data) if len(data) <= GENESIS_BYTES_MAX else None
        validators = [
            (each["name"], parse_public_key(ED25519, b64decode(each["pub_key"]["value"], validate=True)))
            for each in document["validators"]
        ]
        time_ms = parse_time(document["genesis_time"])
        made = ChainGenesis(document["chain_id"], time_ms, tuple(validators), document["app_state"]["origin"])
        if made.document() == document:
            return made
    except (ValueError, KeyError, TypeError, RecursionError, LedgerError):
        pass
    raise MalformedError("comet-genesis", "no genesis.json of CometBFT", path=COMET_GENESIS)


def genesis_of(genesis: Genesis) -> bytes:
    """`comet_genesis` of a ledger that begins with CometBFT."""
    validators = [(member, key.public) for member, key in genesis.keys(CONSENSUS)]
    origin = genesis.origin
    return comet_genesis(chain_id=chain_id(origin, 0), time_ms=genesis.time, validators=validators, origin=origin)


def encode_config(*, listen: str, peers: Sequence[str], moniker: str = MONIKER, joining: str = "") -> str:
    """The text of config.toml; `listen` is host:port, `peers` are `<node id>@host:port`, `joining` a table `[statesync]`."""
    # CometBFT refuses to start under a name that is empty or no ASCII, such as that of many a folder.
    named = moniker.isascii() and moniker.isprintable() and moniker.strip()
    return (
        _PROFILE.format(
            moniker=_quote(moniker if named else MONIKER),
            abci=ABCI_SOCKET,
            rpc=RPC_SOCKET,
            body=RPC_BODY_BYTES,
            block=BLOCK_BYTES,
            listen=_quote(f"tcp://{listen}"),
            peers=_quote(",".join(peers)),
        )
        + joining
    )


def create_keys(home: Path, *, consensus_seed: bytes | None = None, p2p_seed: bytes | None = None) -> HomeKeys:
    """Folders and the two key files of a new home; keys are generated where no seed is given.

    Raises `ConflictError` (`key-exists`) where one exists.
    """
    for folder in (home, home / "config", home / "data"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    consensus_seed, p2p_seed = consensus_seed or secrets.token_bytes(32), p2p_seed or secrets.token_bytes(32)
    keys = HomeKeys(create_consensus_key(home / CONSENSUS_KEY, consensus_seed), Ed25519Signer(p2p_seed))
    write_secret(home / P2P_KEY, _json({"priv_key": _private(p2p_seed, keys.p2p.public.raw)}))
    return keys


def create_consensus_key(path: Path, seed: bytes) -> Ed25519Signer:
    """A consensus key's file; `ConflictError` (`key-exists`) where there is one."""
    signer = Ed25519Signer(seed)
    public = signer.public.raw
    validator = {
        "address": sha256(public)[:20].hex().upper(),
        "priv_key": _private(seed, public),
        "pub_key": {"type": _PUBLIC_TYPE, "value": _base64(public)},
    }
    write_secret(path, _json(validator))
    return signer


def create_signing_state(home: Path) -> None:
    """The state of a validator that has never signed; `ConflictError` (`key-exists`) where there is one."""
    (home / "data").mkdir(mode=0o700, exist_ok=True)
    write_secret(home / SIGNING_STATE, _json({"height": "0", "round": 0, "step": 0}))


def read_keys(home: Path) -> HomeKeys:
    """The keys of a home; raises as `read_secret` does, and `MalformedError` (`comet-key`) for what is no such file."""
    return HomeKeys(read_key_file(home / CONSENSUS_KEY), read_key_file(home / P2P_KEY))


def read_chain(home: Path) -> tuple[str, str]:
    """(chain id, origin) of the genesis.json in a home. Raises `NotFoundError`, `MalformedError` (`comet-genesis`)."""
    path = home / COMET_GENESIS
    try:
        document = json.loads(path.read_bytes())
        chain, origin = document["chain_id"], document["app_state"]["origin"]
    except FileNotFoundError as error:
        raise NotFoundError("comet-genesis", "CometBFT's home has no genesis.json", path=str(path)) from error
    except (ValueError, KeyError, TypeError, RecursionError):
        raise MalformedError("comet-genesis", "no genesis.json of CometBFT", path=str(path)) from None
    if not isinstance(chain, str) or not isinstance(origin, str):
        raise MalformedError("comet-genesis", "no genesis.json of CometBFT", path=str(path))
    return chain, origin


def write_config(home: Path, *, listen: str, peers: Sequence[str], moniker: str = MONIKER, joining: str = "") -> None:
    """Write config.toml, whatever stood there."""
    _replace(home / CONFIG, encode_config(listen=listen, peers=peers, moniker=moniker, joining=joining).encode("utf-8"))


def write_genesis(home: Path, genesis: bytes) -> None:
    """Write genesis.json, whatever stood there: CometBFT compares it with what it began with."""
    _replace(home / COMET_GENESIS, genesis)


def write_home(
    home: Path,
    *,
    chain_id: str,
    time_ms: int,
    validators: Sequence[tuple[str, PublicKey]],
    origin: str,
    p2p_listen: str,
    peers: Sequence[str],
    moniker: str = MONIKER,
    consensus_seed: bytes | None = None,
    p2p_seed: bytes | None = None,
) -> HomeKeys:
    """A whole new home, ready to start. Validators that are to include this home's key need its seed beforehand."""
    keys = create_keys(home, consensus_seed=consensus_seed, p2p_seed=p2p_seed)
    create_signing_state(home)
    write_genesis(home, comet_genesis(chain_id=chain_id, time_ms=time_ms, validators=validators, origin=origin))
    write_config(home, listen=p2p_listen, peers=peers, moniker=moniker)
    return keys


def read_key_file(path: Path) -> Ed25519Signer:
    """One key of a home; raises as `read_keys` does."""
    data = read_secret(path)
    try:
        key = json.loads(data)["priv_key"]
        raw = b64decode(key["value"], validate=True)
        if key["type"] != _PRIVATE_TYPE or len(raw) != 64:
            raise ValueError
        signer = Ed25519Signer(raw[:32])
        if signer.public.raw != raw[32:]:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise MalformedError("comet-key", "no Ed25519 key file of CometBFT", path=str(path)) from None
    return signer


def _private(seed: bytes, public: bytes) -> dict[str, str]:
    """Go's private key: the seed, then the public key."""
    return {"type": _PRIVATE_TYPE, "value": _base64(seed + public)}


def _replace(path: Path, data: bytes) -> None:
    """Exchange a file whole: a start that was killed half way leaves the old one or the new one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode("ascii") + b"\n"


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _quote(text: str) -> str:
    # A JSON string without surrogates is a TOML basic string.
    return json.dumps(text, ensure_ascii=False)
