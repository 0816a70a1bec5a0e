"""Decides which words a person reads: zh and en catalogues with the same keys and placeholders.

Rules: language by `--lang`, else `LEDGER_LANG`, else the locale (`zh*` is Chinese, all others English). Codes of errors,
kinds, outcomes and statuses are never translated; the text stands beside them. The files are TOML restricted to tables of
one-line basic strings, so that a dozen lines read them: a TOML library costs a fifth of the time a command may take to
start.
Not here: texts of rules (those are in the rulebook).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from ledger.errors import LedgerError

LANGUAGES: Final = ("zh", "en")
CATALOGUES: Final = ("cli", "help", "errors")
FOLDER: Final = os.path.join(os.path.dirname(os.path.dirname(__file__)), "texts")  # noqa: PTH118, PTH120 - pathlib is slow to import


class TextError(LedgerError):
    """A catalogue that is missing or malformed: a broken installation."""


def choose_language(wanted: str | None, environment: Mapping[str, str]) -> str:
    """`zh` or `en`; anything but these two in `wanted` or LEDGER_LANG means: as the locale says."""
    for choice in (wanted, environment.get("LEDGER_LANG")):
        if choice in LANGUAGES:
            return str(choice)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        locale = environment.get(name)
        if locale:
            return "zh" if locale.lower().startswith("zh") else "en"
    return "en"


@lru_cache(maxsize=8)
def catalogue(name: str, language: str) -> dict[str, str]:
    """Texts by key (`table.name`) of one catalogue."""
    path = os.path.join(FOLDER, f"{name}.{language}.toml")  # noqa: PTH118 - as above
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - as above
            return parse_catalogue(file.read(), path)
    except OSError as error:
        raise TextError("texts", "a catalogue cannot be read", path=path, reason=str(error)) from error


def parse_catalogue(text: str, path: str = "") -> dict[str, str]:
    """Texts by key of a restricted TOML file; raises `TextError` with the line of anything else."""
    found: dict[str, str] = {}
    table = ""
    for number, row in enumerate(text.split("\n"), 1):
        line = row.strip()
        if not line or line[0] == "#":
            continue
        if line[0] == "[" and line[-1] == "]":
            table = line[1:-1].replace('"', "")
            continue
        key, equals, value = line.partition(" = ")
        key = f"{table}.{key.strip(chr(34))}" if table else key.strip('"')
        if not equals or len(value) < 2 or value[0] != '"' or value[-1] != '"' or key in found:
            raise TextError("texts", "not a line of a catalogue", path=path, line=number)
        value = value[1:-1]
        found[key] = _unescape(value) if "\\" in value else value
    return found


def _unescape(text: str) -> str:
    return text.replace("\\\\", "\0").replace("\\n", "\n").replace('\\"', '"').replace("\0", "\\")


def _numbered(text: str, values: Mapping[str, object]) -> str:
    """`text` with its words of number chosen, before any value stands in it that could look like one."""
    import re

    def chosen(found: re.Match[str]) -> str:
        name, one, many = found.groups()
        if name not in values:
            return found.group()
        return one if str(values[name]) == "1" else many

    return re.sub(r"\{([a-z_]+)\|([^{}|]*)\|((?:[^{}|]|\{[a-z_]+\})*)\}", chosen, text)


class Texts:
    """The texts of one language; `text` finds a key in the first catalogue that has it."""

    def __init__(self, language: str) -> None:
        self.language = language

    def find(self, key: str, name: str = "cli") -> str | None:
        """The text of `key` in catalogue `name`, None where it has none."""
        return catalogue(name, self.language).get(key)

    def text(self, key: str, /, *, catalogue_name: str = "cli", **values: object) -> str:
        """The text of `key` with its placeholders filled; a key without text is a defect and shows itself as key."""
        found = self.find(key, catalogue_name)
        return key if found is None else fill(found, values)


def fill(text: str, values: Mapping[str, object]) -> str:
    """`text` with `{name}` replaced by values; placeholders without a value stay, so that nothing is lost.

    `{name|leaf|leaves}` is the first word where the value is 1, else the second.
    """
    if "{" not in text:
        return text
    if "|" in text:
        text = _numbered(text, values)
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value.hex() if isinstance(value, bytes) else str(value))
    return text
