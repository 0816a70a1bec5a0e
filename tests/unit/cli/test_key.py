"""`ledger key`: files, public halves, passphrases."""

from __future__ import annotations

import stat
from pathlib import Path

from ledger.adapters.home.keyfile import read_key, write_key
from ledger.cli.exits import Exit
from ledger.core.note import parse_vkey
from tests.unit.cli.runner import ledger


def test_a_new_key_is_shown_and_kept_private(tmp_path: Path) -> None:
    """The document names file, public key and key id; the file is 0600 and holds that key; the seed is never printed."""
    path = tmp_path / "a.key"
    ran = ledger("key", "new", path, "--json")
    assert ran.code == 0 and stat.S_IMODE(path.stat().st_mode) == 0o600
    signer = read_key(path)
    assert ran.json["public"] == signer.public.raw.hex() and ran.json["key_id"] == signer.public.key_id.hex()
    assert ledger("key", "new", path).code == Exit.CONFLICT


def test_verifier_keys_are_those_of_other_tools(tmp_path: Path) -> None:
    """--name adds the C2SP verifier keys for log and cosignature lines."""
    write_key(tmp_path / "a.key", bytes(range(32)))
    entry = ledger("key", "show", tmp_path / "a.key", "--name", "ga", "--json").json["verifier_keys"][0]
    assert parse_vkey(entry["log"])[:2] == ("ga", 1) and parse_vkey(entry["cosignature"], (4,))[:2] == ("ga", 4)


def test_an_encrypted_key_takes_its_passphrase_from_the_secrets(tmp_path: Path) -> None:
    """With a secrets directory the key is encrypted and opened without a question; without one exit 2 or 1 says so."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "passphrase").write_text("open sesame\n")
    env = {"LEDGER_SECRETS_DIR": str(secrets)}
    path = tmp_path / "a.key"
    assert ledger("key", "new", path, "--encrypt", env=env).code == 0
    assert b"ENCRYPTED" in path.read_bytes()
    assert ledger("key", "show", path, env=env).code == 0
    refused = ledger("key", "show", path)
    assert refused.code == Exit.OPERATIONAL and "[key-passphrase]" in refused.err
    asked = ledger("key", "new", tmp_path / "b.key", "--encrypt", "--json")
    assert asked.code == Exit.USAGE and asked.json["error"]["code"] == "passphrase-missing"
    assert not (tmp_path / "b.key").exists()


def test_a_key_for_all_to_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The error says which file, its mode and the command that mends it."""
    write_key(tmp_path / "a.key", bytes(range(32)))
    (tmp_path / "a.key").chmod(0o644)
    ran = ledger("key", "show", tmp_path / "a.key")
    assert ran.code == Exit.OPERATIONAL and "0644" in ran.err and f"chmod 600 {tmp_path / 'a.key'}" in ran.err
