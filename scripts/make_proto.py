"""Makes abci_pb2.py and abci_pb2.pyi from abci.proto: `./dev run python scripts/make_proto.py`.

Rule: both are committed, so that only whoever changes abci.proto needs grpcio-tools (group dev); a test makes them anew
and compares. `--check` writes nothing and exits 1 where the committed files are not what abci.proto gives.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ROOT / "node" / "src"
PROTO: Final = "ledger_node/comet/abci.proto"
MADE: Final = ("ledger_node/comet/abci_pb2.py", "ledger_node/comet/abci_pb2.pyi")


def make(folder: Path) -> None:
    """Writes both files below `folder`. Raises `ImportError` without grpcio-tools, `RuntimeError` where protoc fails."""
    import grpc_tools
    from grpc_tools import protoc

    known = Path(grpc_tools.__file__).parent / "_proto"  # google/protobuf/*.proto
    arguments = [f"-I{SOURCES}", f"-I{known}", f"--python_out={folder}", f"--pyi_out={folder}", PROTO]
    if protoc.main(["protoc", *arguments]) != 0:
        raise RuntimeError(f"protoc refused {PROTO}")


def stale() -> list[str]:
    """Names of committed files that differ from what abci.proto gives now."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder)
        return [made for made in MADE if (SOURCES / made).read_bytes() != (folder / made).read_bytes()]


def main() -> int:
    """Exit code 1 where `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    if not parser.parse_args().check:
        make(SOURCES)
        return 0
    names = stale()
    for name in names:
        print(f"{name} is not what {PROTO} gives: run scripts/make_proto.py", file=sys.stderr)
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
