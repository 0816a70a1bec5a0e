"""A running node as the auditor's source: read up to its certificate, bounded, believed in nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

import msgpack
import pytest

from ledger.adapters.scratch import ScratchState
from ledger.adapters.sources import NodeSource, open_source
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
    natives: Mapping[int, tuple[int, bytes]] = MappingProxyType({}),
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
        if parts.path.startswith("/v1/native/"):
            return natives.get(int(parts.path.rpartition("/")[2]), (404, b"{}"))
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


def test_native_commit_of_the_newest_certificate(ledger: TinyLedger) -> None:
    """Under CometBFT the node is asked for its commit over the newest certified checkpoint; it need not have one."""
    comet = tiny.tiny_ledger(tiny.make_genesis(validators=tiny.MEMBERS))
    size, root = comet.sealed[-1].size, comet.sealed[-1].root
    signers = [consensus_signer(member) for member in tiny.MEMBERS]
    good = make_commit(chain_id_of(comet.genesis.hash), app_hash(size, root), signers).encode()
    bad = make_commit("suyuan-other", app_hash(size, root), signers).encode()
    for served, verdict, count in (
        ((200, good), INTACT, 1), ((404, b"{}"), INTACT, 0), ((500, b""), INTACT, 0), ((200, bad), BROKEN, 0),
        ((200, b"noise"), BROKEN, 0), ((200, bytes(100_000)), INTACT, 0),
    ):  # fmt: skip
        with serving(node(comet, natives={size: served})) as address:
            report = audit(comet, address)
            given = list(NodeSource(address, 5).natives())
        assert (report.verdict, report.counts.natives) == (verdict, count)
        assert ("native-missing" in [each.code for each in report.gaps]) == (count == 0)
        assert given == ([(size, served[1])] if served[0] == 200 and len(served[1]) < 100_000 else [])
    young = tiny.TinyLedger(comet.genesis)
    with serving(node(young, natives={1: (200, good)})) as address:
        assert list(NodeSource(address, 5).natives()) == []


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


def test_oversized_answer_is_cut_off(ledger: TinyLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer beyond its bound is refused without being read to its end."""
    from ledger.adapters import sources

    monkeypatch.setattr(sources, "GENESIS_BYTES_MAX", 10)
    with serving(node(ledger)) as address, pytest.raises(MalformedError):
        NodeSource(address, 5).genesis()


def test_other_schemes_are_refused() -> None:
    """Only http and https addresses are opened."""
    with pytest.raises(MalformedError):
        NodeSource("file:///etc/passwd", 5)
