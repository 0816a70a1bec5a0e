"""Build hook: puts the rulebooks and the licence, which stand beside node/, into the distribution.

A wheel gets them as `ledger_node/contracts` and `ledger_node/LICENSE`; a source distribution gets `contracts` and
`LICENSE`, from where its wheel takes them. An editable install gets neither: there the repository's own are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SharedFiles(BuildHookInterface[Any]):
    """Adds what lies outside the project folder."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling before it collects files; raises FileNotFoundError where something to ship is missing."""
        if version == "editable":
            return
        prefix = "ledger_node/" if self.target_name == "wheel" else ""
        for name in ("contracts", "LICENSE"):
            beside, inside = Path(self.root).parent / name, Path(self.root) / name
            source = inside if inside.exists() else beside
            if not source.exists():
                raise FileNotFoundError(f"{beside} is missing: build suyuan-node from the whole repository")
            build_data["force_include"][str(source)] = prefix + name
