"""The demo's real input: a permit log, recorded by the same `ledger import permits` that a user runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ledger.adapters.home.network import MemberPlan
from ledger.cli.permit_log import member_plans, read_log
from ledger_node.demo import city
from ledger_node.demo.stage import Stage
from ledger_node.demo.tell import DemoError


def ledger(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command line as a user would; exit code and its JSON document."""
    kept = (name for name in os.environ if name == "LEDGER_LANG" or not name.startswith("LEDGER_"))
    environment = {name: os.environ[name] for name in kept}
    done = subprocess.run(
        [sys.executable, "-m", "ledger.cli.main", *arguments, "--json"],
        capture_output=True,
        check=False,
        env={**environment, "PYTHONIOENCODING": "utf-8"},
    )
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        reason = done.stderr.decode("utf-8", "replace")[-800:]
        raise DemoError(f"ledger {' '.join(arguments)}: exit {done.returncode}: {reason}") from None


def permit_members(file: Path) -> list[MemberPlan]:
    """The groups of the log as members; the authority's node keeps their keys."""
    return member_plans(read_log(file), city.AUTHORITY)


def record_permits(stage: Stage, file: Path) -> dict[str, Any]:
    """Import the log over the API; the command's document."""
    folder = stage.sequencer.folder
    code, document = ledger("import", "permits", str(file), "--node", stage.sequencer.url, "--data", str(folder))
    if code:
        raise DemoError(f"import permits: exit {code}: {json.dumps(document, ensure_ascii=False)[:800]}")
    return document
