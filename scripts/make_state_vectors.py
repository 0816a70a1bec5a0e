"""Writes the test vectors of the state map, the streams and the proof files: tests/vectors/state/*.json.

    python scripts/make_state_vectors.py           write the files
    python scripts/make_state_vectors.py --check   write nothing; exit 1 when a file is not what this program makes

Deterministic: fixed seeds and no clock, so that the same code always makes the same bytes. Bytes are hex, files and other
texts are JSON strings; `code` is the error code of ours, for reference: other implementations need only refuse. Each file
names the requirements of docs/SPEC.md that it exercises.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ledger.core import buckets, mapkeys, mapproof, merkle, stream
from ledger.core.cosignature import TYPE_COSIGNATURE
from ledger.core.hashing import Digest
from ledger.core.maptree import MapTree
from ledger.core.note import TYPE_ED25519, encode_vkey
from ledger.core.proof import Consistency, Fork, History, StreamName, trust_genesis, verify_proof
from ledger.core.proofjson import encode_map_proof
from ledger.errors import LedgerError

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "vectors" / "state"
Json = dict[str, Any]


def digest(text: str) -> Digest:
    """A hash of a text, where any 32 bytes would do."""
    return Digest(hashlib.sha256(f"vectors: {text}".encode()).digest())


def code_of(call: Callable[..., object], *arguments: object) -> str:
    """The code with which a call refuses; a vector that is accepted by mistake stops the program."""
    try:
        call(*arguments)
    except LedgerError as error:
        return error.code
    raise SystemExit("a vector of the refused kind was accepted")


def make_keys() -> Json:
    """Map keys and their hashes, value hashes, blinds and blinded objects."""
    streams = [("dataset", "ga/hukou", False), ("dataset", "ga/hukou", True), ("subject", "ga/t:9f00", False)]
    objects = ["grant/ga/0192f5c2-0000-7000-8000-000000000000", "quota/ga/20778", "timer/A3/application/x/y"]
    keys = {
        f"stream {kind}/{name}{'!refused' * refused}": mapkeys.stream_key(kind, name, refused)
        for kind, name, refused in streams
    }
    keys |= {f"object {name}": mapkeys.object_key(name) for name in objects}
    keys |= {"member ga": mapkeys.member_key("ga"), "key": mapkeys.key_key(digest("key"))}
    keys |= {"config": mapkeys.config_key(), "bundle": mapkeys.bundle_key(digest("bundle"))}
    blinds, blind = [], None
    for touch in (digest("genesis"), digest("event 1"), digest("event 2")):
        blind = mapkeys.next_blind(blind, touch)
        blinds.append({"touch": touch.hex(), "blind": blind.hex()})
    value = mapkeys.object_value(digest("blind"), b'{"status":"granted"}')
    refused = {
        "no object": b'{"blind":"%b"}' % (b"0" * 64),
        "upper-case hex": value.replace(digest("blind").hex().encode(), digest("blind").hex().upper().encode()),
        "a list": mapkeys.object_value(digest("blind"), b"[]"),
        "behind it": value + b"\n",
        "above 4 KiB": mapkeys.object_value(digest("blind"), b'{"a":"%b"}' % (b"x" * 4096)),
    }
    return {
        "requirements": ["R-M01", "R-M02", "R-M05", "R-M06"],
        "keys": [{"name": name, "key": key.hex(), "hash": mapkeys.key_hash(key).hex()} for name, key in keys.items()],
        "values": [{"value": data.hex(), "hash": mapkeys.value_hash(data).hex()} for data in (b"", b"v", value)],
        "blinds": blinds,
        "object": {"blind": digest("blind").hex(), "object": '{"status":"granted"}', "value": value.decode()},
        "refused": [
            {"why": why, "value": data.hex(), "code": code_of(mapkeys.parse_object_value, data)}
            for why, data in refused.items()
        ],
    }


def make_buckets() -> Json:
    """Numbers of buckets, places of keys, and what buckets commit to below, at and above 64 pairs."""
    hashes = [digest(f"place {number}") for number in range(4)] + [Digest(bytes(32)), Digest(b"\xff" * 32)]
    counts = (1, 2, 3, 4, 5, 7, 8, 9, 1000, 1024, 1025, 62_500, 2**40 + 1)
    packed = {count: packed_bucket(count) for count in (0, 1, 2, 16, 64, 65, 130)}
    return {
        "requirements": ["R-M03", "R-M04"],
        "counts": [{"keys": keys, "n": buckets.bucket_count(keys)} for keys in (0, 1, 16, 17, 32, 33, 1000, 1_000_000)],
        "places": [
            {"hash": each.hex(), "n": n, "index": buckets.bucket_index(each, n)} for each in hashes for n in counts
        ],
        "buckets": [
            {"pairs": data.hex(), "count": count, "leaf_hash": buckets.bucket_leaf_hash(data).hex()}
            for count, data in packed.items()
        ],
    }


def packed_bucket(count: int) -> bytes:
    """Pairs of one bucket of any map: their hashes begin alike."""
    keys = sorted(bytes(8) + digest(f"pair {number}")[8:] for number in range(count))
    return b"".join(key + digest(key.hex()) for key in keys)


class Map:
    """A map as a node keeps it."""

    def __init__(self) -> None:
        self.tree, self.keys, self.buckets = MapTree.empty(), 0, {0: b""}

    def write(self, changes: dict[Digest, Digest]) -> None:
        """One block."""
        updated = buckets.update(self.tree.size, self.keys, changes, lambda wanted: [self.buckets[at] for at in wanted])
        self.tree.apply(updated.leaf_hashes(), updated.n)
        self.keys = updated.keys
        self.buckets.update(updated.buckets)

    def prove(self, key_hash: Digest) -> Json:
        """The proof about one key, as in a file."""
        index = buckets.bucket_index(key_hash, self.tree.size)
        proof = mapproof.prove_map(key_hash, self.buckets[index], self.tree.inclusion_path(index))
        root, n = self.tree.root(), self.tree.size
        shown = mapproof.verify_map(root, n, self.keys, key_hash, proof)
        return {"key_hash": key_hash.hex(), "value_hash": shown and shown.hex(), "proof": encode_map_proof(proof)}


def make_map() -> Json:
    """Blocks of changes with the state after each, one bucket filled on purpose; then proofs about present keys, absent
    ones at every place, and deleted ones."""
    made = Map()
    ground = [Digest(bytes(8) + digest(f"ground {number}")[8:]) for number in range(70)]
    plain = [digest(f"map key {number}") for number in range(60)]
    batches = [plain[:1], plain[1:16], plain[16:18], plain[18:60], ground, [*plain[:3], ground[5]]]
    blocks = []
    for height, batch in enumerate(batches):
        last = height == len(batches) - 1
        changes = {key: mapkeys.EMPTY_VALUE_HASH if last else digest(f"value {key.hex()}") for key in batch}
        made.write(changes)
        blocks.append(
            {
                "changes": [[key.hex(), value.hex()] for key, value in changes.items()],
                "n": made.tree.size,
                "keys": made.keys,
                "root": made.tree.root().hex(),
            }
        )
    edges = [Digest(bytes(32)), Digest(bytes(8) + b"\xff" * 24), Digest(ground[9][:31] + bytes([ground[9][31] ^ 1]))]
    shown = [plain[0], plain[30], digest("absent"), ground[0], ground[5], *edges]
    return {
        "requirements": ["R-M03", "R-M04", "R-M07"],
        "blocks": blocks,
        "proofs": [made.prove(key) for key in shown],
    }


def make_stream() -> Json:
    """Blocks of records that join one stream, and its value after each; values that are none."""
    blocks, value, tree, seq = [], None, merkle.EMPTY_RANGE, 1
    for height, count in enumerate((1, 1, 3, 2, 9), 1):
        seqs = [seq + 2 * at for at in range(count)]
        seq = seqs[-1] + 3
        hashes = [digest(f"leaf {number}") for number in seqs]
        touch = digest(f"event of {seqs[-1]}")
        value, tree = stream.advance(value, tree, seqs, hashes, 1_795_248_000_000 + height, [touch])
        blocks.append(
            {
                "seqs": seqs,
                "leaf_hashes": [each.hex() for each in hashes],
                "time": value.time,
                "touch": touch.hex(),
                "value": value.encode().decode(),
            }
        )
    good = str(blocks[-1]["value"]).encode()
    refused = {
        "leading zero": good.replace(b'"first":1', b'"first":01'),
        "white space": good.replace(b",", b", ", 1),
        "no record": good.replace(b'"size":16', b'"size":0'),
        "more records than places": good.replace(b'"last":', b'"last":1').replace(b'"size":16', b'"size":900000'),
        "one record, two places": good.replace(b'"size":16', b'"size":1'),
        "beyond 2^53 - 1": good.replace(b'"time":1795248000005', b'"time":9007199254740992'),
        "unknown field": good.replace(b'"time"', b'"time":1,"tomb"'),
    }
    return {
        "requirements": ["R-S01", "R-S04", "R-M05"],
        "blocks": blocks,
        "refused": [
            {"why": why, "value": data.decode(), "code": code_of(stream.parse_stream_value, data)}
            for why, data in refused.items()
        ],
    }


def make_proofs() -> Json:
    """One file of each kind over a small ledger, what it shows, and files that are refused."""
    sys.path.insert(0, str(ROOT))  # the small ledger is the tests' own, made without the machine that it judges
    small: Any = importlib.import_module("tests.models.small_ledger")
    members, made = small.MEMBERS, small.SmallLedger()
    made.fill(40)
    made.block("ga", [made.event(content={"n": number, "purpose": "人口统计"}) for number in range(4)])
    made.block("fa", [made.event(data_subjects=["t:9f00"])], extra=(("finding", "d809/39-4"),))
    made.block("fa", [made.event()], refused=True, timers=["timer/a3/dataset/ga/hukou"])
    made.fill(70, into=mapkeys.stream_key("dataset", "none", refused=False))
    made.block("ga", [made.event()])
    dataset = StreamName("dataset", "ga/hukou")
    trust = trust_genesis(made.genesis, made.now_s + 30)
    record = made.streams[dataset][1][2]
    levels = ("full", "head", "record", "hash")
    whole, part = made.completeness(dataset), made.completeness(dataset, 1, 6, levels)
    history = History(6, made.consistency(6))
    good: dict[str, Any] = {
        "receipt": made.receipt(record),
        "receipt, body withheld": made.receipt(record, body=False),
        "receipt, key from genesis": made.receipt(record, registered=False),
        "completeness": whole,
        "completeness, part at all levels": part,
        "completeness, refused twin": made.completeness(replace(dataset, refused=True)),
        "completeness, no such stream": made.completeness(StreamName("dataset", "no")),
        "completeness, path to a remembered checkpoint": replace(whole, state=replace(whole.state, history=history)),
        "absence in a filled bucket": made.absence("dataset", "none"),
        "consistency": Consistency(made.note(6), made.note(), made.consistency(6)),
        "fork": Fork(made.note(by=members[:3]), made.note(by=members[1:], root=digest("other"))),
    }
    signature = good["receipt"].submission
    refused: dict[str, Any] = {
        "an entry left out": replace(whole, entries=whole.entries[1:], begin=1),
        "two entries swapped": replace(whole, entries=(whole.entries[1], whole.entries[0], *whole.entries[2:])),
        "a stream denied": made.absence("dataset", "ga/hukou"),
        "two cosigners of four": replace(whole, state=replace(whole.state, certificate=made.note(by=members[:2]))),
        "another state's header": replace(whole, state=replace(whole.state, header=made.leaves[0])),
        "another body": replace(good["receipt"], body=made.streams[dataset][1][1].event.body),
        "another signature": replace(good["receipt"], submission=replace(signature, signature=bytes(64))),
        "no fork": Fork(made.note(by=members[:3]), made.note(by=members[1:])),
        "shortened path": replace(good["consistency"], path=good["consistency"].path[:-1]),
    }
    return {
        "requirements": ["R-V01", "R-V02", "R-V03", "R-V04", "R-V05", "R-V06", "R-M07"],
        "trust": {
            "origin": made.origin,
            "genesis": made.genesis.data.decode(),
            "log_keys": [encode_vkey(made.origin, TYPE_ED25519, small.signer("ba", "log").public)],
            "cosigners": [encode_vkey(name, TYPE_COSIGNATURE, key) for name, key in trust.cosigners],
            "now_s": trust.now_s,
            "max_age_s": trust.max_age_s,
        },
        "accepted": [
            {
                "name": name,
                "file": proof.encode().decode(),
                "not_checked": not_checked(verify_proof(proof.encode(), trust)),
            }
            for name, proof in good.items()
        ],
        "counts": {
            name: counted(verify_proof(proof.encode(), trust), levels)
            for name, proof in good.items()
            if name.startswith("completeness")
        },
        "stale_at_s": made.now_s + 601,
        "refused": [
            {"why": why, "file": proof.encode().decode(), "code": code_of(verify_proof, proof.encode(), trust)}
            for why, proof in refused.items()
        ],
    }


def counted(result: Any, levels: Sequence[str]) -> Json:
    """How many entries a result saw at each level."""
    return {level: getattr(result.counts, level) for level in levels}


def not_checked(result: Any) -> list[str]:
    """What a result leaves open."""
    return list(getattr(result, "not_checked", ()))


FILES: dict[str, Callable[[], Json]] = {
    "keys": make_keys,
    "buckets": make_buckets,
    "map": make_map,
    "stream": make_stream,
    "proofs": make_proofs,
}


def main(arguments: list[str]) -> int:
    """Write the files, or compare them."""
    sys.path.insert(0, str(ROOT))
    vectors: Any = importlib.import_module("scripts.make_vectors")
    found: int = vectors.write_or_compare("scripts/make_state_vectors.py", FOLDER, FILES, arguments)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
