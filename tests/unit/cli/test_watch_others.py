"""`ledger watch --also`: two histories are noticed whoever is shown which, and who is on record for two votes is told."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ledger.cli.exits import Exit
from ledger.core.proof import Fork, Receipt, parse_proof, trust_genesis
from ledger_node.query.log import parse_tile_path
from tests.models.small_ledger import Joined, SmallLedger
from tests.unit.cli.runner import Ran, ledger
from tests.unit.client.server import Answer, Asked, problem, serve

HONEST = ("ba", "fa", "ga")
TWO_LIARS = ("ba", "fa", "ma")  # with the honest three, `ba` and `fa` have signed both
BODY = {"height": 7, "round": 0, "type": "duplicate-vote", "vote_type": "prevote", "votes": []}


class Node:
    """One node of a network, which may show a ledger of its own."""

    def __init__(self, small: SmallLedger, by: tuple[str, ...] = HONEST, certified: bool = True) -> None:
        self.small, self.by, self.certified = small, by, certified
        self.records: list[Joined] = []
        self.receipt: Callable[[bytes], bytes] = lambda data: data

    def note(self) -> bytes:
        """What it proposes, cosigned now."""
        return self.small.note(time_s=int(time.time()), by=self.by)

    def answer(self, asked: Asked) -> Answer | None:
        """As a node does, as far as `watch` asks."""
        if asked.path == "/v1/genesis":
            return 200, "application/json", self.small.genesis.data
        if asked.path == "/v1/checkpoint" or (asked.path == "/checkpoint" and self.certified):
            return 200, "text/plain", self.note()
        if asked.path == "/checkpoint":
            return problem(503, "uncertified")
        if asked.path == "/v1/proofs/consistency":
            path = [each.hex() for each in self.small.consistency(int(asked.query["old"]))]
            return 200, "application/json", json.dumps({"path": path}).encode()
        if asked.path.startswith("/tile/0/"):
            name = parse_tile_path(asked.path.removeprefix("/tile/"))
            return 200, "application/octet-stream", b"".join(self.small.hashes()[: name.width])
        if asked.path == "/v1/events" and asked.query.get("kind") == "sys.misbehaviour":
            after = int(asked.query.get("after", -1))
            listed = [_entry(each) for each in self.records if each.seq > after]
            return 200, "application/json", json.dumps({"entries": listed, "next": None}).encode()
        for each in self.records:
            if asked.path == f"/v1/events/ma/{each.event.id if each.event else ''}/receipt":
                return 200, "application/json", self.receipt(self.small.receipt(each).encode())
        return problem(404, "path")


def _entry(joined: Joined) -> dict[str, Any]:
    assert joined.event is not None
    return {"seq": joined.seq, "leaf": {"member": "ma", "id": joined.event.id}}


class Watched:
    """A network of nodes, the first of which is followed."""

    def __init__(self, folder: Path) -> None:
        small = SmallLedger()
        for _ in range(3):
            small.block("ga", [small.event(refs={"dataset": "ga/x"})])
        self.folder = folder
        self.nodes = [Node(small)]
        (folder / "genesis.json").write_bytes(small.genesis.data)
        (folder / "trust.json").write_text(json.dumps({"origin": small.origin}))

    @property
    def small(self) -> SmallLedger:
        """The ledger of the first node."""
        return self.nodes[0].small

    def second(self, **options: Any) -> Node:
        """One more node, with the same blocks so far, in a copy of its own."""
        self.nodes.append(Node(copy.deepcopy(self.small), **options))
        return self.nodes[-1]

    def watch(self, *more: object) -> Ran:
        """Run the command once, all nodes named."""
        with ExitStack() as stack:
            first, *others = (stack.enter_context(serve(node.answer)) for node in self.nodes)
            also = [word for url in others for word in ("--also", url)]
            given = ("--trust", self.folder / "trust.json", "--evidence", self.folder / "evidence", "--timeout", "5")
            return ledger("watch", "--once", "--node", first, *also, *given, *more, home=self.folder)

    def evidence(self, kind: str) -> list[Path]:
        """Evidence files of a kind."""
        return sorted((self.folder / "evidence").glob(f"{kind}-*.json"))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A fresh network of one node."""
    return Watched(tmp_path)  # type: ignore[return-value]


def grow(small: SmallLedger, name: str, blocks: int = 1) -> None:
    """More blocks about a dataset."""
    for _ in range(blocks):
        small.block("fa", [small.event(refs={"dataset": name})])


@pytest.mark.parametrize("ahead", [-2, 0, 2])
def test_nodes_of_one_history_agree(watched: Watched, ahead: int) -> None:
    """Nodes that are behind or ahead are held against the first by consistency, and nothing is kept."""
    other = watched.second()
    grow(watched.small if ahead < 0 else other.small, "ga/x", abs(ahead))
    ran = watched.watch("--json")
    assert ran.code == Exit.OK, ran.out + ran.err
    (also,) = ran.json["checkpoints"][0]["also"]
    assert (also["size"], also["problem"]) == (other.small.size, "")
    assert not (watched.folder / "evidence").exists()


@pytest.mark.parametrize(("mine", "theirs"), [(1, 1), (1, 3), (3, 1)])
def test_two_certified_histories_of_two_nodes_are_a_fork(watched: Watched, mine: int, theirs: int) -> None:
    """Two liars of four let both histories be certified, of one size or of two: exit 6, and the file is a proof that names
    them and that anybody with the genesis can check."""
    other = watched.second(by=TWO_LIARS)
    grow(watched.small, "ga/x", mine)
    grow(other.small, "ga/other", theirs)
    ran = watched.watch("--json")
    assert ran.code == Exit.INTEGRITY and ran.json["error"]["code"] == "fork-seen", ran.out
    (path,) = watched.evidence("fork")
    assert str(path) == ran.json["error"]["evidence"]["evidence"]
    proof = parse_proof(path.read_bytes())
    assert isinstance(proof, Fork)
    result = proof.verify(trust_genesis(watched.small.genesis, int(time.time())))
    assert (result.first.size, result.second.size) == tuple(sorted((watched.small.size, other.small.size)))
    assert {name for name, _ in result.guilty} == {watched.small.origin, "ba", "fa"}
    assert ledger("proof", "verify", path, "--trust", watched.folder / "genesis.json").code == Exit.INTEGRITY


def test_one_liar_is_caught_without_a_certificate(watched: Watched) -> None:
    """A second tree that nobody certifies convicts whoever signed it as soon as he has signed the first one too."""
    other = watched.second(by=("ga",), certified=False)
    grow(watched.small, "ga/x")
    grow(other.small, "ga/other")
    ran = watched.watch("--json")
    assert ran.code == Exit.INTEGRITY and ran.json["error"]["code"] == "fork-seen", ran.out
    proof = parse_proof(watched.evidence("fork")[0].read_bytes())
    assert isinstance(proof, Fork)
    guilty = proof.verify(trust_genesis(watched.small.genesis, int(time.time()))).guilty
    assert {name for name, _ in guilty} == {watched.small.origin, "ga"}


def test_a_silent_node_harms_nothing(watched: Watched) -> None:
    """Who does not answer, or has no certificate yet, is told; the first node is followed as before."""
    watched.second(by=("ga",), certified=False)
    ran = watched.watch("--json", "--also", "http://127.0.0.1:9")
    assert ran.code == Exit.OK, ran.out + ran.err
    young, silent = ran.json["checkpoints"][0]["also"]
    assert (young["size"], young["problem"]) == (None, "")
    assert (silent["size"], silent["problem"]) == (None, "node-unreachable")
    assert "http://127.0.0.1:9" in ran.err


# --- misbehaviour ----------------------------------------------------------------------------------------------------


def accuse(watched: Watched, *, refused: bool = False, kind: str = "sys.misbehaviour") -> Joined:
    """A record that `ga` voted twice, by `ma`, that the last node shows."""
    small = watched.small
    event = small.event(kind=kind, refs={"key": "00" * 32, "member": "ga"}, content=BODY)
    (joined,) = small.block("ma", [event], refused=refused)
    watched.nodes[-1].records.append(joined)
    return joined


@pytest.mark.parametrize(("lang", "word"), [("en", "signed two votes"), ("zh", "签了两票")])
def test_who_voted_twice_is_told_once_with_the_receipt(watched: Watched, lang: str, word: str) -> None:
    """The warning names member and height; the receipt that is kept verifies by itself. A second call tells no news."""
    joined = accuse(watched)
    assert joined.event is not None
    ran = watched.watch("--lang", lang)
    assert ran.code == Exit.OK, ran.err
    assert word in ran.err and "ga" in ran.err and f"ma/{joined.event.id}" in ran.err
    (path,) = watched.evidence("misbehaviour")
    assert path.name == f"misbehaviour-ga-{joined.event.id}.json"
    assert isinstance(parse_proof(path.read_bytes()), Receipt)
    again = watched.watch("--lang", lang, "--json")
    assert word not in again.err
    (document,) = again.json["misbehaviour"]
    assert document == {"accused": "ga", "height": 7, "event": f"ma/{joined.event.id}", "receipt": str(path)}


def test_what_one_node_hides_another_shows(watched: Watched) -> None:
    """Every named node is asked."""
    node = Node(watched.small)
    watched.nodes.append(node)
    accuse(watched)
    assert watched.nodes[0].records == []
    assert [each["accused"] for each in watched.watch("--json").json["misbehaviour"]] == ["ga"]


def test_what_was_refused_or_is_of_another_kind_accuses_nobody(watched: Watched) -> None:
    """A node's list is a hint: the receipt says what the record is."""
    accuse(watched, refused=True)
    accuse(watched, kind="use.access")
    ran = watched.watch("--json")
    assert (ran.code, ran.json["misbehaviour"], watched.evidence("misbehaviour")) == (Exit.OK, [], [])


@pytest.mark.parametrize("path", ["/v1/events", "receipt"])
def test_a_node_that_does_not_tell_this_reader_is_still_watched(watched: Watched, path: str) -> None:
    """A node that answers named readers only accuses nobody to others; its checkpoints are for everybody."""
    accuse(watched)
    honest = watched.nodes[0].answer
    watched.nodes[0].answer = lambda asked: problem(401, "reader") if asked.path.endswith(path) else honest(asked)  # type: ignore[method-assign]
    ran = watched.watch("--json")
    assert (ran.code, ran.json["misbehaviour"], ran.json["seen"]) == (Exit.OK, [], 1)


@pytest.mark.parametrize("answer", ["receipt", "list", "entries"])
def test_a_false_accusation_is_not_told(watched: Watched, answer: str) -> None:
    """A receipt that does not hold is kept against the node that gave it, exit 6; another list is an error."""
    accuse(watched)
    if answer == "receipt":
        watched.nodes[0].receipt = lambda data: data.replace(b"duplicate-vote", b"duplicate-note")
        ran = watched.watch("--json")
        assert ran.code == Exit.INTEGRITY and len(watched.evidence("receipt")) == 1
    else:
        honest, body = watched.nodes[0].answer, {"list": b"[]", "entries": b'{"entries":[{"seq":"x"}]}'}[answer]
        wrong = (200, "application/json", body)
        watched.nodes[0].answer = lambda asked: wrong if asked.path == "/v1/events" else honest(asked)  # type: ignore[method-assign]
        ran = watched.watch("--json")
        assert ran.code not in (Exit.OK, Exit.INTEGRITY) and ran.json["error"]["code"] == "node-answer"
    assert watched.evidence("misbehaviour") == []
