"""`ledger network new|demo`: a genesis and the data directories (or hand-over folders) of its nodes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ledger.cli.command import argument, command, option
from ledger.cli.output import Console
from ledger.cli.settings import SettingError
from ledger.cli.tables import table
from ledger.limits import VALIDATORS_FLOOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.adapters.home.network import CreatedNetwork, MemberPlan
    from ledger.core.genesis import Predecessor

PLAN_BYTES_MAX: Final = 1024 * 1024
RULEBOOK_DEFAULT: Final = "data-sharing"
SEQUENCER: Final = "sequencer"
COMETBFT: Final = "cometbft"
_PLAN_NAMES: Final = ("name", "clock", "engine", "sequencer", "time", "parameters", "member")
_MEMBER_NAMES: Final = ("id", "title", "roles", "attributes", "host", "listen", "key", "p2p", "url", "validator")
_ENGINES: Final = (SEQUENCER, COMETBFT)
_KEY_NAMES: Final = ("label", "roles")

DEMO: Final = (
    ("sj", "数据局", "Data Bureau", ("authority", "department")),
    ("ga", "公安局", "Public Security Bureau", ("department",)),
    ("rs", "人社局", "Human Resources and Social Security Bureau", ("department",)),
    ("ws", "卫健委", "Health Commission", ("department",)),
)
DEMO_SEQUENCER: Final = "sj"


@command("new")
@argument("folder", type=click.Path())
@option("--plan", "--members", "plan", metavar="FILE", type=click.Path())
@option("--name", metavar="NAME")
@option("--member", "members", multiple=True, metavar="ID=ZH/EN")
@option("--engine", type=click.Choice(_ENGINES))
@option("--few-validators", is_flag=True)
@option("--sequencer", metavar="ID")
@option("--clock", type=click.Choice(["wall", "scenario"]))
@option("--rulebook", metavar="DIR", type=click.Path())
@option("--port", type=click.IntRange(1, 65_000), metavar="PORT")
@option("--permits", metavar="FILE", type=click.Path())
@option("--continues", metavar="SOURCE")
@option("--hand-over", is_flag=True)
def new(
    console: Console,
    folder: str,
    plan: str | None,
    name: str | None,
    members: tuple[str, ...],
    engine: str | None,
    few_validators: bool,
    sequencer: str | None,
    clock: str | None,
    rulebook: str | None,
    port: int | None,
    permits: str | None,
    continues: str | None,
    hand_over: bool,
) -> None:
    """Make a network."""
    document = _read_plan(plan) if plan else {}
    for key, value in (("name", name), ("engine", engine), ("sequencer", sequencer), ("clock", clock)):
        if value is not None:
            document[key] = value
    entries = [_member(entry, plan or "") for entry in document.pop("member", [])]
    entries += [_short_member(text) for text in members]
    if not entries or "name" not in document:
        raise SettingError("plan-missing", "a network needs a name and members")
    if document.get("engine") == COMETBFT:
        _check_validators(console, entries, few_validators)
    else:
        document.setdefault("sequencer", _first_node(entries))
    before = _predecessor(console, continues) if continues is not None else None
    _create(console, folder, document, entries, rulebook, port, permits, hand_over, before)


@command("demo")
@argument("folder", type=click.Path())
@option("--engine", type=click.Choice(_ENGINES), default="sequencer")
@option("--clock", type=click.Choice(["wall", "scenario"]), default="wall")
@option("--rulebook", metavar="DIR", type=click.Path())
@option("--port", type=click.IntRange(1, 65_000), metavar="PORT")
@option("--permits", metavar="FILE", type=click.Path())
def demo(
    console: Console, folder: str, engine: str, clock: str, rulebook: str | None, port: int | None, permits: str | None
) -> None:
    """Make a network of four departments on this machine."""
    document = {"name": "demo.local", "clock": clock, "engine": engine}
    if engine != COMETBFT:
        document["sequencer"] = DEMO_SEQUENCER
    _create(console, folder, document, demo_members(), rulebook, port, permits, hand_over=False)


def demo_members() -> list[MemberPlan]:
    """Four departments, each with the keys that the rulebook tells apart."""
    from ledger.adapters.home.network import KeyPlan, MemberPlan

    entries: list[MemberPlan] = []
    for member, zh, en, roles in DEMO:
        office = ("authority", "office-head") if member == DEMO_SEQUENCER else ("office-head",)
        keys = (
            KeyPlan(),
            KeyPlan("office", office),
            KeyPlan("head", ("dept-head",)),
            KeyPlan("verifier", ("verifier",)),
        )
        entries.append(MemberPlan(member, {"zh": zh, "en": en}, roles, keys=keys))
    return entries


def find_rulebook(given: str | None) -> Path:
    """The rulebook's folder: as given, else the one that ships with the node, else `contracts/` below this folder."""
    import importlib.util

    if given is not None:
        return Path(given)
    spec = importlib.util.find_spec("ledger_node")
    candidates = [Path("contracts") / RULEBOOK_DEFAULT]
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        candidates.insert(0, Path(place) / "contracts" / RULEBOOK_DEFAULT)
        candidates.append(Path(place).parents[2] / "contracts" / RULEBOOK_DEFAULT)
    for candidate in candidates:
        if (candidate / "rulebook.toml").is_file():
            return candidate
    raise SettingError("rulebook-missing", "no rulebook found", tried=", ".join(map(str, candidates)))


def _create(
    console: Console,
    folder: str,
    document: dict[str, Any],
    entries: Sequence[MemberPlan],
    rulebook: str | None,
    port: int | None,
    permits: str | None,
    hand_over: bool,
    continues: Predecessor | None = None,
) -> None:
    import time
    from dataclasses import replace

    from ledger.adapters.home.network import NetworkPlan, create_network, read_rulebook

    if document.get("engine") == COMETBFT and document.get("clock") == "scenario":
        raise SettingError("scenario-engine", "CometBFT's blocks have its validators' time, which nobody steps")
    members = list(entries)
    if permits is not None:
        from ledger.cli.permit_log import member_plans, read_log

        known = {entry.id for entry in members}
        log = read_log(Path(permits))
        host = str(document.get("sequencer") or _first_node(members))
        members += [each for each in member_plans(log, host) if each.id not in known]
    if port is not None:
        nodes = [entry.id for entry in members if entry.host is None]
        listens = {member: (port + at, port + len(nodes) + at) for at, member in enumerate(nodes)}
        members = [
            replace(each, listen=f"127.0.0.1:{listens[each.id][0]}", p2p=f"127.0.0.1:{listens[each.id][1]}")
            if each.id in listens
            else each
            for each in members
        ]
    files, calendars = read_rulebook(find_rulebook(rulebook))
    made = create_network(
        Path(folder),
        NetworkPlan(
            name=str(document["name"]),
            members=members,
            sequencer=str(document.get("sequencer", "")),
            rulebook=files,
            calendars=calendars,
            time=_time(document.get("time")) if "time" in document else time.time_ns() // 1_000_000,
            clock=str(document.get("clock", "wall")),
            parameters=document.get("parameters", {}),
            continues=continues,
            engine=str(document.get("engine", SEQUENCER)),
        ),
        hand_over=hand_over,
    )
    _tell(console, Path(folder), made, hand_over)


def _predecessor(console: Console, name: str) -> Predecessor:
    """Where the ledger `name` ended, after an audit of everything but the rules (SPEC R-G06)."""
    from ledger.adapters.audit.predecessor import find_predecessor
    from ledger.adapters.audit.sources import open_source
    from ledger.cli.verify import audit
    from ledger.verify.trust import Trust

    source = open_source(name)
    return find_predecessor(source, audit(console, source, Trust(), "none", None))


def _tell(console: Console, folder: Path, made: CreatedNetwork, hand_over: bool) -> None:
    nodes = [
        {"member": member, "folder": str(path), "url": made.urls[member], "role": made.roles[member]}
        for member, path in made.folders.items()
    ]
    document: dict[str, Any] = {
        "origin": made.genesis.origin,
        "trust": str(folder / "trust.json"),
        "invitation": str(folder / "invitation"),
        "nodes": nodes,
    }
    rows = [(node["member"], node["role"], node["url"], node["folder"]) for node in nodes]
    head = [console.text(f"network.{name}") for name in ("member", "role", "url", "folder")]
    text = f"{console.text('network.made', origin=made.genesis.origin)}\n\n{table(rows, head)}"
    before = made.genesis.continues
    if before is not None:
        trust = str(folder / "predecessor.json")
        document["continues"] = {"origin": before.origin, "size": before.checkpoint.size, "trust": trust}
        text += "\n\n" + console.text(
            "network.continues", origin=before.origin, size=before.checkpoint.size, trust=trust
        )
    console.result(document, text)
    if hand_over:
        console.hint(console.text("network.hand-over"))
    else:
        console.hint(console.text("network.start", folder=str(made.folders[next(iter(made.folders))])))
    console.hint(console.text("network.invitation", folder=str(folder / "invitation")))


def _first_node(entries: Sequence[MemberPlan]) -> str:
    """The member whose node keeps keys, or orders, where nobody is named."""
    found = next((entry.id for entry in entries if entry.host is None), None)
    if found is None:
        raise SettingError("plan-missing", "a network needs a member with a node")
    return found


def _check_validators(console: Console, entries: Sequence[MemberPlan], few: bool) -> None:
    """Fewer than four tolerate no fault: only for who says that this is meant."""
    count = sum(entry.host is None and entry.validator for entry in entries)
    if count >= VALIDATORS_FLOOR:
        return
    if not few:
        raise SettingError("validators-few", "fewer than four validators tolerate no fault", count=count)
    console.hint(console.text("network.few", count=count))


def _read_plan(path: str) -> dict[str, Any]:
    import tomllib

    from ledger.cli.session import read_input

    try:
        document = tomllib.loads(read_input(path, PLAN_BYTES_MAX).decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError("plan", "not TOML", path=path, reason=str(error)) from None
    _known(document, _PLAN_NAMES, path)
    return document


def _member(entry: dict[str, Any], path: str) -> MemberPlan:
    from ledger.adapters.home.network import KeyPlan, MemberPlan

    _known(entry, _MEMBER_NAMES, path)
    keys = entry.get("key", [])
    for key in keys:
        _known(key, _KEY_NAMES, path)
    title = entry.get("title")
    if not isinstance(entry.get("id"), str) or not isinstance(title, dict) or set(title) != {"zh", "en"}:
        raise SettingError("plan", "a member has an id and a title in zh and en", path=path, got=entry.get("id"))
    return MemberPlan(
        id=entry["id"],
        title=title,
        roles=tuple(entry.get("roles", ())),
        attributes=entry.get("attributes", {}),
        host=entry.get("host"),
        listen=_text_of(entry, "listen", path),
        p2p=_text_of(entry, "p2p", path),
        url=_text_of(entry, "url", path),
        validator=_flag_of(entry, "validator", path),
        keys=(KeyPlan(), *(KeyPlan(str(key["label"]), tuple(key.get("roles", ()))) for key in keys)),
    )


def _text_of(entry: dict[str, Any], name: str, path: str) -> str:
    value = entry.get(name, "")
    if not isinstance(value, str):
        raise SettingError("plan", f"{name} is a text", path=path, got=value)
    return value


def _flag_of(entry: dict[str, Any], name: str, path: str) -> bool:
    value = entry.get(name, True)
    if not isinstance(value, bool):
        raise SettingError("plan", f"{name} is true or false", path=path, got=value)
    return value


def _short_member(text: str) -> MemberPlan:
    """`ga=公安局/Public Security Bureau`, or just `ga`."""
    from ledger.adapters.home.network import MemberPlan

    member, _, titles = text.partition("=")
    zh, _, en = titles.partition("/")
    return MemberPlan(member, {"zh": zh or member, "en": en or zh or member}, ("department",))


def _known(fields: object, names: tuple[str, ...], path: str) -> None:
    import difflib

    if not isinstance(fields, dict):
        raise SettingError("plan", "expected a table", path=path)
    for name in fields:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            meant = {"meant": near[0]} if near else {}
            raise SettingError("setting-unknown", "no such setting", name=name, place=path, **meant)


def _time(value: object) -> int:
    from ledger.core.ident import parse_time

    return value if isinstance(value, int) else parse_time(value)
