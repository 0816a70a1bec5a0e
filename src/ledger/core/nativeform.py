"""Decides which bytes are a native commit: our canonical JSON, and the answer of CometBFT's `commit` call.

Rules (SPEC R-N42): closed schemas, bounded, total: any input is a value or a `MalformedError`. What CometBFT answers is
turned into our own form first and checked as that, so that nothing is accepted in one form and refused in the other.
Not here: whether a commit holds (see `nativecommit`).
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from ledger.core import canonical
from ledger.core.hashing import DIGEST_BYTES
from ledger.core.keys import SIGNATURE_BYTES
from ledger.core.nativeheader import (
    ABSENT,
    ABSENT_VOTE,
    ADDRESS_BYTES,
    COMMIT,
    HASHES,
    NIL,
    VERSION,
    BlockId,
    NativeCommit,
    NativeHeader,
    Time,
    Vote,
)
from ledger.errors import MalformedError
from ledger.limits import INT_MAX, NATIVE_BYTES_MAX, VALIDATORS_MAX

CHAIN_ID_CHARS_MAX: Final = 50  # CometBFT's own bound
APP_HASH_BYTES_MAX: Final = 64  # ours has 32; other applications' commits are read too, to compare us with CometBFT

_INT32_MAX: Final = 2**31 - 1
_SECONDS_MAX: Final = 253_402_300_799  # end of the year 9999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HEX: Final = re.compile(r"(?:[0-9a-f]{2})*", re.ASCII).fullmatch
# Hours to 23: later Python reads 24:00 as the next midnight.
_RFC3339: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z"
).fullmatch
_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII).fullmatch

_TOP: Final = frozenset(("commit", "header", "v"))
_COMMIT_FIELDS: Final = frozenset(("block_id", "height", "round", "votes"))
_BLOCK_ID_FIELDS: Final = frozenset(("hash", "parts_hash", "parts_total"))
_HEADER_FIELDS: Final = frozenset(
    (*HASHES, "app_hash", "chain_id", "height", "last_block_id", "proposer_address", "time", "version")
)
_VOTE_FIELDS: Final = frozenset(("address", "flag", "signature", "time"))


def parse(data: bytes) -> NativeCommit:
    """The commit of canonical bytes; `MalformedError` (codes `canonical`, `native-commit`) for all others."""
    return _read(canonical.parse(data, bytes_max=NATIVE_BYTES_MAX))


def from_rpc(answer: object) -> NativeCommit:
    """The commit in the result of CometBFT's `commit` call; `MalformedError` (code `native-commit`) otherwise.

    Times are RFC 3339 with up to nine decimals, large integers decimal texts, hashes hex, signatures base64.
    """
    try:
        return _read(_translate(answer))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise MalformedError("native-commit", "not the answer of `commit`", reason=repr(error)[:200]) from None


def _translate(answer: Any) -> dict[str, Any]:
    """The answer in our own form, to be checked by `_read`."""
    header, commit = answer["signed_header"]["header"], answer["signed_header"]["commit"]
    version = header["version"]
    return {
        "commit": {
            "block_id": _rpc_block_id(commit["block_id"]),
            "height": _rpc_int(commit["height"]),
            "round": commit["round"],
            "votes": [_rpc_vote(each) for each in commit["signatures"]],
        },
        "header": {
            **{name: header[name].lower() for name in (*HASHES, "app_hash", "proposer_address")},
            "chain_id": header["chain_id"],
            "height": _rpc_int(header["height"]),
            "last_block_id": _rpc_block_id(header["last_block_id"]),
            "time": _rpc_time(header["time"]),
            # Go leaves a zero out.
            "version": [_rpc_int(version.get("block", "0")), _rpc_int(version.get("app", "0"))],
        },
        "v": VERSION,
    }


def _rpc_block_id(value: Any) -> dict[str, Any]:
    parts = value["parts"]
    return {"hash": value["hash"].lower(), "parts_hash": parts["hash"].lower(), "parts_total": parts["total"]}


def _rpc_vote(value: Any) -> dict[str, Any]:
    if value["block_id_flag"] == ABSENT:
        return {"flag": ABSENT}
    try:
        signature = b64decode(value["signature"], validate=True).hex()
    except (Base64Error, ValueError):
        _refuse("a signature is not base64")
    return {
        "address": value["validator_address"].lower(),
        "flag": value["block_id_flag"],
        "signature": signature,
        "time": _rpc_time(value["timestamp"]),
    }


def _rpc_int(text: Any) -> int:
    if type(text) is not str or not _DECIMAL(text):
        _refuse("not a decimal integer", got=text)
    return int(text)


def _rpc_time(text: Any) -> list[int]:
    found = _RFC3339(text)
    if found is None:
        _refuse("not a time of RFC 3339 in UTC", got=text)
    try:
        when = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        _refuse("no such time", got=text)
    seconds = (when - _EPOCH) // timedelta(seconds=1)
    return [seconds, int((found[2] or "").ljust(9, "0"))]


def _read(document: dict[str, Any]) -> NativeCommit:
    top = _closed(document, _TOP, "document")
    if type(top["v"]) is not int or top["v"] != VERSION:
        _refuse("an unknown version", got=top["v"])
    commit = _closed(top["commit"], _COMMIT_FIELDS, "commit")
    votes = commit["votes"]
    if type(votes) is not list or not 0 < len(votes) <= VALIDATORS_MAX:
        _refuse("no votes, or too many", limit=VALIDATORS_MAX)
    return NativeCommit(
        _read_header(_closed(top["header"], _HEADER_FIELDS, "header")),
        _count(commit["height"], "commit.height", least=1),
        _count(commit["round"], "round", most=_INT32_MAX),
        _read_block_id(commit["block_id"], "block_id", empty=False),
        tuple(_read_vote(each) for each in votes),
    )


def _read_header(fields: dict[str, Any]) -> NativeHeader:
    chain_id = fields["chain_id"]
    if type(chain_id) is not str or not 0 < len(chain_id) <= CHAIN_ID_CHARS_MAX or not chain_id.isascii():
        _refuse("a chain id is at most 50 ASCII characters")
    version = fields["version"]
    if type(version) is not list or len(version) != 2:
        _refuse("a version has two numbers")
    hashes = {name: _hex(fields[name], name, (0, DIGEST_BYTES)) for name in HASHES}
    return NativeHeader(
        version_block=_count(version[0], "version"),
        version_app=_count(version[1], "version"),
        chain_id=chain_id,
        height=_count(fields["height"], "height", least=1),
        time=_read_time(fields["time"], "time"),
        last_block_id=_read_block_id(fields["last_block_id"], "last_block_id", empty=True),
        app_hash=_hex(fields["app_hash"], "app_hash", range(APP_HASH_BYTES_MAX + 1)),
        proposer_address=_hex(fields["proposer_address"], "proposer_address", (ADDRESS_BYTES,)),
        **hashes,
    )


def _read_block_id(value: Any, what: str, *, empty: bool) -> BlockId:
    fields = _closed(value, _BLOCK_ID_FIELDS, what)
    found = BlockId(
        _hex(fields["hash"], f"{what}.hash", (0, DIGEST_BYTES)),
        _count(fields["parts_total"], f"{what}.parts_total", most=_INT32_MAX),
        _hex(fields["parts_hash"], f"{what}.parts_hash", (0, DIGEST_BYTES)),
    )
    parts = (bool(found.hash), bool(found.parts_total), bool(found.parts_hash))
    if not all(parts) and not (empty and not any(parts)):
        _refuse("a block id with a part missing", field=what)
    return found


def _read_vote(value: Any) -> Vote:
    if isinstance(value, dict) and value.get("flag") == ABSENT and type(value["flag"]) is int:
        _closed(value, frozenset(("flag",)), "vote")
        return ABSENT_VOTE
    fields = _closed(value, _VOTE_FIELDS, "vote")
    flag = fields["flag"]
    if type(flag) is not int or flag not in (COMMIT, NIL):
        _refuse("an unknown flag", got=flag)
    return Vote(
        flag,
        _hex(fields["address"], "address", (ADDRESS_BYTES,)),
        _read_time(fields["time"], "vote.time"),
        _hex(fields["signature"], "signature", (SIGNATURE_BYTES,)),
    )


def _read_time(value: Any, what: str) -> Time:
    if type(value) is not list or len(value) != 2:
        _refuse("a time is seconds and nanoseconds", field=what)
    return _count(value[0], what, most=_SECONDS_MAX), _count(value[1], what, most=999_999_999)


def _hex(text: Any, what: str, sizes: Sequence[int]) -> bytes:
    if type(text) is not str or not _HEX(text) or len(text) // 2 not in sizes:
        _refuse("not lower-case hex of a right length", field=what)
    return bytes.fromhex(text)


def _count(value: Any, what: str, *, least: int = 0, most: int = INT_MAX) -> int:
    if type(value) is not int or not least <= value <= most:
        _refuse("not an integer in range", field=what, got=value)
    return value


def _closed(value: Any, names: frozenset[str], what: str) -> dict[str, Any]:
    if type(value) is not dict or set(value) != names:
        _refuse("missing or unknown fields", field=what)
    found: dict[str, Any] = value
    return found


def _refuse(message: str, **evidence: object) -> NoReturn:
    raise MalformedError("native-commit", message, **evidence)
