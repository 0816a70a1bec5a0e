"""Part of `./dev bench verify`: an audit's processor time by level, timed in one process with the rules beside the rest.

A level's figure is exclusive: what one level needs of another is counted where it is done. `state` is what the auditor makes
anew (leaves, the log's tree, streams, map and roots), `other` joining blocks, the report and what no level names.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ledger.adapters.audit.pool import relax_collector
from ledger.adapters.audit.replayrules import INLINE, rules_loader
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import open_source
from ledger.core.genesis import Genesis, parse_genesis
from ledger.core.hashing import Digest
from ledger.verify import check, replay
from ledger.verify.certificates import Certificates
from ledger.verify.findings import BYTES, CERTIFICATES, REPLAY, SIGNATURES, STATE
from ledger.verify.ledger import Options, Serial, verify_ledger
from ledger.verify.replay import LoadedRules
from ledger.verify.trust import Trust
from scripts.bench.stages import Places, Stages

START: Final = "start"
LEVELS: Final = (BYTES, SIGNATURES, STATE, CERTIFICATES, REPLAY)
PLACES: Final[Places] = (
    (check, "_load", BYTES),
    (check, "parse_block", BYTES),
    (check, "check_block", BYTES),
    (check, "signature_finding", SIGNATURES),
    (check, "check_note", CERTIFICATES),
    (check, "check_certificate", CERTIFICATES),
    (Certificates, "add", CERTIFICATES),
    (replay, "begin", REPLAY),
    (replay, "finish", REPLAY),
    (replay.Replay, "start", REPLAY),
    (replay.Replay, "finish", REPLAY),
    (replay, "seal", STATE),
    (ScratchState, "decided", STATE),
    (ScratchState, "sealed", STATE),
)


def by_level(export: Path) -> dict[str, float]:
    """Columns `level_<name>_us`, this process's processor time for each event of `export`, and `start_ms`, that of compiling
    its rules."""
    source = open_source(str(export), timeout_s=60)
    origin = parse_genesis(source.genesis()).origin
    options = Options(Trust(origin=origin, pinned_by="origin"), time.time_ns() // 1_000_000, runtime=INLINE)
    stages, load = Stages(PLACES), rules_loader(INLINE)

    def timed_load(genesis: Genesis, bundle: Callable[[Digest], bytes]) -> LoadedRules:
        stages.enter(START)
        try:
            return load(genesis, bundle)
        finally:
            stages.leave()

    relax_collector()
    with ScratchState() as scratch, stages.watching():
        own = time.process_time()
        report = verify_ledger(source, options, scratch, timed_load, parallel=Serial())
        own = time.process_time() - own
    if report.findings.total:
        raise RuntimeError(f"{report.findings.total} findings in a ledger that was just made")
    events = report.counts.events
    row = {f"level_{name}_us": round(stages.seconds[name] / events * 1e6, 1) for name in LEVELS}
    row["level_other_us"] = round((own - sum(stages.seconds.values())) / events * 1e6, 1)
    row["start_ms"] = round(stages.seconds[START] * 1000)
    return row
