"""The evidence folder: what is kept, and that a liar cannot fill the disk with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ledger.adapters.ordering import evidence
from ledger.adapters.ordering.evidence import keep_evidence


def test_the_first_files_stay_and_the_newest_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound each new one takes the place of the last; one that is there already is written where it was."""
    monkeypatch.setattr(evidence, "EVIDENCE_FILES_MAX", 2)
    folder = tmp_path / "evidence"
    first = [keep_evidence(folder, "fork-note", bytes([number]), {"number": number}) for number in range(2)]
    later = [keep_evidence(folder, "fork-note", bytes([number]), {"number": number}) for number in (2, 3)]
    assert sorted(folder.iterdir()) == sorted({*first, *later})
    assert later[0] == later[1] == folder / "fork-note-latest.json"
    assert json.loads(later[1].read_text())["number"] == 3
    assert keep_evidence(folder, "fork-note", bytes([0]), {"number": 0}) == first[0]
    assert oct(first[0].stat().st_mode & 0o777) == "0o600"
