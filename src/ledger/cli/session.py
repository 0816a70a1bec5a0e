"""What commands that talk to a node share: the options --node, --data and --timeout, and the client they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ledger.cli.command import option
from ledger.cli.output import Console
from ledger.cli.settings import SettingError, Settings

if TYPE_CHECKING:
    from ledger.client.http import NodeClient
    from ledger.core.keys import Ed25519Signer

_Function = TypeVar("_Function", bound=Callable[..., Any])


def node_options(function: _Function) -> _Function:
    """Adds --node, --data and --timeout."""
    for name in ("timeout", "data", "node"):
        function = option(f"--{name}", name, metavar={"node": "URL", "data": "DIR", "timeout": "SECONDS"}[name])(
            function
        )
    return function


def open_settings(console: Console, flags: Mapping[str, str | None]) -> Settings:
    """Settings of this call; `flags` by setting name."""
    return Settings(console.environment, flags)


def open_client(console: Console, settings: Settings) -> NodeClient:
    """A client of the node that the settings name."""
    from ledger.client.http import NodeClient

    return NodeClient(
        settings.need("node"),
        timeout_s=settings.timeout_s(),
        language=console.language,
        reader_token=settings.get("reader-token"),
    )


def open_key(console: Console, settings: Settings, path: str) -> Ed25519Signer:
    """The signer of a key file; asks for the passphrase where one is needed and a person is there."""
    from ledger.adapters.home.keyfile import read_key
    from ledger.errors import RejectedError

    passphrase = settings.passphrase()
    try:
        return read_key(Path(path), passphrase)
    except RejectedError as error:
        if error.code != "key-passphrase" or passphrase is not None or not _can_ask(console):
            raise
    return read_key(Path(path), ask_passphrase(console, path))


def ask_passphrase(console: Console, path: str, *, twice: bool = False) -> bytes:
    """A passphrase from the terminal, never echoed; asked on stderr, so that stdout stays the result's."""
    import getpass

    if not _can_ask(console):
        raise SettingError("passphrase-missing", "no passphrase and nobody to ask", path=path)
    first = getpass.getpass(f"{console.text('ask.passphrase', path=path)}: ", stream=console.err)
    if twice and first != getpass.getpass(f"{console.text('ask.passphrase-again')}: ", stream=console.err):
        raise SettingError("passphrase-differs", "the two passphrases differ", path=path)
    if not first:
        raise SettingError("passphrase-missing", "the passphrase is empty", path=path)
    return first.encode("utf-8")


def _can_ask(console: Console) -> bool:
    import sys

    return sys.stdin is not None and sys.stdin.isatty() and not console.as_json


def new_file(path: str) -> Path:
    """`path` as a file that does not exist yet; `SettingError` (code `output-exists`) else: results overwrite nothing."""
    found = Path(path)
    if found.exists():
        raise SettingError("output-exists", "the file exists already", path=path)
    return found


def write_result(path: str, data: bytes) -> Path:
    """Write a result to a new file."""
    found = new_file(path)
    with found.open("xb") as file:
        file.write(data)
    return found


def read_input(path: str, bytes_max: int) -> bytes:
    """The bytes of a file, or of standard input for `-`, at most `bytes_max`."""
    import sys

    from ledger.errors import MalformedError, NotFoundError

    try:
        if path == "-":
            data = sys.stdin.buffer.read(bytes_max + 1)
        else:
            with Path(path).open("rb") as file:
                data = file.read(bytes_max + 1)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError("input-file", "no such file", path=path) from error
    if len(data) > bytes_max:
        raise MalformedError("input-size", "the file is too large", path=path, limit=bytes_max)
    return data
