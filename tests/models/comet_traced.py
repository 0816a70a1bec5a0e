"""Has nodes that a program starts by itself, a demo or a session of a document, write down what CometBFT asks of them.

`traced_environment` gives variables for such a program: Python runs a `sitecustomize` at every start, and where the process
is a node's (`python -m ledger_node DATA_DIR`) that is the one written here, so the program runs as it is.
Not here: nodes that a test starts itself (see `traces`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tests.models.traces import PROGRAM, TRACE

NODES: Final = ("ledger_node", "ledger_node.demo.liar")
_SITE: Final = """\
import sys

arguments = sys.orig_argv[1:]
if arguments[:1] == ["-m"] and arguments[1] in {nodes!r}:
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    spec = spec_from_file_location("comet_node", {program!r})
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.trace_calls(Path(arguments[2]) / {trace!r})
"""


def traced_environment(folder: Path) -> dict[str, str]:
    """Variables under which every node leaves a trace in its data directory (see `traces.check_trace`); `folder` is new."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SITE.format(nodes=NODES, program=str(PROGRAM), trace=TRACE), "utf-8")
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(folder), *([known] if known else [])])}
