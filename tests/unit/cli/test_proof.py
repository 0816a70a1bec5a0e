"""`ledger proof verify`: what holds is 0, what does not is 6, what holds but is not enough is 7."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.cli.exits import Exit
from ledger.core.proof import Consistency, Fork
from ledger.core.tlogproof import TlogProof, encode_tlog_proof
from tests.models.small_ledger import SmallLedger, make_genesis
from tests.unit.cli.runner import ledger


@pytest.fixture(scope="module")
def small() -> SmallLedger:
    """A ledger of a few blocks."""
    made = SmallLedger()
    made.block("ga", [made.event(refs={"dataset": "ga/hukou"}), made.event(refs={"dataset": "ga/hukou"})])
    made.block("fa", [made.event(refs={"dataset": "ga/hukou"})], refused=True)
    return made


@pytest.fixture(scope="module")
def place(small: SmallLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the genesis, a trust file that pins it, and one proof of each kind."""
    folder = tmp_path_factory.mktemp("proofs")
    (folder / "genesis.json").write_bytes(small.genesis.data)
    (folder / "trust.json").write_text(json.dumps({"origin": small.origin}))
    entry = small.streams[next(name for name in small.streams if name.id == "ga/hukou" and not name.refused)][1][0]
    (folder / "receipt.json").write_bytes(small.receipt(entry).encode())
    (folder / "bare.json").write_bytes(small.receipt(entry, registered=False, body=False).encode())
    name = next(name for name in small.streams if name.id == "ga/hukou" and not name.refused)
    (folder / "complete.json").write_bytes(small.completeness(name).encode())
    (folder / "absent.json").write_bytes(small.absence("dataset", "ga/none").encode())
    old = small.note(1)
    (folder / "extends.json").write_bytes(Consistency(old, small.note(), small.consistency(1)).encode())
    other = small.note(root=small.root(1))
    (folder / "fork.json").write_bytes(Fork(small.note(), other).encode())
    tlog = TlogProof(entry.seq, small.inclusion(entry.seq), small.note(), entry.leaf)
    (folder / "leaf.tlog-proof").write_bytes(encode_tlog_proof(tlog))
    return folder


def verify(place: Path, name: str, *more: object) -> tuple[int, dict]:
    """Exit code and document of verifying a file of `place`."""
    ran = ledger("proof", "verify", place / name, "--trust", place / "trust.json", "--json", *more, home=place)
    assert ran.json["exit_code"] == ran.code and ran.json["ok"] is (ran.code == 0)
    return ran.code, ran.json


def test_a_receipt_holds_and_says_what_was_recorded(place: Path, small: SmallLedger) -> None:
    """The document names event, place, verdict, key and certificate."""
    code, document = verify(place, "receipt.json")
    assert code == 0 and document["verdict"] == "holds" and document["not_checked"] == []
    assert document["member"] == "ga" and document["verdict_recorded"] == {"outcome": "accepted"}
    assert document["certification"]["size"] == small.size and document["origin"] == small.origin


def test_what_could_not_be_checked_is_exit_7(place: Path) -> None:
    """A receipt without the key's registration holds, but whether the key was revoked is not shown: 7, and said."""
    code, document = verify(place, "bare.json")
    assert code == Exit.INCOMPLETE and document["verdict"] == "incomplete" and document["not_checked"] == ["revocation"]
    plain = ledger("proof", "verify", place / "bare.json", "--trust", place / "trust.json")
    assert "Not checked:" in plain.out and "[revocation]" in plain.out


def test_fresh_answers_have_an_age(place: Path) -> None:
    """Completeness and absence speak of now: old ones are 7 `stale` unless the user accepts their age."""
    for name, kind in (("complete.json", "completeness"), ("absent.json", "absence")):
        code, document = verify(place, name)
        assert code == Exit.INCOMPLETE and document["error"]["code"] in ("stale", "clock")
        code, document = verify(place, name, "--max-age", "none")
        if document.get("error", {}).get("code") != "clock":
            assert code == 0 and document["kind"] == kind


def test_consistency_holds_and_a_fork_is_6(place: Path) -> None:
    """An extension is 0; evidence of a fork is true, and therefore an integrity finding that names who signed both."""
    assert verify(place, "extends.json")[0] == 0
    code, document = verify(place, "fork.json")
    assert code == Exit.INTEGRITY and document["verdict"] == "fork"
    assert {entry["name"] for entry in document["guilty"]} >= {"ba", "fa", "ga"}


def test_a_tlog_proof_of_another_tool_is_read(place: Path) -> None:
    """A C2SP tlog-proof that carries its leaf is checked too."""
    code, document = verify(place, "leaf.tlog-proof")
    assert code == 0 and document["kind"] == "tlog-proof"


def test_every_flipped_byte_is_noticed(place: Path, tmp_path: Path) -> None:
    """No change of a receipt's byte gives exit 0, and each gives exit 6 with one document."""
    data = bytearray((place / "receipt.json").read_bytes())
    for at in range(0, len(data), max(1, len(data) // 60)):
        data[at] ^= 1
        path = tmp_path / "changed.json"
        path.write_bytes(data)
        data[at] ^= 1
        ran = ledger("proof", "verify", path, "--trust", place / "trust.json", "--json", home=place)
        assert ran.code == Exit.INTEGRITY, (at, ran.out)
        assert ran.json["verdict"] == "broken"


def test_another_networks_proof_is_refused(place: Path, tmp_path: Path) -> None:
    """Pinned to another genesis, nothing holds."""
    other = SmallLedger(make_genesis("other"))
    (tmp_path / "genesis.json").write_bytes(other.genesis.data)
    ran = ledger("proof", "verify", place / "receipt.json", "--trust", tmp_path, "--json")
    assert ran.code == Exit.INTEGRITY


def test_trust_may_be_a_genesis_a_folder_or_a_pinned_origin(place: Path, tmp_path: Path) -> None:
    """The genesis may lie anywhere, for its hash is in the origin; a wrong one is refused, a missing one is told."""
    for trust in (place / "genesis.json", place):
        assert ledger("proof", "verify", place / "receipt.json", "--trust", trust).code == 0
    alone = tmp_path / "trust.json"
    alone.write_text((place / "trust.json").read_text())
    ran = ledger("proof", "verify", place / "receipt.json", "--trust", alone, home=tmp_path, env={})
    assert ran.code == Exit.NOT_FOUND and "[genesis-file]" in ran.err
    given = ("--trust", alone, "--genesis", place / "genesis.json")
    assert ledger("proof", "verify", place / "receipt.json", *given, home=tmp_path).code == 0
    (tmp_path / "wrong.json").write_bytes(SmallLedger(make_genesis("other")).genesis.data)
    given = ("--trust", alone, "--genesis", tmp_path / "wrong.json")
    assert ledger("proof", "verify", place / "receipt.json", *given, home=tmp_path).code == Exit.INTEGRITY


def test_words_are_there_in_both_languages(place: Path) -> None:
    """Each kind of proof is told in zh and en, without a text missing."""
    for name in ("receipt.json", "bare.json", "extends.json", "fork.json", "leaf.tlog-proof", "complete.json"):
        for language in ("zh", "en"):
            ran = ledger(
                "proof", "verify", place / name, "--trust", place, "--max-age", "none", "--lang", language, home=place
            )
            assert ran.out and "proof." not in ran.out and "unchecked." not in ran.out, (name, ran.out)


@pytest.mark.parametrize(
    "names", [["receipt", "a/b", "c"], ["completeness", "dataset"], ["consistency", "a", "b"], ["inclusion", "x"]]
)
def test_names_that_do_not_fit_a_proof_are_usage(names: list[str]) -> None:
    """`proof get` says what each kind needs before it asks a node."""
    ran = ledger("proof", "get", *names)
    assert ran.code == Exit.USAGE and "proof" in ran.err
