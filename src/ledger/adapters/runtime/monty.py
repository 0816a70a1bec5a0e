"""Runs the same generated program inside `pydantic-monty`, an interpreter that shares no code with CPython.

Rules: version 1.4.0 exactly; clock, sleep, process time and randomness fixed; a fresh session for every block; one JSON text
in and one out, so that no conversion of values can differ; any failure of the sandbox is a `RuntimeFault`.
It is the second opinion of tests, `rules check` and `ledger verify --runtime monty`, never the runtime of a node.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Self

from ledger.errors import RuntimeFault, UnavailableError
from ledger.rules.program import Outcome, Program
from ledger.rules.slices import Slices

MONTY_VERSION: Final = "1.4.0"
PARTS_MAX: Final = 64  # texts of parts of the program that are kept

# Codecs of the program inside the sandbox: values cross as one JSON text, so decoding is done once, for the whole block.
_HOST: Final = """
import json
import hashlib


def _decode(value):
    return value


def _encode(value):
    if value is None:
        return ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _write(value):
    return _encode(value)


def _size(text):
    return len(text.encode("utf-8"))


def _mark(key, due):
    tag = "suyuan/finding/v1\\x00"
    return hashlib.sha256((tag + key).encode("utf-8") + bytes.fromhex("%016x" % due)).hexdigest()[:32]

"""

_CALL: Final = """

def _main(text):
    call = json.loads(text)
    return json.dumps(_run_block(call["time"], call["objects"], call["steps"]))
"""


class Monty:
    """Runs a program's block calls in pydantic-monty. Close it, or use it in a `with` block."""

    containment: tuple[str, ...] = ("monty",)

    def __init__(self, program: Program, *, timeout_s: float = 60.0) -> None:
        """Raises `UnavailableError` where pydantic-monty 1.4.0 is not installed."""
        try:
            found = version("pydantic-monty")
        except PackageNotFoundError:
            found = "none"
        if found != MONTY_VERSION:
            raise UnavailableError(
                "monty", "the second runtime needs its exact version", needed=MONTY_VERSION, found=found
            )
        import pydantic_monty

        self._monty: Any = pydantic_monty
        self._slices = Slices(program.text)
        self._parts: OrderedDict[frozenset[str], str] = OrderedDict()
        self._timeout_s = timeout_s
        self._pool: Any = pydantic_monty.Monty(min_processes=1, max_processes=1, request_timeout=timeout_s)
        self._pool.__enter__()
        self._outcomes: list[Outcome] | None = None

    def run_block(self, call: Mapping[str, Any], *, patient: bool = False) -> list[Outcome]:  # noqa: ARG002 - its limits are its own
        """The outcomes of `call`, byte for byte as every runtime gives them. Raises `RuntimeFault`."""
        moment = dt.datetime.fromtimestamp(call["time"] / 1000, tz=dt.UTC)
        policy = {"datetime": moment, "sleep": "zero", "process_time": "zero", "random_start": {"seed": 0}}
        try:
            with self._pool.checkout(os_policy=policy, assert_message_annotations=False) as session:
                session.feed_run(self._part(call))
                answer = json.loads(session.feed_run("_main(call)", inputs={"call": _call_text(call)}))
        except self._monty.MontyError as error:
            raise RuntimeFault("runtime-monty", "the sandbox failed", error=str(error)[:500]) from error
        return [_outcome(item) for item in answer]

    def _part(self, call: Mapping[str, Any]) -> str:
        """The program as far as this block needs it: the sandbox reads its text anew for every block."""
        kinds = {json.loads(step[4])["kind"] for step in call["steps"] if step[0] != 1}
        timers = {step[1].split("/")[1] for step in call["steps"] if step[0] == 1}
        names = frozenset((*kinds, *(f"timer/{name}" for name in timers)))
        part = self._parts.get(names)
        if part is None:
            part = self._parts[names] = _HOST + self._slices.part(kinds, timers) + _CALL
            while len(self._parts) > PARTS_MAX:
                self._parts.popitem(last=False)
        return part

    def start(self, call: Mapping[str, Any], *, patient: bool = False) -> None:  # noqa: ARG002
        """Run `call` now; `result` hands over what came out."""
        self._outcomes = self.run_block(call)

    def result(self) -> list[Outcome]:
        """The outcomes of the call that was started. Raises `RuntimeFault`."""
        outcomes, self._outcomes = self._outcomes, None
        if outcomes is None:
            raise RuntimeFault("runtime-idle", "no call was started")
        return outcomes

    def close(self) -> None:
        """End the sandbox's processes; idempotent."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _call_text(call: Mapping[str, Any]) -> str:
    """The call as one JSON text; canonical documents are spliced in as they are."""
    objects = ",".join(f"{json.dumps(key)}:{data.decode('utf-8')}" for key, data in call["objects"].items() if data)
    steps = ",".join(_step_text(step) for step in call["steps"])
    return f'{{"objects":{{{objects}}},"steps":[{steps}],"time":{call["time"]}}}'


def _step_text(step: list[Any]) -> str:
    if step[0] == 1:
        return json.dumps(step)
    start = json.dumps([0, step[1], step[2], list(step[3])])[:-1]
    return f"{start},{step[4].decode('utf-8')},{step[5].decode('utf-8')}]"


def _outcome(item: list[Any]) -> Outcome:
    item[3] = item[3].encode("utf-8")
    item[7] = [[key, text.encode("utf-8")] for key, text in item[7]]
    return item
