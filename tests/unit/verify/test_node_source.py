"""A running node as the auditor's source: read up to its certificate, bounded, believed in nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import msgpack
import pytest

from ledger.adapters.audit.archive import ArchiveSource
from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.scratch import ScratchState
from ledger.adapters.audit.sources import NodeSource, open_source
from ledger.archiveformat import encode_native
from ledger.blockcodec import encode_block
from ledger.core.checkpoint import app_hash
from ledger.core.hashing import Digest
from ledger.core.nativecommit import chain_id_of
from ledger.errors import MalformedError, NotFoundError, UnavailableError
from ledger.verify.ledger import Options, verify_ledger
from ledger.verify.report import BROKEN, INCOMPLETE, INTACT, Report
from ledger.verify.trust import Trust
from tests.models import tiny_ledger as tiny
from tests.models.native_commits import consensus_signer, make_commit
from tests.models.tiny_ledger import BUNDLES, TinyLedger

Answer = Callable[[str], tuple[int, bytes]]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """A node that answers GET by `answer(path with query)`; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def node(
    ledger: TinyLedger,
    *,
    page: int = 3,
    certified: int = -1,
    changed: dict[str, bytes] | None = None,
    natives: Mapping[int, bytes] | Answer = MappingProxyType({}),
    natives_page: int = 100,
) -> Answer:
    """A node that serves `ledger`, `page` blocks at a time, with one of its certificates (None: without)."""

    def answer(path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if changed and parts.path in changed:
            return 200, changed[parts.path]
        if parts.path == "/v1/genesis":
            return 200, ledger.genesis.data
        if parts.path == "/checkpoint":
            return (200, ledger.certificates[certified][1]) if ledger.certificates else (503, b"uncertified")
        if parts.path.startswith("/v1/bundles/"):
            data = BUNDLES.get(Digest(bytes.fromhex(parts.path.rpartition("/")[2])))
            return (404, b"") if data is None else (200, data)
        if parts.path == "/v1/blocks":
            first = int(parse_qs(parts.query)["from"][0])
            return 200, msgpack.packb([encode_block(block) for block in ledger.blocks[first : first + page]])
        if parts.path == "/v1/native":
            if not isinstance(natives, Mapping):
                return natives(path)
            first = int(parse_qs(parts.query)["from"][0])
            later = [encode_native(*each) for each in natives.items() if each[0] >= first]
            return 200, msgpack.packb(later[:natives_page])
        return 500, b""

    return answer


def audit(ledger: TinyLedger, address: str) -> Report:
    """The report on the node."""
    options = Options(Trust(ledger.origin, "origin"), ledger.now_ms)
    with ScratchState() as scratch:
        return verify_ledger(open_source(address), options, scratch, tiny.load_rules)


@pytest.mark.parametrize("page", [1, 3, 100])
def test_node_is_verified_up_to_its_head(ledger: TinyLedger, page: int) -> None:
    """Whatever the size of a page, the whole ledger is read and is intact."""
    with serving(node(ledger, page=page)) as address:
        report = audit(ledger, address)
    assert (report.verdict, report.height, report.counts.certificates) == (INTACT, 7, 1)


@pytest.mark.parametrize("page", [1, 2, 100])
def test_what_is_not_certified_yet_is_not_read(ledger: TinyLedger, page: int) -> None:
    """Blocks behind the newest certificate are under way: the audit ends where the certificate does."""
    with serving(node(ledger, page=page, certified=0)) as address:
        report = audit(ledger, address)
    assert (report.verdict, report.size) == (INTACT, ledger.certificates[0][0])


def test_node_without_certificate(ledger: TinyLedger) -> None:
    """A node that shows no certificate is read to its head, and nobody vouches for it."""
    young = tiny.TinyLedger()
    young.block(young.submission("ga", [young.event()]))
    with serving(node(young)) as address:
        report = audit(young, address)
    assert (report.verdict, [each.code for each in report.gaps]) == (INCOMPLETE, ["no-certificate"])


@pytest.fixture(scope="module")
def comet() -> TinyLedger:
    """The tiny ledger under CometBFT."""
    return tiny.tiny_ledger(tiny.make_genesis(validators=tiny.MEMBERS))


def commits(ledger: TinyLedger, chain: str = "") -> dict[int, bytes]:
    """A native commit over every block, by size."""
    signers = [consensus_signer(member) for member in tiny.MEMBERS]
    chain = chain or chain_id_of(ledger.genesis.hash)
    return {
        each.size: make_commit(chain, app_hash(each.size, each.root), signers, height=each.height + 1).encode()
        for each in ledger.sealed
    }


@pytest.mark.parametrize("page", [1, 3, 100])
def test_native_commits_up_to_the_certificate(comet: TinyLedger, tmp_path: Path, page: int) -> None:
    """SPEC R-N47: under CometBFT the node gives all that it keeps, page by page; an export of the node holds the same as
    one of its data would, and what is not certified yet is left out."""
    kept = commits(comet)
    with serving(node(comet, natives=kept, natives_page=page)) as address:
        report = audit(comet, address)
        result = export(NodeSource(address, 5), tmp_path / "node.tar")
    assert (report.verdict, report.counts.natives, report.findings.total) == (INTACT, len(kept), 0)
    assert result.natives == len(kept)
    assert list(ArchiveSource(tmp_path / "node.tar").natives()) == list(kept.items())
    certified = comet.certificates[0][0]
    with serving(node(comet, certified=0, natives=kept, natives_page=page)) as address:
        assert [size for size, _ in NodeSource(address, 5).natives()] == [size for size in kept if size <= certified]
        assert audit(comet, address).verdict == INTACT


def test_a_node_without_native_commits_is_a_gap(comet: TinyLedger) -> None:
    """It need not keep them, may be older than the question or broken at it; a ledger without a certificate is not asked."""
    for served in (lambda _: (404, b"{}"), lambda _: (500, b""), lambda _: (200, b"\x90")):
        with serving(node(comet, natives=served)) as address:
            report = audit(comet, address)
        assert (report.verdict, report.counts.natives) == (INTACT, 0)
        assert "native-missing" in [each.code for each in report.gaps]
    young = tiny.TinyLedger(comet.genesis)
    with serving(node(young, natives=commits(comet))) as address:
        assert list(NodeSource(address, 5).natives()) == []


@pytest.mark.parametrize(
    "page",
    [
        b"noise", b"\x81\x01\x02", b"\x91\x01", msgpack.packb([b"short"]), msgpack.packb([bytes(8) + bytes(100_000)]),
        msgpack.packb([bytes(7) + b"\x05", bytes(7) + b"\x05"]), b"\xdd\xff\xff\xff\xff",
    ],
)  # fmt: skip
def test_what_is_no_list_of_native_commits_is_refused(comet: TinyLedger, page: bytes) -> None:
    """Noise, other shapes, items that are too short or too long, and an order that never ends: bounded, and a finding."""
    with serving(node(comet, natives=lambda _: (200, page))) as address:
        with pytest.raises(MalformedError):
            list(NodeSource(address, 5).natives())
        report = audit(comet, address)
    assert (report.verdict, report.counts.natives) == (BROKEN, 0)


def test_a_wrong_native_commit_of_a_node_is_found(comet: TinyLedger) -> None:
    """What the node hands over is checked like anything else."""
    size = comet.sealed[3].size
    kept = {**commits(comet), size: commits(comet, "suyuan-other")[size]}
    with serving(node(comet, natives=kept)) as address:
        report = audit(comet, address)
    assert (report.verdict, [each.code for each in report.findings.kept]) == (BROKEN, ["native"])


def test_bundles_come_by_hash(ledger: TinyLedger) -> None:
    """A bundle is asked for by its hash; an unknown one is not found."""
    with serving(node(ledger)) as address:
        source = open_source(address)
        for digest, data in BUNDLES.items():
            assert source.bundle(digest) == data
        with pytest.raises(NotFoundError):
            source.bundle(Digest(bytes(32)))
        assert (source.head(), source.state(), list(source.inspect())) == (None, None, [])


def test_lying_node_is_found(ledger: TinyLedger) -> None:
    """A changed block or genesis is found like in any other source."""
    data = bytearray(encode_block(ledger.blocks[1]))
    data[-5] ^= 1
    blocks = [encode_block(block) for block in ledger.blocks]
    blocks[1] = bytes(data)
    with serving(node(ledger, changed={"/v1/blocks": msgpack.packb(blocks)})) as address:
        assert audit(ledger, address).verdict == BROKEN
    with serving(node(ledger, changed={"/v1/genesis": b"{}"})) as address:
        assert audit(ledger, address).verdict == BROKEN


@pytest.mark.parametrize("body", [b"", b"noise", msgpack.packb(5), msgpack.packb([1]), msgpack.packb({"a": 1})])
def test_answers_of_another_form_are_malformed(ledger: TinyLedger, body: bytes) -> None:
    """What is not a list of blocks is refused as such."""
    with serving(node(ledger, changed={"/v1/blocks": body})) as address, pytest.raises(MalformedError):
        list(NodeSource(address, 5).pieces())


@pytest.mark.parametrize("status", [302, 401, 500, 503])
def test_node_that_refuses_is_unavailable(status: int) -> None:
    """Errors and redirects of a node end the audit; a redirect is not followed."""
    with serving(lambda _path: (status, b"x")) as address, pytest.raises(UnavailableError):
        NodeSource(address, 5).genesis()


def test_an_address_without_a_node_accuses_no_ledger() -> None:
    """Where another server or another path answers there is no ledger to find broken."""
    with serving(lambda _path: (404, b"x")) as address, pytest.raises(UnavailableError) as caught:
        NodeSource(address, 5).genesis()
    assert caught.value.code == "node-address"


def test_oversized_answer_is_cut_off(ledger: TinyLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer beyond its bound is refused without being read to its end."""
    from ledger.adapters.audit import sources

    monkeypatch.setattr(sources, "GENESIS_BYTES_MAX", 10)
    with serving(node(ledger)) as address, pytest.raises(MalformedError):
        NodeSource(address, 5).genesis()


def test_other_schemes_are_refused() -> None:
    """Only http and https addresses are opened."""
    with pytest.raises(MalformedError):
        NodeSource("file:///etc/passwd", 5)
