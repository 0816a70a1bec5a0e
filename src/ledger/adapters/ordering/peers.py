"""Talking to other nodes over HTTP: long polls for notes and blocks, forwarded submissions.

Rules: an answer is bytes of a stranger, bounded in size and time (see `ledger.client.exchange`) and checked by whoever uses
it; every failure is `UnavailableError`. No thread that asks ends for what one round brought.
To another machine TLS only, with a certificate that names the host, unless the operator allows plain http: what is signed
cannot be forged on the way, but bodies of events can be read. No redirect is followed, no proxy of the environment asked.
Not here: what the bytes mean.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from ledger.adapters.home.links import DEFAULT, Links, parse_node_url
from ledger.client.exchange import FAILURES, AnswerTooLongError, Connection
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.hashing import sha256
from ledger.core.note import parse_note
from ledger.core.registry import NODE_ATTRIBUTE, Registry
from ledger.errors import LedgerError, UnavailableError
from ledger.limits import HTTP_WAIT_S_MAX, NOTE_BYTES_MAX, PEER_ANSWER_BYTES_MAX

POLL_S = 20
RETRY_S = 0.2
FAULT_S = 5.0  # after what should not have happened: our own fault, or a disk that takes no evidence
TIMEOUT_S = 10
HOST_REFUSED = "status 421: http.hosts there lacks this name, or its proxy passes it on"

log = logging.getLogger("ledger.ordering")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and content type of an HTTP answer."""

    status: int
    body: bytes
    content_type: str


class Peer:
    """One other node. A connection belongs to the thread that made it."""

    def __init__(self, url: str, links: Links = DEFAULT) -> None:
        parts = parse_node_url(url, plain_http=links.plain_http)
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._host = parts.hostname or ""
        self._context = links.context() if parts.scheme == "https" else None
        self._port = parts.port or (80 if self._context is None else 443)
        self._local = threading.local()

    def _connection(self) -> Connection:
        """This thread's connection."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = Connection(self._host, self._port, self._context)
        return connection

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str = "",
        timeout_s: float = TIMEOUT_S,
        bytes_max: int = PEER_ANSWER_BYTES_MAX,
    ) -> Answer:
        """One request; raises `UnavailableError` when there is no whole answer within the time and size.

        Beyond `timeout_s` an answer has only the time in which its bytes come at `HTTP_RATE_MIN` or faster.
        """
        headers = {"Content-Type": content_type} if content_type else {}
        try:
            answer = self._connection().ask(method, path, body, headers, timeout_s=timeout_s, bytes_max=bytes_max)
        except AnswerTooLongError:
            raise UnavailableError("peer", "answer too long", peer=self.url, limit=bytes_max) from None
        except FAILURES as error:
            reason = str(error) or type(error).__name__
            raise UnavailableError("peer", "no answer", peer=self.url, reason=reason) from error
        return Answer(answer.status, answer.body, answer.headers.get("Content-Type", ""))

    def note(self, after: str | None = None, wait_s: int = 0, above: int | None = None) -> bytes:
        """The peer's checkpoint note; with `wait_s` a long poll for one other than `after` (SHA-256 hex), or for a larger
        checkpoint than `above`."""
        query = f"?wait={min(wait_s, HTTP_WAIT_S_MAX)}" + (f"&after={after}" if after else "")
        query += f"&above={above}" if above is not None else ""
        answer = self.request("GET", "/v1/checkpoint" + query, timeout_s=wait_s + TIMEOUT_S, bytes_max=NOTE_BYTES_MAX)
        if answer.status != 200:
            raise UnavailableError("peer", "no checkpoint", peer=self.url, status=answer.status)
        return answer.body

    def blocks(self, first_height: int, wait_s: int = 0, limit: int = 100) -> bytes:
        """Encoded blocks from `first_height` on (see `blockcodec`); an empty list after `wait_s` without one."""
        path = f"/v1/blocks?from={first_height}&wait={wait_s}&limit={limit}"
        answer = self.request("GET", path, timeout_s=wait_s + TIMEOUT_S)
        if answer.status != 200:
            raise UnavailableError("peer", "no blocks", peer=self.url, status=answer.status)
        return answer.body


class NotePoller:
    """One thread that polls one peer's note and hands every new one to `on_note`: long polls, or one each `pause_s`.

    `certified` tells the largest size that needs no further line of the peer: until it shows a larger checkpoint, it is
    not asked again, and fresher times of the same lines come when the poll ends.
    """

    def __init__(
        self,
        peer: Peer,
        on_note: Callable[[bytes], None],
        on_error: Callable[[str, LedgerError], None],
        pause_s: float = 0.0,
        certified: Callable[[], int] | None = None,
    ) -> None:
        self.peer, self._on_note, self._on_error, self._pause_s = peer, on_note, on_error, pause_s
        self._certified = certified
        self._after: str | None = None  # the newest note, by its hash, and its size
        self._size = 0
        self.reachable = False
        self.problem = ""  # why the last question had no answer
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"poll {peer.url}", daemon=True)

    def start(self) -> None:
        """Start polling."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the poll in hand; does not wait for it."""
        self._closing.set()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._poll()
            except Exception:  # whatever one round brings, the peer is asked again, and the same note judged again
                log.exception("poll %s", self.peer.url)
                self._closing.wait(FAULT_S)

    def _poll(self) -> None:
        """One round: a question, and what came of it."""
        try:
            done = self._certified is not None and 0 < self._size <= self._certified()
            note = self.peer.note(self._after, 0 if self._pause_s else POLL_S, self._size if done else None)
            self.reachable, self.problem = True, ""
        except UnavailableError as error:
            self.reachable, self.problem = False, _reason(error)
            self._closing.wait(RETRY_S)
            return
        if self._closing.is_set():
            return
        digest = sha256(note).hex()
        if digest != self._after and note:
            try:
                self._size = parse_checkpoint_text(parse_note(note).text).size
                self._on_note(note)
            except LedgerError as error:
                self._on_error(self.peer.url, error)
                self._closing.wait(RETRY_S)
        self._after = digest
        if self._pause_s:
            self._closing.wait(self._pause_s)


class NotePollers:
    """The pollers of all peers; `learn` adds one that became known while the node runs. Thread-safe.

    `peers` is the list that others read, and grows with it. `make` makes the poller of the peer at a place.
    """

    def __init__(
        self,
        peers: list[Peer],
        make: Callable[[Peer, int], NotePoller],
        links: Links = DEFAULT,
    ) -> None:
        self._peers, self._make, self._links = peers, make, links
        self._pollers = [make(peer, place) for place, peer in enumerate(peers)]
        self._lock = threading.Lock()
        self._running = False

    def start(self) -> None:
        """Start polling."""
        with self._lock:
            self._running = True
            for poller in self._pollers:
                poller.start()

    def close(self) -> None:
        """Stop polling; nothing is learnt any more."""
        with self._lock:
            self._running = False
            for poller in self._pollers:
                poller.close()

    def learn(self, url: str) -> None:
        """Poll this address too. Raises `UnavailableError` (`peer-url`, `peer-plain`) for another form of address."""
        peer = Peer(url, self._links)
        with self._lock:
            if not self._running or any(known.url == peer.url for known in self._peers):
                return
            self._peers.append(peer)
            self._pollers.append(self._make(peer, len(self._peers) - 1))
            self._pollers[-1].start()

    def learn_members(self, registry: Registry, own: str) -> dict[str, LedgerError]:
        """Learn the nodes of all active members but `own` (R-N22); by member, what is wrong with its address."""
        wrong: dict[str, LedgerError] = {}
        for member in registry.members.values():
            url = member.attributes.get(NODE_ATTRIBUTE)
            if isinstance(url, str) and not member.status and member.id != own:
                try:
                    self.learn(url)
                except UnavailableError as error:
                    wrong[member.id] = error
        return wrong

    def unreachable(self) -> tuple[list[str], int]:
        """Addresses that did not answer lately, each with why not, and how many there are in all."""
        with self._lock:
            silent = [f"{each.peer.url} {each.problem}".strip() for each in self._pollers if not each.reachable]
            return silent, len(self._pollers)


def _reason(error: UnavailableError) -> str:
    """Why a node was not heard, in a few words: the status that it gave, or what the machine said."""
    status = error.evidence.get("status")
    if not status:
        return f"({error.evidence.get('reason', '')})"
    return f"({HOST_REFUSED if status == HTTPStatus.MISDIRECTED_REQUEST else f'status {status}'})"
