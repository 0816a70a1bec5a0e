"""Turns the options of `ledger approve propose` into refs and arguments of an action, so that nobody writes JSON by hand.

Rule: a key registration is what its owner made with `ledger key show --register`; its proof is checked here, for this
network and this member, before anybody votes on it. Not here: what the action does (the ledger decides).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger.cli.settings import SettingError
from ledger.core.engine import COMETBFT, chain_id
from ledger.core.keys import key_id_of, parse_public_key, registration_message
from ledger.errors import LedgerError, NotFoundError

FIELDS: Final = frozenset({"algorithm", "member", "origin", "proof", "public", "roles", "use"})
REGISTRATION_BYTES_MAX: Final = 64 * 1024
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was given beside --ref and --set: `member` for --id, titles by language, `roles`, `attributes`, key files;
    `cosigners` and `ended` validator keys as MEMBER=KEYID; `below_four` for fewer validators than tolerate a fault."""

    member: str | None = None
    titles: Mapping[str, str | None] | None = None
    roles: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    registrations: tuple[str, ...] = ()
    cosigners: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    below_four: bool = False


def full_action(action: str) -> str:
    """`member.admit` is `sys.member.admit`."""
    return action if action.startswith("sys.") else f"sys.{action}"


def complete(
    action: str, refs: Mapping[str, Any], args: Mapping[str, Any], wishes: Wishes, origin: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Refs and arguments with what the friendly options say added. Raises `SettingError`."""
    named, made = dict(refs), dict(args)
    if wishes.member is not None:
        named.setdefault("member", wishes.member)
    keys = [_registration(place, origin, named.get("member")) for place in wishes.registrations]
    if action == "sys.member.admit":
        titles = {name: text for name, text in (wishes.titles or {}).items() if text}
        if titles:
            made.setdefault("title", titles)
        made.setdefault("attributes", _attributes(wishes.attributes))
        made.setdefault("roles", sorted(set(wishes.roles)))
        made.setdefault("keys", [key for _, key in keys])
        lacking = [name for name in ("zh", "en") if not _has_title(made.get("title"), name)]
        if "member" not in named or lacking or not made["keys"]:
            raise SettingError("member-admit", "id, both titles and a key are needed", got=sorted(named))
    elif action == "sys.set.change":
        named, made = _set_change(named, made, wishes, keys)
    elif keys:
        if len(keys) > 1:
            raise _unusable(wishes.registrations[1], "this action takes one key")
        member, key = keys[0]
        old, key_id = named.get("key"), key_id_of(key["algorithm"], bytes.fromhex(key["public"])).hex()
        named.setdefault("member", member)
        named["key"] = key_id if old in (None, key_id) else [old, key_id]
        made["key"] = key
    if action == "sys.role.set" and wishes.roles:
        made.setdefault("roles", sorted(set(wishes.roles)))
    if action == "sys.param.set" and "parameters" not in made:
        made = {"parameters": _parameters(made)}
    if action == "sys.engine.move":
        made.setdefault("engine", COMETBFT)
        made.setdefault("chain_id", chain_id(origin, 1))
    if wishes.below_four:
        made["below_four"] = True
    return named, made


def _parameters(given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters given one by one, `--set notice_hours=48`."""
    from ledger.machine.configchanges import PARAMETER_RANGES

    if not given:
        raise SettingError("parameter", "none is given", known=sorted(PARAMETER_RANGES))
    for name, value in given.items():
        allowed = PARAMETER_RANGES.get(name)
        if allowed is None:
            raise SettingError("parameter", "there is no such parameter", name=name, known=sorted(PARAMETER_RANGES))
        if type(value) is not int or value not in allowed:
            bounds = f"{allowed[0]}..{allowed[-1]}"
            raise SettingError("parameter", "not a whole number in its bounds", name=name, got=value, allowed=bounds)
    return dict(given)


def _set_change(
    refs: dict[str, Any], args: dict[str, Any], wishes: Wishes, keys: Sequence[tuple[str, dict[str, Any]]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The cosigners' set and, with keys to add or end, the validators'; the refs name every member that it is about."""
    if wishes.cosigners:
        args["cosigners"] = _pairs(wishes.cosigners, "cosigner")
    if keys or wishes.ended:
        added = sorted(([member, key] for member, key in keys), key=lambda each: str(each[0]))
        args["validators"] = {"add": added, "end": _pairs(wishes.ended, "end-validator")}
    changed = args.get("validators", {})
    lists = [args.get("cosigners"), *(changed.values() if isinstance(changed, dict) else ())]
    try:
        about = sorted({pair[0] for pairs in lists for pair in pairs or ()})
    except (TypeError, LookupError):
        return refs, args  # the ledger says what is wrong with it
    if about:
        refs.setdefault("member", about if len(about) > 1 else about[0])
    return refs, args


def _pairs(given: Sequence[str], option: str) -> list[list[str]]:
    pairs = [text.partition("=") for text in given]
    if not all(name and equals and value for name, equals, value in pairs):
        raise SettingError("setting-value", "expected MEMBER=KEYID", name=option, got=" ".join(given))
    for name, _, value in pairs:
        if not _KEY_ID.fullmatch(value):
            raise SettingError("key-id", "a key id is 64 hex digits", name=option, member=name, got=value[:80])
    return sorted([name, value] for name, _, value in pairs)


def _has_title(title: object, name: str) -> bool:
    return isinstance(title, dict) and bool(title.get(name))


def _attributes(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if not all(name and equals for name, equals, _ in pairs):
        raise SettingError("setting-value", "expected NAME=VALUE", name="attribute", got=" ".join(given))
    return {name: value for name, _, value in pairs}


def _registration(place: str, origin: str, member: object) -> tuple[str, dict[str, Any]]:
    """The member and the key of a registration, as a file or as the pasted line itself."""
    document = _read(place)
    try:
        public = parse_public_key(document["algorithm"], bytes.fromhex(document["public"]))
        message = registration_message(document["origin"], document["member"], document["use"])
        public.verify(message, bytes.fromhex(document["proof"]))
    except (LedgerError, ValueError, TypeError, AttributeError) as error:
        raise _unusable(place, f"its proof does not hold: {error}") from None
    if document["origin"] != origin:
        raise _unusable(place, f"it was made for another network: {document['origin']}")
    if member is not None and document["member"] != member:
        raise _unusable(place, f"it is the key of another member: {document['member']}")
    key = {name: document[name] for name in ("algorithm", "proof", "public", "roles", "use")}
    return document["member"], key


def _unusable(place: str, reason: str) -> SettingError:
    return SettingError("key-registration", "no usable key registration", path=place[:80], reason=reason)


def _read(place: str) -> dict[str, Any]:
    text = place
    if not place.lstrip().startswith("{"):
        try:
            with Path(place).open("rb") as file:
                text = file.read(REGISTRATION_BYTES_MAX).decode("utf-8")
        except FileNotFoundError as error:
            raise NotFoundError("registration-file", "no such file", path=place) from error
        except UnicodeDecodeError:
            raise _unusable(place, "not UTF-8") from None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _unusable(place, "not JSON") from None
    if isinstance(document, dict) and isinstance(document.get("registration"), dict):
        document = document["registration"]  # the whole answer of `key show --json` was kept
    if not isinstance(document, dict) or set(document) != FIELDS:
        raise _unusable(place, "not what `ledger key show --register` prints")
    return document
