"""The gate before a commit: format, lint, types, import contracts, tidiness and documents. Called by `./dev check`.

Every step runs even when an earlier one fails; the last lines say which failed and what to do.
Names of steps as arguments run only those: `./dev check lint types`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

TYPED = [
    name
    for name in ("src/ledger", "node/src/ledger_node", "node/hatch_build.py", "scripts")
    if (ROOT / name).is_file() or any((ROOT / name).rglob("*.py"))
]
DOCUMENTED = [name for name in ("tests/architecture", "tests/docs") if (ROOT / name).is_dir()]
BIN = Path(sys.executable).parent

# name: (command, what to do when it fails)
STEPS: dict[str, tuple[list[str], str]] = {
    "format": (["ruff", "format", "--quiet", "--diff", "."], "./dev run ruff format"),
    "lint": (["ruff", "check", "--quiet", "."], "./dev run ruff check --fix, and the rest by hand"),
    "types": (
        ["mypy", "--no-error-summary", *TYPED],
        "annotate, or narrow with isinstance; last, `type: ignore[code]`",
    ),
    "imports": (["lint-imports", "--no-cache"], "follow the guidance of the broken contract"),
    "docs": (["pytest", "-q", "-n", "0", "-m", "not slow and not soak", *DOCUMENTED], "each message says what"),
}


def run(name: str) -> bool:
    """Runs one step and says how it went."""
    program, *arguments = STEPS[name][0]
    started_s = time.monotonic()
    done = subprocess.run([str(BIN / program), *arguments], cwd=ROOT, check=False)
    verdict = "ok" if done.returncode == 0 else "FAILED"
    print(f"check: {name:8} {verdict:6} {time.monotonic() - started_s:5.1f} s", flush=True)
    return done.returncode == 0


def main() -> int:
    """Exit code 1 when any step failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"any of: {', '.join(STEPS)} (default: all)")
    steps: list[str] = parser.parse_args().steps or list(STEPS)
    unknown = [name for name in steps if name not in STEPS]
    if unknown:
        parser.error(f"no such step: {', '.join(unknown)}; there are {', '.join(STEPS)}")
    failed = [name for name in steps if not run(name)]
    for name in failed:
        print(f"check: {name} failed — do instead: {STEPS[name][1]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
