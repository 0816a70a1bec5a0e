"""Sets the one version of both distributions, or checks that its three places agree.

    ./dev run python scripts/bump_version.py 0.2.0
    ./dev run python scripts/bump_version.py --check

Places: `version` of suyuan, `version` of suyuan-node, and the pin `suyuan==` of suyuan-node.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

# PEP 440 without epochs and local parts: what we release.
VERSION = re.compile(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?(?:\.dev\d+)?")
PLACES = (
    ("pyproject.toml", re.compile(r'^version = "([^"]+)"$', re.MULTILINE)),
    ("node/pyproject.toml", re.compile(r'^version = "([^"]+)"$', re.MULTILINE)),
    ("node/pyproject.toml", re.compile(r'^    "suyuan==([^"]+)",$', re.MULTILINE)),
)


class VersionError(Exception):
    """A place that does not hold exactly one version."""


def read(root: Path) -> list[tuple[str, str]]:
    """The version at each place, in the order of PLACES."""
    found = []
    for path, pattern in PLACES:
        versions = pattern.findall((root / path).read_text(encoding="utf-8"))
        if len(versions) != 1:
            raise VersionError(f"{path}: expected one line like {pattern.pattern}, found {len(versions)}")
        found.append((path, str(versions[0])))
    return found


def write(root: Path, version: str) -> None:
    """Put `version` at each place."""
    read(root)  # all three are there before the first one changes
    for path, pattern in PLACES:
        file = root / path
        content = file.read_text(encoding="utf-8")
        file.write_text(
            pattern.sub(lambda found: found.group().replace(found.group(1), version), content), encoding="utf-8"
        )


def main() -> int:
    """Exit code 0 when all places agree, 1 when they do not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", nargs="?", help="the new version, such as 0.2.0 or 1.0.0rc1")
    parser.add_argument("--check", action="store_true", help="only compare the three places")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="the repository")
    options = parser.parse_args()
    if options.check == (options.version is not None):
        parser.error("give either a version or --check")
    if options.version is not None and not VERSION.fullmatch(options.version):
        parser.error(f"not a version: {options.version}")
    try:
        if options.version is not None:
            write(options.root, options.version)
        found = read(options.root)
    except VersionError as error:
        print(error, file=sys.stderr)
        return 1
    for path, version in found:
        print(f"{path}: {version}")
    if len({version for _, version in found}) != 1:
        print("the places differ: run scripts/bump_version.py VERSION", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
