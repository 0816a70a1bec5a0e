"""What `/readyz` says of a node: each thing that has to work, whether it does, and why not.

Rule: a node that is short of something still answers readers; what it cannot do is named here. Evidence against another
node does not make this one unready: it is told beside. Not here: anything that would change the node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ledger.adapters.home.comethome import HOME
from ledger.adapters.ordering.engine import moved
from ledger.adapters.ordering.evidence import evidence_files
from ledger.adapters.ordering.follower import Follower
from ledger.errors import FatalError
from ledger_node.comet.engine import CometEngine
from ledger_node.comet.process import blocks_are_behind, last_error

if TYPE_CHECKING:
    from ledger_node.wiring import Node

NAMES_MAX: Final = 5
OPENING: Final = "it is opening its ledger"
CATCHING_UP: Final = "it fetches blocks that the others have"

Check = tuple[str, bool, str]
"""Name, whether it holds, and a remark."""


def checks_of(node: Node, *, writable: bool) -> list[Check]:
    """Every check of a node; `writable`: it was opened for writing."""
    failure, upkeep = node.engine.failure, node.store.upkeep_failure
    certified = node.certificates.certified()
    # The certificate may cover blocks that this node lost and is fetching again.
    behind = max(0, node.head.height - certified.height) if certified else node.head.height + 1
    withheld = node.observing or (node.cosigner.alarm if node.cosigner else "")
    unreachable, count = node.pollers.unreachable()
    containment = getattr(node.app.runtime, "containment", ())
    checks = [
        ("engine", failure is None and writable, str(failure or ("" if writable else node.waits_for or OPENING))),
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
        lacks = _comet_ended(node) if not connected else CATCHING_UP if node.engine.catching_up() else ""
        checks.append(("cometbft", connected and not lacks, lacks))
    if isinstance(node.engine, Follower):
        checks.append(("upstream", node.engine.upstream_reachable, ""))
    if node.engine.at_seam:
        checks.append(("moved", False, str(moved(node.app.engine))))
    return checks


def _comet_ended(node: Node) -> str:
    """Why CometBFT does not run, with a code where starting it again cannot help."""
    said = last_error(node.options.data_dir / HOME)
    if not blocks_are_behind(said):
        return said
    return str(FatalError("comet-behind", "CometBFT's blocks end before this ledger, or are gone", said=said))


def _alarms(node: Node) -> str:
    """What else somebody should look at, as `<code> <what it is about>`, each behind a semicolon."""
    found = [f"{error.code} {about}" for about, error in node.alarms.found()]
    return "; ".join([*found[:NAMES_MAX], *([f"and {len(found) - NAMES_MAX} more"] if len(found) > NAMES_MAX else [])])


def _evidence(node: Node) -> str:
    """The newest files of the evidence folder by name: what other nodes signed that cannot be."""
    names = evidence_files(node.evidence)
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return ", ".join(path.name for path in names[:NAMES_MAX]) + more
