"""Leads from the cosigners of the genesis to those that certified a proof: the ends of all epochs between (SPEC R-V12).

Rules (SPEC R-G20, R-G21): an epoch's end is the checkpoint of its last block, certified by the set that leaves. The config
in force there names the next set. That the change took effect in this very block is what two leaves of one proposal's
timer show: one that announced it and was set again, which no other action does, and the last leaf before the header.
Keys need no registration here: the config names them by key id, which is their hash.
Not here: whether history is anchored after a change (see `prooftrust`), and how a change is voted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ledger.core import canonical, merkle
from ledger.core import proofjson as pj
from ledger.core.checkpoint import Checkpoint
from ledger.core.config import Config, config_hash, parse_config
from ledger.core.hashing import Digest
from ledger.core.header import parse_header
from ledger.core.keys import PublicKey, parse_public_key
from ledger.core.leaf import LEAF_VERSION, TYPE_HEADER, TYPE_TIMER, TimerLeaf, parse_leaf
from ledger.core.prooftrust import Adopted, Trust, verify_under
from ledger.core.proposal import TIMER_PREFIX
from ledger.core.quorum import Cosigner
from ledger.errors import MalformedError, VerificationError
from ledger.limits import COSIGNERS_MAX, EPOCHS_MAX

HEADER_PREFIX: Final = bytes((TYPE_HEADER, LEAF_VERSION))
TIMER_PREFIX_BYTES: Final = bytes((TYPE_TIMER, LEAF_VERSION))
FIELD: Final = "epochs"
_NAMES: Final = "announced certificate config effect header keys path"


@dataclass(frozen=True, slots=True)
class LeafPart:
    """A whole leaf, its place in the log, and its inclusion path under the epoch's last checkpoint."""

    index: int
    leaf: bytes
    path: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """The last block of an epoch; nothing holds until `verify` returns.

    `certificate` is by the leaving set, `config` the one in force in the block, `announced` and `effect` the two timer
    leaves, `keys` the next cosigners' in the order of the config. `path` is the consistency with the checkpoint of the
    next end, or of the proof itself.
    """

    certificate: bytes
    header: LeafPart
    config: bytes
    announced: LeafPart
    effect: LeafPart
    keys: tuple[PublicKey, ...]
    path: tuple[Digest, ...]

    def verify(self, trust: Trust, epoch: int) -> Adopted:
        """The set that `trust` is led to at the end of `epoch`.

        Raises `MalformedError`, or `VerificationError`: the certificate, `inclusion`, or `epochs` (what is shown is no
        change of the set).
        """
        checkpoint = verify_under(self.certificate, trust).checkpoint
        for part in (self.header, self.announced, self.effect):
            merkle.verify_inclusion(
                merkle.leaf_hash(part.leaf), part.index, checkpoint.size, part.path, checkpoint.root
            )
        header, config = parse_header(self.header.leaf), parse_config(self.config)
        _require(self.header.index == header.index == checkpoint.size - 1, "not the last leaf", checkpoint)
        _require(config_hash(self.config) == header.config, "not the config of this header", checkpoint)
        trusted = {(name, key.key_id) for name, key in trust.cosigners_at(checkpoint.size)}
        _require(trusted == set(config.cosigners) and config.epoch == epoch, "another epoch", checkpoint)
        _require(config.next_cosigners != config.cosigners, "no change of the set was announced", checkpoint)
        _require(self.effect.index == header.index - 1, "not the last leaf before the header", checkpoint)
        self._check_timers(header.height, checkpoint)
        return Adopted(checkpoint, self._cosigners(config, checkpoint), self.path)

    def _check_timers(self, height: int, checkpoint: Checkpoint) -> None:
        announced, effect = _timer(self.announced), _timer(self.effect)
        _require(effect.height == height and announced.height < height, "not of these blocks", checkpoint)
        same = announced.key == effect.key and effect.key.startswith(TIMER_PREFIX)
        _require(same, "not the timer of one proposal", checkpoint)
        first, last = canonical.parse(announced.verdict), canonical.parse(effect.verdict)
        again = [key for key, due in first.get("timers", ()) if due is not None]
        _require(again == [effect.key] and first["outcome"] == "accepted", "no change was announced", checkpoint)
        _require(last == {"outcome": "accepted"}, "the change did not take effect", checkpoint)

    def _cosigners(self, config: Config, checkpoint: Checkpoint) -> tuple[Cosigner, ...]:
        ids = tuple(key.key_id for key in self.keys)
        _require(ids == tuple(key_id for _, key_id in config.next_cosigners), "other keys", checkpoint)
        return tuple((name, key) for (name, _), key in zip(config.next_cosigners, self.keys, strict=True))

    def encode(self) -> pj.Fields:
        """The fields of one end."""
        return {
            "announced": {"index": self.announced.index, **_encode_leaf(self.announced)},
            "certificate": self.certificate.decode("utf-8"),
            "config": self.config.decode("utf-8"),
            "effect": _encode_leaf(self.effect),
            "header": _encode_leaf(self.header),
            "keys": [{"algorithm": key.algorithm, "public": key.raw.hex()} for key in self.keys],
            "path": pj.encode_path(self.path),
        }


def adopt(ends: Sequence[EpochEnd], trust: Trust) -> Trust:
    """`trust`, led to the newest set by the ends of epochs 0, 1, … in turn; raises as `EpochEnd.verify` does."""
    for epoch, end in enumerate(ends):
        adopted = end.verify(trust, epoch)
        if trust.adopted:
            before = trust.adopted[-1]
            old, new = before.checkpoint, adopted.checkpoint
            _require(old.size < new.size, "epochs in another order", new)
            merkle.verify_consistency(old.size, old.root, new.size, new.root, before.path)
        trust = replace(trust, adopted=(*trust.adopted, adopted))
    return trust


def _require(holds: bool, what: str, checkpoint: Checkpoint) -> None:
    if not holds:
        raise VerificationError("epochs", what, size=checkpoint.size)


def _timer(part: LeafPart) -> TimerLeaf:
    leaf = parse_leaf(part.leaf)
    if not isinstance(leaf, TimerLeaf):
        raise MalformedError("proof", "not the leaf of a timer", field=FIELD)
    return leaf


def encode_epochs(ends: Sequence[EpochEnd]) -> pj.Fields:
    """The field `epochs`, absent where the genesis' set is still in force."""
    return {FIELD: [end.encode() for end in ends]} if ends else {}


def parse_ends(value: object) -> tuple[EpochEnd, ...]:
    """The ends in a list of their fields, none of them in an empty one."""
    return tuple(_end(item) for item in pj.items(value, FIELD, EPOCHS_MAX))


def parse_epochs(fields: pj.Fields) -> tuple[EpochEnd, ...]:
    """The ends among the fields of a file."""
    if FIELD not in fields:
        return ()
    ends = parse_ends(fields[FIELD])
    if not ends:
        raise MalformedError("proof", "an empty list is left out", field=FIELD)
    return ends


def _end(value: object) -> EpochEnd:
    fields = pj.closed(value, FIELD, _NAMES)
    header_leaf, header_path = parse_header_part(fields["header"])
    index = parse_header(header_leaf).index
    announced = pj.closed(fields["announced"], f"{FIELD}.announced", "index leaf path")
    effect = pj.closed(fields["effect"], f"{FIELD}.effect", "leaf path")
    return EpochEnd(
        certificate=pj.document(fields["certificate"], f"{FIELD}.certificate"),
        header=LeafPart(index, header_leaf, header_path),
        config=pj.document(fields["config"], f"{FIELD}.config"),
        announced=_leaf_part(announced, pj.number(announced["index"], f"{FIELD}.announced.index")),
        effect=_leaf_part(effect, index - 1),
        keys=tuple(_key(key) for key in pj.items(fields["keys"], f"{FIELD}.keys", COSIGNERS_MAX)),
        path=pj.path(fields["path"], f"{FIELD}.path"),
    )


def _leaf_part(fields: pj.Fields, index: int) -> LeafPart:
    leaf = TIMER_PREFIX_BYTES + pj.document(fields["leaf"], f"{FIELD}.leaf")
    return LeafPart(index, leaf, pj.path(fields["path"], f"{FIELD}.path"))


def _encode_leaf(part: LeafPart) -> pj.Fields:
    return {"leaf": part.leaf[2:].decode("utf-8"), "path": pj.encode_path(part.path)}


def _key(value: Any) -> PublicKey:
    fields = pj.closed(value, f"{FIELD}.keys", "algorithm public")
    try:
        raw = bytes.fromhex(pj.text(fields["public"], f"{FIELD}.keys.public"))
    except ValueError:
        raise MalformedError("proof", "not a key in hex", field=f"{FIELD}.keys") from None
    if raw.hex() != fields["public"]:
        raise MalformedError("proof", "not a key in lower-case hex", field=f"{FIELD}.keys")
    return parse_public_key(pj.number(fields["algorithm"], f"{FIELD}.keys.algorithm"), raw)


def encode_header_part(header: bytes, path: Sequence[Digest]) -> pj.Fields:
    """A header leaf with its inclusion path: {"leaf", "path"}."""
    return {"leaf": header[len(HEADER_PREFIX) :].decode("utf-8"), "path": pj.encode_path(path)}


def parse_header_part(value: object) -> tuple[bytes, tuple[Digest, ...]]:
    """The whole header leaf and its inclusion path."""
    fields = pj.closed(value, "header", "leaf path")
    return HEADER_PREFIX + pj.document(fields["leaf"], "header.leaf"), pj.path(fields["path"], "header.path")
