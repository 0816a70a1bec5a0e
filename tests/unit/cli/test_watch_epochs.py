"""`ledger watch` and `ledger proof verify` on a ledger whose cosigners changed, by somebody who pinned the genesis."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

from ledger.cli.exits import Exit
from ledger.core.cosignature import sign_cosignature
from ledger.core.keys import COSIGN, LOG, Ed25519Signer
from ledger.core.note import encode_note, parse_note, sign_note
from ledger.core.tlogproof import TlogProof, encode_tlog_proof
from tests.models.epoch_proofs import Changed
from tests.models.tiny_ledger import signer
from tests.unit.cli.runner import Ran, ledger
from tests.unit.client.server import Answer, Asked, problem, serve

AGE_S = 10**9  # the model's certificates are as old as its clock


@cache
def changed() -> Changed:
    """One ledger for all tests here; none changes it."""
    return Changed()


def answers(asked: Asked, *, epochs: bool = True, wrong: bool = False) -> Answer | None:
    """A node as far as `watch` asks; without `epochs` it does not say how the set changed."""
    made = changed()
    note = made.notes[made.size]
    if asked.path == "/v1/genesis":
        return 200, "application/json", made.ledger.genesis.data
    if asked.path in ("/v1/checkpoint", "/checkpoint"):
        return 200, "text/plain", note
    if asked.path == "/v1/proofs/epochs" and epochs:
        ends = [end.encode() for end in made.epochs()]
        if wrong:
            ends[1] = ends[0]
        return 200, "application/json", json.dumps({"checkpoint": {"note": note.decode()}, "epochs": ends}).encode()
    return problem(404, "path")


def watch(folder: Path, **options: bool) -> Ran:
    """Run the command once, with the genesis pinned."""
    trust = folder / "trust.json"
    trust.write_text(json.dumps({"origin": changed().ledger.origin, "max_age_s": AGE_S}))
    (folder / "genesis.json").write_bytes(changed().ledger.genesis.data)
    with serve(lambda asked: answers(asked, **options)) as url:
        given = ("--trust", trust, "--evidence", folder / "evidence", "--timeout", "5", "--json")
        return ledger("watch", "--once", "--node", url, *given, home=folder)


def test_watch_is_led_to_the_newest_set(tmp_path: Path) -> None:
    """SPEC R-V12: the checkpoint counts under the set of its epoch, here three of three."""
    ran = watch(tmp_path)
    assert ran.code == Exit.OK, ran.out + ran.err
    (seen,) = ran.json["checkpoints"]
    assert (seen["size"], len(seen["cosigners"]), seen["of"]) == (changed().size, 3, 3)


def test_watch_keeps_ends_that_do_not_hold(tmp_path: Path) -> None:
    """SPEC R-V12: an answer that leads to the set in another way is refused, and kept as evidence."""
    ran = watch(tmp_path, wrong=True)
    assert ran.code == Exit.INTEGRITY, ran.out + ran.err
    (kept,) = (tmp_path / "evidence").glob("epochs-*.json")
    assert "epochs" in json.loads(json.loads(kept.read_text())["proof"])


def test_proof_of_a_later_epoch_says_what_anchors_it(tmp_path: Path) -> None:
    """SPEC R-V06, R-V12: with the genesis alone it holds but for the anchor (exit 7); with a later checkpoint it holds."""
    made = changed()
    first = made.ledger.sealed[made.ends[0]].size
    file, genesis, trust = tmp_path / "proof.json", tmp_path / "genesis.json", tmp_path / "trust.json"
    file.write_bytes(made.extension(first).encode())
    genesis.write_bytes(made.ledger.genesis.data)
    ran = ledger("proof", "verify", file, "--genesis", genesis, "--max-age", "none", "--json", home=tmp_path)
    assert (ran.code, ran.json["not_checked"]) == (Exit.INCOMPLETE, ["anchor"]), ran.out + ran.err
    told = ledger("proof", "verify", file, "--genesis", genesis, "--max-age", "none", home=tmp_path)
    assert "ledger watch" in told.out and "anchor" in told.out
    trust.write_text(json.dumps({"origin": made.ledger.origin, "anchor": made.notes[made.size].decode()}))
    ran = ledger("proof", "verify", file, "--trust", trust, "--max-age", "none", "--json", home=tmp_path)
    assert (ran.code, ran.json["not_checked"]) == (Exit.OK, []), ran.out + ran.err


def test_tlog_proof_of_a_later_epoch_is_not_called_broken(tmp_path: Path) -> None:
    """SPEC R-V10, R-V12: the format carries no epoch ends, so log line and path are checked and the rest is said (exit 7);
    with that checkpoint as anchor it holds; a changed leaf, or a line of nobody's, does not."""
    made = changed()
    part = made.part(0, made.size)
    note = signed(made, signer("ga", LOG))
    proof = TlogProof(0, part.path, note, part.leaf)
    file, genesis, trust = tmp_path / "leaf.tlog-proof", tmp_path / "genesis.json", tmp_path / "trust.json"
    file.write_bytes(encode_tlog_proof(proof))
    genesis.write_bytes(made.ledger.genesis.data)
    ran = ledger("proof", "verify", file, "--genesis", genesis, "--json", home=tmp_path)
    assert (ran.code, ran.json["not_checked"]) == (Exit.INCOMPLETE, ["tlog-epochs"]), ran.out + ran.err
    told = ledger("proof", "verify", file, "--genesis", genesis, "--lang", "zh", home=tmp_path)
    assert "ledger proof get receipt" in told.out
    trust.write_text(json.dumps({"origin": made.ledger.origin, "anchor": note.decode()}))
    ran = ledger("proof", "verify", file, "--trust", trust, "--json", home=tmp_path)
    assert (ran.code, ran.json["not_checked"]) == (Exit.OK, []), ran.out + ran.err
    forged = signed(made, signer("stranger", LOG))
    for broken in (replace(proof, extra=part.leaf + b" "), replace(proof, index=1), replace(proof, note=forged)):
        file.write_bytes(encode_tlog_proof(broken))
        ran = ledger("proof", "verify", file, "--trust", trust, "--json", home=tmp_path)
        assert (ran.code, ran.json["verdict"]) == (Exit.INTEGRITY, "broken"), ran.out


def signed(made: Changed, log: Ed25519Signer) -> bytes:
    """The head's checkpoint with the line of `log`, one of the genesis' cosigners and one who came later."""
    text = parse_note(made.notes[made.size]).text
    lines = [sign_note(text, made.ledger.origin, log)]
    when = made.ledger.now_ms // 1000
    for member, key in (("ga", signer("ga", COSIGN)), ("wj", signer("wj spare", COSIGN))):
        lines.append(sign_cosignature(text, member, key, when))
    return encode_note(text, lines)


def test_consistency_of_a_later_epoch_brings_the_ends_along(tmp_path: Path) -> None:
    """SPEC R-V12: what `proof get consistency` writes leads through every change of the set before it, to its own size."""
    made = changed()
    sizes = sorted(made.notes)
    old, new = sizes[0], sizes[-2]  # the second set left at `new` or before

    def node(asked: Asked) -> Answer | None:
        if asked.path.startswith("/v1/certificates/"):
            return 200, "text/plain", made.notes[int(asked.path.rsplit("/", 1)[1])]
        if asked.path == "/v1/proofs/consistency":
            path = [each.hex() for each in made.consistency(int(asked.query["old"]), int(asked.query["new"]))]
            return 200, "application/json", json.dumps({"path": path}).encode()
        return answers(asked)

    file, genesis, trust = tmp_path / "proof.json", tmp_path / "genesis.json", tmp_path / "trust.json"
    genesis.write_bytes(made.ledger.genesis.data)
    trust.write_text(json.dumps({"origin": made.ledger.origin, "anchor": made.notes[new].decode()}))
    with serve(node) as url:
        ran = ledger("proof", "get", "consistency", old, new, "--node", url, "--out", file, home=tmp_path)
        assert ran.code == Exit.OK, ran.out + ran.err
    assert len(json.loads(file.read_text())["epochs"]) == sum(
        made.ledger.sealed[height].size < new for height in made.ends
    )
    ran = ledger("proof", "verify", file, "--trust", trust, "--max-age", "none", "--json", home=tmp_path)
    assert (ran.code, ran.json["not_checked"]) == (Exit.OK, []), ran.out + ran.err
