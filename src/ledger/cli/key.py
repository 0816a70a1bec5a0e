"""`ledger key new|show`: key files for members and nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.session import ask_passphrase, open_key, open_settings
from ledger.cli.settings import SettingError
from ledger.cli.tables import fields

if TYPE_CHECKING:
    from ledger.core.keys import PublicKey


@command("new")
@argument("file", type=click.Path())
@option("--encrypt", is_flag=True)
def new(console: Console, file: str, encrypt: bool) -> None:
    """Make a key file."""
    from ledger.adapters.home.keyfile import create_key

    settings = open_settings(console, {})
    passphrase: bytes | None = None
    if encrypt:
        passphrase = settings.passphrase() or ask_passphrase(console, file, twice=True)
    signer = create_key(Path(file), passphrase)
    document = _document(file, signer.public, [])
    document["encrypted"] = encrypt
    console.result(document, _text(console, document))
    console.hint(console.text("key.keep", path=file))


@command("show")
@argument("file", type=click.Path())
@option("--name", "names", multiple=True, metavar="NAME")
@option("--register", "member", metavar="MEMBER")
@option("--origin", metavar="ORIGIN")
@option("--use", type=click.Choice(["event", "cosign", "log", "http", "consensus", "p2p"]), default="event")
@option("--role", "roles", multiple=True, metavar="ROLE")
def show(
    console: Console,
    file: str,
    names: tuple[str, ...],
    member: str | None,
    origin: str | None,
    use: str,
    roles: tuple[str, ...],
) -> None:
    """Show the public half of a key file."""
    signer = open_key(console, open_settings(console, {}), file)
    document = _document(file, signer.public, names)
    if member is None:
        console.result(document, _text(console, document))
        return
    import json

    from ledger.client.governance import key_fields
    from ledger.core.genesis import check_member_id
    from ledger.core.ident import check_origin

    if origin is None:
        raise SettingError("setting-missing", "for which network?", name="origin")
    named = {"member": check_member_id(member), "origin": check_origin(origin)}
    registration = {**key_fields(signer, origin, member, use, roles), **named}
    # The line alone, so that it can be kept in a file or pasted as it is.
    console.result({**document, "registration": registration}, json.dumps(registration, sort_keys=True))
    console.hint(console.text("key.register", key_id=document["key_id"], member=member))


def _document(file: str, public: PublicKey, names: tuple[str, ...] | list[str]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "file": file,
        "algorithm": "Ed25519",
        "public": public.raw.hex(),
        "key_id": public.key_id.hex(),
    }
    if names:
        from ledger.core.cosignature import TYPE_COSIGNATURE
        from ledger.core.note import TYPE_ED25519, encode_vkey

        document["verifier_keys"] = [
            {
                "name": name,
                "log": encode_vkey(name, TYPE_ED25519, public),
                "cosignature": encode_vkey(name, TYPE_COSIGNATURE, public),
            }
            for name in names
        ]
    return document


def _text(console: Console, document: dict[str, Any]) -> str:
    pairs = [(console.text(f"key.{name}"), document[name]) for name in ("file", "algorithm", "public", "key_id")]
    for entry in document.get("verifier_keys", ()):
        pairs.append((console.text("key.vkey-log"), entry["log"]))
        pairs.append((console.text("key.vkey-cosign"), entry["cosignature"]))
    return fields(pairs)
