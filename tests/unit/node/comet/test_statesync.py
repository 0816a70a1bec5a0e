"""What a node that joins answers CometBFT, and what nodes answer its light client."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("ledger_node.comet.statesync", reason="suyuan-node is not installed")

from ledger.adapters.home.comethome import HOME, encode_config, genesis_of, write_genesis
from ledger.adapters.home.datadir import DATABASE
from ledger.adapters.home.statesyncfile import (
    LightClient,
    SyncRequest,
    TrustedHeader,
    check_servers,
    encode_table,
    parse_trusted,
    read_request,
    write_request,
)
from ledger.adapters.ordering.peers import Peer
from ledger.adapters.ordering.restoring import Restoring
from ledger.adapters.ordering.snapshots import StateSnapshots
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.core.checkpoint import app_hash
from ledger.core.hashing import sha256
from ledger.core.keys import CONSENSUS, P2P, node_id
from ledger.errors import FatalError, MalformedError, UnavailableError, VerificationError
from ledger.snapshotformat import FORMAT, Manifest
from ledger_node.comet import abci_pb2 as pb
from ledger_node.comet.lightclient import (
    chain_genesis,
    find_genesis,
    find_trusted,
    is_forgotten,
    know,
    parse_question,
)
from ledger_node.comet.snapshots import SnapshotTaker
from ledger_node.comet.statesync import Apply, Offer, Over, StateSync
from tests.models.light_nodes import GONE, NEWEST, LightNodes
from tests.models.native_commits import consensus_signer
from tests.models.real_ledger import RealLedger
from tests.models.snapshot_peer import StoredPeer

HEIGHT = 40


@pytest.fixture
def joiner(begun: Path, made: RealLedger, tmp_path: Path) -> StateSync:
    """The application of a node with block 0."""
    folder = Path(shutil.copytree(begun, tmp_path / "jy"))
    peers = cast("list[Peer]", [StoredPeer(made.folder)])
    return StateSync(Restoring(folder, peers), folder, ["AB" * 20])


@pytest.fixture(scope="module")
def offered(made: RealLedger, tmp_path_factory: pytest.TempPathFactory) -> tuple[pb.Snapshot, list[bytes], Manifest]:
    """What an honest validator lists, with its chunks, taken as the node takes it."""
    folder = tmp_path_factory.mktemp("offers")
    reader = SqliteReader(made.folder / DATABASE)
    taker = SnapshotTaker(folder, reader, HEIGHT)
    assert taker.oldest == 0 and not taker.list().snapshots
    taker.after(HEIGHT - 1)
    assert not StateSnapshots(folder).heights()
    taker.after(HEIGHT)
    assert taker._thread is not None
    taker._thread.join()
    (listed,) = taker.list().snapshots
    request = pb.RequestLoadSnapshotChunk(height=HEIGHT, format=FORMAT)
    chunks = []
    for number in range(listed.chunks):
        request.chunk = number
        chunks.append(taker.load(request).chunk)
    assert taker.oldest == HEIGHT
    for other in ({"format": 2}, {"height": 41}, {"chunk": 9}, {"chunk": 2**32 - 1}):
        wanted = pb.RequestLoadSnapshotChunk(**{"height": HEIGHT, "format": FORMAT, **other})
        assert taker.load(wanted).chunk == b""
    taker.close()
    reader.close()
    return listed, chunks, StateSnapshots(folder).listed()[0][1]


def offer(listed: pb.Snapshot, manifest: Manifest, **changes: Any) -> pb.RequestOfferSnapshot:
    """CometBFT's offer of a snapshot whose app hash its light client found."""
    changed = pb.Snapshot()
    changed.CopyFrom(listed)
    for name, value in changes.items():
        setattr(changed, name, value)
    return pb.RequestOfferSnapshot(snapshot=changed, app_hash=app_hash(manifest.size, manifest.root))


def test_a_joining_node_takes_over_and_goes_on(
    joiner: StateSync, offered: tuple[pb.Snapshot, list[bytes], Manifest], made: RealLedger
) -> None:
    """SPEC R-N74, R-N76, R-N78: a chunk with another hash is fetched again and its sender left; with the last one the ledger
    is there; Info says so; who votes must be the registry's."""
    listed, chunks, manifest = offered
    assert joiner.info(pb.RequestInfo(abci_version="2.0.0")).last_block_height == 0
    assert joiner.offer_snapshot(offer(listed, manifest)).result == Offer.ACCEPT
    wrong = joiner.apply_snapshot_chunk(pb.RequestApplySnapshotChunk(index=0, chunk=chunks[0] + b"x", sender="liar"))
    assert (wrong.result, list(wrong.refetch_chunks), list(wrong.reject_senders)) == (Apply.RETRY, [0], ["liar"])
    for number, chunk in enumerate(chunks):
        assert (
            joiner.apply_snapshot_chunk(pb.RequestApplySnapshotChunk(index=number, chunk=chunk)).result == Apply.ACCEPT
        )
    told = joiner.info(pb.RequestInfo())
    assert (told.last_block_height, told.app_version) == (HEIGHT, 1)
    assert told.last_block_app_hash == app_hash(manifest.size, manifest.root)

    known = [sha256(key.public.raw)[:20] for _, key in made.genesis.keys(CONSENSUS)]
    strange = sha256(consensus_signer("nobody").public.raw)[:20]
    for voters in ([], [*known, strange]):
        commit = pb.CommitInfo(votes=[pb.VoteInfo(validator=pb.Validator(address=each)) for each in voters])
        with pytest.raises(FatalError) as caught:
            joiner.finalize_block(pb.RequestFinalizeBlock(decided_last_commit=commit))
        assert caught.value.code == "snapshot-validators" and not joiner.done
    commit = pb.CommitInfo(votes=[pb.VoteInfo(validator=pb.Validator(address=each)) for each in known])
    with pytest.raises(Over):
        joiner.process_proposal(pb.RequestProcessProposal(proposed_last_commit=commit))
    assert joiner.done
    # A CometBFT that was killed before it wrote its state offers once more, and the ledger is made once more.
    assert joiner.offer_snapshot(offer(listed, manifest)).result == Offer.ACCEPT
    for number, chunk in enumerate(chunks):
        assert (
            joiner.apply_snapshot_chunk(pb.RequestApplySnapshotChunk(index=number, chunk=chunk)).result == Apply.ACCEPT
        )


def test_what_is_no_snapshot_of_the_chain_is_refused(
    joiner: StateSync, offered: tuple[pb.Snapshot, list[bytes], Manifest], made: RealLedger
) -> None:
    """SPEC R-N72, R-N74: another format, hash, count or app hash, and damaged metadata; without a certificate it waits."""
    listed, chunks, manifest = offered
    assert joiner.offer_snapshot(offer(listed, manifest, format=2)).result == Offer.REJECT_FORMAT
    other = Manifest(manifest.height, manifest.size, sha256(b"other"), manifest.chunks)
    for request in (
        offer(listed, manifest, hash=bytes(32)),
        offer(listed, manifest, chunks=listed.chunks + 1),
        offer(listed, manifest, metadata=listed.metadata[:-1]),
        offer(listed, manifest, metadata=b"\xdd\xff\xff\xff\xff"),
        offer(listed, other),
        offer(listed, other, metadata=other.encode(), hash=other.hash),
    ):
        assert joiner.offer_snapshot(request).result == Offer.REJECT
    applied = joiner.apply_snapshot_chunk(pb.RequestApplySnapshotChunk(index=0, chunk=chunks[0]))
    assert applied.result == Apply.ABORT and joiner.again


def test_without_a_certificate_nothing_is_taken_yet(
    joiner: StateSync, offered: tuple[pb.Snapshot, list[bytes], Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SPEC R-N74: while no node shows a certificate that covers the log, CometBFT is told to give up and started again."""
    listed, _, manifest = offered
    monkeypatch.setattr("ledger_node.comet.statesync.COVER_PAUSE_S", 0)
    cast("StoredPeer", joiner._restoring._peers[0]).certificate = False
    assert joiner.offer_snapshot(offer(listed, manifest)).result == Offer.ABORT and joiner.again


def test_only_known_engines_may_connect_and_nothing_else_is_decided(joiner: StateSync, made: RealLedger) -> None:
    """SPEC R-N14, R-N78: peers that the node was told of and those of its registry; no chain begins, no block is decided."""
    genesis = next(node_id(key.public) for _, key in made.genesis.keys(P2P))

    def asked(path: str) -> int:
        return joiner.query(pb.RequestQuery(path=path)).code

    assert (
        asked("/p2p/filter/addr/1.2.3.4:1")
        == asked(f"/p2p/filter/id/{'ab' * 20}")
        == asked(f"/p2p/filter/id/{genesis}")
        == 0
    )
    assert asked(f"/p2p/filter/id/{'cd' * 20}") == asked("/store") == 1
    assert joiner.check_tx(pb.RequestCheckTx(tx=b"x")).code == 1
    assert not joiner.list_snapshots(pb.RequestListSnapshots()).snapshots
    assert joiner.load_snapshot_chunk(pb.RequestLoadSnapshotChunk(height=1)).chunk == b""
    for call, request in (
        (joiner.init_chain, pb.RequestInitChain()), (joiner.commit, pb.RequestCommit()),
        (joiner.extend_vote, pb.RequestExtendVote()), (joiner.info, pb.RequestInfo(abci_version="1.0.0")),
        (joiner.verify_vote_extension, pb.RequestVerifyVoteExtension()),
        (joiner.prepare_proposal, pb.RequestPrepareProposal()),
    ):  # fmt: skip
        with pytest.raises(FatalError):
            cast("Any", call)(request)
    assert not joiner.done


def test_only_questions_about_blocks_are_handed_on() -> None:
    """SPEC R-N75: three methods with decimal texts; everything else of CometBFT's RPC stays closed."""
    asked = parse_question(b'{"jsonrpc":"2.0","id":-1,"method":"commit","params":{"height":"7"}}')
    assert (asked.id, asked.method, asked.params) == (-1, "commit", {"height": "7"})
    assert parse_question(b'{"id":1,"method":"validators","params":{"page":"1","height":null}}').params == {"page": "1"}
    for data in (
        b"", b"[]", b"{}", b"x" * 5_000, b"[" * 4_000, b'{"id":1,"method":"dial_peers","params":{}}',
        b'{"id":1,"method":"commit","params":{"height":7}}', b'{"id":1,"method":"commit","params":{"height":"-1"}}',
        b'{"id":1,"method":"commit","params":{"tx":"1"}}', b'{"id":"1","method":"commit"}', b'{"id":1,"method":["commit"]}',
        b'{"id":1,"method":"commit","params":["7"]}',
        b'{"id":1,"method":"commit","params":{"height":"12345678901234567890"}}',
    ):  # fmt: skip
        with pytest.raises(MalformedError) as caught:
            parse_question(data)
        assert caught.value.code == "light-request"


def _peers(*urls: str) -> list[Peer]:
    return [Peer(url) for url in urls]


def test_the_first_header_is_what_all_nodes_say(nodes: LightNodes) -> None:
    """SPEC R-N75: the block of the lowest snapshot that at least two nodes know and name alike, whatever height one of them
    invents; a contradiction is for people."""
    digest, other = sha256(b"header").hex().upper(), sha256(b"other").hex().upper()
    one, two = nodes.add([{"height": 40}, {"height": 30}], digest), nodes.add([{"height": GONE}], digest)
    silent = nodes.add([], digest)
    dumb, odd, liar = nodes.add([{"height": 50}], None), nodes.add([{"height": "x"}], digest), nodes.add([], other)
    gone = "http://127.0.0.1:1"
    assert find_trusted(_peers(gone, one, two, dumb)) == TrustedHeader(30, sha256(b"header"))
    for asked, code in (
        ([silent, gone], "state-sync-none"),
        ([odd], "state-sync-none"),
        ([one, dumb], "state-sync-few"),
        ([two, silent], "state-sync-few"),
    ):
        with pytest.raises(UnavailableError) as caught:
            find_trusted(_peers(*asked))
        assert caught.value.code == code
    with pytest.raises(VerificationError) as lied:
        find_trusted(_peers(one, two, liar))
    assert lied.value.code == "state-sync-trust"


def test_a_named_header_is_waited_for_and_believed_before_others(nodes: LightNodes) -> None:
    """SPEC R-N75: at least two nodes have to have that block; what others say instead is told, and changes nothing."""
    named, digest = TrustedHeader(30, sha256(b"header")), sha256(b"header").hex().upper()
    one, two = nodes.add([], digest), nodes.add([], digest)
    liar, gone = nodes.add([], sha256(b"other").hex().upper()), "http://127.0.0.1:1"
    assert know(_peers(gone, liar, one, two), named) == named
    for asked, header in (([one, liar], named), ([one, two], TrustedHeader(GONE, named.hash))):
        with pytest.raises(UnavailableError) as caught:
            know(_peers(*asked), header)
        assert caught.value.code == "state-sync-few" and caught.value.evidence["height"] == header.height


def test_a_block_is_forgotten_where_nodes_answer_and_none_has_it(nodes: LightNodes) -> None:
    """SPEC R-N78: silence is no answer, and one node that has it is enough."""
    digest = sha256(b"header").hex().upper()
    one, two, later = nodes.add([], digest), nodes.add([], digest), nodes.add([], digest, gone=())
    gone, dumb = "http://127.0.0.1:1", nodes.add([], None)
    assert is_forgotten(_peers(one, gone, two, dumb), GONE)
    assert not is_forgotten(_peers(one, later), GONE) and not is_forgotten(_peers(one, two), GONE + 1)
    assert not is_forgotten(_peers(gone, dumb), GONE)
    assert not is_forgotten(_peers(one, two), NEWEST + 1)  # not made yet


def test_the_genesis_of_a_chain_is_what_most_nodes_say(nodes: LightNodes, made: RealLedger, tmp_path: Path) -> None:
    """SPEC R-N63, R-N75: at least two; a node that has none, or names something else, does not count."""
    genesis = genesis_of(made.genesis)
    other = genesis.replace(b'"genesis_time":"2', b'"genesis_time":"3')
    one, two = nodes.add([], None, genesis=json.loads(genesis)), nodes.add([], None, genesis=json.loads(genesis))
    liar, odd = nodes.add([], None, genesis=json.loads(other)), nodes.add([], None, genesis={"chain_id": "x"})
    none, gone = nodes.add([], None), "http://127.0.0.1:1"
    assert find_genesis(_peers(liar, gone, one, odd, none, two)) == genesis != other
    for asked in ([one, liar], [none, odd, gone], []):
        with pytest.raises(UnavailableError) as caught:
            find_genesis(_peers(*asked))
        assert caught.value.code == "state-sync-few"
    assert chain_genesis(tmp_path) is None
    write_genesis(tmp_path / HOME, genesis)
    assert chain_genesis(tmp_path) == json.loads(genesis)


def test_the_request_and_comets_table(tmp_path: Path) -> None:
    """SPEC R-N75: what an operator named goes into CometBFT's settings; odd files and too few nodes are refused."""
    trusted = parse_trusted("1200:" + "AB" * 32)
    for value in (SyncRequest(), SyncRequest(trusted), SyncRequest(None, moved=True), SyncRequest(trusted, moved=True)):
        write_request(tmp_path, value)
        assert read_request(tmp_path) == value
    table = encode_table(LightClient(("http://a:1", "http://b:2"), trusted))
    text = encode_config(listen="127.0.0.1:1", peers=[], joining=table)
    import tomllib

    found = tomllib.loads(text)["statesync"]
    assert found["rpc_servers"] == "http://a:1/v1/comet,http://b:2/v1/comet" and found["enable"] is True
    assert (found["trust_height"], found["trust_hash"]) == (1200, "AB" * 32)
    assert "statesync" not in tomllib.loads(encode_config(listen="127.0.0.1:1", peers=[]))
    assert check_servers(("http://a:1", "http://b:2", "http://a:1")) == ("http://a:1", "http://b:2")
    with pytest.raises(MalformedError):
        check_servers(("http://a:1", "http://a:1"))
    for bad in ("", "7", "0:" + "ab" * 32, "7:ab", "-1:" + "ab" * 32, "x:" + "ab" * 32):
        with pytest.raises(MalformedError):
            parse_trusted(bad)
    for data in (
        b"",
        b"{}",
        b'{"trust":{}}',
        b'{"moved":1,"trust":null}',
        b"[]",
        b'{"trust":{"hash":"ab","height":1}}',
        b'{"trust":{"hash":"%s","height":true}}' % (b"ab" * 32),
    ):
        (tmp_path / "state-sync.json").write_bytes(data)
        with pytest.raises(MalformedError):
            read_request(tmp_path)
