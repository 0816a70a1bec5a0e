"""`ledger doctor`: what usually is wrong when a node does not work, checked one by one, each with what to do.

Exit codes: 0 nothing wrong, 1 something is; warnings alone stay 0. Without `--data` only what concerns a client is
checked. Not here: the ledger itself (see `ledger verify`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger.cli.command import command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings
from ledger.cli.settings import SettingError, Settings
from ledger.cli.tables import screen_columns, table
from ledger.errors import LedgerError

if TYPE_CHECKING:
    from ledger.adapters.home.nodefile import NodeSettings

OK, WARNING, FAULT = "ok", "warning", "fault"
FSYNC_SLOW_MS: Final = 50.0
FSYNC_TRIES: Final = 5
SKEW_WARNING_S: Final = 5.0
SKEW_FAULT_S: Final = 60.0
STALE_S: Final = 180.0
WAL_LARGE_BYTES: Final = 256 * 1024 * 1024
DAMAGES_SHOWN: Final = 20
DISK_SMALL_BYTES: Final = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, `ok`, `warning` or `fault`, and what was found."""

    name: str
    state: str
    found: str


@command("doctor")
@option("--scrub", is_flag=True)
@node_options
def doctor(console: Console, scrub: bool, **connection: str | None) -> None:
    """Look for what usually is wrong."""
    settings = open_settings(console, connection)
    checks: list[Check] = []
    data = settings.get("data")
    if data is not None:
        checks += _guarded("data-dir", lambda: list(_data_dir(Path(data))))
        if scrub:
            checks += _guarded("stored", lambda: list(_stored(Path(data))))
    elif scrub:
        raise SettingError("setting-missing", "a scrub reads a data directory", name="data")
    checks += _guarded("node", lambda: list(_node(console, settings)))
    worst = FAULT if any(check.state == FAULT for check in checks) else OK
    rows = [
        (console.mark(check.state != FAULT), _title(console, check), console.text(f"doctor.{check.state}"), check.found)
        for check in checks
    ]
    head = ["", *(console.text(f"doctor.{name}") for name in ("check", "state", "found"))]
    lines = [table(rows, head, screen_columns(console.out, console.environment))]
    for name, advice in dict.fromkeys(_advice(console, check) for check in checks if check.state != OK):
        if advice:
            lines.append(f"{name}: {advice}")
    lines.append(console.text("doctor.sick" if worst == FAULT else "doctor.healthy"))
    document = {
        "healthy": worst != FAULT,
        "checks": [{"name": check.name, "state": check.state, "found": check.found} for check in checks],
    }
    console.result(document, "\n".join(lines), Exit.OPERATIONAL if worst == FAULT else Exit.OK)


def _title(console: Console, check: Check) -> str:
    return console.text(f"doctor.name.{check.name}")


def _advice(console: Console, check: Check) -> tuple[str, str]:
    """(what it is for, what to do): by the error code where a node tells one, else by the check; each is said once."""
    title = _title(console, check)
    code = check.found.partition(" ")[0]
    found = console.texts.find(f"{code}.do", "errors") if check.name == "alarm" else None
    if found is not None and "{" not in found:
        return f"{title} {code}", found
    return title, console.texts.find(f"doctor.do.{check.name}") or ""


def _guarded(name: str, run: Callable[[], list[Check]]) -> list[Check]:
    """The checks of `run`; an error is one more finding, never the end of the examination."""
    try:
        return run()
    except (LedgerError, OSError) as error:
        return [Check(name, FAULT, str(error))]


def _data_dir(folder: Path) -> Iterator[Check]:
    from ledger.adapters.home.nodefile import read_settings

    settings = read_settings(folder)
    yield Check("data-dir", OK, f"{folder} ({settings.role}, {settings.url})")
    for name, look in (
        ("file-modes", _modes),
        ("keys", _keys),
        ("fsync", _fsync),
        ("disk-space", _space),
        ("database", _database),
        ("signer-state", _states),
    ):
        yield from _guarded(name, lambda look=look: list(look(folder)))  # type: ignore[misc]
    yield from _peers(settings)


def _modes(folder: Path) -> Iterator[Check]:
    """Secrets that others may read."""
    from ledger.adapters.home.comethome import HOME, SECRETS

    single = [folder / "token", *(folder / HOME / name for name in SECRETS)]
    secrets = [*sorted((folder / "keys").glob("*.key")), *(path for path in single if path.exists())]
    open_ones = [path for path in secrets if path.stat().st_mode & 0o077]
    if open_ones:
        listed = ", ".join(f"{path.name} {stat.S_IMODE(path.stat().st_mode):04o}" for path in open_ones)
        yield Check("file-modes", FAULT, listed)
    else:
        yield Check("file-modes", OK, f"{len(secrets)} x 0600")


def _keys(folder: Path) -> Iterator[Check]:
    """Keys that can be read and used."""
    from ledger.adapters.home.keyfile import read_key

    names = []
    for path in sorted((folder / "keys").glob("*.key")):
        try:
            signer = read_key(path)
            signer.public.verify(b"doctor", signer.sign(b"doctor"))
            names.append(path.stem)
        except LedgerError as error:
            # An encrypted key is sound; only its passphrase is not here.
            yield Check("keys", WARNING if error.code == "key-passphrase" else FAULT, f"{path.name}: {error.message}")
    yield Check("keys", OK if names else FAULT, ", ".join(names) or "-")


def _fsync(folder: Path) -> Iterator[Check]:
    """How long the disk takes to make 4 KiB durable: every commit waits for it."""
    path = folder / f".doctor-{os.getpid()}"
    times: list[float] = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(FSYNC_TRIES):
            os.write(fd, bytes(4096))
            began = time.perf_counter()
            os.fsync(fd)
            times.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(fd)
        path.unlink()
    median = sorted(times)[len(times) // 2]
    yield Check("fsync", WARNING if median > FSYNC_SLOW_MS else OK, f"{median:.1f} ms (max {max(times):.1f})")


def _space(folder: Path) -> Iterator[Check]:
    free = shutil.disk_usage(folder).free
    yield Check("disk-space", WARNING if free < DISK_SMALL_BYTES else OK, f"{free / 2**30:.1f} GiB")


def _database(folder: Path) -> Iterator[Check]:
    """Schema version and size of the write-ahead log."""
    import sqlite3

    path = folder / "ledger.sqlite"
    if not path.exists():
        yield Check("database", FAULT, "ledger.sqlite -")
        return
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    except sqlite3.DatabaseError as error:
        yield Check("database", FAULT, str(error))
        return
    finally:
        connection.close()
    yield Check("database", OK, f"{path.stat().st_size / 2**20:.1f} MiB, journal {mode}")
    yield Check("schema", *_schema(int(version)))
    wal = path.with_name(path.name + "-wal")
    size = wal.stat().st_size if wal.exists() else 0
    yield Check("wal", WARNING if size > WAL_LARGE_BYTES else OK, f"{size / 2**20:.1f} MiB")


def _stored(folder: Path) -> Iterator[Check]:
    """Every stored byte against its hashes and indexes; reads all of the ledger, also that of a running node."""
    from ledger.adapters.sqlite.reader import SqliteReader
    from ledger.adapters.sqlite.scrub import scrub

    reader = SqliteReader(folder / "ledger.sqlite")
    try:
        with reader.snapshot() as snap:
            damages = [str(error) for error in scrub(snap)]
            whole = f"{snap.head_height + 1} blocks, {snap.head_size} leaves"
    finally:
        reader.close()
    for found in damages[:DAMAGES_SHOWN]:
        yield Check("stored", FAULT, found)
    if len(damages) > DAMAGES_SHOWN:
        yield Check("stored", FAULT, f"+ {len(damages) - DAMAGES_SHOWN}")
    if not damages:
        yield Check("stored", OK, whole)


def _schema(version: int) -> tuple[str, str]:
    """State and words for the stored schema against the one this software writes."""
    import importlib

    try:
        module = importlib.import_module("ledger.adapters.sqlite.schema")
    except ImportError as error:
        return WARNING, f"{version} ({error})"
    known = next(
        (
            getattr(module, name)
            for name in ("SCHEMA_VERSION", "VERSION")
            if isinstance(getattr(module, name, None), int)
        ),
        None,
    )
    if known is None:
        return OK, f"user_version {version}"
    return (FAULT if version > known else OK), f"{version} (software: {known})"


def _states(folder: Path) -> Iterator[Check]:
    """A signer state for every key that signs checkpoints."""
    for key, state in (("cosign", "signer.state"), ("log", "log.state")):
        if (folder / "keys" / f"{key}.key").exists():
            present = (folder / state).exists()
            yield Check("signer-state", OK if present else FAULT, f"{state} {'' if present else '-'}".strip())


def _peers(settings: NodeSettings) -> Iterator[Check]:
    """Each other node, asked as this node would ask it."""
    from ledger.adapters.ordering.peers import Peer

    for url in settings.peers:
        try:
            began = time.perf_counter()
            answer = Peer(url, settings.links).request("GET", "/healthz", timeout_s=3)
            took = f"{(time.perf_counter() - began) * 1000:.0f} ms"
            yield Check("peer", OK if answer.status == 200 else WARNING, f"{url} {took} (status {answer.status})")
        except LedgerError as error:
            yield Check("peer", WARNING, f"{url}: {error.message} {error.evidence.get('reason', '')}".strip())


def _node(console: Console, settings: Settings) -> Iterator[Check]:
    """The node's own readiness, and how far its clock is from ours."""
    from ledger.cli.node import readiness
    from ledger.client.request import get

    client = open_client(console, settings)
    ready, checks = readiness(client.send(get(("readyz",))).body)
    said = {check["check"]: check["detail"] for check in checks}
    bad = ", ".join(f"{check['check']} {check['detail']}".strip() for check in checks if not check["ok"])
    yield Check("node", OK if ready else FAULT, f"{client.url} {bad}".strip())
    for alarm in filter(None, said.get("alarms", "").split("; ")):
        yield Check("alarm", WARNING, alarm)
    if said.get("evidence"):
        yield Check("evidence", WARNING, said["evidence"])
    yield _clock(client.get_bytes(("v1", "checkpoint")))


def _clock(note: bytes) -> Check:
    """This machine's clock against the cosigners': their newest signatures cannot be of the future, and every node
    signs again within a minute. The times are taken as they stand: this is no proof, only a hint."""
    from ledger.core.cosignature import TYPE_COSIGNATURE, timestamp_of
    from ledger.core.note import parse_note
    from ledger.errors import VerificationError

    times: list[int] = []
    for line in parse_note(note).lines:
        with contextlib.suppress(VerificationError):
            times.append(timestamp_of(line.signature))
    if not times:
        return Check("clock", WARNING, f"- (type {TYPE_COSIGNATURE})")
    ahead = max(times) - time.time()
    age = -ahead
    state = FAULT if ahead > SKEW_FAULT_S else WARNING if ahead > SKEW_WARNING_S or age > STALE_S else OK
    return Check("clock", state, f"{age:+.0f} s")
