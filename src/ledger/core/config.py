"""What is in force: the config document whose tagged hash stands in every header (SPEC R-C01 to R-C03).

Config in force in block H is that of the state after H − 1. Not here: how it changes (see `machine.governance`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import TAG_CONFIG, Digest, parse_hex_digest, sha256
from ledger.core.ident import check_identifier
from ledger.errors import MalformedError
from ledger.limits import RULE_STEPS_MAX

PROTOCOL_VERSION: Final = 1
_FIELDS: Final = frozenset(
    {
        "calendar",
        "cosigners",
        "epoch",
        "next_cosigners",
        "parameters",
        "protocol_version",
        "rulebook",
        "runtime",
    }
)

Cosigner = tuple[str, Digest]
"""(member id, key id): the cosignature line of this member carries its id as name."""


@dataclass(frozen=True, slots=True)
class Config:
    """The config document.

    `program` is the hash of the generated rule program, `language` its language version and `steps` its budget;
    `cosigners` sign checkpoints of this epoch, `next_cosigners` those of the next (equal outside a change).
    """

    rulebook: Digest
    calendar: Digest
    program: Digest
    language: int
    parameters: dict[str, int]
    cosigners: tuple[Cosigner, ...]
    next_cosigners: tuple[Cosigner, ...]
    epoch: int = 0
    steps: int = RULE_STEPS_MAX
    protocol_version: int = PROTOCOL_VERSION

    def encode(self) -> bytes:
        """Canonical JSON of the document."""
        return canonical.encode(
            {
                "calendar": self.calendar.hex(),
                "cosigners": [[name, key.hex()] for name, key in self.cosigners],
                "epoch": self.epoch,
                "next_cosigners": [[name, key.hex()] for name, key in self.next_cosigners],
                "parameters": self.parameters,
                "protocol_version": self.protocol_version,
                "rulebook": self.rulebook.hex(),
                "runtime": {"language": self.language, "program": self.program.hex(), "steps": self.steps},
            }
        )

    @property
    def hash(self) -> Digest:
        """SHA-256(TAG_CONFIG ‖ canonical JSON)."""
        return config_hash(self.encode())


def config_hash(data: bytes) -> Digest:
    """SHA-256("suyuan/config/v1" 0x00 ‖ data)."""
    return sha256(TAG_CONFIG + data)


def parse_config(data: bytes) -> Config:
    """The config in canonical JSON `data`. Raises `MalformedError`."""
    fields = canonical.parse(data)
    if set(fields) != _FIELDS or not isinstance(fields["runtime"], dict) or not isinstance(fields["parameters"], dict):
        raise MalformedError("config-fields", "missing or unknown fields", got=sorted(fields))
    runtime = fields["runtime"]
    if set(runtime) != {"language", "program", "steps"}:
        raise MalformedError("config-runtime", "missing or unknown fields", got=sorted(runtime))
    config = Config(
        rulebook=parse_hex_digest(fields["rulebook"]),
        calendar=parse_hex_digest(fields["calendar"]),
        program=parse_hex_digest(runtime["program"]),
        language=_integer(runtime["language"]),
        parameters={name: _integer(value) for name, value in fields["parameters"].items()},
        cosigners=_cosigners(fields["cosigners"]),
        next_cosigners=_cosigners(fields["next_cosigners"]),
        epoch=_integer(fields["epoch"]),
        steps=_integer(runtime["steps"]),
        protocol_version=_integer(fields["protocol_version"]),
    )
    if config.encode() != data:
        raise MalformedError("config", "not in canonical form")
    return config


def _cosigners(value: object) -> tuple[Cosigner, ...]:
    if not isinstance(value, list):
        raise MalformedError("config-cosigners", "expected a list", got=value)
    cosigners: list[Cosigner] = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            raise MalformedError("config-cosigners", "expected [member, key id]", got=pair)
        cosigners.append((check_identifier(pair[0], "cosigner"), parse_hex_digest(pair[1])))
    return tuple(cosigners)


def _integer(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise MalformedError("config-number", "expected a non-negative integer", got=value)
    return value
