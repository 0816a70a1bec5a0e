"""What a network is to be: members, keys, nodes and their addresses, and whether such a network can be made.

Rules: every member either runs a node or has a host that does; addresses differ; with CometBFT every node validates
unless its plan says otherwise, with a sequencer one orders and the rest cosign. Where no address is named, a free port of
this machine is taken. Not here: making anything (see `network`).
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.adapters.home.nodefile import EVENT_KEY
from ledger.core.address import encode_address, parse_address
from ledger.core.genesis import COMETBFT, ENGINES, SEQUENCER, Predecessor, check_member_id
from ledger.errors import MalformedError

DEFAULT_KEY_ROLES: Final = ("system",)
LOOPBACK: Final = "127.0.0.1"
ROLE_SEQUENCER: Final = "sequencer"
ROLE_VALIDATOR: Final = "validator"
ROLE_FOLLOWER: Final = "follower"
ROLE_OBSERVER: Final = "observer"
PORTS: Final = range(10_240, 32_768)
"""Where new nodes listen: none is of the range from which systems take ports for outgoing connections."""


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """One event key of a member: `label` names its file, `roles` are what its signatures count as."""

    label: str = EVENT_KEY
    roles: tuple[str, ...] = DEFAULT_KEY_ROLES


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """A first member. `host` is the member whose node keeps this one's keys; None: it runs a node.

    `listen` is host:port of its node's HTTP and `p2p` of its CometBFT; empty picks a free loopback port. `url` is where
    others reach its HTTP when that is not `listen`. `validator` False: its node copies the ledger and has no vote.
    """

    id: str
    title: Mapping[str, str]
    roles: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    host: str | None = None
    listen: str = ""
    keys: tuple[KeyPlan, ...] = (KeyPlan(),)
    p2p: str = ""
    url: str = ""
    validator: bool = True


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """A network to be made; `time` is unix ms of block 0, `parameters` override the genesis defaults.

    `sequencer` names a member, "" where CometBFT orders. `continues` is the end of the network that this one follows
    (SPEC R-G06).
    """

    name: str
    members: Sequence[MemberPlan]
    sequencer: str
    rulebook: Mapping[str, bytes]
    calendars: Mapping[str, bytes]
    time: int
    clock: str = "wall"
    parameters: Mapping[str, int] = field(default_factory=dict)
    continues: Predecessor | None = None
    engine: str = SEQUENCER

    def role(self, member: MemberPlan) -> str:
        """What the node of `member` is."""
        if self.engine == COMETBFT:
            return ROLE_VALIDATOR if member.validator else ROLE_OBSERVER
        return ROLE_SEQUENCER if member.id == self.sequencer else ROLE_FOLLOWER


@dataclass(frozen=True, slots=True)
class Place:
    """Where one node answers: HTTP on `host` and `port`, known to others as `url`; `p2p` as host:port, "" without."""

    host: str
    port: int
    url: str
    p2p: str = ""


def check_plan(plan: NetworkPlan) -> list[MemberPlan]:
    """Members that run a node, those that order first. Raises `MalformedError` (code `plan`)."""
    nodes = [member for member in plan.members if member.host is None]
    names = {member.id for member in nodes}
    for member in plan.members:
        check_member_id(member.id)
        labels = [key.label for key in member.keys]
        if len(set(labels)) != len(labels) or not all(map(_is_label, labels)):
            raise MalformedError("plan", "labels of keys are distinct, lower-case words", member=member.id, got=labels)
        if member.host is not None and member.host not in names:
            raise MalformedError("plan", "the host of a member has to run a node", member=member.id, host=member.host)
    if plan.engine not in ENGINES:
        raise MalformedError("plan", "unknown engine", got=plan.engine)
    if plan.engine == COMETBFT:
        if plan.sequencer:
            raise MalformedError("plan", "CometBFT has no sequencer", got=plan.sequencer)
        if plan.clock != "wall":
            raise MalformedError("plan", "with CometBFT block time is the validators' own", clock=plan.clock)
    elif plan.sequencer not in names:
        raise MalformedError("plan", "the sequencer is none of the members with a node", got=plan.sequencer)
    orders = [member for member in nodes if plan.role(member) in (ROLE_SEQUENCER, ROLE_VALIDATOR)]
    if not orders:
        raise MalformedError("plan", "no member validates")
    return [*orders, *(member for member in nodes if member not in orders)]


def places(plan: NetworkPlan, nodes: Sequence[MemberPlan]) -> dict[str, Place]:
    """Where each node answers, by member. Raises `MalformedError` (code `plan`)."""
    validators = {node.id for node in nodes if plan.role(node) == ROLE_VALIDATOR}
    free = iter(free_ports(sum(not node.listen for node in nodes) + len(validators)))
    found: dict[str, Place] = {}
    for node in nodes:
        host, port = _address(node.id, "listen", node.listen or f"{LOOPBACK}:{next(free)}")
        p2p = ""
        if node.id in validators:
            p2p = encode_address(*_address(node.id, "p2p", node.p2p or f"{LOOPBACK}:{next(free)}"))
        found[node.id] = Place(host, port, node.url or f"http://{encode_address(host, port)}", p2p)
    taken = [encode_address(place.host, place.port) for place in found.values()]
    taken += [place.p2p for place in found.values() if place.p2p]
    if len(set(taken)) != len(taken):
        raise MalformedError("plan", "two nodes would listen on one address", got=sorted(taken))
    return found


def free_ports(count: int, host: str = LOOPBACK) -> list[int]:
    """Ports of `PORTS` that nobody listens on right now; all are held at once, so they differ. A port of outgoing
    connections could be in use when the node starts again."""
    held: list[socket.socket] = []
    try:
        for port in secrets.SystemRandom().sample(PORTS, len(PORTS)):
            if len(held) == count:
                break
            each = socket.socket()
            try:
                each.bind((host, port))
            except OSError:
                each.close()
            else:
                held.append(each)
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def _address(member: str, field: str, text: str) -> tuple[str, int]:
    try:
        return parse_address(text)
    except MalformedError:
        raise MalformedError("plan-address", "expected host:port", member=member, field=field, got=text) from None


def _is_label(label: str) -> bool:
    return label.isascii() and label.replace("-", "").isalnum() and label == label.lower()
