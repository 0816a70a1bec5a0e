"""Whether this software can decide blocks under a config: protocol version, rule language (SPEC R-G25).

Rule: what a vote put in force and this software does not know is decided by nobody here: the node stops before the first
block under it. Any step budget that a vote can set is one that this software knows. Not here: whether the rulebook
compiles to the program that the config names (whoever loads it says).
"""

from __future__ import annotations

from ledger.core.config import PROTOCOL_VERSION, Config
from ledger.errors import FatalError
from ledger.rules.grammar import LANGUAGE_VERSION


def speaks(config: Config) -> bool:
    """Whether this software knows the protocol that `config` puts in force."""
    return config.protocol_version <= PROTOCOL_VERSION


def check_supported(config: Config) -> None:
    """Raise `FatalError` (codes `protocol-version`, `rule-runtime`) for a config that another version of us is for."""
    if not speaks(config):
        raise FatalError(
            "protocol-version",
            "the network runs a newer protocol than this software",
            expected=config.protocol_version,
            got=PROTOCOL_VERSION,
        )
    if config.language != LANGUAGE_VERSION:
        raise FatalError(
            "rule-runtime",
            "the network runs rules in another language version than this software",
            expected=config.language,
            got=LANGUAGE_VERSION,
        )
