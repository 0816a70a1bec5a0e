"""An accepted `archive.prune` carried out by a node: what goes, what stays, and what an auditor then says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger.adapters.audit import pruning
from ledger.adapters.audit.exporting import export
from ledger.adapters.audit.sources import open_source
from ledger.adapters.sqlite.reader import SqliteReader
from ledger.adapters.sqlite.scrub import scrub
from ledger.core.ident import format_time
from ledger.errors import NotFoundError, RejectedError, UnavailableError, VerificationError
from ledger.machine.pruning import covering, named_objects, parse_permit
from tests.models.live_node import DAY_MS, LiveNode, live_node, tell_story
from tests.unit.cli.runner import ledger

HOUR_MS = 3_600_000
ZERO = "00" * 32


@dataclass
class Made:
    """A stopped node: three logs of reads of one entry, older than their floor; `names` of the records by what they are."""

    folder: Path
    kept: Path
    names: dict[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Reads are logged, 190 days pass, an export is kept, two prunings are asked for: one is refused, one accepted."""
    folder = tmp_path_factory.mktemp("pruned")
    names: dict[str, str] = {}
    with live_node(folder / "net") as live:
        tell_story(live)
        for number in range(3):
            names[f"read{number}"] = log_reads(live)
            live.step(HOUR_MS)
        live.step(190 * DAY_MS)
        names["late"] = log_reads(live)
        kept = folder / "kept.tar"
        with pytest.raises(UnavailableError):
            pruning.erase(live.folder, pruning.Plan(None, [1]))  # type: ignore[arg-type]  # a running node holds the file
        written = export(open_source(str(live.folder)), kept, state=True)
        body = {
            "before": format_time(live.node.head.time - 189 * DAY_MS)[:10],
            "classes": ["log"],
            "export": written.manifest,
            "height": written.height,
        }
        young = live.event("archive.prune", {"dataset": "ga/hukou"}, **{**body, "classes": ["use"]})
        assert live.post(live.sign("sj", [young], "office")).json()["events"][0]["outcome"] == "refused"
        names["refused"] = f"sj/{young.id}"
        names["accepted"] = live.record("sj", "office", "archive.prune", {"dataset": "ga/hukou"}, **body)
        data_dir = live.folder
    return Made(data_dir, kept, names)


def log_reads(live: LiveNode) -> str:
    """One batch of reads of ga/hukou, as its serving member records it."""
    now = live.node.head.time
    return live.record(
        "ga", "event", "audit.read", {"dataset": ["ga/hukou"]},
        **{"from": format_time(now - HOUR_MS), "to": format_time(now)}, count=2, denied=0, root=ZERO,
        reads=[{"reader": "sj", "capacity": "authority", "dataset": "ga/hukou", "count": 2}],
    )  # fmt: skip


def bodies(made: Made) -> dict[str, bool]:
    """By what each record is: whether its body is here."""
    reader = SqliteReader(made.folder / "ledger.sqlite")
    found: dict[str, bool] = {}
    with reader.snapshot() as snap:
        assert list(scrub(snap)) == []
        for what, name in made.names.items():
            member, _, event_id = name.partition("/")
            (leaf,) = snap.leaves(snap.find_event(member, event_id))
            assert leaf.head is not None and leaf.event_hash is not None
            found[what] = leaf.body is not None
    reader.close()
    return found


def test_only_what_the_record_covers_goes_and_the_auditor_names_it(made: Made) -> None:
    """Counted first, then erased, once; later records and other classes stay; verify finds nothing wrong and names the
    record; the kept export replays whole."""
    command = ("archive", "prune", made.names["accepted"], "--data", made.folder, "--json")
    counted = ledger(*command)
    assert counted.code == 0 and counted.json["prunable"] == 3 and counted.json["erased"] == 0
    assert counted.json["kept"]["younger"] > 0 and counted.json["kept"]["class"] > 0
    assert all(bodies(made).values())
    erased = ledger(*command, "--export", made.kept, "--erase")
    assert (erased.code, erased.json["erased"]) == (0, 3), erased
    assert bodies(made) == {
        "read0": False, "read1": False, "read2": False, "late": True, "refused": True, "accepted": True,
    }  # fmt: skip
    again = ledger(*command, "--export", made.kept, "--erase")
    assert (again.code, again.json["erased"], again.json["gone_before"]) == (0, 0, 3)

    origin = open_origin(made)
    report = ledger("verify", made.folder, "--origin", origin, "--json", home=made.kept.parent)
    assert "not_checked" in report.json, report
    gaps = {gap["code"]: gap for gap in report.json["not_checked"]}
    assert report.code == 7 and report.json["findings_total"] == 0, report.out[:2000]
    pruned = gaps["bodies-pruned"]
    assert (pruned["level"], pruned["count"], pruned["records"]) == ("bodies", 3, made.names["accepted"])
    assert "bodies-missing" not in gaps and "replay-stopped" in gaps
    kept = ledger("verify", made.kept, "--origin", origin, "--json", home=made.kept.parent)
    assert "replay-stopped" not in {gap["code"] for gap in kept.json["not_checked"]}
    assert kept.json["findings_total"] == 0
    both = ledger("verify", made.folder, "--with", made.kept, "--origin", origin, "--json", home=made.kept.parent)
    left = {gap["code"] for gap in both.json["not_checked"]}
    assert not left & {"bodies-pruned", "bodies-missing", "replay-stopped"} and both.json["findings_total"] == 0
    assert both.json["counts"]["filled_bodies"] == 3 and both.json["levels"]["replay"] == "checked", both.out


def open_origin(made: Made) -> str:
    from ledger.core.genesis import parse_genesis

    return parse_genesis(open_source(str(made.folder)).genesis()).origin


def test_nothing_goes_without_an_accepted_record_and_its_export(made: Made, tmp_path: Path) -> None:
    """A refused pruning, another event, none at all; no export, another one, one without state: nothing is erased."""
    before = bodies(made)
    for name, error in (("refused", RejectedError), ("late", RejectedError)):
        with pytest.raises(error) as caught:
            pruning.plan_pruning(made.folder, made.names[name])
        assert caught.value.code == "prune-record"
    with pytest.raises(NotFoundError):
        pruning.plan_pruning(made.folder, "sj/0192f5c2-0000-7000-8000-000000000000")
    name = made.names["accepted"]
    assert ledger("archive", "prune", name, "--data", made.folder, "--erase").code == 2
    other = tmp_path / "other.tar"
    export(open_source(str(made.folder)), other, state=True)
    permit = pruning.plan_pruning(made.folder, name).permit
    with pytest.raises(VerificationError) as wrong:
        pruning.check_export(made.folder, permit, other)
    assert wrong.value.code == "prune-export"
    assert ledger("archive", "prune", name, "--data", made.folder, "--export", other, "--erase").code == 6
    assert bodies(made) == before


def test_a_body_goes_only_when_everything_that_it_names_was_asked_for() -> None:
    """A pruning of one grant leaves what another grant or the entry needs too, another class, a later day."""
    body = {"before": "2026-04-03", "classes": ["use"], "export": ZERO, "height": 1}
    one = parse_permit("sj/1", {"grant": "ga/g1"}, body)
    two = parse_permit("sj/2", {"dataset": "ga/d"}, body)
    day, zone = 1_775_145_600_000, 8 * HOUR_MS  # 2026-04-03 00:00 in Beijing
    both = named_objects({"grant": "ga/g1", "dataset": ["ga/d"], "copy": "ga/c"}, None)
    assert both == {"grant/ga/g1", "dataset/ga/d"}
    assert covering([one], both, "use", day - 1, zone) == set()
    assert covering([one, two], both, "use", day - 1, zone) == {"sj/1", "sj/2"}
    assert covering([one, two], both, "use", day, zone) == set()
    assert covering([one, two], both, "sharing", day - 1, zone) == set()
    assert covering([one, two], both, None, day - 1, zone) == {"sj/1", "sj/2"}
    assert covering([one, two], named_objects({"copy": "ga/c"}, None), "use", day - 1, zone) == set()
