"""One compiled rulebook: what an event touches, and what the rules decide of a block.

Rules: a program is a pure function of its files; compiling the same files gives the same text on every Python, and its
hash stands in the config. It is pickled as its files and compiled again, so no code crosses a process boundary.
Never here: I/O, clocks, faults of a worker (see `runtime`).
"""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from typing import Any, Final, TypedDict

from ledger.core import canonical
from ledger.core.bundle import bundle_hash
from ledger.core.hashing import TAG_FINDING, Digest, sha256, u64
from ledger.errors import MalformedError
from ledger.rules.codec import decode, encode
from ledger.rules.compiler import Compiler
from ledger.rules.facts import Touch
from ledger.rules.grammar import LANGUAGE_VERSION
from ledger.rules.prelude import program_text
from ledger.rules.rulebook import Rulebook, parse_rulebook

Outcome = list[Any]
"""[step index | -1, timer key | None, due | None, verdict, accepted, refused_streams, extra_streams, writes, timers]."""

# All that the program text may use of Python itself.
_BUILTINS: Final = {
    name: getattr(builtins, name)
    for name in (
        "AttributeError", "Exception", "IndexError", "KeyError", "TypeError", "ValueError", "any", "all", "bool", "dict",
        "int", "isinstance", "len", "list", "max", "min", "range", "sorted", "str", "tuple", "type",
    )
}  # fmt: skip


class BlockCall(TypedDict):
    """What the host asks of one block: every planned object that exists, and the steps in order."""

    height: int
    time: int
    objects: dict[str, bytes]
    steps: list[list[Any]]


def timer_mark(key: str, due: int) -> str:
    """32 hex characters of H("suyuan/finding/v1\\0" ‖ timer key ‖ u64 due): names a timer's findings in any block."""
    return _sha256(TAG_FINDING + key.encode("utf-8") + u64(due)).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled rulebook. Immutable; build it with `compile`.

    `source_hash` is the hash of `text`, the generated program; `rulebook_hash` and `calendar_hash` name the files.
    """

    book: Rulebook
    text: str
    files: dict[str, bytes]
    calendars: dict[str, bytes]
    rulebook_hash: Digest
    source_hash: Digest
    language_version: int
    namespace: dict[str, Any]
    timer_touches: dict[str, list[Touch]]

    @staticmethod
    def compile(files: Mapping[str, bytes], calendars: Mapping[str, bytes]) -> Program:
        """The program of a rulebook's `files` and its calendar files (by path). Raises `MalformedError` with file, line
        and advice."""
        book = parse_rulebook(files, calendars)
        compiler = Compiler(book)
        text = compiler.program()
        return Program(
            book=book,
            text=text,
            files=dict(files),
            calendars=dict(calendars),
            rulebook_hash=bundle_hash(files),
            source_hash=sha256(text.encode("utf-8")),
            language_version=LANGUAGE_VERSION,
            namespace=load_program(text),
            timer_touches=compiler.timer_touches(),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by files."""
        return (Program.compile, (self.files, self.calendars))

    @property
    def prelude_hash(self) -> Digest:
        """The hash of the prelude, the first part of the text of every program."""
        return sha256(program_text().encode("utf-8"))

    def plan(self, member: str, head: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[str, ...]:
        """State keys that the event may read or write; () for what the rules will refuse for its shape."""
        planner = self.namespace["_PLANS"].get(head.get("kind"))
        if planner is None:
            return ()
        try:
            keys = planner(member, head, body)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return ()
        return tuple(dict.fromkeys(keys))

    def plan_timer(self, timer: Mapping[str, Any]) -> tuple[str, ...]:
        """State keys that the handler of a timer object may read or write, the timer and its duty included."""
        if "due" not in timer:
            return ()
        rule, on, label = timer["rule"], timer["on"], timer.get("label")
        suffix = f"{rule}/{on}" + ("" if label is None else f"#{label}")
        keys = [f"timer/{suffix}", f"duty/{suffix}", *(key for key in timer["keys"] if key)]
        known = dict(zip(timer["names"], timer["keys"], strict=True))
        for touch in self.timer_touches.get(rule, ()):
            key = known.get(touch.on)
            if key and touch.label != ("dynamic", ""):
                keys.extend(_touch_keys(touch, key, label))
        return tuple(dict.fromkeys(keys))

    def kinds(self) -> dict[str, Any]:
        """Declarations of every kind by name, for OpenAPI, forms and documentation."""
        return dict(self.book.kinds)

    def run_block(self, call: Mapping[str, Any]) -> list[Outcome]:
        """Decide every step of `call` (see `BlockCall`), timers that fall due inside it included.

        The outcomes are those of any runtime. Raises `MalformedError` for a call that no host makes.
        """
        try:
            outcomes: list[Outcome] = self.namespace["_run_block"](call["time"], call["objects"], call["steps"])
        except (KeyError, IndexError, TypeError) as error:
            raise MalformedError("block-call", "not a block call", error=repr(error)) from error
        return outcomes


def _touch_keys(touch: Touch, key: str, label: str | None) -> list[str]:
    if touch.label is None:
        suffix = ""
    elif touch.label == ("label", ""):
        suffix = "" if label is None else f"#{label}"
    elif touch.label[0] == "text":
        suffix = f"#{touch.label[1]}"
    else:
        return []
    prefixes = ("duty", "timer") if touch.op in ("duty", "discharge") else ("timer",)
    return [f"{prefix}/{touch.rule}/{key}{suffix}" for prefix in prefixes]


def load_program(text: str) -> dict[str, Any]:
    """The namespace of a program text that `Compiler` generated, with nothing of Python but `_BUILTINS`."""
    namespace: dict[str, Any] = {
        "__builtins__": dict(_BUILTINS),
        "__name__": "rules",
        "_decode": decode,
        "_encode": encode,
        "_size": len,
        "_mark": timer_mark,
    }
    exec(compile(text, "<rules>", "exec"), namespace)  # the text of checked rules, generated here
    return namespace


def canonical_verdict(outcome: Sequence[Any]) -> dict[str, Any]:
    """The verdict of an outcome as a value."""
    return canonical.parse(outcome[3], bytes_max=64 * 1024)
