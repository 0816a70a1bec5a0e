"""A node's data directory: where its files are, how a ledger is made in it, how its rulebook is loaded.

    ledger.sqlite  the ledger        lock           one writer at a time
    signer.state   what was cosigned log.state      what was log-signed
    keys/          private keys      node.toml      settings
    token          local writers     evidence/      what a lying node signed

Rule: files with secrets are 0600. Not here: settings and processes (see `ledger_node`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ledger.adapters.runtime.compiling import compile_program, genesis_config
from ledger.adapters.sqlite.store import SqliteStore
from ledger.app import LoadRules, StartableRuntime
from ledger.core.genesis import Genesis
from ledger.core.hashing import Digest
from ledger.core.maptree import MapTree
from ledger.errors import FatalError
from ledger.machine.block import Head
from ledger.machine.seal import seal_genesis
from ledger.ports import Store
from ledger.rules.program import Program

DATABASE = "ledger.sqlite"
SIGNER_STATE = "signer.state"
LOG_STATE = "log.state"
KEYS = "keys"
TOKEN = "token"  # noqa: S105 - a file name
EVIDENCE = "evidence"
SETTINGS = "node.toml"


def read_bundle_folder(folder: Path, *, only: str = "") -> dict[str, bytes]:
    """Text files below `folder` by relative path; with `only`, those below that sub-folder."""
    base = folder / only if only else folder
    return {
        path.relative_to(base).as_posix(): path.read_bytes()
        for path in sorted(base.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def create_ledger(data_dir: Path, genesis: Genesis, bundles: Mapping[Digest, bytes]) -> None:
    """Write block 0 into a new database. Raises `VerificationError` when a bundle is not the one genesis names."""
    program = compile_program(genesis.rulebook, genesis.calendar, bundles)
    sealed, _ = seal_genesis(genesis, genesis_config(genesis, program), MapTree.empty())
    store = SqliteStore.create(data_dir / DATABASE)
    try:
        # Block 0 needs no signature: the origin pins the genesis, and the genesis pins block 0.
        store.write_genesis(genesis.data, bundles, sealed, b"")
    finally:
        store.close()


def load_rules(runtime: str = "worker") -> LoadRules:
    """How an application gets its rules: `worker` (own process) or `inline`."""

    def load(store: Store, head: Head) -> tuple[Program, StartableRuntime]:
        config = head.config
        bundles = {digest: store.bundle(digest) for digest in (config.rulebook, config.calendar)}
        program = compile_program(config.rulebook, config.calendar, bundles, config.steps)
        if program.source_hash != config.program or program.language_version != config.language:
            raise FatalError(
                "rule-program",
                "this software compiles the rulebook to another program than the network runs",
                expected=config.program,
                got=program.source_hash,
            )
        return program, start_runtime(program, runtime)

    return load


def start_runtime(program: Program, runtime: str) -> StartableRuntime:
    """A runtime for `program`."""
    from ledger.adapters.runtime.worker import Inline, Worker

    return Inline(program) if runtime == "inline" else Worker(program)
