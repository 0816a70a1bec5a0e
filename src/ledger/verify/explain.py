"""Says where a stored block and the block that the machine makes of its inputs differ: which leaf, which field.

Rule: the machine's leaves are expected, the stored ones got. Not here: how the machine makes them (see `replay`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ledger.core import canonical
from ledger.core.header import Header, parse_header
from ledger.core.leaf import Record, TimerLeaf, parse_leaf
from ledger.errors import MalformedError
from ledger.limits import LEAF_BYTES_MAX
from ledger.verify.findings import LEAVES, REPLAY, STATE, TREE, Finding, show

DIFFERENCES_MAX = 10
"""Findings of one block: once a verdict differs, all that follows from it differs too."""

_LEVELS = {
    "verdict": ("verdict", REPLAY),
    "extra_streams": ("verdict", REPLAY),
    "due": ("timer", REPLAY),
    "key": ("timer", REPLAY),
    "state.root": ("state", STATE),
    "state.buckets": ("state", STATE),
    "state.keys": ("state", STATE),
    "config": ("config", STATE),
    "genesis": ("header", TREE),
}


def explain(height: int, first_seq: int, expected: Sequence[bytes], got: Sequence[bytes]) -> list[Finding]:
    """The first differences between the leaves of a block, by leaf and field."""
    findings: list[Finding] = []
    for offset in range(max(len(expected), len(got)) - 1):
        ours = expected[offset] if offset < len(expected) - 1 else None
        theirs = got[offset] if offset < len(got) - 1 else None
        if ours != theirs:
            findings.extend(_leaf(height, first_seq + offset, ours, theirs))
        if len(findings) >= DIFFERENCES_MAX:
            return findings[:DIFFERENCES_MAX]
    if expected and got and expected[-1] != got[-1]:
        findings.extend(_header(height, first_seq + len(got) - 1, expected[-1], got[-1]))
    if not findings:  # nothing pairs up, such as a block without any leaf
        findings.append(
            Finding("header", TREE, height, first_seq, expected=f"{len(expected)} leaves", got=str(len(got)))
        )
    return findings[:DIFFERENCES_MAX]


def _leaf(height: int, seq: int, ours: bytes | None, theirs: bytes | None) -> list[Finding]:
    if ours is None or theirs is None:
        code = "leaf-unexpected" if ours is None else "leaf-lost"
        return [Finding(code, LEAVES, height, seq, _event(ours or theirs), expected=_text(ours), got=_text(theirs))]
    wanted, found = _fields(ours), _fields(theirs)
    if found is None or wanted is None or ours[:2] != theirs[:2]:
        return [Finding("leaf-differs", LEAVES, height, seq, _event(ours), expected=_text(ours), got=_text(theirs))]
    findings: list[Finding] = []
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) == found.get(name):
            continue
        code, level = _LEVELS.get(name, ("record-differs", LEAVES))
        expected, got = _value(wanted.get(name)), _value(found.get(name))
        findings.append(Finding(code, level, height, seq, _event(ours), name, expected, got))
    return findings or [
        Finding("leaf-differs", LEAVES, height, seq, _event(ours), expected=_text(ours), got=_text(theirs))
    ]


def _header(height: int, seq: int, ours: bytes, theirs: bytes) -> list[Finding]:
    try:
        wanted, found = _flat(parse_header(ours)), _flat(parse_header(theirs))
    except MalformedError:
        return [Finding("header", TREE, height, seq, expected=_text(ours), got=_text(theirs))]
    findings: list[Finding] = []
    for name, expected in wanted.items():
        if found[name] != expected:
            code, level = _LEVELS.get(name, ("header", TREE))
            findings.append(
                Finding(code, level, height, seq, field=name, expected=show(expected), got=show(found[name]))
            )
    return findings


def _flat(header: Header) -> dict[str, object]:
    return {
        "height": header.height,
        "time": header.time,
        "first_seq": header.first_seq,
        "count": header.count,
        "prev.size": header.prev_size,
        "prev.root": header.prev_root,
        "state.root": header.state_root,
        "state.buckets": header.state_buckets,
        "state.keys": header.state_keys,
        "config": header.config,
        "genesis": header.genesis,
    }


def _fields(leaf: bytes) -> dict[str, Any] | None:
    try:
        return canonical.parse(leaf[2:], bytes_max=LEAF_BYTES_MAX)
    except MalformedError:
        return None


def _event(leaf: bytes | None) -> str | None:
    """`<member>/<event id>`, or the key of a timer."""
    try:
        parsed = parse_leaf(leaf or b"")
    except MalformedError:
        return None
    if isinstance(parsed, Record):
        return f"{parsed.member}/{parsed.id}"
    return parsed.key if isinstance(parsed, TimerLeaf) else None


def _text(leaf: bytes | None) -> str | None:
    return None if leaf is None else show(leaf[2:].decode("utf-8", "replace"))


def _value(value: object) -> str:
    if isinstance(value, (dict, list)):
        return show(canonical.encode({"": value})[4:-1].decode("utf-8"))
    return "—" if value is None else show(value)
