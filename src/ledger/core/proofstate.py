"""The certified state: from a quorum certificate to the state root, by the block header that is its last leaf.

Rules (SPEC R-H02, R-H05, R-C02): a header belongs to a checkpoint if its index is size − 1 and first_seq + count equals
it; the config's tagged hash stands in the header; the cosigners that the verifier trusts, or was led to by the changes of
the set that the proof carries, are those of that config.
Not here: what is read from the state (see `mapproof`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ledger.core import merkle
from ledger.core import proofjson as pj
from ledger.core.config import Config, config_hash, parse_config
from ledger.core.hashing import Digest
from ledger.core.header import Header, parse_header
from ledger.core.keys import LOG
from ledger.core.mapkeys import key_hash, key_key, parse_object_value, value_hash
from ledger.core.mapproof import MapProof, verify_map
from ledger.core.proofepochs import (
    EpochEnd,
    adopt,
    encode_epochs,
    encode_header_part,
    parse_epochs,
    parse_header_part,
)
from ledger.core.prooftrust import (
    ANCHOR,
    Certification,
    History,
    Trust,
    encode_history,
    parse_history,
    verify_certification,
)
from ledger.core.registry import KeyEntry, parse_key_entry
from ledger.errors import MalformedError, VerificationError
from ledger.limits import LOG_KEYS_MAX

NAMES: Final = "certificate config header"
OPTIONAL: Final = "epochs history logs"


@dataclass(frozen=True, slots=True)
class CertifiedState:
    """A header under a certified checkpoint: its state root can be built upon."""

    certification: Certification
    header: Header
    config: Config
    not_checked: tuple[str, ...]

    def look_up(self, key_hash: Digest, proof: MapProof) -> Digest | None:
        """The value hash of a key after the header's block, None if absent; raises as `verify_map` does."""
        header = self.header
        return verify_map(header.state_root, header.state_buckets, header.state_keys, key_hash, proof)


@dataclass(frozen=True, slots=True)
class LogKey:
    """A key for ordering that was registered after the genesis: its entry's whole map value in the state, and the proof."""

    value: bytes
    map: MapProof

    def entry(self) -> KeyEntry:
        """The entry that is claimed; `VerificationError` (code `registration`) for a key of another use."""
        entry = parse_key_entry(parse_object_value(self.value)[1])
        if entry.use != LOG:
            raise VerificationError("registration", "not a key for ordering", key_id=entry.public.key_id)
        return entry

    def verify(self, state: CertifiedState) -> None:
        """`VerificationError` (code `registration`) unless the state holds the entry."""
        key_id = self.entry().public.key_id
        if state.look_up(key_hash(key_key(key_id)), self.map) != value_hash(self.value):
            raise VerificationError("registration", "the state holds no such entry", key_id=key_id)


@dataclass(frozen=True, slots=True)
class StateProof:
    """A certificate with the last header and the config; nothing holds until `verify` returns.

    `header` is the leaf whole, `path` its inclusion path at index size − 1, `config` canonical JSON.
    """

    certificate: bytes
    header: bytes
    path: tuple[Digest, ...]
    config: bytes
    history: History | None = None
    epochs: tuple[EpochEnd, ...] = ()
    logs: tuple[LogKey, ...] = ()

    def verify(self, trust: Trust) -> CertifiedState:
        """The certified state.

        Raises `MalformedError`, or `VerificationError`: `epochs`, the certificate, `header` (it is not this checkpoint's
        last leaf), `config` (not the header's), `cosigner-set` (the verifier trusts another set).
        """
        # A log line never replaces the quorum: what the cosigners certified vouches for the keys that also signed it.
        claimed = (each.entry().public for each in self.logs)
        trust = adopt(self.epochs, replace(trust, log_keys=(*trust.log_keys, *claimed)))
        certification, not_checked = verify_certification(self.certificate, self.history, trust)
        checkpoint = certification.checkpoint
        header = parse_header(self.header)
        if header.index != checkpoint.size - 1:
            raise VerificationError("header", "not the last leaf", index=header.index, size=checkpoint.size)
        leaf_hash = merkle.leaf_hash(self.header)
        merkle.verify_inclusion(leaf_hash, header.index, checkpoint.size, self.path, checkpoint.root)
        config = parse_config(self.config)
        if config_hash(self.config) != header.config:
            raise VerificationError("config", "not the config of this header", expected=header.config)
        trusted = {(name, key.key_id) for name, key in trust.cosigners_at(checkpoint.size)}
        if trusted != set(config.cosigners):
            raise VerificationError("cosigner-set", "the ledger names other cosigners", epoch=config.epoch)
        if config.epoch > 0 and trust.anchor is None and ANCHOR not in not_checked:
            not_checked = (*not_checked, ANCHOR)
        state = CertifiedState(certification, header, config, not_checked)
        for each in self.logs:
            each.verify(state)
        return state

    def encode(self) -> pj.Fields:
        """The fields `certificate`, `config`, `header`, `history`, `epochs` and `logs`."""
        return {
            "certificate": self.certificate.decode("utf-8"),
            "config": self.config.decode("utf-8"),
            "header": encode_header_part(self.header, self.path),
            **encode_history(self.history),
            **encode_epochs(self.epochs),
            **encode_logs(self.logs),
        }


def encode_logs(logs: Sequence[LogKey]) -> pj.Fields:
    """The field `logs`, absent where the genesis registered every key for ordering."""
    listed = [{"map": pj.encode_map_proof(each.map), "value": each.value.decode("utf-8")} for each in logs]
    return {"logs": listed} if listed else {}


def parse_logs(fields: pj.Fields) -> tuple[LogKey, ...]:
    """The keys for ordering among the fields of a file."""
    if "logs" not in fields:
        return ()
    found = []
    for item in pj.items(fields["logs"], "logs", LOG_KEYS_MAX):
        inner = pj.closed(item, "logs", "map value")
        found.append(LogKey(pj.document(inner["value"], "logs.value"), pj.map_proof(inner["map"], "logs.map")))
    if not found:
        raise MalformedError("proof", "an empty list is left out", field="logs")
    return tuple(found)


def parse_state_proof(fields: pj.Fields) -> StateProof:
    """The state proof among the fields of a file."""
    header, path = parse_header_part(fields["header"])
    return StateProof(
        certificate=pj.document(fields["certificate"], "certificate"),
        header=header,
        path=path,
        config=pj.document(fields["config"], "config"),
        history=parse_history(fields["history"]) if "history" in fields else None,
        epochs=parse_epochs(fields),
        logs=parse_logs(fields),
    )
