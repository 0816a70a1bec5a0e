"""`ledger approve list|show|sign|propose`: changes of members, keys, rules and parameters, and the votes on them.

Rules: what is signed is computed from the proposing event as it was shown, never from a hash that a node names; a rulebook
is compiled here before it is proposed, so that the vote is about one program. Exit 1 when the vote or proposal was refused.
Not here: who may vote (the ledger decides).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ledger.cli.append import send_events, tell_recorded
from ledger.cli.command import argument, command, option
from ledger.cli.event import split_event
from ledger.cli.eventinput import from_flags
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_key, open_settings
from ledger.cli.settings import SettingError
from ledger.cli.tables import fields, safe, screen_columns, table
from ledger.cli.verdicts import format_time
from ledger.core.proposal import STATUSES

if TYPE_CHECKING:
    from ledger.client.http import NodeClient
    from ledger.core.hashing import Digest
    from ledger.core.keys import Ed25519Signer

RULEBOOK_SKIPPED = ("calendars",)
"""Folders of a rulebook that are no part of its bundle."""


@command("list")
@option("--status", type=click.Choice(STATUSES))
@option("--after", type=click.IntRange(0), metavar="N")
@option("--limit", type=click.IntRange(1, 1000), default=50, metavar="N")
@node_options
def list_proposals(
    console: Console, status: str | None, after: int | None, limit: int, **connection: str | None
) -> None:
    """List proposals."""
    client = open_client(console, open_settings(console, connection))
    document = client.get_json(("v1", "proposals"), {"status": status, "after": after, "limit": limit})
    rows = [
        (
            item["name"],
            item["proposal"]["action"],
            console.text(f"approve.{item['proposal']['status']}"),
            format_time(item["proposal"]["until"]),
            _refs(item["proposal"]["refs"]),
        )
        for item in document["items"]
    ]
    head = [console.text(f"approve.{name}") for name in ("proposal", "action", "status", "until", "about")]
    columns = screen_columns(console.out, console.environment)
    text = table(rows, head, columns, whole=(0,)) if rows else console.text("approve.none")
    console.result({"node": client.url, **document}, text)
    if document.get("next") is not None:
        console.hint(console.text("approve.more", cursor=document["next"]))


@command("show")
@argument("proposal")
@node_options
def show(console: Console, proposal: str, **connection: str | None) -> None:
    """Show one proposal with its votes."""
    client = open_client(console, open_settings(console, connection))
    document, digest = _read(client, proposal)
    console.result({"node": client.url, "proposal_hash": digest.hex(), **document}, _text(console, document, digest))


@command("sign")
@argument("proposal")
@option("--reject", is_flag=True)
@option("--cosign-key", metavar="FILE", type=click.Path())
@option("--member", metavar="ID")
@option("--key", metavar="FILE", type=click.Path())
@node_options
def sign(
    console: Console,
    proposal: str,
    reject: bool,
    cosign_key: str | None,
    member: str | None,
    key: str | None,
    **connection: str | None,
) -> None:
    """Vote for a proposal, or against it."""
    from ledger.client.governance import vote

    settings = open_settings(console, {"member": member, "key": key, **connection})
    client = open_client(console, settings)
    document, digest = _read(client, proposal)
    if cosign_key is None and document["needs_cosigners"] and not reject:
        console.hint(console.text("approve.cosign-hint"))
    signer = None if cosign_key is None else open_key(console, settings, cosign_key)
    event = vote(proposal, digest, _origin(client), approve=not reject, cosign=signer)
    answers = send_events(console, settings, client, [event], "committed")
    tell_recorded(console, client, answers, [each for answer in answers for each in answer.events])


@command("propose")
@argument("action")
@option("--ref", "refs", multiple=True, metavar="NAME=ID")
@option("--set", "arguments", multiple=True, metavar="FIELD=VALUE")
@option("--bundle", metavar="DIR", type=click.Path())
@option("--new-key", metavar="FILE", type=click.Path())
@option("--use", type=click.Choice(["event", "cosign", "log", "http", "consensus", "p2p"]), default="event")
@option("--role", "roles", multiple=True, metavar="ROLE")
@option("--effective", metavar="TIME")
@option("--until", metavar="TIME")
@option("--reason", metavar="TEXT")
@option("--id", "about", metavar="ID")
@option("--title-zh", metavar="TEXT")
@option("--title-en", metavar="TEXT")
@option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE")
@option("--registration", "registrations", multiple=True, metavar="FILE")
@option("--cosigner", "cosigners", multiple=True, metavar="MEMBER=KEYID")
@option("--end-validator", "ended", multiple=True, metavar="MEMBER=KEYID")
@option("--below-four", is_flag=True)
@option("--member", metavar="ID")
@option("--key", metavar="FILE", type=click.Path())
@node_options
def propose(
    console: Console,
    action: str,
    refs: tuple[str, ...],
    arguments: tuple[str, ...],
    bundle: str | None,
    new_key: str | None,
    use: str,
    roles: tuple[str, ...],
    effective: str | None,
    until: str | None,
    reason: str | None,
    about: str | None,
    title_zh: str | None,
    title_en: str | None,
    attributes: tuple[str, ...],
    registrations: tuple[str, ...],
    cosigners: tuple[str, ...],
    ended: tuple[str, ...],
    below_four: bool,
    member: str | None,
    key: str | None,
    **connection: str | None,
) -> None:
    """Propose a change."""
    from ledger.cli.proposing import Wishes, complete, full_action
    from ledger.client import governance
    from ledger.core.ident import parse_time

    settings = open_settings(console, {"member": member, "key": key, **connection})
    client = open_client(console, settings)
    given = from_flags("sys.propose", refs, arguments, time=None, event_id=None, intent=False)
    action = full_action(action)
    wishes = Wishes(
        about, {"zh": title_zh, "en": title_en}, roles, attributes, registrations, cosigners, ended, below_four
    )
    named, args = complete(action, given["refs"], given["body"], wishes, _origin(client))
    if new_key is not None:
        about = named.get("member", settings.get("member"))
        if not isinstance(about, str):
            raise SettingError("proposal-member", "--new-key needs --ref member=ID")
        signer = open_key(console, settings, new_key)
        named, args = _with_key(
            named, args, about, signer, governance.key_fields(signer, _origin(client), about, use, roles)
        )
    if bundle is not None:
        args = {**args, **_offer(client, action, Path(bundle))}
    if action in ("sys.proto.raise", "sys.runtime.set"):
        args = {**_successor(client, action, args), **args}
    event = governance.propose(
        action,
        named,
        args,
        effective=None if effective is None else parse_time(effective),
        until=None if until is None else parse_time(until),
        reason=reason or "",
    )
    answers = send_events(console, settings, client, [event], "committed")
    tell_recorded(console, client, answers, [each for answer in answers for each in answer.events])


def _with_key(
    refs: dict[str, Any], args: dict[str, Any], member: str, signer: Ed25519Signer, key: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Refs and arguments with the new key in its place: behind the one that it replaces, or alone."""
    key_id = signer.public.key_id.hex()
    old = refs.get("key")
    return {**refs, "member": member, "key": [old, key_id] if old is not None else key_id}, {**args, "key": key}


def _offer(client: NodeClient, action: str, folder: Path) -> dict[str, Any]:
    """Compile the rulebook or calendar in `folder`, hand it to the node, and give the arguments that name it."""
    from ledger.adapters.home.datadir import read_bundle_folder
    from ledger.client.request import Request, parse_json
    from ledger.core.bundle import encode_bundle
    from ledger.rules.program import Program

    files = read_bundle_folder(folder) if folder.is_dir() else {}
    if not files:
        raise SettingError("bundle-folder", "no files there", path=str(folder))
    config = client.get_json(("v1", "rulebooks"))["config"]
    if action == "sys.calendar.publish":
        program = Program.compile(_in_force(client, config, "rulebook"), files, config["runtime"]["steps"])
    else:
        files = {path: data for path, data in files.items() if path.partition("/")[0] not in RULEBOOK_SKIPPED}
        program = Program.compile(files, _in_force(client, config, "calendar"), config["runtime"]["steps"])
    headers = {"Content-Type": "application/json"}
    answer = parse_json(client.send(Request("POST", "/v1/bundles", headers, encode_bundle(files))))
    return {
        "bundle": str(answer["digest"]),
        "language": program.language_version,
        "program": program.source_hash.hex(),
    }


def _in_force(client: NodeClient, config: dict[str, Any], name: str) -> dict[str, bytes]:
    """The files of the rulebook or calendar in force, checked against the hash in the config."""
    from ledger.core.bundle import bundle_hash, parse_bundle
    from ledger.core.hashing import parse_hex_digest
    from ledger.errors import VerificationError

    found = parse_bundle(client.get_bytes(("v1", "bundles", config[name])))
    if bundle_hash(found) != parse_hex_digest(config[name]):
        raise VerificationError("bundle-hash", "the node's bundle is not the one in force", expected=config[name])
    return found


def _successor(client: NodeClient, action: str, args: dict[str, Any]) -> dict[str, Any]:
    """The protocol version after the one in force, or what this software makes of the rules in force under a budget."""
    from ledger.limits import RULE_STEPS_VOTE_MAX
    from ledger.rules.program import Program

    config = client.get_json(("v1", "rulebooks"))["config"]
    if action == "sys.proto.raise":
        return {"version": config["protocol_version"] + 1}
    steps = args.get("steps", config["runtime"]["steps"])
    if type(steps) is not int or not 1 <= steps <= RULE_STEPS_VOTE_MAX:
        raise SettingError("setting-value", f"a whole number from 1 to {RULE_STEPS_VOTE_MAX}", name="steps", got=steps)
    program = Program.compile(_in_force(client, config, "rulebook"), _in_force(client, config, "calendar"), steps)
    return {"language": program.language_version, "program": program.source_hash.hex(), "steps": steps}


def _read(client: NodeClient, name: str) -> tuple[dict[str, Any], Digest]:
    """A proposal with its event, and the hash of that event to vote on."""
    from ledger.client.governance import hash_of_proposal

    member, event_id = split_event(name)
    document = client.get_json(("v1", "proposals", name))
    entry = client.get_json(("v1", "events", member, event_id))["entry"]
    document["event"] = {"head": entry["head"], "body": entry["body"]}
    return document, hash_of_proposal(entry["head"], entry["body"], document["proposal"]["hash"])


def _text(console: Console, document: dict[str, Any], digest: Digest) -> str:
    """A proposal in words: what it does first, then who said what of it."""
    proposal, body = document["proposal"], document["event"]["body"]
    votes = document["votes"]
    pairs: list[tuple[str, object]] = [
        (console.text("approve.action"), proposal["action"]),
        (console.text("approve.about"), _refs(proposal["refs"])),
        (console.text("approve.status"), console.text(f"approve.{proposal['status']}")),
        (console.text("approve.reason"), body.get("reason", "")),
        (console.text("approve.until"), format_time(proposal["until"])),
    ]
    pairs += [
        (console.text(f"approve.{name}"), format_time(proposal[name]))
        for name in ("effective", "due")
        if name in proposal
    ]
    if "reason" in proposal:
        pairs.append(
            (
                console.text("approve.failed-by"),
                console.texts.find(f"reason.{proposal['reason']}") or proposal["reason"],
            )
        )
    pairs += [(name, json.dumps(value, ensure_ascii=False, sort_keys=True)) for name, value in proposal["args"].items()]
    pairs.append((console.text("approve.hash"), digest.hex()))
    lines = [fields((name, safe(value)) for name, value in pairs), ""]
    approving = [name for name in document["electorate"] if votes.get(name, {}).get("vote") == "approve"]
    lines.append(
        console.text(
            "approve.votes", count=len(approving), needed=document["needed"], total=len(document["electorate"])
        )
    )
    if document["needs_cosigners"]:
        signed = [name for name, key in document["cosigners"] if votes.get(name, {}).get("cosign") == key]
        lines.append(
            console.text(
                "approve.cosigned",
                count=len(signed),
                needed=document["cosigners_needed"],
                total=len(document["cosigners"]),
            )
        )
    for name, vote in votes.items():
        said = console.text(f"approve.vote-{vote['vote']}")
        also = f"  {console.text('approve.with-cosign')}" if "cosign" in vote else ""
        lines.append(f"- {safe(name)}: {said}  {format_time(vote['at'])}{also}")
    return "\n".join(lines)


def _refs(refs: dict[str, Any]) -> str:
    return safe(
        ", ".join(f"{name}={value if isinstance(value, str) else ' '.join(value)}" for name, value in refs.items())
    )


def _origin(client: NodeClient) -> str:
    from ledger.core.genesis import parse_genesis

    return parse_genesis(client.get_bytes(("v1", "genesis"))).origin
