"""A governed ledger that changed its cosigners twice, with what a proof of a later epoch carries about that."""

from __future__ import annotations

from dataclasses import dataclass, field

from ledger.core import merkle
from ledger.core.config import Config
from ledger.core.hashing import Digest
from ledger.core.keys import COSIGN, Ed25519Signer
from ledger.core.leaf import TYPE_TIMER
from ledger.core.proof import Consistency, EpochEnd, LeafPart, StateProof, Trust, trust_genesis
from tests.models.governed import HOUR_MS, Governed
from tests.models.tiny_ledger import MEMBERS, signer

NOTICE = 24 * HOUR_MS
Pairs = list[tuple[str, Ed25519Signer]]
OLD: Pairs = [(member, signer(member, COSIGN)) for member in MEMBERS]


@dataclass
class Changed:
    """`ends` are heights of the epochs' last blocks; `configs` the config in force in each block; `notes` certificates."""

    ledger: Governed = field(default_factory=Governed)
    sets: list[Pairs] = field(default_factory=lambda: [OLD])
    ends: list[int] = field(default_factory=list)
    notes: dict[int, bytes] = field(default_factory=dict)
    configs: dict[int, Config] = field(default_factory=dict)

    def __post_init__(self) -> None:
        spare, fields = self.ledger.new_key("wj", COSIGN, "spare")
        self.ledger.change("sys.key.add", {"key": spare.public.key_id.hex(), "member": "wj"}, {"key": fields})
        self.certify()
        self.change_set([*OLD[:3], ("wj", spare)])
        self.block()
        self.change_set(OLD[:3])
        self.block()

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self.ledger.app.head.size

    def block(self) -> None:
        """One event more, certified by those in office."""
        self.ledger.block(self.ledger.sign("ga", self.ledger.event()))
        self.certify()

    def certify(self) -> None:
        """The head's certificate by the first three of those in office."""
        self.notes[self.size] = self.ledger.certify_by(self.sets[-1][:3])

    def change_set(self, new: Pairs) -> None:
        """Change the set by vote; the leaving set certifies its last block."""
        names = [name for name, _ in new]
        listed = [[name, key.public.key_id.hex()] for name, key in new]
        # Approvals carry the keys that are in office at the vote: the first three members keep theirs.
        self.ledger.change("sys.set.change", {"member": names}, {"cosigners": listed}, cosign=True, wait_ms=NOTICE + 1)
        self.configs[self.ledger.app.head.height + 1] = self.ledger.app.head.config
        self.ledger.block(ms=1)
        self.certify()
        self.ends.append(self.ledger.app.head.height)
        self.sets.append(new)

    # --- proofs ------------------------------------------------------------------------------------------------------

    def leaves(self, size: int) -> list[Digest]:
        """Leaf hashes of the log of this size."""
        return [merkle.leaf_hash(leaf) for sealed in self.ledger.sealed for leaf in sealed.leaves][:size]

    def nodes(self, wanted: list[merkle.Node], size: int) -> dict[merkle.Node, Digest]:
        """Roots of complete subtrees."""
        hashes = self.leaves(size)
        return {(level, at): merkle.root(hashes[at << level : (at + 1) << level]) for level, at in wanted}

    def part(self, index: int, size: int) -> LeafPart:
        """A leaf of the log with its inclusion path."""
        leaf = [leaf for sealed in self.ledger.sealed for leaf in sealed.leaves][index]
        path = merkle.prove_inclusion(index, size, self.nodes(merkle.inclusion_nodes(index, size), size))
        return LeafPart(index, leaf, tuple(path))

    def consistency(self, old: int, new: int) -> tuple[Digest, ...]:
        """The path between two sizes."""
        return tuple(merkle.prove_consistency(old, new, self.nodes(merkle.consistency_nodes(old, new), new)))

    def end(self, number: int, following: int) -> EpochEnd:
        """The end of an epoch, with the path to the size that follows."""
        sealed = self.ledger.sealed[self.ends[number]]
        size = sealed.size
        leaves = [leaf for each in self.ledger.sealed for leaf in each.leaves][: size - 2]
        announced = max(at for at, leaf in enumerate(leaves) if leaf[0] == TYPE_TIMER)
        return EpochEnd(
            certificate=self.notes[size],
            header=self.part(size - 1, size),
            config=self.configs[sealed.height].encode(),
            announced=self.part(announced, size),
            effect=self.part(size - 2, size),
            keys=tuple(key.public for _, key in self.sets[number + 1]),
            path=self.consistency(size, following),
        )

    def epochs(self, count: int = 2, shown: int | None = None) -> tuple[EpochEnd, ...]:
        """The first `count` ends, leading to the size that is shown (the head's unless said)."""
        sizes = [self.ledger.sealed[height].size for height in self.ends[:count]]
        following = [*sizes[1:], self.size if shown is None else shown]
        return tuple(self.end(number, following[number]) for number in range(count))

    def state_proof(self) -> StateProof:
        """The certified state of the head."""
        header = self.part(self.size - 1, self.size)
        config = self.ledger.app.head.config.encode()
        return StateProof(self.notes[self.size], header.leaf, header.path, config, None, self.epochs())

    def extension(self, old: int) -> Consistency:
        """That the head extends the certified checkpoint of `old`."""
        return Consistency(self.notes[old], self.notes[self.size], self.consistency(old, self.size), self.epochs())

    def trust(self, anchor: bytes | None = None) -> Trust:
        """The trust of somebody who pinned the genesis."""
        return trust_genesis(self.ledger.genesis, self.ledger.now_ms // 1000, anchor=anchor)
