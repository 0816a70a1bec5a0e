"""One compiled rulebook: what an event touches, and what the rules decide of a block.

Rules: a program is a pure function of its files; compiling the same files gives the same text on every Python, and its
hash stands in the config. It is pickled as its files. Its compiled code goes only to children of this very process
and interpreter (`adapters.worker`, `adapters.carried`).
Never here: I/O, clocks, faults of a worker (see `runtime`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from ledger.core import canonical
from ledger.core.bundle import bundle_hash
from ledger.core.hashing import Digest, sha256
from ledger.limits import RULE_STEPS_MAX
from ledger.rules.compiler import Compiler
from ledger.rules.execute import load_program
from ledger.rules.facts import Touch
from ledger.rules.grammar import LANGUAGE_VERSION
from ledger.rules.prelude import program_text
from ledger.rules.rulebook import Rulebook, parse_rulebook

Outcome = list[Any]
"""[step index | -1, timer key | None, due | None, verdict, accepted, refused_streams, extra_streams, writes, timers]."""


class BlockCall(TypedDict):
    """What the host asks of one block: every planned object that exists, and the steps in order."""

    height: int
    time: int
    objects: dict[str, bytes]
    steps: list[list[Any]]


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled rulebook. Immutable; build it with `compile`.

    `source_hash` is the hash of `text`, the generated program; `rulebook_hash` names the files. `steps` is the budget of one
    event or timer, which stands in the text.
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
    steps: int = RULE_STEPS_MAX

    @staticmethod
    def compile(files: Mapping[str, bytes], calendars: Mapping[str, bytes], steps: int = RULE_STEPS_MAX) -> Program:
        """The program of a rulebook's `files` and its calendar files (by path) under a step budget. Raises
        `MalformedError` with file, line and advice."""
        book = parse_rulebook(files, calendars)
        compiler = Compiler(book, steps)
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
            steps=steps,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by files."""
        return (Program.compile, (self.files, self.calendars, self.steps))

    def successor(
        self, rulebook: Mapping[str, bytes] | None, calendar: Mapping[str, bytes] | None, steps: int | None = None
    ) -> tuple[Digest, int]:
        """(program hash, language version) of other files or under another budget, None for this program's own.

        Raises `MalformedError`.
        """
        program = Program.compile(
            self.files if rulebook is None else rulebook,
            self.calendars if calendar is None else calendar,
            self.steps if steps is None else steps,
        )
        return program.source_hash, program.language_version

    @property
    def prelude_hash(self) -> Digest:
        """The hash of the prelude, the first part of the text of every program."""
        return sha256(program_text().encode("utf-8"))

    def plan(self, member: str, head: Mapping[str, Any], body: Mapping[str, Any]) -> tuple[str, ...]:
        """State keys that the event may read or write; () for what the rules will refuse for its shape."""
        return plan_event(self.namespace, member, head, body)

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

        The outcomes are those of any runtime.
        """
        outcomes: list[Outcome] = self.namespace["_run_block"](call["time"], call["objects"], call["steps"])
        return outcomes


def plan_event(
    namespace: Mapping[str, Any], member: str, head: Mapping[str, Any], body: Mapping[str, Any]
) -> tuple[str, ...]:
    """`Program.plan` of a loaded program."""
    try:
        planner = namespace["_PLANS"].get(head["kind"])
        if planner is None:
            return ()
        keys = planner(member, head, body)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return ()
    return tuple(dict.fromkeys(keys))


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


def canonical_verdict(outcome: Sequence[Any]) -> dict[str, Any]:
    """The verdict of an outcome as a value."""
    return canonical.parse(outcome[3], bytes_max=64 * 1024)
