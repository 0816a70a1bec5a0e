"""What `/readyz` says of a node: each thing that has to work, whether it does, and why not.

Rule: a node that is short of something still answers readers; what it cannot do is named here. Evidence against another
node does not make this one unready: it is told beside. Not here: anything that would change the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ledger.adapters.home.comethome import HOME
from ledger.adapters.ordering.engine import moved
from ledger.adapters.ordering.follower import Follower
from ledger_node.comet.engine import CometEngine
from ledger_node.comet.process import last_error

if TYPE_CHECKING:
    from ledger_node.wiring import Node

NAMES_MAX: Final = 5

Check = tuple[str, bool, str]
"""Name, whether it holds, and a remark."""


def checks_of(node: Node, *, writable: bool) -> list[Check]:
    """Every check of a node; `writable`: it was opened for writing."""
    failure, upkeep = node.engine.failure, node.store.upkeep_failure
    certified = node.certificates.certified()
    behind = node.head.height - certified.height if certified else node.head.height + 1
    withheld = node.observing or (node.cosigner.alarm if node.cosigner else "")
    unreachable, count = node.pollers.unreachable()
    containment = getattr(node.app.runtime, "containment", ())
    checks = [
        ("engine", failure is None and writable, str(failure or "")),
        ("certificate", certified is not None, f"{behind} blocks wait for a certificate"),
        ("cosigner", not withheld, withheld),
        ("peers", len(unreachable) * 3 < max(1, count) * 2 or not count, ", ".join(unreachable)),
        ("store", upkeep is None, str(upkeep or "")),
        ("rules", True, f"{node.options.runtime}: {', '.join(containment) or 'not contained'}"),
        ("evidence", True, _evidence(node)),
        ("alarms", True, _alarms(node)),
    ]
    if isinstance(node.engine, CometEngine):
        connected = node.engine.connected
        checks.append(("cometbft", connected, "" if connected else last_error(node.options.data_dir / HOME)))
    if isinstance(node.engine, Follower):
        checks.append(("upstream", node.engine.upstream_reachable, ""))
    if node.engine.at_seam:
        checks.append(("moved", False, str(moved(node.app.engine))))
    return checks


def _alarms(node: Node) -> str:
    """What else somebody should look at, as `<code> <what it is about>`, each behind a semicolon."""
    found = [f"{error.code} {about}" for about, error in node.alarms.found()]
    return "; ".join([*found[:NAMES_MAX], *([f"and {len(found) - NAMES_MAX} more"] if len(found) > NAMES_MAX else [])])


def _evidence(node: Node) -> str:
    """The newest files of the evidence folder by name: what other nodes signed that cannot be."""
    if not node.evidence.is_dir():
        return ""
    names = sorted(node.evidence.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(path.name for path in names[:NAMES_MAX]) + more
