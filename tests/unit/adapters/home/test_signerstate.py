"""The signer's memory: it survives torn writes, and refuses every copy, backup and step back."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ledger.adapters.home import signerstate
from ledger.adapters.home.signerstate import SLOT_BYTES, SignerState
from ledger.core.hashing import Digest, sha256
from ledger.errors import FatalError

ORIGIN = "test/" + "0" * 64
KEY = sha256(b"key")
ROOT = [sha256(b"root %d" % number) for number in range(9)]


def make(path: Path) -> SignerState:
    return SignerState.create(path, ORIGIN, KEY)


def test_state_survives_reopening(tmp_path: Path) -> None:
    """SPEC R-Q11: what was locked last is read back, with file mode 0600."""
    path = tmp_path / "signer.state"
    make(path).advance(7, ROOT[7], 1_000)
    assert (path.stat().st_mode & 0o777) == 0o600
    signed = SignerState(path, ORIGIN, KEY).signed
    assert (signed.size, signed.root, signed.time) == (7, ROOT[7], 1_000)


def test_steps_back_and_second_roots_are_refused(tmp_path: Path) -> None:
    """SPEC R-Q10: a smaller size, or the same size with another root, would be a second history."""
    state = make(tmp_path / "signer.state")
    state.advance(5, ROOT[5], 1)
    for size, root in ((4, ROOT[4]), (5, ROOT[6])):
        with pytest.raises(FatalError) as caught:
            state.advance(size, root, 2)
        assert caught.value.code == "signer-rule"
    state.advance(5, ROOT[5], 3)
    assert state.signed.time == 3


def test_torn_write_leaves_the_state_before(tmp_path: Path) -> None:
    """SPEC R-Q11: whatever part of the newer slot reached the disk, the state is one of the last two."""
    path = tmp_path / "signer.state"
    state = make(path)
    state.advance(5, ROOT[5], 1)
    before = path.read_bytes()
    state.advance(6, ROOT[6], 2)
    after = path.read_bytes()
    slot = next(at for at in (0, SLOT_BYTES) if before[at : at + SLOT_BYTES] != after[at : at + SLOT_BYTES])
    for torn in range(0, SLOT_BYTES, 7):
        cut = slot + torn
        with path.open("r+b") as file:
            file.write(before[:slot] + after[slot:cut] + before[cut:])
        assert SignerState(path, ORIGIN, KEY).signed.size in (5, 6)


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    """SPEC R-Q14: a damaged slot is never believed: the other one counts, or the file is refused."""
    path = tmp_path / "signer.state"
    state = make(path)
    state.advance(5, ROOT[5], 1)
    good = path.read_bytes()
    for at in range(0, len(good), 3):
        data = bytearray(good)
        data[at] ^= 0x41
        with path.open("r+b") as file:
            file.write(bytes(data))
        try:
            size = SignerState(path, ORIGIN, KEY).signed.size
        except FatalError:
            continue
        assert size in (0, 5)


@pytest.mark.parametrize("copy", ["copied file", "missing file", "other key", "other origin"])
def test_a_key_without_its_own_state_never_signs(tmp_path: Path, copy: str) -> None:
    """SPEC R-Q14: a copy (another inode), a missing file, another key's or network's state are all refused."""
    path = tmp_path / "signer.state"
    make(path).advance(5, ROOT[5], 1)
    origin, key = ORIGIN, KEY
    if copy == "copied file":
        moved = tmp_path / "backup"
        shutil.copy(path, moved)
        path = moved
    elif copy == "missing file":
        path.unlink()
    elif copy == "other key":
        key = Digest(sha256(b"other"))
    else:
        origin = "other/" + "0" * 64
    with pytest.raises(FatalError):
        SignerState(path, origin, key)


def test_state_is_made_once(tmp_path: Path) -> None:
    """A second `create` refuses the existing file, so that nobody resets what was signed."""
    make(tmp_path / "signer.state")
    with pytest.raises(FileExistsError):
        make(tmp_path / "signer.state")


@pytest.mark.parametrize("text", ["", "\n", "uninitialized\n"])
def test_a_machine_without_an_id_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """An image's empty or `uninitialized` machine-id is the same on every machine: the host name stands in for it."""
    (tmp_path / "machine-id").write_text(text)
    monkeypatch.setattr(signerstate, "MACHINE_ID", tmp_path / "machine-id")
    path = tmp_path / "signer.state"
    make(path).close()
    with monkeypatch.context() as other:
        other.setattr(os, "uname", lambda: SimpleNamespace(nodename="another"))
        with pytest.raises(FatalError) as caught:
            SignerState(path, ORIGIN, KEY)
    assert caught.value.code == "signer-state-foreign"
    SignerState(path, ORIGIN, KEY).close()
