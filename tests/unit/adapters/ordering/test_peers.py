"""How nodes reach each other: TLS to other machines, plain http on this one, and nothing else unless it is allowed."""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ledger.adapters.home.links import Links, parse_node_url
from ledger.adapters.ordering import peers as peers_module
from ledger.adapters.ordering.peers import NotePoller, NotePollers, Peer
from ledger.core.checkpoint import Checkpoint, encode_checkpoint
from ledger.core.genesis import parse_genesis
from ledger.core.hashing import sha256
from ledger.core.keys import Ed25519Signer
from ledger.core.note import encode_note, sign_note
from ledger.core.registry import NODE_ATTRIBUTE, Registry, genesis_registry
from ledger.errors import UnavailableError
from tests.models import tiny_ledger as tiny
from tests.models.certificates import Authority
from tests.models.raw_server import CHUNKED, HEAD, Script, answering, dripping, serve_raw

NOTE = b"a note\n"


class _Handler(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(NOTE)))
        self.end_headers()
        self.wfile.write(NOTE)

    def log_message(self, *_: object) -> None:
        return


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        return  # a client that refuses our certificate


@contextmanager
def proxy(files: tuple[Path, Path], *, clients: Path | None = None) -> Iterator[int]:
    """The port of a node behind TLS; with `clients` it asks for a certificate by that authority."""
    server = _Quiet(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority of this network."""
    return Authority(tmp_path)


def code(url: str, links: Links) -> str:
    """The code by which a question fails."""
    with pytest.raises(UnavailableError) as caught:
        Peer(url, links).note()
    return caught.value.code


def test_a_node_behind_tls_is_asked(authority: Authority) -> None:
    """Under the authority that the settings name, for the host that the certificate names, also on a kept connection."""
    with proxy(authority.certificate("localhost")) as port:
        peer = Peer(f"https://localhost:{port}/", Links(ca=str(authority.ca)))
        assert (peer.url, peer.note(), peer.note()) == (f"https://localhost:{port}", NOTE, NOTE)


def test_a_certificate_that_proves_nothing_is_refused(authority: Authority, tmp_path: Path) -> None:
    """Of an unknown authority, or for another host: no answer is taken from there."""
    folder = tmp_path / "other"
    folder.mkdir()
    with proxy(Authority(folder, "other").certificate("localhost")) as port:
        assert code(f"https://localhost:{port}", Links(ca=str(authority.ca))) == "peer"
        assert code(f"https://localhost:{port}", Links()) == "peer"
    with proxy(authority.certificate("far.example")) as port:
        assert code(f"https://localhost:{port}", Links(ca=str(authority.ca))) == "peer"


def test_a_proxy_may_ask_who_calls(authority: Authority) -> None:
    """With the certificate of the settings this node is let in; without one it is not."""
    own = authority.certificate("ga")
    with proxy(authority.certificate("127.0.0.1"), clients=authority.ca) as port:
        links = Links(ca=str(authority.ca), certificate=str(own[0]), key=str(own[1]))
        assert Peer(f"https://127.0.0.1:{port}", links).note() == NOTE
        assert code(f"https://127.0.0.1:{port}", Links(ca=str(authority.ca))) == "peer"


def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path) -> None:
    """A missing authority, a certificate without its key: said when the node starts, not at the first question."""
    certificate, _ = authority.certificate("ga")
    for links in (Links(ca=str(tmp_path / "none")), Links(certificate=str(certificate)), Links(ca=str(tmp_path))):
        with pytest.raises(UnavailableError) as caught:
            Peer("https://localhost:1", links)
        assert caught.value.code == "peer-tls"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", ""), ("http://127.8.8.8:1", ""), ("http://[::1]:1", ""), ("http://localhost", ""),
        ("https://far.example", ""), ("https://[2001:db8::1]:8650/", ""), ("http://10.0.0.1:1", "peer-plain"),
        ("http://far.example:1", "peer-plain"), ("http://localhost.example:1", "peer-plain"),
        ("http://127.0.0.1.example:1", "peer-plain"), ("http://2130706433:1", "peer-plain"), ("ftp://localhost", "peer-url"),
        ("https://localhost/path", "peer-url"), ("https://localhost?x", "peer-url"), ("https://a@localhost", "peer-url"),
        ("https://localhost:0", "peer-url"), ("https://localhost:x", "peer-url"), ("https://localhost:70000", "peer-url"),
        ("https://", "peer-url"), ("", "peer-url"), ("https://localhost#x", "peer-url"), ("https://[::1", "peer-url"),
        ("https://" + "a" * 70 + ".cn", "peer-url"), ("https://x..y:443", "peer-url"),
        ("https://" + "a." * 127 + "cn", "peer-url"),
        ("https://a b:443", "peer-url"), ("https://\udc80", "peer-url"),
        ("https://a\x7f", "peer-url"), ("https://数据.cn", ""),
    ],
)  # fmt: skip
def test_which_addresses_are_called(url: str, expected: str) -> None:
    """SPEC R-N22: https anywhere, http on this machine; http elsewhere only where the operator allows it."""
    for plain_http in (False, True):
        wanted = "" if plain_http and expected == "peer-plain" else expected
        if not wanted:
            parse_node_url(url, plain_http=plain_http)
            continue
        with pytest.raises(UnavailableError) as caught:
            parse_node_url(url, plain_http=plain_http)
        assert caught.value.code == wanted


@pytest.mark.parametrize(("status", "said"), [(421, "http.hosts"), (503, "status 503"), (0, "refused")])
def test_why_a_node_is_not_heard_is_told(status: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator reads whether the line is down, the proxy says no, or the node does not answer under that name."""
    monkeypatch.setattr(_Handler, "status", status)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port if status else 9}"
    asked = threading.Event()

    class Once(NotePoller):
        """Stops after one question."""

        def _run(self) -> None:
            def stop(timeout: float | None = None) -> bool:
                del timeout
                self._closing.set()
                return True

            self._closing.wait = stop  # type: ignore[method-assign]
            super()._run()
            asked.set()

    pollers = NotePollers([Peer(url)], lambda peer, _: Once(peer, lambda _: None, lambda *_: None))
    try:
        pollers.start()
        assert asked.wait(10)
        ((silent,), count) = pollers.unreachable()
    finally:
        pollers.close()
        server.shutdown()
        server.server_close()
        thread.join()
    assert count == 1 and silent.startswith(f"{url} (") and said in silent


@pytest.mark.parametrize(
    "script",
    [
        answering(CHUNKED + b"-1\r\n" + b"x" * 200_000),
        answering(CHUNKED + b"-FFFFFFFFFFFFFFFFFFFF\r\n\r\nzz\r\n"),
        answering(HEAD + b"Content-Length: 65537\r\n\r\n"),
        dripping(HEAD + b"Content-Length: 65000\r\n\r\n", b"x"),
        dripping(HEAD, b"x"),
    ],
)
def test_whatever_a_peer_answers_it_is_unavailable(script: Script) -> None:
    """A peer that drips, claims absurd chunks or sends too much holds nobody up and raises nothing else."""
    with serve_raw(script) as port:
        peer, started = Peer(f"http://127.0.0.1:{port}"), time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            peer.request("GET", "/v1/certificates/5", timeout_s=0.3, bytes_max=65_536)
        assert caught.value.code == "peer" and time.monotonic() - started < 3


def test_a_polling_thread_outlives_what_should_not_happen(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that takes no evidence, or our own fault, is logged; the same note is judged again, and others after it."""
    monkeypatch.setattr(peers_module, "FAULT_S", 0.01)
    notes = [note_of(1), note_of(2)]
    monkeypatch.setattr(Peer, "note", lambda *_: notes[0])
    tries: list[bytes] = []
    judged = threading.Event()

    def judge(note: bytes) -> None:
        tries.append(note)
        if len(tries) == 1:
            raise OSError("no space left on device")
        if len(tries) == 2:
            raise KeyError("a fault")
        notes[:] = notes[1:] or notes
        if note == note_of(2):
            judged.set()

    poller = NotePoller(Peer("http://127.0.0.1:9"), judge, lambda *_: None, 0.01)
    with caplog.at_level(logging.ERROR, "ledger.ordering"):
        poller.start()
        try:
            assert judged.wait(10)
        finally:
            poller.close()
            poller._thread.join(10)
    assert tries == [note_of(1)] * 3 + [note_of(2)]
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OSError, KeyError]


def note_of(size: int) -> bytes:
    """A note over a checkpoint of this size, as far as a poller reads it."""
    text = encode_checkpoint(Checkpoint("net.test/" + "ab" * 32, size, sha256(b"root")))
    return encode_note(text, [sign_note(text, "net.test/" + "ab" * 32, Ed25519Signer(bytes(32)))])


def registry_with(**addresses: str) -> Registry:
    """The tiny network's members, some with an address."""
    registry = genesis_registry(parse_genesis(tiny.make_genesis().data))
    for member, url in addresses.items():
        found = registry.members[member]
        registry = registry.with_member(replace(found, attributes={**found.attributes, NODE_ATTRIBUTE: url}))
    return registry


@pytest.mark.parametrize("plain_http", [False, True])
def test_addresses_of_the_registry_obey_the_same_rule(plain_http: bool) -> None:
    """SPEC R-N22: a vote cannot have this node call others in plain http; what is wrong is told by member."""
    peers: list[Peer] = []
    pollers = NotePollers(
        peers, lambda peer, _: NotePoller(peer, lambda _: None, lambda *_: None, 60.0), Links(plain_http)
    )
    pollers.start()
    try:
        wrong = pollers.learn_members(
            registry_with(ga="https://localhost:9", gx="http://127.0.0.1:9", wj="http://10.255.0.1:9", mz="ftp://x"),
            "own",
        )
    finally:
        pollers.close()
    expected = {"mz": "peer-url"} if plain_http else {"mz": "peer-url", "wj": "peer-plain"}
    assert {member: error.code for member, error in wrong.items()} == expected
    assert {peer.url for peer in peers} >= {"https://localhost:9", "http://127.0.0.1:9"}
