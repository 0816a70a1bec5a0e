"""`ledger proof get|verify`: self-contained proofs, fetched from a node and checked without one.

Exit codes of `verify`: 0 the proof holds; 6 it does not, or it proves a fork; 7 it holds as far as it goes, but it is too
old for what it claims or something could not be checked. Not here: the checks (see `ledger.core.proof`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import click

from ledger.cli.command import argument, command, option
from ledger.cli.event import split_event
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.session import node_options, open_client, open_settings, read_input, write_result
from ledger.cli.settings import SettingError
from ledger.cli.tables import on_screen
from ledger.errors import MalformedError, VerificationError

if TYPE_CHECKING:
    from ledger.client.http import NodeClient
    from ledger.client.request import Request
    from ledger.core.proofepochs import EpochEnd

PROOF_BYTES_MAX: Final = 32 * 1024 * 1024
TRUST_BYTES_MAX: Final = 1024 * 1024
TIED: Final = ("receipt", "completeness", "absence")
TLOG_EPOCHS: Final = "tlog-epochs"
INCOMPLETE_CODES: Final = frozenset(("stale", "clock"))
"""Failures that say "not fresh", not "not true"."""


@command("get")
@argument("what", metavar="WHAT", type=click.Choice(["receipt", "completeness", "absence", "consistency", "inclusion"]))
@argument("names", nargs=-1, required=True)
@option("--out", metavar="FILE", type=click.Path())
@option("--first", is_flag=True)
@option("--refused", is_flag=True)
@option("--begin", type=click.IntRange(0), metavar="N")
@option("--end", type=click.IntRange(0), metavar="N")
@option("--trust", metavar="FILE", type=click.Path())
@node_options
def get(
    console: Console,
    what: str,
    names: tuple[str, ...],
    out: str | None,
    first: bool,
    refused: bool,
    begin: int | None,
    end: int | None,
    trust: str | None,
    **connection: str | None,
) -> None:
    """Fetch a proof."""
    if first and what != "receipt":
        raise SettingError("proof-first", "only receipts stand on a certificate that can be chosen", kind=what)
    request = _request(what, names, refused, begin, end, first=first)
    client = open_client(console, open_settings(console, connection))
    from ledger.client.request import parse_bytes

    data = parse_bytes(client.send(request))
    if what == "consistency":
        data = _between(client, data, int(names[0]), int(names[1]))
    if trust is not None and what in TIED:
        data = _tied(client, data, read_input(trust, TRUST_BYTES_MAX))
    if out is None:
        if console.as_json:
            console.result({"proof": _as_json(data)}, "")
        else:
            console.result({}, data.decode("utf-8", "replace"))
        return
    write_result(out, data)
    console.result({"file": out, "bytes": len(data)}, console.text("proof.kept", path=out, bytes=len(data)))
    if what != "inclusion":  # a bare path, which says nothing without the leaf
        console.hint(console.text("proof.verify-hint", path=out))


def _between(client: NodeClient, answer: bytes, old: int, new: int) -> bytes:
    """The consistency proof between two sizes that are certified: the path, with both certificates.

    Raises `NotFoundError` where one of them has no certificate: nobody vouches for such a checkpoint.
    """
    from ledger.cli.watch import consistency_path
    from ledger.core.prooflog import Consistency

    notes = [client.get_bytes(("v1", "certificates", str(size)), {}) for size in (old, new)]
    return Consistency(notes[0], notes[1], tuple(consistency_path(answer)), _epochs_before(client, new)).encode()


def _epochs_before(client: NodeClient, size: int) -> tuple[EpochEnd, ...]:
    """The ends of the epochs before the checkpoint of `size`, the last of them leading to it (SPEC R-V12)."""
    from dataclasses import replace

    from ledger.cli.watch import consistency_path
    from ledger.core.checkpoint import parse_checkpoint_text
    from ledger.core.note import parse_note
    from ledger.core.proofepochs import parse_ends

    ends = parse_ends(client.get_json(("v1", "proofs", "epochs"))["epochs"])
    sizes = [parse_checkpoint_text(parse_note(end.certificate).text).size for end in ends]
    before = [end for end, at in zip(ends, sizes, strict=True) if at < size]
    if before:
        asked = {"old": sizes[len(before) - 1], "new": size}
        path = consistency_path(client.get_bytes(("v1", "proofs", "consistency"), asked))
        before[-1] = replace(before[-1], path=tuple(path))
    return tuple(before)


def _tied(client: NodeClient, data: bytes, trust: bytes) -> bytes:
    """The proof with the path between its checkpoint and the anchor of the trust file (SPEC R-V06), where there is one.

    Nothing of it is believed here: `verify` checks the path against the anchor.
    """
    from ledger.cli.watch import consistency_path
    from ledger.core import canonical
    from ledger.core.checkpoint import parse_checkpoint_text
    from ledger.core.note import parse_note
    from ledger.verify.trust import parse_trust

    known = parse_trust(trust).known
    proof = canonical.parse(data, bytes_max=PROOF_BYTES_MAX)
    if not known or not isinstance(proof.get("certificate"), str):
        return data
    shown = parse_checkpoint_text(parse_note(proof["certificate"].encode("utf-8")).text).size
    anchor = known[0].size
    if anchor == shown:
        return data
    sizes = {"old": min(anchor, shown), "new": max(anchor, shown)}
    path = consistency_path(client.get_bytes(("v1", "proofs", "consistency"), sizes))
    proof["history"] = {"path": [digest.hex() for digest in path], "size": anchor}
    return canonical.encode(proof, bytes_max=PROOF_BYTES_MAX)


def _request(
    what: str, names: tuple[str, ...], refused: bool, begin: int | None, end: int | None, *, first: bool = False
) -> Request:
    from ledger.client.request import get as get_request

    if what == "receipt" and len(names) == 1:
        return get_request(
            ("v1", "events", *split_event(names[0]), "receipt"), {"certificate": "first" if first else None}
        )
    if what in ("completeness", "absence") and len(names) == 2:
        query: dict[str, object] = {"kind": names[0], "id": names[1]}
        if what == "completeness":
            query.update(refused="true" if refused else None, begin=begin, end=end)
        return get_request(("v1", "proofs", what), query)
    if what == "consistency" and len(names) == 2 and all(name.isdecimal() for name in names):
        return get_request(("v1", "proofs", what), {"old": names[0], "new": names[1]})
    if what == "inclusion" and len(names) in (1, 2) and all(name.isdecimal() for name in names):
        return get_request(("v1", "proofs", what), {"seq": names[0], "size": names[1] if len(names) == 2 else None})
    raise SettingError("proof-names", "these names do not fit this proof", kind=what, got=" ".join(names))


@command("verify")
@argument("file", type=click.Path())
@option("--trust", metavar="FILE", type=click.Path())
@option("--genesis", "genesis", metavar="FILE", type=click.Path())
@option("--max-age", metavar="SECONDS|none")
def verify(console: Console, file: str, trust: str | None, genesis: str | None, max_age: str | None) -> None:
    """Check a proof file."""
    from dataclasses import replace

    from ledger.cli.prooftext import describe, not_checked_lines
    from ledger.cli.trusting import load_pinned
    from ledger.client.receipt import check_proof

    pinned = load_pinned(open_settings(console, {"trust": trust}), genesis)
    if max_age is not None:
        pinned = replace(pinned, max_age_s=None if max_age == "none" else _seconds(max_age))
    data = read_input(file, PROOF_BYTES_MAX)
    origin = pinned.genesis.origin
    now_s = int(time.time())
    if data.startswith(b"c2sp.org/tlog-proof"):
        _verify_tlog(console, file, data, pinned, now_s)
        return
    try:
        result = check_proof(data, pinned, now_s)
    except (VerificationError, MalformedError) as error:
        _tell_failure(console, file, origin, error)
        return
    document, lines, fork = describe(console, result)
    gaps = list(getattr(result, "not_checked", ()))
    code = Exit.INTEGRITY if fork else Exit.INCOMPLETE if gaps else Exit.OK
    verdict = "fork" if fork else "incomplete" if gaps else "holds"
    mark = "!" if code == Exit.INCOMPLETE else console.mark(code == Exit.OK)
    head = f"{mark} {console.text(f'proof.{verdict}')}"
    document = {"verdict": verdict, "file": file, "origin": origin, "not_checked": gaps, **document}
    console.result(document, on_screen(console, "\n".join([head, *lines, *not_checked_lines(console, gaps)])), code)


def _tell_failure(console: Console, file: str, origin: str, error: VerificationError | MalformedError) -> None:
    from ledger.cli.problems import as_document, sentences

    stale = error.code in INCOMPLETE_CODES
    verdict = "stale" if stale else "broken"
    what, advice = sentences(console.texts, error)
    lines = [
        f"{'!' if stale else console.mark(False)} {console.text(f'proof.{verdict}')}",
        f"  {what} [{error.code}]",
        *([f"  {console.text('advice')}: {advice}"] if advice else []),
    ]
    document: dict[str, Any] = {"verdict": verdict, "file": file, "origin": origin}
    document["error"] = as_document(error, what, advice)
    console.result(document, on_screen(console, "\n".join(lines)), Exit.INCOMPLETE if stale else Exit.INTEGRITY)


def _verify_tlog(console: Console, file: str, data: bytes, pinned: Any, now_s: int) -> None:
    """A C2SP tlog-proof: its `extra` carries the leaf here, and the leaf's hash is what is proven.

    The format has no room for how the cosigners changed: under a later set only the log's line and the path are checked,
    which is said (exit 7), unless the checkpoint is the one that the trust file holds as `anchor`.
    """
    from ledger.cli.prooftext import certificate_lines
    from ledger.core.merkle import leaf_hash
    from ledger.core.tlogproof import checkpoint_of_later_set, parse_tlog_proof, verify_tlog_proof

    trust = pinned.trust(now_s)
    try:
        proof = parse_tlog_proof(data)
        if proof.extra is None:
            raise MalformedError("tlog-proof-leaf", "the proof does not carry the leaf that it is about")
        leaf, keys, cosigners = leaf_hash(proof.extra), trust.log_keys, list(trust.cosigners)
        try:
            certified = verify_tlog_proof(proof, leaf, trust.origin, keys, cosigners)
        except VerificationError:
            checkpoint = checkpoint_of_later_set(proof, leaf, trust.origin, keys, cosigners)
            if checkpoint is None:
                raise
            held = checkpoint == trust.remembered()
            _tell_later_set(console, file, trust.origin, proof.index, checkpoint.size, held=held)
            return
    except (VerificationError, MalformedError) as error:
        _tell_failure(console, file, trust.origin, error)
        return
    lines = [
        f"{console.mark(True)} {console.text('proof.holds')}",
        console.text("proof.inclusion", index=proof.index, size=certified.checkpoint.size),
        *certificate_lines(console, [name for name, _, _ in certified.lines], certified.recorded_by_s),
    ]
    document = {"verdict": "holds", "kind": "tlog-proof", "file": file, "origin": trust.origin, "index": proof.index}
    document["size"] = certified.checkpoint.size
    console.result(document, on_screen(console, "\n".join(lines)))


def _tell_later_set(console: Console, file: str, origin: str, index: int, size: int, *, held: bool) -> None:
    """A checkpoint of a later set of cosigners; `held`: it is the anchor of the trust file."""
    from ledger.cli.prooftext import not_checked_lines

    gaps, verdict = ([], "holds") if held else ([TLOG_EPOCHS], "incomplete")
    lines = [
        f"{console.mark(True) if held else '!'} {console.text(f'proof.{verdict}')}",
        console.text("proof.inclusion", index=index, size=size),
        *([console.text("proof.is-anchor")] if held else not_checked_lines(console, gaps)),
    ]
    document = {"verdict": verdict, "kind": "tlog-proof", "file": file, "origin": origin, "index": index, "size": size}
    code = Exit.OK if held else Exit.INCOMPLETE
    console.result({**document, "not_checked": gaps}, on_screen(console, "\n".join(lines)), code)


def _as_json(data: bytes) -> object:
    import json

    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def _seconds(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise SettingError("setting-value", "expected seconds, or none", name="max-age", got=text)
    return int(text)
