"""Commits of real CometBFT networks hold, and only as they are (R-N41 to R-N44; made by scripts/make_native_vectors.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ledger.core.keys import ED25519, PublicKey
from ledger.core.nativecommit import ABSENT, COMMIT, NIL, from_rpc, in_order, parse, validators_hash, verify_native
from ledger.errors import VerificationError

ROOT = Path(__file__).resolve().parent.parent.parent
FILE = ROOT / "tests" / "vectors" / "native" / "commits.json"
COMMITS: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["commits"]
BY_NAME = pytest.mark.parametrize("vector", COMMITS, ids=[each["name"] for each in COMMITS])


def keys_of(vector: dict[str, Any]) -> list[PublicKey]:
    """The validators as CometBFT lists them."""
    return [PublicKey(ED25519, bytes.fromhex(raw)) for raw in vector["validators"]]


@BY_NAME
def test_real_commits_hold(vector: dict[str, Any]) -> None:
    """Header hash, validator set, sign bytes and votes are those of the engine itself."""
    native = from_rpc(vector["answer"])
    assert native.header.hash().hex() == vector["header_hash"]
    assert parse(vector["native"].encode()) == native
    assert native.encode() == vector["native"].encode()
    keys = keys_of(vector)
    assert in_order(keys) == keys
    assert validators_hash(keys) == native.header.validators_hash
    verify_native(native, vector["chain_id"], keys, native.header.app_hash)


@BY_NAME
def test_every_real_vote_is_needed_to_hold(vector: dict[str, Any]) -> None:
    """Each vote of a real commit that is changed in one bit is refused."""
    native = from_rpc(vector["answer"])
    for place, vote in enumerate(native.votes):
        if vote.flag == ABSENT:
            continue
        for at in (0, 31, 32, 63):
            signature = bytearray(vote.signature)
            signature[at] ^= 4
            votes = (*native.votes[:place], replace(vote, signature=bytes(signature)), *native.votes[place + 1 :])
            with pytest.raises(VerificationError) as caught:
                verify_native(replace(native, votes=votes), vector["chain_id"], keys_of(vector), native.header.app_hash)
            assert caught.value.code == "native-vote"


def test_the_vectors_show_every_kind() -> None:
    """All flags, a later round, the first height, and a set that changed are among them."""
    natives = [from_rpc(each["answer"]) for each in COMMITS]
    assert {vote.flag for native in natives for vote in native.votes} == {ABSENT, COMMIT, NIL}
    assert any(native.round for native in natives)
    assert any(native.height == 1 for native in natives)
    assert {len(native.votes) for native in natives} == {4, 5}


def test_the_script_checks_the_file_without_the_engine() -> None:
    """`--check` verifies what is checked in; without a binary nothing is written."""
    script = ROOT / "scripts" / "make_native_vectors.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "LEDGER_COMETBFT": "/nowhere"}
    before = FILE.read_bytes()
    for arguments in (["--check"], []):
        done = subprocess.run(
            [sys.executable, script, *arguments],
            check=False,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    assert "no cometbft here" in done.stderr
    assert FILE.read_bytes() == before
