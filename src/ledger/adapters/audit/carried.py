"""Carries a check context to the auditor's own worker processes: with the program as compiled code, so that none of them
spends its first second on compiling what this process has compiled already.

Rule: only between processes that one auditor started from one interpreter; what runs rules for a verdict gets the text and
compiles it (see `worker`). Not here: the processes (see `pool`).
"""

from __future__ import annotations

import io
import marshal
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from ledger.rules.execute import program_parts, run_parts
from ledger.rules.program import Program, plan_event
from ledger.verify.check import CheckContext
from ledger.verify.source import Piece


class _Planner:
    """A program as far as checking needs it: `Rules.plan`."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        self._namespace = namespace

    def plan(self, member: str, head: Mapping[str, Any], body: Mapping[str, Any]) -> Sequence[str]:
        """See `Rules`."""
        return plan_event(self._namespace, member, head, body)


class _Pickler(pickle.Pickler):
    """Pickles programs as their code."""

    def reducer_override(self, value: object) -> Any:
        """See `pickle.Pickler`."""
        return (_planner, (marshal.dumps(program_parts(value.text)),)) if isinstance(value, Program) else NotImplemented


def _planner(code: bytes) -> _Planner:
    return _Planner(run_parts(marshal.loads(code)))  # noqa: S302


def pack_context(context: CheckContext) -> bytes:
    """The bytes that `unpack` reads in a process of this one's own."""
    data = io.BytesIO()
    _Pickler(data, pickle.HIGHEST_PROTOCOL).dump(context)
    return data.getvalue()


def pack_piece(piece: Piece) -> bytes:
    """The bytes that `unpack` reads."""
    return pickle.dumps(piece, pickle.HIGHEST_PROTOCOL)


def unpack(data: bytes | bytearray) -> CheckContext | Piece:
    """What `pack_context` or `pack_piece` packed; never call it with bytes from anywhere else."""
    told: CheckContext | Piece = pickle.loads(data)  # noqa: S301
    return told
