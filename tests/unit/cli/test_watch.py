"""`ledger watch`: growth is followed, two histories end it with evidence, an old or smaller answer is 7."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.cli.exits import Exit
from ledger.core.proof import Fork, parse_proof, trust_genesis
from ledger.errors import VerificationError
from ledger_node.query.log import parse_tile_path
from tests.models.small_ledger import SmallLedger
from tests.unit.cli.runner import Ran, ledger
from tests.unit.client.server import Answer, Asked, problem, serve


class Network:
    """A ledger behind HTTP as far as `watch` asks: genesis, checkpoint, consistency; each answer may be replaced."""

    def __init__(self, folder: Path) -> None:
        self.small = SmallLedger()
        self.small.block("ga", [self.small.event(refs={"dataset": "ga/x"})])
        self.folder = folder
        self.replace: dict[str, Callable[[Asked], Answer | None]] = {}
        (folder / "trust.json").write_text(json.dumps({"origin": self.small.origin}))
        (folder / "genesis.json").write_bytes(self.small.genesis.data)

    def note(self, **parts: object) -> bytes:
        """The current checkpoint, cosigned now."""
        return self.small.note(time_s=int(time.time()), **parts)  # type: ignore[arg-type]

    def grow(self) -> None:
        """One more block."""
        self.small.block("fa", [self.small.event(refs={"dataset": "ga/x"})])

    def answer(self, asked: Asked) -> Answer | None:
        if asked.path in self.replace:
            return self.replace[asked.path](asked)
        if asked.path == "/v1/genesis":
            return 200, "application/json", self.small.genesis.data
        if asked.path in ("/v1/checkpoint", "/checkpoint"):
            return 200, "text/plain", self.note()
        if asked.path == "/v1/proofs/consistency":
            path = [each.hex() for each in self.small.consistency(int(asked.query["old"]))]
            return 200, "application/json", json.dumps({"path": path}).encode()
        return problem(404, "path")

    def watch(self, *more: object, trust: bool = True) -> Ran:
        """Run the command once against this network."""
        given = ("--trust", self.folder / "trust.json") if trust else ()
        with serve(self.answer) as url:
            place = ("--evidence", self.folder / "evidence", "--timeout", "5")
            return ledger("watch", "--once", "--node", url, *given, *place, *more, home=self.folder)

    @property
    def evidence(self) -> list[Path]:
        """Evidence files written so far."""
        folder = self.folder / "evidence"
        return sorted(folder.iterdir()) if folder.exists() else []


@pytest.fixture
def network(tmp_path: Path) -> Network:
    """A fresh network."""
    return Network(tmp_path)


def test_growth_is_followed_between_calls(network: Network) -> None:
    """Each call demands that the checkpoint extends the one of the call before, and remembers it."""
    for _ in range(3):
        ran = network.watch("--json")
        assert ran.code == 0 and ran.json["verdict"] == "consistent"
        seen = ran.json["checkpoints"][0]
        assert (seen["size"], seen["of"], seen["stale"]) == (network.small.size, 4, False)
        network.grow()
    assert network.evidence == []


def test_two_roots_of_one_size_are_a_fork(network: Network) -> None:
    """Exit 6, and the evidence file is a fork proof that anybody with the genesis can check."""
    assert network.watch().code == 0
    network.replace["/v1/checkpoint"] = lambda _: (200, "text/plain", network.note(root=network.small.root(1)))
    ran = network.watch("--json")
    assert ran.code == Exit.INTEGRITY and ran.json["error"]["code"] == "fork-seen"
    assert [str(path) for path in network.evidence] == [ran.json["error"]["evidence"]["evidence"]]
    proof = parse_proof(network.evidence[0].read_bytes())
    assert isinstance(proof, Fork)
    guilty = proof.verify(trust_genesis(network.small.genesis, int(time.time()))).guilty
    assert {name for name, _ in guilty} >= {"ba", "fa", "ga"}
    checked = ledger("proof", "verify", network.evidence[0], "--trust", network.folder / "genesis.json")
    assert checked.code == Exit.INTEGRITY and "fork" in checked.out


def test_a_history_that_was_changed_is_caught(network: Network) -> None:
    """A larger tree that does not extend the remembered one has no path: exit 6 with both notes kept."""
    assert network.watch().code == 0
    kept = network.small.size
    network.grow()
    network.small.leaves[1] = network.small.leaves[1][:-1] + b"X"
    ran = network.watch("--json")
    assert ran.code == Exit.INTEGRITY and ran.json["error"]["code"] == "history-inconsistent"
    document = json.loads(network.evidence[0].read_text())
    assert f"\n{kept}\n" in document["first"] and f"\n{network.small.size}\n" in document["second"]
    # The remembered checkpoint stays, so that the next call is not fooled either.
    assert network.watch().code == Exit.INTEGRITY and len(network.evidence) == 2


def test_two_histories_of_two_sizes_are_a_fork(network: Network) -> None:
    """Exit 6 with a proof that anybody with the genesis can check: both notes, and our leaves as they stand in theirs."""
    for _ in range(4):
        network.grow()
    assert network.watch().code == 0
    kept = network.small.size
    for _ in range(3):
        network.grow()
    network.small.leaves[1] = network.small.leaves[1][:-1] + b"X"

    def tile(asked: Asked) -> Answer:
        """A hash tile, as a node serves it."""
        name = parse_tile_path(asked.path.removeprefix("/tile/"))
        assert name.level == 0 and name.index == 0
        return 200, "application/octet-stream", b"".join(network.small.hashes()[: name.width])

    network.replace["/tile/0/000.p/" + str(network.small.size)] = tile
    ran = network.watch("--json")
    assert ran.code == Exit.INTEGRITY and ran.json["error"]["code"] == "fork-seen", ran.out
    assert [str(path) for path in network.evidence] == [ran.json["error"]["evidence"]["evidence"]]
    proof = parse_proof(network.evidence[0].read_bytes())
    assert isinstance(proof, Fork)
    result = proof.verify(trust_genesis(network.small.genesis, int(time.time())))
    assert (result.first.size, result.second.size) == (kept, network.small.size)
    assert {name for name, _ in result.guilty} == {network.small.origin, "ba", "fa", "ga"}
    checked = ledger("proof", "verify", network.evidence[0], "--trust", network.folder / "genesis.json")
    assert checked.code == Exit.INTEGRITY and "fork" in checked.out


@pytest.mark.parametrize("path", [[], ["00"], ["zz" * 32], "no", None])
def test_a_node_that_gives_no_path_is_not_believed(network: Network, path: object) -> None:
    """Whatever it sends instead of a consistency path is evidence, exit 6."""
    network.watch()
    network.grow()
    network.grow()
    answer = (200, "application/json", json.dumps({"path": path}).encode())
    network.replace["/v1/proofs/consistency"] = lambda _: answer
    assert network.watch().code == Exit.INTEGRITY and len(network.evidence) == 1


def test_a_smaller_checkpoint_is_7(network: Network) -> None:
    """A node that shows less than is remembered proves nothing: 7, and what is remembered stays."""
    network.grow()
    assert network.watch().code == 0
    network.replace["/v1/checkpoint"] = lambda _: (200, "text/plain", network.note(size=1))
    ran = network.watch("--json")
    assert ran.code == Exit.INCOMPLETE and ran.json["problem"] == "behind"
    del network.replace["/v1/checkpoint"]
    assert network.watch().code == 0


def test_an_old_certificate_is_7(network: Network) -> None:
    """More than ten minutes without a heartbeat are said and counted as incomplete."""
    old = network.small.note(time_s=int(time.time()) - 3_600)
    network.replace["/v1/checkpoint"] = lambda _: (200, "text/plain", old)
    ran = network.watch("--json")
    assert ran.code == Exit.INCOMPLETE and ran.json["checkpoints"][0]["stale"] is True


def test_lines_below_the_quorum_are_waited_for(network: Network) -> None:
    """A note that still gathers lines counts for nothing; the newest certified one is taken."""
    network.replace["/v1/checkpoint"] = lambda _: (200, "text/plain", network.note(by=("ba", "fa")))
    ran = network.watch("--json")
    assert ran.code == 0 and len(ran.json["checkpoints"][0]["cosigners"]) == 3


def test_a_bad_line_of_a_known_key_is_evidence(network: Network) -> None:
    """A note whose known line does not verify is kept, exit 6."""
    note = network.note().replace(b"ga ", b"ga ", 1)
    lines = note.split(b"\n")
    lines[-2] = lines[-2][:-6] + (b"AAAAA=" if not lines[-2].endswith(b"AAAAA=") else b"BBBBB=")
    network.replace["/v1/checkpoint"] = lambda _: (200, "text/plain", b"\n".join(lines))
    ran = network.watch("--json")
    assert (
        ran.code == Exit.INTEGRITY and ran.json["error"]["code"] == "checkpoint-invalid" and len(network.evidence) == 1
    )


def test_another_network_behind_the_address_is_6(network: Network, tmp_path: Path) -> None:
    """The genesis that the node serves is not the pinned one: nothing else is looked at."""
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"origin": "demo/" + "0" * 64}))
    ran = network.watch("--trust", other, trust=False)
    assert ran.code == Exit.INTEGRITY and "[origin]" in ran.err


def test_first_sight_is_said_once(network: Network) -> None:
    """Without anything pinned the node's word is taken the first time, with a warning; then it is remembered."""
    first, second = network.watch(trust=False), network.watch(trust=False)
    assert first.code == second.code == 0
    assert "Nothing is pinned" in first.err and "Nothing is pinned" not in second.err


def test_an_unreachable_node_is_5(network: Network) -> None:
    """With --once there is no waiting for a node that is not there."""
    ran = ledger("watch", "--once", "--node", "http://127.0.0.1:9", "--timeout", "2", home=network.folder)
    assert ran.code == Exit.UNREACHABLE


def test_the_remembered_note_is_a_signed_one(network: Network) -> None:
    """What is kept between calls is the certified note itself."""
    network.watch()
    notes = list((network.folder / ".local" / "state" / "ledger" / "verified").iterdir())
    assert len(notes) == 1
    from ledger.core.quorum import verify_certificate

    trust = trust_genesis(network.small.genesis, 0)
    try:
        verify_certificate(notes[0].read_bytes(), trust.origin, trust.log_keys, trust.cosigners)
    except VerificationError as error:
        pytest.fail(str(error))
