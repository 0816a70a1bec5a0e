"""A proposal that is voted against leaves a line in the log and a count behind."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from ledger.core.keys import node_id
from ledger_node.alarms import Alarms
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.handler import ACCEPT, REJECT
from ledger_node.metrics import Metrics
from tests.models.abci_network import START_MS, Peer, stamp

GARBAGE = b"what-nobody-may-read-in-a-log"


@pytest.mark.parametrize("known", [True, False])
def test_a_rejected_proposal_is_logged_and_counted(known: bool) -> None:
    """The line names height, proposer and error code, and nothing of what was proposed; one that is accepted leaves none."""
    with capture_logs() as lines:
        peer = Peer()
        member, key = peer.app.head.registry.validators()[2]
        address = node_id(key) if known else "ab" * 20
        request = pb.RequestProcessProposal(
            txs=[GARBAGE], height=7, time=stamp(START_MS), proposer_address=bytes.fromhex(address)
        )
        for _ in range(2):
            assert peer.handler.process_proposal(request).status == REJECT
        assert peer.handler.process_proposal(pb.RequestProcessProposal(height=7, time=stamp(START_MS))).status == ACCEPT
    ((code, count),) = peer.handler.alarms.rejected().items()
    assert count == 2
    line = {"log_level": "warning", "event": "proposal.rejected", "height": 7, "proposer": address, "code": code}
    assert lines == [line | {"member": member if known else ""}] * 2


def test_rejected_proposals_stand_in_the_metrics() -> None:
    """One series a code, as a counter; none before the first."""
    alarms, metrics = Alarms(), Metrics()
    metrics.watch(
        dict, lambda: {"ledger_proposals_rejected": {code: float(n) for code, n in alarms.rejected().items()}}
    )
    assert b"ledger_proposals_rejected_total{" not in metrics.encode()
    alarms.reject("framing")
    alarms.reject("framing")
    assert b'\nledger_proposals_rejected_total{code="framing"} 2.0\n' in metrics.encode()
