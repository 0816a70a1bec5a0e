"""A lying department, for the demo and for nothing else: a node whose application alters a record that all had decided.

`python -m ledger_node.demo.liar DATA_DIR` runs the node of DATA_DIR with its own keys. It checks and votes as every node
does; but where a block holds an access to `LARGE` records or more, it writes down one of a thousandth of them, and signs
the checkpoint of what it wrote. Everything else is the ordinary node: what follows is what befalls a real liar.
Not here: how the others find out (they have no special code for it either), and any other lie.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from ledger.adapters.home.datadir import SETTINGS
from ledger.app import Application
from ledger.core import canonical
from ledger.core.event import Event, parse_event
from ledger.core.submission import Submission
from ledger.machine.block import BlockInput, Sealed
from ledger_node.__main__ import StopSignals, node_options, run
from ledger_node.comet.engine import CometEngine
from ledger_node.demo.tell import DemoError
from ledger_node.logs import configure_logs
from ledger_node.settings import load_settings
from ledger_node.wiring import Node

LARGE: Final = 1_000
PROGRAM: Final = ("-m", "ledger_node.demo.liar")
"""What `ledger_node.local.NodeProcess` runs for a department that lies."""


class AlteringApplication:
    """The application `app`, which decides something else than what it was told."""

    def __init__(self, app: Application) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    def finalize_ordered(self, block: BlockInput) -> Sealed | None:
        """Decide the block as if it had said what this department would rather have said."""
        return self._app.finalize_ordered(
            replace(block, submissions=tuple(_altered_submission(each) for each in block.submissions))
        )


def altered(event: Event) -> Event:
    """A large access as a small one, any other event as it is."""
    count = event.content.get("count")
    if event.kind != "use.access" or not isinstance(count, int) or count < LARGE:
        return event
    return parse_event(event.head, canonical.encode({**event.content, "count": count // LARGE}))


def _altered_submission(submission: Submission) -> Submission:
    # The signature stays that over the true events: nobody but their author could make another.
    return replace(submission, events=tuple(map(altered, submission.events)))


def main(arguments: list[str] | None = None) -> int:
    """Run the lying node until SIGTERM or SIGINT; the exit code is the node's."""
    (folder,) = sys.argv[1:] if arguments is None else arguments
    data_dir = Path(folder)
    settings = load_settings(data_dir / SETTINGS, os.environ, {}).settings
    configure_logs(settings.log.level)
    node = Node(node_options(data_dir, settings))
    if not isinstance(node.engine, CometEngine):
        raise DemoError("the lying department is made for a network that CometBFT orders")
    node.engine.handler.app = cast(Application, AlteringApplication(node.app))
    return run(node, settings, data_dir, StopSignals())


if __name__ == "__main__":
    sys.exit(main())
