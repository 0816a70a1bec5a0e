"""A fifth department joins four running validators from a snapshot: they have let the old blocks go, one of them lies about
the state, and the newcomer is killed while it restores."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import framing
from ledger.adapters.home.joining import FromSnapshot, join_node, read_invitation
from ledger.adapters.home.keyfile import read_key
from ledger.adapters.home.nodefile import SETTINGS, event_key_file
from ledger.adapters.home.statesyncfile import STATE_SYNC
from ledger.adapters.ordering.snapshots import FOLDER, StateSnapshots
from ledger.client.request import submit
from ledger.core.event import new_event
from ledger.core.ident import uuid7_at
from ledger.core.submission import new_submission
from tests.faults.test_comet_members import AUTHORITY, FOUNDERS, NEWCOMER, Members, founded
from tests.models.comet_network import Validator, until, verify
from tests.models.comet_node import LIE
from tests.models.comet_rpc import earliest

pytestmark = [pytest.mark.soak, pytest.mark.timeout(900)]  # by `./dev soak`: minutes, and the machine to itself

LIAR = "ws"
LATER = "mz"
KEEP = "[comet]\nsnapshots_every = 6\nkeep_blocks = 30\n"


@pytest.fixture
def members(cometbft: Path, tmp_path: Path) -> Iterator[Members]:
    """Four validators that take snapshots and let CometBFT's old blocks go."""
    top = tmp_path / "net"
    found = founded(top, "snapshots.local", cometbft)
    try:
        for member in FOUNDERS:
            settings = top / member / SETTINGS
            settings.write_text(settings.read_text("utf-8").replace("[comet]\n", KEEP), "utf-8")
            found.nodes[member] = Validator(top / member, cometbft)
            found.nodes[member].options = ("--short-window",)
            found.nodes[member].lie = "snapshot" if member == LIAR else ""
            found.nodes[member].start()
        for node in found.nodes.values():
            node.wait_listening(100)
        for node in found.nodes.values():
            node.wait_ready(100)
        yield found
    finally:
        found.stop()


def record(members: Members, member: str, count: int) -> None:
    """Some events of a kind that no rulebook knows: refused, and on the record."""
    signer = read_key(members.top / member / event_key_file(member))
    events = []
    for number in range(count):
        when = time.time_ns() // 1_000_000
        event_id = uuid7_at(when, number.to_bytes(10, "big"))
        events.append(
            new_event(
                event_id=event_id, kind="none.such", refs={"thing": f"t{number % 7}"}, time_ms=when, salt=bytes(16),
                content={"number": number},
            )
        )  # fmt: skip
    framed = framing.encode(new_submission(members.origin, member, signer, events))
    assert members.nodes[member].client.send(submit(framed)).status in (201, 202)


def old_blocks_went(members: Members) -> bool:
    """One more block with events; whether no founder has the first block of the chain any more."""
    record(members, "rs", 2)
    return all(earliest(members.nodes[each].home) > 1 for each in FOUNDERS)


def refuse_disk(members: Members) -> None:
    """Let no honest founder write a snapshot any more: a file stands where the folder should be."""
    for member in FOUNDERS:
        if member != LIAR:
            folder = members.nodes[member].folder / FOLDER
            while folder.is_dir():
                with contextlib.suppress(OSError):
                    shutil.rmtree(folder)
            folder.write_bytes(b"")


def allow_disk(members: Members) -> None:
    """Make room again."""
    for member in FOUNDERS:
        if member != LIAR:
            (members.nodes[member].folder / FOLDER).unlink()


def logged(node: Validator, event: str) -> list[dict[str, object]]:
    """Lines of a node's log about one thing."""
    path = node.folder / "node.log"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [each for each in found if each["event"] == event]


def admit(members: Members, member: str) -> dict[str, str]:
    """Make a newcomer's data directory and vote it in; its registrations by use."""
    invitation = read_invitation(members.top / "invitation")
    joined = join_node(members.top / member, invitation, member, snapshot=FromSnapshot())
    files = {use: str(path) for use, path in joined.files.items()}
    wanted = ["--id", member, "--title-zh", "教育局", "--title-en", "Education"]
    wanted += ["--attribute", f"node={joined.settings.url}"]
    wanted += [part for use in ("event", "cosign", "log", "p2p") for part in ("--registration", files[use])]
    members.change((AUTHORITY,), "member.admit", *wanted)
    return files


def same_snapshots(members: Members) -> bool:
    """Whether the founders offer a common height, and the same bytes under every common height."""
    listed = [dict(StateSnapshots(members.nodes[each].folder).listed()) for each in FOUNDERS]
    common = set.intersection(*(set(each) for each in listed))
    assert all(each[height].encode() == listed[0][height].encode() for each in listed for height in common)
    return bool(common)


def head_of(node: Validator) -> int:
    """The last block in a node's database."""
    with node.snapshot() as snap:
        return snap.head_height


def test_a_department_joins_from_a_snapshot(members: Members) -> None:
    """SPEC R-N70 to R-N78: what the founders offer is equal byte for byte. While only a liar offers anything nothing is
    taken over; then an honest snapshot is, although the newcomer is killed while it restores. It votes and is needed for two
    thirds. Another one joins across that change of the cosigners, and the auditor replays every whole ledger."""
    record(members, "ga", 300)
    files = admit(members, NEWCOMER)
    until(lambda: old_blocks_went(members), "old blocks went")
    until(lambda: same_snapshots(members), "snapshots of one height")

    liar = members.nodes[LIAR]
    refuse_disk(members)
    (liar.folder / LIE).touch()
    honest = max(StateSnapshots(liar.folder).heights())
    until(lambda: min(StateSnapshots(liar.folder).heights()) > honest, "the liar offers lies only")
    members.start(NEWCOMER)
    node = members.nodes[NEWCOMER]
    until(lambda: logged(node, "snapshot.rejected"), "the lie is found out", 150)
    assert all("snapshot-state" in str(each["reason"]) for each in logged(node, "snapshot.rejected"))
    assert head_of(node) == 0 and not logged(node, "snapshot.restored")
    assert logged(members.nodes["ga"], "snapshot.skipped")

    lies = len(logged(node, "snapshot.accepted"))
    allow_disk(members)
    until(lambda: len(logged(node, "snapshot.accepted")) > lies, "another snapshot is taken", 150)
    node.kill()
    node.kill_comet()
    assert (node.folder / STATE_SYNC).exists()
    node.start()
    node.wait_listening(200)
    until(lambda: members.level(*FOUNDERS, NEWCOMER), "the newcomer has everything")
    assert earliest(node.home) > 1 and not (node.folder / STATE_SYNC).exists()
    assert 0 < node.status()["restored"] <= node.status()["height"]

    everybody = members.cosigners(*FOUNDERS, NEWCOMER)
    members.change((AUTHORITY, "ga", "rs"), "set.change", "--registration", files["consensus"], *everybody)
    until(lambda: members.validators() == len(FOUNDERS) + 1, "five validators")
    record(members, "rs", 1)
    until(lambda: members.level(*FOUNDERS, NEWCOMER), "level after the change")
    node.wait_ready(100)
    members.nodes["ga"].kill()
    members.nodes["ga"].kill_comet()
    record(members, "rs", 20)  # four of five: not without the newcomer
    until(lambda: members.level("rs", AUTHORITY, LIAR, NEWCOMER), "level without ga")
    members.start("ga")
    until(lambda: members.level(*FOUNDERS, NEWCOMER), "level at the end")

    (liar.folder / LIE).unlink()
    admit(members, LATER)
    record(members, "ga", 1)
    members.start(LATER)
    until(lambda: logged(members.nodes[LATER], "state-sync.joined"), "another one joins", 150)
    until(lambda: members.level(*FOUNDERS, NEWCOMER, LATER), "level with the last one")
    members.nodes[LATER].stop()
    members.start(LATER)
    until(lambda: members.level(*FOUNDERS, NEWCOMER, LATER), "level after an ordinary start")
    epochs = members.nodes[LATER].client.get_json(["v1", "proofs", "epochs"])["epochs"]
    assert len(epochs) == 1
    for each in members.nodes.values():
        each.stop()
    for member in ("ga", NEWCOMER, LATER):
        assert verify(members.top / member, members.origin) == ("intact", []), member
    members.cli("export", "archive", str(members.top / "out"), "--data", str(members.top / NEWCOMER))
    assert verify(members.top / "out", members.origin)[1] == []
