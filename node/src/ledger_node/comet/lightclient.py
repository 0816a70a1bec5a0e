"""The questions of other nodes' light clients: how they are answered here, and how this node asks them (SPEC R-N75).

Rules: CometBFT's RPC is this folder owner's alone, so the node hands on three questions about committed blocks, which are
public to every peer anyway: `commit`, `validators` and `consensus_params`. Nothing that comes back is believed by whoever
asked: a light client checks signatures. Which header it starts from is what all nodes that answer say, at least two.
With which genesis.json the chain began they say too, which whoever joins a ledger that moved holds against the ledger.
Not here: HTTP (see `http.routes_comet`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.adapters.home.comethome import COMET_GENESIS, HOME, parse_chain
from ledger.adapters.home.statesyncfile import LIGHT_PATH, SERVERS_MIN, TrustedHeader
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.snapshots import StateSnapshots
from ledger.core.hashing import parse_hex_digest
from ledger.errors import LedgerError, MalformedError, UnavailableError, VerificationError
from ledger.limits import LIGHT_REQUEST_BYTES_MAX, SNAPSHOTS_LISTED_MAX
from ledger_node.comet.rpc import ANSWER_BYTES_MAX, CometRpc

METHODS: Final = frozenset(("commit", "validators", "consensus_params"))
_PARAMS: Final = frozenset(("height", "page", "per_page"))
_DIGITS_MAX: Final = 19


@dataclass(frozen=True, slots=True)
class Question:
    """One JSON-RPC request, checked."""

    id: int
    method: str
    params: dict[str, str]


def parse_question(data: bytes) -> Question:
    """The question in a JSON-RPC request. Raises `MalformedError` (code `light-request`) for anything else."""
    try:
        document: Any = json.loads(data) if len(data) <= LIGHT_REQUEST_BYTES_MAX else None
    except (ValueError, RecursionError):
        document = None
    fields: dict[str, Any] = document if isinstance(document, dict) else {}
    number, method, params = fields.get("id"), fields.get("method"), fields.get("params") or {}
    if type(number) is not int or type(method) is not str or method not in METHODS or type(params) is not dict:
        raise _refused()
    if not params.keys() <= _PARAMS or not all(_is_number(value) for value in params.values()):
        raise _refused()
    return Question(number, method, {name: value for name, value in params.items() if value is not None})


def _refused() -> MalformedError:
    return MalformedError("light-request", "not a question that is answered here", expected=sorted(METHODS))


def _is_number(value: object) -> bool:
    """Heights and pages travel as decimal texts."""
    if value is None:
        return True
    return type(value) is str and value.isascii() and value.isdecimal() and len(value) <= _DIGITS_MAX


def answer(data_dir: Path, question: Question) -> bytes:
    """The answer of the CometBFT beside a validator. Raises `UnavailableError`."""
    rpc = CometRpc(data_dir / HOME)
    try:
        return rpc.ask(question.id, question.method, question.params)
    finally:
        rpc.close()


def offered(data_dir: Path) -> list[dict[str, Any]]:
    """The snapshots that this node offers, as it tells nodes that want to join."""
    return [
        {"height": height, "ledger_height": manifest.height, "size": manifest.size}
        for height, manifest in StateSnapshots(data_dir).listed()
    ]


def chain_genesis(data_dir: Path) -> dict[str, Any] | None:
    """CometBFT's genesis.json of the chain that runs beside this node; None where there is none."""
    with suppress(OSError, ValueError, LedgerError):
        return parse_chain((data_dir / HOME / COMET_GENESIS).read_bytes()).document()
    return None


# --- asking ------------------------------------------------------------------------------------------------------------


def find_trusted(peers: Sequence[Peer]) -> TrustedHeader:
    """The header at a snapshot that other nodes offer, on which all that answer agree.

    Heights that more nodes offer come first, then lower ones: a node alone cannot send the others' readers astray.

    Raises `UnavailableError` (`state-sync-none`: nobody offers one; `state-sync-few`: fewer than two answer), and
    `VerificationError` (`state-sync-trust`) where they disagree: then people have to say which one is right.
    """
    heights: Counter[int] = Counter()
    for peer in peers:
        with suppress(LedgerError):
            heights.update(_offers(peer))
    if not heights:
        raise UnavailableError("state-sync-none", "no node offers a snapshot yet", nodes=[peer.url for peer in peers])
    wanted = sorted(heights, key=lambda height: (-heights[height], height))
    for height in wanted:
        found: dict[str, str] = {}
        for peer in peers:
            with suppress(LedgerError):
                found[peer.url] = _header_hash(peer, height)
        if len(set(found.values())) > 1:
            raise VerificationError("state-sync-trust", "the nodes name different blocks", height=height, hashes=found)
        if len(found) >= SERVERS_MIN:
            return TrustedHeader(height, parse_hex_digest(next(iter(found.values()))))
    raise UnavailableError("state-sync-few", "too few nodes know that block", height=wanted[0])


def find_genesis(peers: Sequence[Peer]) -> bytes:
    """genesis.json of the chain as most nodes name it, at least two; it is held against the ledger later.

    Raises `UnavailableError` (`state-sync-few`).
    """
    found: Counter[bytes] = Counter()
    for peer in peers:
        with suppress(LedgerError):
            found[parse_chain(json.dumps(_listed(peer).get("genesis")).encode()).encode()] += 1
    genesis, count = found.most_common(1)[0] if found else (b"", 0)
    if count < SERVERS_MIN:
        raise UnavailableError("state-sync-few", "too few nodes name the chain's genesis", height=0)
    return genesis


def know(peers: Sequence[Peer], named: TrustedHeader) -> TrustedHeader:
    """`named`, where at least two nodes have that block: a light client needs them. What others say does not count.

    Raises `UnavailableError` (`state-sync-few`), with what the nodes name instead.
    """
    found: dict[str, str] = {}
    for peer in peers:
        with suppress(LedgerError):
            found[peer.url] = _header_hash(peer, named.height)
    if list(found.values()).count(named.hash.hex()) < SERVERS_MIN:
        raise UnavailableError("state-sync-few", "too few nodes know that block", height=named.height, hashes=found)
    return named


def is_forgotten(peers: Sequence[Peer], height: int) -> bool:
    """Whether nodes answer, and each one that does has no block at `height` although its chain is past it."""
    lacking = 0
    for peer in peers:
        with suppress(LedgerError):
            if _newest(peer) <= height:
                continue
            try:
                _header_hash(peer, height)
            except MalformedError:
                lacking += 1
            else:
                return False
    return lacking > 0


def _offers(peer: Peer) -> set[int]:
    document = _listed(peer)
    try:
        heights = [each["height"] for each in document["snapshots"][:SNAPSHOTS_LISTED_MAX]]
    except (KeyError, TypeError):
        heights = [None]
    if not all(type(height) is int and height > 0 for height in heights):
        raise MalformedError("node-answer", "no list of snapshots", node=peer.url)
    return set(heights)


def _listed(peer: Peer) -> dict[str, Any]:
    """What a node tells nodes that join."""
    document = _json(peer, "GET", None)
    if type(document) is not dict:
        raise MalformedError("node-answer", "not an object", node=peer.url)
    return document


def _header_hash(peer: Peer, height: int) -> str:
    """The hash of CometBFT's header at a height, in lower-case hex. `MalformedError` where it has none."""
    try:
        digest = _commit(peer, {"height": str(height)})["block_id"]["hash"].lower()
    except (KeyError, TypeError, AttributeError):
        raise MalformedError("node-answer", "no commit", node=peer.url) from None
    return parse_hex_digest(digest).hex()


def _newest(peer: Peer) -> int:
    """The height of CometBFT's newest block beside a node."""
    try:
        return int(_commit(peer, {})["height"])
    except (KeyError, TypeError, ValueError, ArithmeticError):
        raise MalformedError("node-answer", "no commit", node=peer.url) from None


def _commit(peer: Peer, params: dict[str, str]) -> Any:
    """The commit that a node shows. Raises what `_json` raises, `KeyError` and `TypeError` for another answer."""
    question = {"id": 1, "jsonrpc": "2.0", "method": "commit", "params": params}
    return _json(peer, "POST", json.dumps(question).encode("ascii"))["result"]["signed_header"]["commit"]


def _json(peer: Peer, method: str, body: bytes | None) -> Any:
    found = peer.request(method, LIGHT_PATH, body, "application/json" if body else "", bytes_max=ANSWER_BYTES_MAX)
    if found.status != 200:
        raise UnavailableError("peer", "the node refused", peer=peer.url, status=found.status)
    try:
        return json.loads(found.body)
    except (ValueError, RecursionError):
        raise MalformedError("node-answer", "not JSON", node=peer.url) from None


__all__ = [
    "LIGHT_PATH",
    "Question",
    "answer",
    "chain_genesis",
    "find_genesis",
    "find_trusted",
    "is_forgotten",
    "know",
    "offered",
    "parse_question",
]
