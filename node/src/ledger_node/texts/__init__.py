"""The words of the HTTP interface in zh and en, by stable code.

Rule: a text is chosen by the code of an error or the name of a family, never by the exception's message; both languages
are always there (a test compares the catalogue with the codes in the source). Codes themselves are never translated.
Not here: texts of rules (they come with the rulebook) and of the command line.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Final

LANGUAGES: Final = ("zh", "en")
HTTP: Final = "http"  # the family of requests that fail before they mean anything to the ledger


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Titles of families, of statuses of the family `http`, and details of codes, each by language."""

    families: dict[str, dict[str, str]]
    statuses: dict[str, dict[str, str]]
    codes: dict[str, dict[str, str]]

    def title(self, family: str, status: int, language: str) -> str:
        """The title of an error family; a request that fails as HTTP has that of its status."""
        return (self.statuses[str(status)] if family == HTTP else self.families[family])[language]

    def detail(self, code: str, language: str) -> str:
        """What an error code means, empty where the catalogue does not know it."""
        return self.codes.get(code, {}).get(language, "")


@lru_cache(maxsize=1)
def load_catalogue() -> Catalogue:
    """The catalogue that ships with the package."""
    document = tomllib.loads((files("ledger_node.texts") / "problems.toml").read_text(encoding="utf-8"))
    return Catalogue(document["family"], document[HTTP], document["code"])


def choose_language(accept_language: str, default: str = "en") -> str:
    """`zh` or `en` from an Accept-Language header (RFC 9110, 12.5.4); `default` when it names neither."""
    best, best_weight = default, 0.0
    for part in accept_language[:512].split(","):
        tag, _, parameter = part.strip().partition(";")
        language = tag.strip().lower().split("-", 1)[0]
        if language not in LANGUAGES:
            continue
        weight = 1.0
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                weight = float(value)
            except ValueError:
                continue
        if weight > best_weight:
            best, best_weight = language, weight
    return best
