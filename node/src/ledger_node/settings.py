"""A node's settings: what may be set, where it came from, and what is refused.

Precedence: flag > environment `LEDGER_<SECTION>_<NAME>` > `node.toml` > default. An unknown key is an error wherever it
stands, and so is a value of another type: a typo must not silently run a node with a default. Secrets are not settings:
keys and token are files of the data directory. Not here: building anything from the settings (see `wiring`).
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from ledger.adapters.home.links import Links, is_loopback, parse_node_url
from ledger.core.address import parse_address, parse_peer
from ledger.errors import LedgerError, MalformedError
from ledger.limits import ENGINE_MOVES_MAX

ENV_PREFIX: Final = "LEDGER_"


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_split)]
"""Several texts; from the environment one, with commas between them."""


class _Section(BaseModel):
    """One table of node.toml. Values from the environment are texts, so numbers may be given as such."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSection(_Section):
    """`[node]`: what this process is in its network."""

    role: Literal["sequencer", "validator", "follower", "observer"] = "sequencer"
    peers: Texts = ()
    """Addresses of the other nodes, the ordering node's first: `https://host:port`, or `http://` on this machine."""
    plain_http: bool = False
    """Allow `http://` to other machines. Nothing can be forged then, but bodies of events can be read on the way."""
    tls_ca: str = ""
    """File of certificates by which other nodes are recognised, instead of the system's."""
    tls_cert: str = ""
    """Certificate by which other nodes' proxies recognise this one (PEM, with its chain)."""
    tls_key: str = ""
    """Its key, where that is not in the same file."""
    pass_seams: Annotated[int, Field(ge=0, le=ENGINE_MOVES_MAX)] = 0
    """How many moves to another engine lie behind the one that a joining follower stops at; `ledger node join` writes it.
    It counts for nothing once this node's key is among the cosigners."""
    recover_wait_s: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """How long a starting sequencer waits to hear more than two thirds of the cosigners."""

    @field_validator("peers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            _checked(lambda text: parse_node_url(str(text), plain_http=True), url)
        return value

    @property
    def links(self) -> Links:
        """How this node talks to the others."""
        return Links(self.plain_http, self.tls_ca, self.tls_cert, self.tls_key)


class HttpSection(_Section):
    """`[http]`: where and how the node answers."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8650
    hosts: Texts = ("127.0.0.1", "localhost", "[::1]")
    """Names that a Host header may carry; anything else is answered 421 (DNS rebinding)."""
    language: Literal["zh", "en"] = "en"
    """Language of texts where the client names none."""
    header_timeout_s: Annotated[float, Field(gt=0, le=300)] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0, le=300)] = 20.0
    certified_wait_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    """How long `ack=certified` waits for a quorum before it answers 503 (the events are recorded all the same)."""
    check_worker: bool = True
    """Under load, parse submissions and verify signatures in a process of their own."""

    @field_validator("host")
    @classmethod
    def _loopback(cls, value: str) -> str:
        if not is_loopback(value):
            raise ValueError(
                f"{value!r} is not a loopback address: readers are not authenticated yet (HTTP message signatures are to "
                "come), so a node listens on 127.0.0.1 or ::1 only; put an authenticating proxy on this machine in front"
            )
        return value


class CometSection(_Section):
    """`[comet]`: CometBFT, which a validator runs beside it."""

    p2p_listen: str = "127.0.0.1:26656"
    """Where other validators' engines may connect, `host:port`."""
    p2p_address: str = ""
    """What others call this engine, `<node id>@host:port`: not where it listens when addresses are translated."""
    p2p_peers: Texts = ()
    """The other validators' engines, `<node id>@host:port`."""
    binary: str = ""
    """The `cometbft` program; LEDGER_COMETBFT goes before it, `.tools/bin` of a checkout and PATH come after it."""
    keep_blocks: Annotated[int, Field(ge=0)] = 0
    """How many of CometBFT's own blocks stay at least, never fewer than the 100,000 and 48 hours in which a double vote can
    be reported; 0 keeps all. The ledger keeps its events either way; who replays needs a validator that keeps all."""
    snapshots_every: Annotated[int, Field(ge=0)] = 0
    """At which multiples of CometBFT's height a snapshot of the state is taken, for nodes that join by one; 0 takes none."""

    @field_validator("p2p_listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        _checked(parse_address, value)
        return value

    @field_validator("p2p_address")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            _checked(parse_peer, value)
        return value

    @field_validator("p2p_peers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for peer in value:
            _checked(parse_peer, peer)
        return value


def _checked(parse: Callable[[object], object], text: str) -> None:
    """Refuse what `parse` refuses, in the way that this library reports."""
    try:
        parse(text)
    except LedgerError as error:
        raise ValueError(f"{error.message}, got {text!r}") from None


class ReadsSection(_Section):
    """`[reads]`: who may read events and state through this node, and the record of it (rule C4)."""

    readers: Literal["anyone", "named"] = "anyone"
    """`named`: only bearers of a token of `ledger node reader`, each what the registry and the entries entitle it to; all
    they read is recorded as `audit.read`. `anyone` who reaches the address reads, and nothing is recorded."""
    record_s: Annotated[int, Field(ge=60, le=86_400)] = 3_600
    """How long one batch of reads is, in seconds: rule C4 raises an alert when a node that records falls silent."""
    member: str = ""
    """Whose events the batches are, where the node holds keys of several; else the node's owner."""
    sealed_readers: Texts = ()
    """Readers, by member or tag, whose readings are recorded in sealed batches: count and root at once, who read what
    only after `sealed_days`, when the node opens the batch by itself."""
    sealed_days: Annotated[int, Field(ge=0, le=3_650)] = 0
    """How many days after its own day a batch stays sealed; no law sets a number, so it has to be given."""
    sealed_ground: str = ""
    """Why, as the sealed batch states it, such as the number of an order; has to be given."""

    @model_validator(mode="after")
    def _seal(self) -> ReadsSection:
        if self.sealed_readers and not (self.sealed_days and self.sealed_ground.strip()):
            raise ValueError("sealed_readers needs sealed_days and sealed_ground: for how long, and why")
        return self


class RulesSection(_Section):
    """`[rules]`: where the compiled rulebook runs."""

    runtime: Literal["worker", "inline"] = "worker"


class LogSection(_Section):
    """`[log]`: what is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(_Section):
    """All settings of one node."""

    node: NodeSection = NodeSection()
    http: HttpSection = HttpSection()
    comet: CometSection = CometSection()
    reads: ReadsSection = ReadsSection()
    rules: RulesSection = RulesSection()
    log: LogSection = LogSection()


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and the origin of each value by its dotted name: `flag`, `environment`, a file name, or `default`."""

    settings: Settings
    origins: dict[str, str]


def load_settings(file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Loaded:
    """The settings of a TOML file (None or absent: none), an environment and command-line flags by dotted name.

    Raises `MalformedError` (code `settings`) naming every offending key and where it came from.
    """
    values: dict[str, dict[str, Any]] = {}
    origins = {f"{section}.{name}": "default" for section, name in _names()}
    if file is not None and file.exists():
        _merge(values, origins, _read_toml(file), file.name)
    _merge(values, origins, _read_environment(environment), "environment")
    _merge(values, origins, _read_flags(flags or {}), "flag")
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        faults = [_fault(fault["loc"], fault["type"], fault["msg"], origins) for fault in error.errors()]
        text = "; ".join(f"{fault['key']} ({fault['origin']}): {fault['reason']}" for fault in faults)
        raise MalformedError("settings", text, faults=faults) from None
    return Loaded(settings, {name: origin for name, origin in origins.items() if "." in name})


def _fault(place: tuple[int | str, ...], kind: str, message: str, origins: Mapping[str, str]) -> dict[str, str]:
    """One refused setting: its key, where it came from, and why."""
    key = ".".join(str(part) for part in place[:2])
    return {
        "key": key,
        "origin": origins.get(key, "default"),
        "reason": "no such setting" if kind == "extra_forbidden" else message,
    }


def _names() -> list[tuple[str, str]]:
    sections = {name: field.annotation for name, field in Settings.model_fields.items()}
    return [
        (section, name)
        for section, model in sections.items()
        if isinstance(model, type) and issubclass(model, _Section)
        for name in model.model_fields
    ]


def _merge(
    values: dict[str, dict[str, Any]], origins: dict[str, str], new: dict[str, dict[str, Any]], origin: str
) -> None:
    for section, entries in new.items():
        values.setdefault(section, {}).update(entries)
        origins.setdefault(section, origin)
        origins.update((f"{section}.{name}", origin) for name in entries)


def _read_toml(file: Path) -> dict[str, dict[str, Any]]:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedError("settings", f"{file.name} is no TOML: {error}", file=file.name) from None
    for section, entries in document.items():
        if not isinstance(entries, dict):
            raise MalformedError("settings", f"{file.name}: {section} is no table", file=file.name, key=section)
    return document


def _read_environment(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """`LEDGER_HTTP_PORT` sets `http.port`. Other `LEDGER_…` names belong to the command line; of ours none is ignored."""
    known = {f"{ENV_PREFIX}{section}_{name}".upper(): (section, name) for section, name in _names()}
    sections = tuple(f"{ENV_PREFIX}{section}_".upper() for section in Settings.model_fields)
    found: dict[str, dict[str, Any]] = {}
    for variable, value in environment.items():
        if variable in known:
            section, name = known[variable]
            found.setdefault(section, {})[name] = value
        elif variable.startswith(sections):
            raise MalformedError("settings", f"unknown environment variable {variable}", key=variable)
    return found


def _read_flags(flags: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for dotted, value in flags.items():
        if value is not None:
            section, _, name = dotted.partition(".")
            found.setdefault(section, {})[name] = value
    return found
