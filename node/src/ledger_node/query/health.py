"""How a node stands: readiness checks, status, and the gauges that are read at each scrape.

Rule: everything is read from memory, but for the names in the evidence folder; nothing here waits.
Not here: what is an alarm (see `ledger_node.alarms`).
"""

from __future__ import annotations

import time
from typing import Any

from ledger.adapters.home.datadir import EVIDENCE
from ledger.adapters.ordering.evidence import evidence_files
from ledger_node.query.indexer import Indexer
from ledger_node.query.ports import Node

INDEX_LAG_BLOCKS_MAX = 1_000  # a few seconds of a busy node; more means that it is being rebuilt


def readiness(node: Node, indexer: Indexer | None) -> dict[str, Any]:
    """Every check by name, and whether all pass."""
    checks = [{"detail": detail, "name": name, "ok": passes} for name, passes, detail in node.ready()]
    if indexer is not None:
        lag = _lag(node, indexer)
        checks.append(
            {
                "detail": str(indexer.failure or f"{lag} blocks behind"),
                "name": "index",
                "ok": indexer.failure is None and lag <= INDEX_LAG_BLOCKS_MAX,
            }
        )
    return {"checks": checks, "ready": all(check["ok"] for check in checks)}


def status(node: Node) -> dict[str, Any]:
    """Head, certified checkpoint, role and network."""
    head, certified = node.head, node.certificates.certified()
    return {
        "certified_height": None if certified is None else certified.height,
        "certified_size": None if certified is None else certified.result.checkpoint.size,
        "clock": node.genesis.clock,
        "engine": node.app.engine.name,
        "height": head.height,
        "moves": node.moves,
        "origin": node.origin,
        "restored": node.reader.restored_height,
        "role": node.role,
        "size": head.size,
        "time": head.time,
    }


def gauges(node: Node, indexer: Indexer | None) -> dict[str, float]:
    """Values by the names of `metrics.GAUGES`."""
    head, certified = node.head, node.certificates.certified()
    certified_height = -1 if certified is None else certified.height
    found: dict[str, float] = {
        "ledger_height": head.height,
        "ledger_size": head.size,
        "ledger_certified_height": certified_height,
        "ledger_uncertified_blocks": max(0, head.height - certified_height),
        "ledger_ready": 1.0 if readiness(node, indexer)["ready"] else 0.0,
        "ledger_evidence_files": len(evidence_files(node.options.data_dir / EVIDENCE)),
    }
    if node.genesis.clock == "wall":
        found["ledger_head_age_seconds"] = max(0.0, time.time() - head.time / 1000)
    if certified is not None:
        found["ledger_checkpoint_age_seconds"] = max(0.0, time.time() - certified.result.fresh_at_s)
    if indexer is not None:
        found["ledger_index_lag_blocks"] = _lag(node, indexer)
    return found


def _lag(node: Node, indexer: Indexer) -> int:
    """Blocks that the index is behind: none where it holds more than a ledger that lost its end and fetches it again."""
    return max(0, node.head.height - indexer.index.height)


def labelled(node: Node, indexer: Indexer | None) -> dict[str, dict[str, float]]:
    """Values by the names of `metrics.LABELLED` and `COUNTED`: checks by name, alarms and rejected proposals by code."""
    checks = readiness(node, indexer)["checks"]
    return {
        "ledger_check": {check["name"]: float(check["ok"]) for check in checks},
        "ledger_alarms": {code: float(count) for code, count in node.alarms.codes().items()},
        "ledger_proposals_rejected": {code: float(count) for code, count in node.alarms.rejected().items()},
    }
