"""abci_pb2.py is what abci.proto gives, and abci.proto has the numbers of ABCI 2.0."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from google.protobuf.internal import api_implementation

from ledger_node.comet import abci_pb2 as pb
from scripts import make_proto

# From the protocol; the numbers are what the other side reads.
REQUESTS = {
    "echo": 1, "flush": 2, "info": 3, "init_chain": 5, "query": 6, "check_tx": 8, "commit": 11, "list_snapshots": 12,
    "offer_snapshot": 13, "load_snapshot_chunk": 14, "apply_snapshot_chunk": 15, "prepare_proposal": 16,
    "process_proposal": 17, "extend_vote": 18, "verify_vote_extension": 19, "finalize_block": 20,
}  # fmt: skip

# Requests byte by byte: CheckTx(tx=0x0102, type=RECHECK); FinalizeBlock(height 7, one tx, round 3, one nil vote).
CHECK_TX = "42060a0201021001"
FINALIZE = "a201150a0161120e0803120a0a060a02aaaa180a18032807"


def test_requests_and_responses_have_the_numbers_of_the_protocol() -> None:
    """Each request has its number, each response that number plus one, and there are no others."""
    requests = {field.name: field.number for field in pb.Request.DESCRIPTOR.fields}
    responses = {field.name: field.number for field in pb.Response.DESCRIPTOR.fields}
    assert requests == REQUESTS
    assert responses == {"exception": 1} | {name: number + 1 for name, number in REQUESTS.items()}


def test_bytes_from_the_wire_are_understood() -> None:
    """Requests that were written byte by byte from the protocol's table mean what they should, and are written the same."""
    check = pb.Request.FromString(bytes.fromhex(CHECK_TX))
    assert check.check_tx.tx == b"\x01\x02"
    assert check.check_tx.type == pb.CHECK_TX_RECHECK
    assert check.SerializeToString().hex() == CHECK_TX
    final = pb.Request.FromString(bytes.fromhex(FINALIZE)).finalize_block
    (vote,) = final.decided_last_commit.votes
    assert (final.height, list(final.txs), final.decided_last_commit.round) == (7, [b"a"], 3)
    assert (vote.validator.address, vote.validator.power, vote.block_id_flag) == (b"\xaa\xaa", 10, pb.BLOCK_ID_FLAG_NIL)
    assert pb.Request(finalize_block=final).SerializeToString().hex() == FINALIZE
    assert pb.ResponseCommit(retain_height=5).SerializeToString().hex() == "1805"


def test_reserved_request_is_nobodys() -> None:
    """The calls of the application mempool and of ABCI before 2.0 name no request."""
    for number in (4, 7, 9, 10, 21, 22):
        tag = number << 3 | 2
        head = bytes((tag,)) if tag < 0x80 else bytes((tag & 0x7F | 0x80, tag >> 7))
        assert pb.Request.FromString(head + b"\x00").WhichOneof("value") is None


def test_messages_are_parsed_in_c() -> None:
    """The protobuf that is installed is the fast one; the pure Python one takes thirty times as long."""
    assert api_implementation.Type() == "upb"


def test_committed_code_is_what_the_proto_gives() -> None:
    """protoc makes the committed files again, byte for byte."""
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("no grpcio-tools: abci_pb2.py was not made again to compare")
    assert make_proto.stale() == []


def test_changed_proto_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Committed files that are not what the proto gives are named."""
    if importlib.util.find_spec("grpc_tools") is None:
        pytest.skip("no grpcio-tools: abci_pb2.py was not made again to compare")
    for name in (make_proto.PROTO, *make_proto.MADE):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((make_proto.SOURCES / name).read_bytes())
    proto = tmp_path / make_proto.PROTO
    proto.write_text(proto.read_text(encoding="utf-8").replace("retain_height = 3", "retain_height = 2"))
    proto.write_text(proto.read_text(encoding="utf-8").replace("reserved 1, 2;", ""))
    monkeypatch.setattr(make_proto, "SOURCES", tmp_path)
    assert make_proto.stale() == [make_proto.MADE[0]]
