"""The genesis: the document a network starts from, and the origin that pins it (SPEC R-G01 to R-G05, R-N01).

`origin = name ‖ "/" ‖ hex(H(genesis bytes))`: who pins the origin pins the first members, keys, rules and parameters.
A genesis may continue an origin that ended: it names that origin, its last certified note and the state root there, so
that who pins the successor has pinned all of the history before it (R-G06).
Not here: what is in force later (see `registry` and `config`), and whether the predecessor holds (`ledger verify` says).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from ledger.core import canonical
from ledger.core.checkpoint import Checkpoint, parse_checkpoint_text
from ledger.core.hashing import Digest, parse_hex_digest, sha256
from ledger.core.ident import check_identifier
from ledger.core.keys import (
    CONSENSUS,
    COSIGN,
    EVENT,
    HTTP,
    LOG,
    P2P,
    PublicKey,
    genesis_registration_message,
    parse_public_key,
)
from ledger.core.note import TYPE_ED25519, key_hash_of, parse_note
from ledger.errors import MalformedError, VerificationError
from ledger.limits import COSIGNERS_MAX, INT_MAX, NOTE_BYTES_MAX, VALIDATORS_MAX

GENESIS_VERSION: Final = 1
GENESIS_BYTES_MAX: Final = 1024 * 1024  # some hundred members with their keys
MEMBERS_MAX: Final = 1_000
KEYS_MEMBER_MAX: Final = 16
SCENARIO: Final = "scenario"
CLOCKS: Final = ("wall", SCENARIO)
SEQUENCER: Final = "sequencer"
COMETBFT: Final = "cometbft"
ENGINES: Final = (SEQUENCER, COMETBFT)
USES: Final = (EVENT, COSIGN, LOG, HTTP, CONSENSUS, P2P)
VALIDATOR_USES: Final = (COSIGN, LOG, P2P)
"""What a validator holds beside its consensus key: it cosigns, signs the log notes it serves, and its peers know it."""
NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")  # no slash: origin adds one

PARAMETERS: Final = {
    "notice_hours": 24,  # before a change of set, threshold, protocol or runtime
    "skew_ms": 600_000,  # how far an event's claimed time may be ahead of block time
    "timers_block": 1_000,  # timers that one block fires
}
"""Genesis parameters and their defaults; all are integers."""

_FIELDS: Final = frozenset({"calendar", "clock", "engine", "members", "name", "parameters", "rulebook", "time", "v"})
_CONTINUES: Final = "continues"
_CONTINUES_FIELDS: Final = frozenset({"note", "origin", "state_root"})
_MEMBER_FIELDS: Final = frozenset({"attributes", "id", "keys", "roles", "title"})
_KEY_FIELDS: Final = frozenset({"algorithm", "proof", "public", "roles", "use"})


@dataclass(frozen=True, slots=True)
class MemberKey:
    """A registered public key: its use (one of `USES`) and roles (system, office-head, verifier …)."""

    public: PublicKey
    use: str
    roles: tuple[str, ...]
    proof: bytes


@dataclass(frozen=True, slots=True)
class Member:
    """A department, authority, regulator or auditor as the genesis names it."""

    id: str
    title: dict[str, str]
    roles: tuple[str, ...]
    attributes: dict[str, Any]
    keys: tuple[MemberKey, ...]


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The origin that a genesis continues, as far as it was certified: nothing after `checkpoint` counts.

    `note` is the last certified note; its signatures are by keys of the predecessor's own genesis. `state_root` is the
    state map's root after the block that ends at the checkpoint.
    """

    checkpoint: Checkpoint
    note: bytes
    state_root: Digest

    @property
    def origin(self) -> str:
        """The predecessor's name."""
        return self.checkpoint.origin

    def document(self) -> dict[str, Any]:
        """The object `continues` of a genesis."""
        note, root = self.note.decode("utf-8"), self.state_root.hex()
        return {"note": note, "origin": self.origin, "state_root": root}


@dataclass(frozen=True, slots=True)
class Genesis:
    """A parsed genesis; `data` are the bytes that were hashed."""

    data: bytes
    name: str
    clock: str
    engine: str
    time: int
    parameters: dict[str, int]
    members: tuple[Member, ...]
    rulebook: Digest
    calendar: Digest
    continues: Predecessor | None = None

    @property
    def hash(self) -> Digest:
        """H(genesis bytes)."""
        return sha256(self.data)

    @property
    def origin(self) -> str:
        """The network's name for ever: `name/hex(H(genesis))`."""
        return f"{self.name}/{self.hash.hex()}"

    def keys(self, use: str) -> tuple[tuple[str, MemberKey], ...]:
        """(member id, key) of every key of this use, in order of member id then key id."""
        found = [(member.id, key) for member in self.members for key in member.keys if key.use == use]
        return tuple(sorted(found, key=lambda pair: (pair[0], pair[1].public.key_id)))


def new_genesis(
    *,
    name: str,
    time: int,
    members: list[dict[str, Any]],
    rulebook: Digest,
    calendar: Digest,
    sign: dict[str, Any],
    clock: str = "wall",
    engine: str = SEQUENCER,
    parameters: dict[str, int] | None = None,
    continues: Predecessor | None = None,
) -> Genesis:
    """Build a genesis; `members` as in the schema with keys {algorithm, public, use, roles}, `sign` maps public hex to
    the `Signer` that proves possession of it (R-G04)."""
    for member in members:
        member["keys"] = [{**key, "proof": ""} for key in member["keys"]]
    document: dict[str, Any] = {
        "calendar": calendar.hex(),
        "clock": clock,
        "engine": engine,
        "members": members,
        "name": name,
        "parameters": {**PARAMETERS, **(parameters or {})},
        "rulebook": rulebook.hex(),
        "time": time,
        "v": GENESIS_VERSION,
    }
    if continues is not None:
        document[_CONTINUES] = continues.document()
    blank = sha256(canonical.encode(document, bytes_max=GENESIS_BYTES_MAX))
    for member in members:
        for key in member["keys"]:
            message = genesis_registration_message(name, blank, member["id"], key["use"])
            key["proof"] = sign[key["public"]].sign(message).hex()
    return parse_genesis(canonical.encode(document, bytes_max=GENESIS_BYTES_MAX))


def parse_genesis(data: bytes) -> Genesis:
    """The genesis in `data`, with every possession proof checked. Raises `MalformedError` or `VerificationError`."""
    fields = canonical.parse(data, bytes_max=GENESIS_BYTES_MAX)
    _closed(fields, _FIELDS | ({_CONTINUES} & fields.keys()), "genesis")
    if fields["v"] != GENESIS_VERSION or type(fields["v"]) is not int:
        raise MalformedError("genesis-version", "unknown genesis version", got=fields["v"])
    if not isinstance(fields["name"], str) or not NAME.fullmatch(fields["name"]):
        raise MalformedError(
            "genesis-name", "expected lower-case letters, digits, dots and hyphens", got=fields["name"]
        )
    if fields["clock"] not in CLOCKS or fields["engine"] not in ENGINES:
        raise MalformedError("genesis", "unknown clock or engine", clock=fields["clock"], engine=fields["engine"])
    parameters = fields["parameters"]
    _closed(parameters, frozenset(PARAMETERS), "parameters")
    for name, value in parameters.items():
        _integer(value, name)
    genesis = Genesis(
        data=data,
        name=fields["name"],
        clock=fields["clock"],
        engine=fields["engine"],
        time=_integer(fields["time"], "time"),
        parameters=parameters,
        members=_members(fields["members"]),
        rulebook=parse_hex_digest(fields["rulebook"]),
        calendar=parse_hex_digest(fields["calendar"]),
        continues=_predecessor(fields[_CONTINUES]) if _CONTINUES in fields else None,
    )
    _check_keys(genesis)
    return genesis


def _predecessor(value: object) -> Predecessor:
    """R-G06: the note is a checkpoint of that origin with at least one block; who signed it only its genesis tells."""
    fields = _closed(value, _CONTINUES_FIELDS, _CONTINUES)
    if not isinstance(fields["note"], str):
        raise MalformedError("genesis-continues", "expected a note", got=fields["note"])
    note = fields["note"].encode("utf-8")
    if len(note) > NOTE_BYTES_MAX:
        raise MalformedError("genesis-continues", "the note is too long", size=len(note))
    checkpoint = parse_checkpoint_text(parse_note(note).text)
    if checkpoint.origin != fields["origin"] or not checkpoint.size:
        raise MalformedError(
            "genesis-continues", "not a checkpoint of this origin", origin=fields["origin"], got=checkpoint.origin
        )
    return Predecessor(checkpoint, note, parse_hex_digest(fields["state_root"]))


def _members(value: object) -> tuple[Member, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MEMBERS_MAX:
        raise MalformedError("genesis-members", "expected 1 to 1000 members")
    members = tuple(_member(entry) for entry in value)
    ids = [member.id for member in members]
    if ids != sorted(set(ids)):
        raise MalformedError("genesis-members", "member ids must be unique and sorted", got=ids)
    return members


def _member(value: object) -> Member:
    fields = _closed(value, _MEMBER_FIELDS, "member")
    title = _closed(fields["title"], frozenset({"en", "zh"}), "title")
    if not all(isinstance(text, str) and text for text in title.values()):
        raise MalformedError("genesis-title", "a title is a text in zh and en", got=title)
    if not isinstance(fields["attributes"], dict):
        raise MalformedError("genesis-attributes", "expected an object", got=fields["attributes"])
    if not isinstance(fields["keys"], list) or len(fields["keys"]) > KEYS_MEMBER_MAX:
        raise MalformedError("genesis-keys", "expected a list of at most 16 keys", member=fields["id"])
    return Member(
        id=check_member_id(fields["id"]),
        title=title,
        roles=_roles(fields["roles"]),
        attributes=fields["attributes"],
        keys=tuple(_key(entry) for entry in fields["keys"]),
    )


def check_member_id(value: object) -> str:
    """A member id: an identifier without slash, so that ids below it (`member/…`) have one owner."""
    member = check_identifier(value, "member")
    if "/" in member or ":" in member:
        raise MalformedError("member-id", "a member id has no slash and no colon", got=member)
    return member


def _key(value: object) -> MemberKey:
    fields = _closed(value, _KEY_FIELDS, "key")
    if fields["use"] not in USES:
        raise MalformedError("key-use", "unknown use of a key", got=fields["use"])
    return MemberKey(
        public=parse_public_key(_integer(fields["algorithm"], "algorithm"), _hex(fields["public"])),
        use=fields["use"],
        roles=_roles(fields["roles"]),
        proof=_hex(fields["proof"]),
    )


def _check_keys(genesis: Genesis) -> None:
    """R-G04: one key, one (member, use), for ever; each proves that its holder asked for this registration."""
    blank = _blank_hash(genesis.data)
    seen: set[Digest] = set()
    for member in genesis.members:
        for key in member.keys:
            if key.public.key_id in seen:
                raise MalformedError("key-twice", "one public key stands twice", key=key.public.key_id)
            seen.add(key.public.key_id)
            try:
                key.public.verify(genesis_registration_message(genesis.name, blank, member.id, key.use), key.proof)
            except VerificationError as error:
                raise VerificationError(
                    "key-proof", "a key does not prove its registration", member=member.id
                ) from error
    # Notes point at a log key by four bytes under one name: two keys that cannot be told apart would stop every verifier.
    hashes = [key_hash_of(genesis.origin, TYPE_ED25519, key.public.raw) for _, key in genesis.keys(LOG)]
    if len(set(hashes)) != len(hashes):
        raise MalformedError("log-key", "two log keys have the same key hash")
    if len(genesis.keys(COSIGN)) > COSIGNERS_MAX:
        raise MalformedError("cosigners", "at most 32 cosigners", got=len(genesis.keys(COSIGN)))
    if not genesis.keys(LOG):
        raise MalformedError("log-key", "no member holds a log key, so nobody could order events")
    _check_engine(genesis)


def _check_engine(genesis: Genesis) -> None:
    """R-N01: who validates in the engine that the genesis names; with a sequencer nobody does (yet: votes may move it)."""
    validators = [member for member, _ in genesis.keys(CONSENSUS)]
    if genesis.engine != COMETBFT:
        if validators or genesis.keys(P2P):
            raise MalformedError("validators", "a sequencer has no consensus and p2p keys", engine=genesis.engine)
        return
    if not 1 <= len(validators) <= VALIDATORS_MAX:
        raise MalformedError("validators", "expected 1 to 64 validators", got=len(validators))
    if len(set(validators)) != len(validators):
        raise MalformedError("validators", "a member validates with one key: each has one vote", got=validators)
    for use in VALIDATOR_USES:
        lacking = sorted(set(validators) - {member for member, _ in genesis.keys(use)})
        if lacking:
            raise MalformedError("validators", "a validator also holds log, cosign and p2p keys", use=use, got=lacking)


def _blank_hash(data: bytes) -> Digest:
    """H(genesis with every possession proof empty)."""
    document = canonical.parse(data, bytes_max=GENESIS_BYTES_MAX)
    for member in document["members"]:
        for key in member["keys"]:
            key["proof"] = ""
    return sha256(canonical.encode(document, bytes_max=GENESIS_BYTES_MAX))


def _roles(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 16:
        raise MalformedError("roles", "expected a list of at most 16 roles", got=value)
    roles = tuple(check_identifier(role, "role") for role in value)
    if list(roles) != sorted(set(roles)):
        raise MalformedError("roles", "roles must be unique and sorted", got=value)
    return roles


def _closed(value: object, names: frozenset[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        got = sorted(value) if isinstance(value, dict) else value
        raise MalformedError("genesis-fields", "missing or unknown fields", what=what, got=got)
    return value


def _integer(value: object, name: str) -> int:
    if type(value) is not int or not 0 <= value <= INT_MAX:
        raise MalformedError("genesis-number", "expected a non-negative integer", field=name, got=value)
    return value


def _hex(value: object) -> bytes:
    if not isinstance(value, str) or len(value) > 512 or not set(value) <= set("0123456789abcdef") or len(value) % 2:
        raise MalformedError("genesis-hex", "expected lower-case hex", got=value)
    return bytes.fromhex(value)
