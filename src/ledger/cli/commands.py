"""The commands, as a table: name to `module:attribute`, or to the table of a group. Nothing is imported before it runs."""

from __future__ import annotations

from typing import Final, TypeAlias

Table: TypeAlias = "dict[str, str | Table]"

COMMANDS: Final[Table] = {
    "event": {
        "append": "ledger.cli.append:append",
        "get": "ledger.cli.event:get",
        "search": "ledger.cli.event:search",
    },
    "lineage": {"show": "ledger.cli.lineage:show"},
    "proof": {"get": "ledger.cli.proof:get", "verify": "ledger.cli.proof:verify"},
    "verify": "ledger.cli.verify:verify",
    "watch": "ledger.cli.watch:watch",
    "export": {"archive": "ledger.cli.export:archive", "report": "ledger.cli.report:report"},
    "archive": {"prune": "ledger.cli.archive:prune"},
    "import": {"permits": "ledger.cli.permits:permits"},
    "node": {
        "init": "ledger.cli.node:init",
        "join": "ledger.cli.node:join",
        "prepare-move": "ledger.cli.node:prepare_move",
        "move": "ledger.cli.node:move",
        "renew-cosigner": "ledger.cli.node:renew_cosigner",
        "renew-consensus": "ledger.cli.node:renew_consensus",
        "reader": "ledger.cli.reader:reader",
        "start": "ledger.cli.node:start",
        "status": "ledger.cli.node:status",
    },
    "network": {"new": "ledger.cli.network:new", "demo": "ledger.cli.network:demo"},
    "key": {"new": "ledger.cli.key:new", "show": "ledger.cli.key:show"},
    "rules": {
        "test": "ledger.cli.rules:test",
        "check": "ledger.cli.rulescheck:check",
        "simulate": "ledger.cli.rulessimulate:simulate",
        "explain": "ledger.cli.rulesexplain:explain",
        "docs": "ledger.cli.rulesdocs:docs",
    },
    "member": {"list": "ledger.cli.member:list_members", "show": "ledger.cli.member:show"},
    "approve": {
        "list": "ledger.cli.approve:list_proposals",
        "show": "ledger.cli.approve:show",
        "sign": "ledger.cli.approve:sign",
        "propose": "ledger.cli.approve:propose",
    },
    "spool": {"status": "ledger.cli.spool:status", "flush": "ledger.cli.spool:flush"},
    "doctor": "ledger.cli.doctor:doctor",
    "config": {"show": "ledger.cli.config:show"},
    "completion": "ledger.cli.completion:completion",
}


def find(path: str) -> str | Table | None:
    """The entry of a command path without the program's name (`event append`); the whole table for the empty one."""
    entry: str | Table = COMMANDS
    for name in path.split():
        if isinstance(entry, str) or name not in entry:
            return None
        entry = entry[name]
    return entry
