"""Decides where a setting comes from: flag > environment LEDGER_* > secrets directory > TOML file > default.

Rules: an unknown key in the TOML file is an error, and so is a LEDGER_* variable that nearly is one of ours (others
belong to other programs); `config show` names the origin of each value; secrets are never shown. The secrets directory is
$LEDGER_SECRETS_DIR or systemd's $CREDENTIALS_DIRECTORY, one file a setting. With `--data DIR` node, member and token
come from that node's own settings unless something above the TOML file says otherwise; its token is also that of a reader,
for nobody but that node.
Not here: a node's settings (see `ledger.adapters.home.nodefile`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.errors import MalformedError, NotFoundError

SECRET_BYTES_MAX: Final = 64 * 1024
CONFIG_BYTES_MAX: Final = 256 * 1024


class SettingError(MalformedError):
    """A setting that cannot be used; nothing was done."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What one setting means; `default` None: unset."""

    name: str
    default: str | None = None
    secret: bool = False


KNOWN: Final = (
    Setting("node", "http://127.0.0.1:8650"),
    Setting("data"),
    Setting("member"),
    Setting("key"),
    Setting("passphrase", secret=True),
    Setting("token", secret=True),
    Setting("reader-token", secret=True),
    Setting("trust"),
    Setting("spool"),
    Setting("timeout", "45"),
)
NAMES: Final = tuple(setting.name for setting in KNOWN)
ELSEWHERE: Final = frozenset(("LEDGER_CONFIG", "LEDGER_LANG", "LEDGER_SECRETS_DIR"))
"""Variables of ours that are no settings."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value and where it came from: `flag`, `env LEDGER_NODE`, a path, or `default`."""

    text: str | None
    origin: str


class Settings:
    """All settings of one call. Raises `SettingError` for unknown keys when it is built."""

    def __init__(self, environment: Mapping[str, str], flags: Mapping[str, str | None] | None = None) -> None:
        self.environment = environment
        self._flags = {name: value for name, value in (flags or {}).items() if value is not None}
        self.config_path = config_path(environment)
        self._toml = _read_toml(self.config_path, explicit="LEDGER_CONFIG" in environment)
        self._check_environment()
        self._node: dict[str, Value] | None = None

    def value(self, name: str) -> Value:
        """The value of a setting with its origin."""
        found = self._above_toml(name)
        if found is not None:
            return found
        if name in ("node", "member", "token") and name not in self._toml:
            from_node = self._of_node().get(name)
            if from_node is not None:
                return from_node
        if name == "reader-token" and name not in self._toml:
            token = self._of_node().get("token")
            if token is not None and self.value("node") == self._of_node()["node"]:
                return token  # whose node it is may read there what its member may
        if name in self._toml:
            return Value(self._toml[name], str(self.config_path))
        return Value(next(setting.default for setting in KNOWN if setting.name == name), "default")

    def get(self, name: str) -> str | None:
        """The text of a setting, None where it is unset."""
        return self.value(name).text

    def need(self, name: str) -> str:
        """The text of a setting; `SettingError` (code `setting-missing`) where it is unset."""
        text = self.get(name)
        if not text:
            raise SettingError("setting-missing", "a setting is needed", name=name, variable=variable(name))
        return text

    def timeout_s(self) -> float:
        """Seconds to wait for a node."""
        text = self.need("timeout")
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= 3600:
            raise SettingError("setting-value", "expected seconds, at most 3600", name="timeout", got=text)
        return seconds

    def passphrase(self) -> bytes | None:
        """The passphrase of key files, None where none is set."""
        text = self.get("passphrase")
        return None if text is None else text.encode("utf-8")

    def unknown_variables(self) -> list[str]:
        """LEDGER_* variables that are none of ours."""
        ours = {variable(name) for name in NAMES} | ELSEWHERE
        return sorted(name for name in self.environment if name.startswith("LEDGER_") and name not in ours)

    def _above_toml(self, name: str) -> Value | None:
        if name in self._flags:
            return Value(self._flags[name], "flag")
        if self.environment.get(variable(name)):
            return Value(self.environment[variable(name)], f"env {variable(name)}")
        for folder_variable in ("LEDGER_SECRETS_DIR", "CREDENTIALS_DIRECTORY"):
            folder = self.environment.get(folder_variable)
            path = Path(folder or "/nonexistent") / name
            if folder and path.is_file():
                return Value(_read_text(path, SECRET_BYTES_MAX).strip(), str(path))
        return None

    def _of_node(self) -> dict[str, Value]:
        """Settings that the data directory of a local node implies."""
        if self._node is None:
            self._node = {}
            folder = self._above_toml("data") or Value(self._toml.get("data"), str(self.config_path))
            if folder.text:
                self._node = _node_values(Path(folder.text))
        return self._node

    def _check_environment(self) -> None:
        import difflib

        for name in self.unknown_variables():
            near = difflib.get_close_matches(name, [variable(each) for each in NAMES], 1, cutoff=0.85)
            if near:
                raise SettingError("setting-unknown", "no such setting", name=name, place="env", meant=near[0])


def variable(name: str) -> str:
    """The environment variable of a setting; no shell can set a name with a dash."""
    return f"LEDGER_{name.upper().replace('-', '_')}"


def config_path(environment: Mapping[str, str]) -> Path:
    """$LEDGER_CONFIG, else ledger/config.toml below the user's configuration folder."""
    explicit = environment.get("LEDGER_CONFIG")
    if explicit:
        return Path(explicit)
    base = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/')}/.config"
    return Path(base) / "ledger" / "config.toml"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where the command line remembers checkpoints: ledger/ below the user's state folder."""
    base = environment.get("XDG_STATE_HOME") or f"{environment.get('HOME', '/')}/.local/state"
    return Path(base) / "ledger"


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Where the command line keeps what it can do without: ledger/ below the user's cache folder."""
    base = environment.get("XDG_CACHE_HOME") or f"{environment.get('HOME', '/')}/.cache"
    return Path(base) / "ledger"


def _node_values(folder: Path) -> dict[str, Value]:
    from ledger.adapters.home.nodefile import SETTINGS, TOKEN, member_of, read_settings, read_token

    values = {"node": Value(read_settings(folder).url, str(folder / SETTINGS))}
    member, token = member_of(folder), read_token(folder)
    if member is not None:
        values["member"] = Value(member, str(folder))
    if token is not None:
        values["token"] = Value(token, str(folder / TOKEN))
    return values


def _read_toml(path: Path, *, explicit: bool) -> dict[str, str]:
    if not path.is_file():
        if explicit:
            raise NotFoundError("config-file", "the file that LEDGER_CONFIG names does not exist", path=str(path))
        return {}
    import tomllib

    try:
        fields: dict[str, Any] = tomllib.loads(_read_text(path, CONFIG_BYTES_MAX))
    except tomllib.TOMLDecodeError as error:
        raise SettingError("setting-file", "not TOML", path=str(path), reason=str(error)) from None
    for name, value in fields.items():
        if name not in NAMES:
            import difflib

            near = difflib.get_close_matches(name, NAMES, 1)
            meant = {"meant": near[0]} if near else {}
            raise SettingError("setting-unknown", "no such setting", name=name, place=str(path), **meant)
        if type(value) not in (str, int, float):
            raise SettingError("setting-value", "expected a text or a number", name=name, got=value)
    return {name: str(value) for name, value in fields.items()}


def _read_text(path: Path, bytes_max: int) -> str:
    with path.open("rb") as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise SettingError("setting-file", "too large", path=str(path), limit=bytes_max)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingError("setting-file", "not UTF-8", path=str(path)) from None
