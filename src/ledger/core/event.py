r"""Decides what an event is: a head kept for ever and a body that may be erased, both canonical JSON, under one hash.

Rules (SPEC R-E10 to R-E15): the head has a closed set of fields, absent when empty but for `refs`; every name in it
is an identifier; the body carries a 16-byte salt, so that a hash that outlives its body cannot be guessed.
`event_hash = H("suyuan/event/v1\0" ‖ H(head) ‖ H(body))`.
Not here: whether the kind exists and its refs are right (the rules decide that, and such an event is still recorded).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from typing import Any, Final

from ledger.core import canonical
from ledger.core.hashing import DIGEST_BYTES, TAG_COMMITMENT, TAG_EVENT, Digest, lp, parse_hex_digest, sha256
from ledger.core.ident import (
    DAY,
    IDENTIFIER,
    TIME_OF_DAY,
    UUID7,
    check_identifier,
    check_uuid7,
    day_number,
    format_time,
    parse_time,
)
from ledger.errors import MalformedError
from ledger.limits import (
    COMMITMENTS_MAX,
    DATA_SUBJECTS_MAX,
    REFS_LIST_WIDE_MAX,
    REFS_NAMES_MAX,
    REFS_VALUES_MAX,
    SALT_BYTES,
)

VERSION: Final = 1
_REQUIRED: Final = frozenset(("id", "kind", "refs", "time", "v"))
_FIELDS: Final = _REQUIRED | {"commitments", "data_subjects", "intent"}
# Base64url without padding of 16 bytes: 22 characters, the last of which carries two bits and four zeros.
_SALT: Final = re.compile(r"[A-Za-z0-9_-]{21}[AQgw]").fullmatch


def _shape() -> re.Pattern[bytes]:
    """Every canonical head of ordinary size, but for the order of keys, doubles inside lists and the calendar."""
    name = f'"{IDENTIFIER}"'
    digest = '"[0-9a-f]{64}"'

    def repeated(item: str, most: int) -> str:
        return f"{item}(?:,{item}){{0,{most - 1}}}+"

    # Lists of refs are held so short here that the limit on all values of a head cannot be passed.
    value = rf"(?:{name}|\[{repeated(name, REFS_VALUES_MAX // REFS_NAMES_MAX)}\])"
    return re.compile(
        (
            rf'\{{(?:"commitments":\{{{repeated(f"{name}:{digest}", COMMITMENTS_MAX)}\}},)?'
            rf'(?:"data_subjects":\[{repeated(name, DATA_SUBJECTS_MAX)}\],)?'
            rf'"id":"{UUID7}",(?:"intent":true,)?"kind":{name},'
            rf'"refs":\{{(?:{repeated(f"{name}:{value}", REFS_NAMES_MAX)})?\}},'
            rf'"time":"({DAY})T{TIME_OF_DAY}","v":{VERSION}\}}'
        ).encode("ascii")
    )


_SHAPE: Final = _shape().fullmatch


@dataclass(frozen=True, slots=True)
class Event:
    """A checked event: the bytes as received, what they parse to, and the hash over both."""

    head: bytes
    body: bytes
    fields: dict[str, Any]
    content: dict[str, Any]
    hash: Digest

    @property
    def id(self) -> str:
        """The UUIDv7 that names the event within its member."""
        return str(self.fields["id"])

    @property
    def kind(self) -> str:
        """The event kind, such as `share.deliver`."""
        return str(self.fields["kind"])

    @property
    def is_intent(self) -> bool:
        """Whether the event asks beforehand instead of stating what happened."""
        return "intent" in self.fields


def parse_event(head: bytes, body: bytes) -> Event:
    """The event of two canonical JSON documents; `MalformedError` for all other bytes."""
    fields = parse_head(head)
    content = parse_body(body)
    # H(tag ‖ H(head) ‖ H(body))
    digest = _sha256(TAG_EVENT + _sha256(head).digest() + _sha256(body).digest()).digest()
    return Event(head, body, fields, content, Digest(digest))


def parse_head(head: bytes) -> dict[str, Any]:
    """The fields of a head alone, as when its body has been erased; `MalformedError` otherwise."""
    fields = canonical.parse(head)
    # One match accepts the ordinary head; every other one is judged field by field, which also names the offence.
    shape = _SHAPE(head)
    if shape is not None and (b"[" not in head or not _has_doubles(fields)):
        day_number(shape[1].decode())
    else:
        check_fields(fields)
    return fields


def check_fields(fields: dict[str, Any]) -> None:
    """Raise `MalformedError` unless a parsed head has exactly the fields of SPEC R-E10, each of its form."""
    names = fields.keys()
    if not (names <= _FIELDS and names >= _REQUIRED):
        raise MalformedError(
            "head", "fields missing or unknown", missing=sorted(_REQUIRED - names), unknown=sorted(names - _FIELDS)
        )
    if type(fields["v"]) is not int or fields["v"] != VERSION:
        raise MalformedError("head", "unknown version", got=fields["v"])
    check_uuid7(fields["id"], "id")
    check_identifier(fields["kind"], "kind")
    parse_time(fields["time"])
    _check_refs(fields["refs"])
    # SPEC R-E10: absent when empty, so that one event has one head.
    if "intent" in fields and fields["intent"] is not True:
        raise MalformedError("head", "intent is true or absent", got=fields["intent"])
    if "data_subjects" in fields:
        _check_data_subjects(fields["data_subjects"])
    if "commitments" in fields:
        _check_commitments(fields["commitments"])


def parse_body(body: bytes) -> dict[str, Any]:
    """The content of a body; only its salt is checked here, the rest belongs to the kind."""
    content = canonical.parse(body)
    salt = content.get("salt")
    if type(salt) is not str or not _SALT(salt):
        raise MalformedError("salt", "body needs a salt: 16 bytes as base64url without padding", got=salt)
    return content


def event_hash(head: bytes, body: bytes) -> Digest:
    """H(tag ‖ H(head) ‖ H(body)) over bytes that are taken as they are."""
    return event_hash_parts(sha256(head), sha256(body))


def event_hash_parts(head_hash: Digest, body_hash: Digest) -> Digest:
    """The event hash when only the hash of the body is left."""
    # H("suyuan/event/v1\0" ‖ H(head) ‖ H(body))
    return sha256(TAG_EVENT + head_hash + body_hash)


def new_event(
    *,
    event_id: str,
    kind: str,
    refs: Mapping[str, str | Sequence[str]],
    time_ms: int,
    salt: bytes,
    content: Mapping[str, Any],
    commitments: Mapping[str, str | Sequence[str]] | None = None,
    data_subjects: Sequence[str] = (),
    intent: bool = False,
) -> Event:
    """The event of these parts, checked as if it had been received.

    `time_ms` is Unix milliseconds, `salt` 16 random bytes from the caller, `content` the body without its salt.
    """
    head: dict[str, Any] = {
        "id": event_id,
        "kind": kind,
        "refs": {name: value if isinstance(value, str) else list(value) for name, value in refs.items()},
        "time": format_time(time_ms),
        "v": VERSION,
    }
    if commitments:
        head["commitments"] = {
            field: value if isinstance(value, str) else list(value) for field, value in commitments.items()
        }
    if data_subjects:
        head["data_subjects"] = list(data_subjects)
    if intent:
        head["intent"] = True
    if "salt" in content or len(salt) != SALT_BYTES:
        raise MalformedError("salt", "a salt is 16 bytes and given apart from the content", size=len(salt))
    body = {**content, "salt": encode_salt(salt)}
    return parse_event(canonical.encode(head), canonical.encode(body))


def encode_salt(salt: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return urlsafe_b64encode(salt).rstrip(b"=").decode("ascii")


def decode_salt(text: object) -> bytes:
    """The 16 bytes of `encode_salt`; `MalformedError` (code `salt`) for anything else."""
    if type(text) is not str or not _SALT(text):
        raise MalformedError("salt", "expected 16 bytes as base64url without padding", got=text)
    return urlsafe_b64decode(text + "==")


def commitment(salt32: bytes, origin: str, member: str, event_id: str, field: str, payload: bytes) -> Digest:
    """The commitment to a payload that is kept elsewhere: salted, and bound to one field of one event.

    The caller keeps `salt32` (32 random bytes) beside the payload and shows both to whoever may check it.
    """
    if len(salt32) != DIGEST_BYTES:
        raise MalformedError("commitment", "the salt of a commitment has 32 bytes", size=len(salt32))
    # H("suyuan/commitment/v1\0" ‖ salt32 ‖ lp(origin) ‖ lp(member) ‖ id, 36 ASCII bytes ‖ lp(field) ‖ payload)
    place = lp(origin.encode()) + lp(member.encode()) + check_uuid7(event_id, "id").encode() + lp(field.encode())
    return sha256(TAG_COMMITMENT + salt32 + place + payload)


def _has_doubles(fields: dict[str, Any]) -> bool:
    for value in fields["refs"].values():
        if type(value) is list and len(set(value)) != len(value):
            return True
    subjects = fields.get("data_subjects", ())
    return len(set(subjects)) != len(subjects)


def _check_refs(refs: object) -> None:
    if type(refs) is not dict:
        raise MalformedError("refs", "refs is no object", got=refs)
    if len(refs) > REFS_NAMES_MAX:
        raise MalformedError("refs", "too many refs", count=len(refs), limit=REFS_NAMES_MAX)
    total = 0
    for name, value in refs.items():
        check_identifier(name, "name of a ref")
        if type(value) is list:
            if not 1 <= len(value) <= REFS_LIST_WIDE_MAX:
                raise MalformedError("refs", "a list of refs has 1 to 64 values", name=name, count=len(value))
            for item in value:
                check_identifier(item, "ref")
            if len(set(value)) != len(value):
                raise MalformedError("refs", "a ref is named twice", name=name)
            total += len(value)
        else:
            check_identifier(value, "ref")
            total += 1
    if total > REFS_VALUES_MAX:
        raise MalformedError("refs", "too many values", count=total, limit=REFS_VALUES_MAX)


def _check_data_subjects(tags: object) -> None:
    if type(tags) is not list or not 1 <= len(tags) <= DATA_SUBJECTS_MAX:
        raise MalformedError("data-subjects", "data_subjects is a list of 1 to 16 tags, or absent")
    for tag in tags:
        check_identifier(tag, "data subject tag")
    if len(set(tags)) != len(tags):
        raise MalformedError("data-subjects", "a tag is named twice")


def _check_commitments(commitments: object) -> None:
    if type(commitments) is not dict or not commitments:
        raise MalformedError("commitments", "commitments is an object with fields, or absent")
    total = 0
    for field, value in commitments.items():
        check_identifier(field, "name of a commitment")
        digests = value if type(value) is list else [value]
        for digest in digests:
            parse_hex_digest(digest)
        if not digests or len(set(digests)) != len(digests):
            raise MalformedError("commitments", "a list of commitments is empty or repeats itself", field=field)
        total += len(digests)
    if total > COMMITMENTS_MAX:
        raise MalformedError("commitments", "too many commitments", count=total, limit=COMMITMENTS_MAX)
