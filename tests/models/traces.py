"""What CometBFT asks of a node in a test, written down by the node's process and held against the grammar.

`traced` is for nodes that other tests start as plain processes; `comet_network.Validator` traces itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ledger_node.comet.grammar import check_calls
from ledger_node.local import NodeProcess

PROGRAM: Final = Path(__file__).with_name("comet_node.py")
TRACE: Final = "abci-trace"


def traced(node: NodeProcess) -> NodeProcess:
    """Have a node write down what CometBFT asks of it, from its next start on."""
    node._program = (str(PROGRAM), "--trace", str(node.folder / TRACE))
    return node


def check_trace(folder: Path) -> None:
    """What CometBFT asked of the node in `folder`, over all its runs and chains, had a legal order, and was something."""
    heard = (folder / TRACE).read_text("ascii").splitlines()
    assert heard, folder
    check_calls(heard)
