"""The certified state: from a quorum certificate to the state root, by the block header that is its last leaf.

Rules (SPEC R-H02, R-H05, R-C02): a header belongs to a checkpoint if its index is size − 1 and first_seq + count equals
it; the config's tagged hash stands in the header; the cosigners that the verifier trusts, or was led to by the changes of
the set that the proof carries, are those of that config.
Not here: what is read from the state (see `mapproof`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ledger.core import merkle
from ledger.core import proofjson as pj
from ledger.core.config import Config, config_hash, parse_config
from ledger.core.hashing import Digest
from ledger.core.header import Header, parse_header
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
from ledger.errors import VerificationError

NAMES: Final = "certificate config header"
OPTIONAL: Final = "epochs history"


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

    def verify(self, trust: Trust) -> CertifiedState:
        """The certified state.

        Raises `MalformedError`, or `VerificationError`: `epochs`, the certificate, `header` (it is not this checkpoint's
        last leaf), `config` (not the header's), `cosigner-set` (the verifier trusts another set).
        """
        trust = adopt(self.epochs, trust)
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
        return CertifiedState(certification, header, config, not_checked)

    def encode(self) -> pj.Fields:
        """The fields `certificate`, `config`, `header`, `history` and `epochs`."""
        return {
            "certificate": self.certificate.decode("utf-8"),
            "config": self.config.decode("utf-8"),
            "header": encode_header_part(self.header, self.path),
            **encode_history(self.history),
            **encode_epochs(self.epochs),
        }


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
    )
