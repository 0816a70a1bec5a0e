"""Writes tests/vectors/native/commits.json: commits of a real CometBFT network, for the native verifier.

    python scripts/make_native_vectors.py           run four validators on loopback for about a minute, write the file
    python scripts/make_native_vectors.py --check   write nothing; exit 1 unless the file on disk verifies

Keys, times and hashes of a network are new each time, so another run makes other vectors of the same kinds: all four votes,
an absent one, a vote for no block, a set that grew to five, and one header of height 1. Without the binary
(`LEDGER_COMETBFT`, or `cometbft` on PATH) it says so and changes nothing.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.core import nativecommit
from ledger.core.keys import ED25519, Ed25519Signer, PublicKey

FILE = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "native" / "commits.json"
NODES = 4
WAIT_S = 90.0
Json = dict[str, Any]

# Votes are gathered for half a second, so that late ones stand in commits too; the last node waits for nobody, so that it
# votes for no block now and then; slow gossip gives it the chance.
PACE = {"timeout_commit": "500ms", "peer_gossip_sleep_duration": "60ms", "skip_timeout_commit": "false"}
HASTY = {
    "timeout_propose": "1ms",
    "timeout_propose_delta": "1ms",
    "timeout_prevote": "1ms",
    "timeout_prevote_delta": "1ms",
}


def find_binary() -> Path | None:
    """CometBFT, where there is one."""
    named = os.environ.get("LEDGER_COMETBFT") or shutil.which("cometbft")
    return Path(named) if named and Path(named).is_file() else None


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody used a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def configure(home: Path, rpc: int, p2p: int, peers: str, settings: dict[str, str]) -> None:
    """Set ports, peers and pace in a node's config.toml."""
    path = home / "config" / "config.toml"
    text = path.read_text(encoding="utf-8")
    changes = {
        **PACE, **settings, "persistent_peers": peers, "addr_book_strict": "false", "allow_duplicate_ip": "true",
        "pex": "false", "log_level": "error",
    }  # fmt: skip
    for name, value in changes.items():
        shown = value if value in ("true", "false") else f'"{value}"'
        text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {shown}", text)
        if count != 1:
            raise SystemExit(f"config.toml has {count} lines of {name}")
    text = text.replace('laddr = "tcp://127.0.0.1:26657"', f'laddr = "tcp://127.0.0.1:{rpc}"')
    text = text.replace('laddr = "tcp://0.0.0.0:26656"', f'laddr = "tcp://127.0.0.1:{p2p}"')
    path.write_text(text, encoding="utf-8")


def give_power(path: Path) -> None:
    """Every validator of a genesis.json has the power that ours have."""
    document = json.loads(path.read_text(encoding="utf-8"))
    for validator in document["validators"]:
        validator["power"] = str(nativecommit.VALIDATOR_POWER)
    path.write_text(json.dumps(document), encoding="utf-8")


class Network:
    """Four validators with CometBFT's own key-value store, in one folder."""

    def __init__(self, binary: Path, folder: Path) -> None:
        self._binary = binary
        self._homes = [folder / f"node{number}" for number in range(NODES)]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        command = [str(binary), "testnet", "--v", str(NODES), "--o", str(folder), "--populate-persistent-peers=false"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        for home in self._homes:
            give_power(home / "config" / "genesis.json")
        ports = free_ports(2 * NODES)
        self.rpc, p2p = ports[:NODES], ports[NODES:]
        ids = [self._node_id(home) for home in self._homes]
        peers = [f"{ids[number]}@127.0.0.1:{p2p[number]}" for number in range(NODES)]
        for number, home in enumerate(self._homes):
            others = ",".join(peer for place, peer in enumerate(peers) if place != number)
            configure(home, self.rpc[number], p2p[number], others, HASTY if number == NODES - 1 else {})

    def _node_id(self, home: Path) -> str:
        key = json.loads((home / "config" / "node_key.json").read_text(encoding="utf-8"))
        public = base64.b64decode(key["priv_key"]["value"])[32:]
        return hashlib.sha256(public).digest()[:20].hex()

    def start(self, number: int) -> None:
        """Start a node."""
        command = [str(self._binary), "start", "--home", str(self._homes[number]), "--proxy_app=kvstore"]
        with (self._homes[number] / "log").open("ab") as log:
            self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)

    def stop(self, number: int) -> None:
        """End a node."""
        process = self._processes.pop(number)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End all nodes."""
        for number in list(self._processes):
            self.stop(number)

    def call(self, method: str, **parameters: str) -> Json:
        """One call of the first node's RPC."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.rpc[0], timeout=10)
        try:
            connection.request("GET", f"/{method}?{query}")
            answer: Json = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if "error" in answer:
            raise OSError(str(answer["error"]))
        result: Json = answer["result"]
        return result

    def height(self) -> int:
        """Height of the first node, 0 while it does not answer."""
        try:
            return int(self.call("status")["sync_info"]["latest_block_height"])
        except (OSError, ValueError, http.client.HTTPException):
            return 0

    def commit(self, height: int) -> Json:
        """The commit of a height, the canonical one of the next block, with the keys of its validators."""
        answer = self.call("commit", height=str(height))
        found = self.call("validators", height=str(height), per_page="100")["validators"]
        keys = [base64.b64decode(each["pub_key"]["value"]).hex() for each in found]
        return {"answer": answer, "validators": keys}


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    end = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.1)


def flags(made: Json) -> list[int]:
    """The flags of a commit's places."""
    return [each["block_id_flag"] for each in made["answer"]["signed_header"]["commit"]["signatures"]]


@contextmanager
def running(binary: Path) -> Iterator[Network]:
    """A network that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="native-vectors-") as folder:
        network = Network(binary, Path(folder))
        try:
            for number in range(NODES):
                network.start(number)
            yield network
        finally:
            network.close()


def first_with(network: Network, seen: dict[int, Json], wanted: Callable[[list[int]], bool], what: str) -> Json:
    """The first commit of a finished height whose flags are wanted; `seen` remembers what was read."""

    def look() -> Json | None:
        for height in range(2, network.height()):
            if height not in seen:
                seen[height] = network.commit(height)
            if wanted(flags(seen[height])):
                return seen[height]
        return None

    until(lambda: look() is not None, what)
    found = look()
    if found is None:
        raise SystemExit(what)
    return found


def make(binary: Path) -> Json:
    """The document of the file."""
    seen: dict[int, Json] = {}
    commits: dict[str, Json] = {}
    with running(binary) as network:
        until(lambda: network.height() > 4, "the first blocks")
        commits["first height"] = network.commit(1)
        commits["all votes"] = first_with(network, seen, lambda each: each == [2] * NODES, "four votes")
        commits["a vote for no block"] = first_with(
            network, seen, lambda each: sorted(each) == [2, 2, 2, 3], "a nil vote"
        )
        key = Ed25519Signer(hashlib.sha256(b"native vectors: a fifth validator").digest()).public
        change = f"val=ed25519!{base64.b64encode(key.raw).decode()}!{nativecommit.VALIDATOR_POWER}"
        shown = change.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D").replace("!", "%21")
        network.call("broadcast_tx_sync", tx=f"%22{shown}%22")
        commits["a set of five, one never there"] = first_with(
            network, seen, lambda each: sorted(each) == [1, 2, 2, 2, 2], "five validators"
        )
        chain_id = network.call("status")["node_info"]["network"]
        commits["the set after the change"] = next_height(network, commits["a set of five, one never there"])
    with running(binary) as network:
        until(lambda: network.height() > 3, "the first blocks")
        network.stop(1)
        commits["a validator was stopped"] = first_with(
            network, {}, lambda each: sorted(each) == [1, 2, 2, 2], "an absent vote"
        )
        other = network.call("status")["node_info"]["network"]
    version = subprocess.run([binary, "version"], check=True, capture_output=True, text=True, timeout=10).stdout.strip()
    for name, each in commits.items():
        each["name"] = name
        each["chain_id"] = each["answer"]["signed_header"]["header"]["chain_id"]
        each["native"] = nativecommit.from_rpc(each["answer"]).encode().decode()
        each["header_hash"] = each["answer"]["signed_header"]["commit"]["block_id"]["hash"].lower()
        if each["chain_id"] not in (chain_id, other):
            raise SystemExit("a commit of no network that ran here")
    return {"about": "R-N41 to R-N44: commits of real networks", "cometbft": version, "commits": list(commits.values())}


def next_height(network: Network, made: Json) -> Json:
    """The commit of the height after another's."""
    height = int(made["answer"]["signed_header"]["header"]["height"]) + 1
    until(lambda: network.height() > height, "one more block")
    return network.commit(height)


def check(document: Json) -> list[str]:
    """What is wrong with the file's commits."""
    problems = []
    for each in document["commits"]:
        native = nativecommit.from_rpc(each["answer"])
        keys = [PublicKey(ED25519, bytes.fromhex(raw)) for raw in each["validators"]]
        try:
            nativecommit.verify_native(native, each["chain_id"], keys, native.header.app_hash)
            if native.encode().decode() != each["native"]:
                problems.append(f"{each['name']}: another encoding")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is shown
            problems.append(f"{each['name']}: {error}")
    return problems


def main(arguments: list[str]) -> int:
    """Write or check the file."""
    if arguments == ["--check"]:
        problems = check(json.loads(FILE.read_text(encoding="utf-8")))
        print("\n".join(problems), file=sys.stderr)
        return 1 if problems else 0
    binary = find_binary()
    if binary is None:
        print("no cometbft here (LEDGER_COMETBFT or PATH): the vectors stay as they are", file=sys.stderr)
        return 0
    document = make(binary)
    problems = check(document)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(document, ensure_ascii=True, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
