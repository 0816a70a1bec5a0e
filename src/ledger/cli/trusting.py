"""Decides what a proof is checked against: the network that the user pinned, never one that came with the proof.

Rules: `--trust` is a trust file (origin, anchor, max_age_s), a genesis document, or a node's data directory. The genesis
may lie beside the trust file, be given by `--genesis`, or have been kept by an earlier `watch`: its hash is in the
origin, so its place does not matter. Not here: checking (see `ledger.client.receipt`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ledger.cli.settings import SettingError, Settings, state_folder
from ledger.client.receipt import MAX_AGE_DEFAULT_S, Pinned, pin
from ledger.core.genesis import GENESIS_BYTES_MAX, parse_genesis
from ledger.core.hashing import sha256
from ledger.errors import LedgerError, MalformedError, NotFoundError

GENESIS: Final = "genesis.json"
TRUST_BYTES_MAX: Final = 1024 * 1024


def load_pinned(settings: Settings, genesis_path: str | None) -> Pinned:
    """The pinned network of `--trust` and `--genesis`; `SettingError` where nothing is pinned."""
    text = settings.get("trust") or genesis_path
    if not text:
        text = settings.get("data")
    if not text:
        raise SettingError("trust-missing", "nothing is pinned", name="trust")
    path = Path(text)
    if path.is_dir():
        path = path / GENESIS
    data = _read(path)
    if b'"members"' in data and b'"origin"' not in data[:64]:
        return Pinned(parse_genesis(data))
    return _from_trust(data, path, genesis_path, settings.environment)


def _from_trust(data: bytes, path: Path, genesis_path: str | None, environment: Mapping[str, str]) -> Pinned:
    from ledger.verify.trust import parse_trust

    try:
        trust = parse_trust(data)
    except MalformedError as error:
        raise MalformedError(error.code, error.message, **error.evidence, path=str(path)) from None
    origin = trust.origin or ""
    anchor = trust.known[0].note if trust.known else None
    places = [Path(genesis_path)] if genesis_path else [path.parent / GENESIS, kept_genesis(environment, origin)]
    for place in places:
        if place.is_file():
            genesis = _read(place)
            if genesis_path or sha256(genesis).hex() == origin.rpartition("/")[2]:
                return pin(genesis, origin, anchor=anchor, max_age_s=trust.max_age_s)
    raise NotFoundError(
        "genesis-file", "the genesis of the pinned origin is not at hand", origin=origin, path=str(places[0])
    )


def kept_genesis(environment: Mapping[str, str], origin: str) -> Path:
    """Where the genesis of an origin is kept."""
    return state_folder(environment) / "genesis" / f"{origin.rpartition('/')[2]}.json"


def keep_genesis(environment: Mapping[str, str], origin: str, genesis: bytes) -> None:
    """Keep a genesis whose hash is in `origin`, so that later proofs need no network; failing to is no error."""
    path = kept_genesis(environment, origin)
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(genesis)
    except OSError:
        return


def pinned_or_first(settings: Settings, genesis_path: str | None, fetched: bytes) -> tuple[Pinned, bool]:
    """The pinned network, else the one that the node says it is (True: believed at first sight, which is said)."""
    try:
        return load_pinned(settings, genesis_path), False
    except SettingError as error:
        if error.code != "trust-missing":
            raise
    except LedgerError as error:
        if error.code != "genesis-file":
            raise
        # The origin is pinned and the node has the document: its hash decides.
        origin = str(error.evidence["origin"])
        return pin(fetched, origin), False
    return Pinned(parse_genesis(fetched), None, MAX_AGE_DEFAULT_S), True


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(max(GENESIS_BYTES_MAX, TRUST_BYTES_MAX) + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError("trust-file", "no such file", path=str(path)) from error
    if len(data) > max(GENESIS_BYTES_MAX, TRUST_BYTES_MAX):
        raise SettingError("trust-size", "too large", path=str(path))
    return data
