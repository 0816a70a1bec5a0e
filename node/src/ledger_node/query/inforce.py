"""What is in force after the last block: rulebook, declarations, config, as plain values.

Rule: declarations are the compiled rulebook's own; nothing here is needed to check anything. Not here: how they change.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ledger.core import canonical
from ledger_node.query.ports import Node


def rulebooks(node: Node) -> dict[str, Any]:
    """The rulebook in force and the config document."""
    book, config = node.rules.book, node.config
    return {
        "config": canonical.parse(config.encode()),
        "config_hash": config.hash.hex(),
        "height": node.head.height,
        "rulebooks": [
            {
                "bundle": config.rulebook.hex(),
                "calendar": config.calendar.hex(),
                "effective": book.effective,
                "id": book.id,
                "jurisdiction": book.jurisdiction,
                "program": config.program.hex(),
                "rules": sorted(book.rules),
                "sources": book.sources,
                "title": book.title,
                "version": book.version,
                "zone": book.zone,
            }
        ],
    }


def kinds(node: Node) -> dict[str, Any]:
    """Event kinds, object kinds and texts of codes, by name."""
    book = node.rules.book
    return {
        "bundle": node.config.rulebook.hex(),
        "kinds": {name: msgspec.to_builtins(kind) for name, kind in sorted(book.kinds.items())},
        "objects": {name: msgspec.to_builtins(kind) for name, kind in sorted(book.objects.items())},
        "texts": {name: msgspec.to_builtins(text) for name, text in sorted(book.texts.items())},
    }
