"""Where the published rulebooks lie: in the wheel beside this package, in a checkout at its top."""

from __future__ import annotations

from pathlib import Path

from ledger.errors import NotFoundError


def rulebook_folder(name: str) -> Path:
    """The folder of a shipped rulebook; raises `NotFoundError`."""
    here = Path(__file__).resolve()
    for base in (here.parent / "contracts", here.parents[3] / "contracts"):
        if (base / name / "rulebook.toml").is_file():
            return base / name
    raise NotFoundError("rulebook", "no such rulebook is shipped", name=name)
