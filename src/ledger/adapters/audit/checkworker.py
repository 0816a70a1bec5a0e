"""The worker process of an audit: gets contexts and pieces over one socket, and answers each piece with what it found.

Rules: a piece is checked in the last context before it; answers leave by a thread of their own, so that the next piece is
checked while the auditor is busy with the one before; an error is an answer. Run as a process by `pool`.
Not here: what a check is (see `verify.check`).
"""

from __future__ import annotations

import gc
import os
import pickle
import socket
import struct
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Final

from ledger.adapters.audit.carried import unpack
from ledger.verify.check import CheckContext, check_piece
from ledger.verify.source import Piece

LENGTH: Final = struct.Struct(">Q")
DONE: Final = 0
FAULT: Final = 1
NICER: Final = 5  # than the process that replays
COLLECT_AFTER: Final = 500_000  # container objects between two searches for cyclic garbage


def relax_collector() -> None:
    """Let this process look for cyclic garbage rarely: an audit makes many objects and no cycles, and looking for them
    through all that is cached costs a fifth of its time."""
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)


def send(connection: socket.socket, data: bytes) -> None:
    """Write one message. Raises `OSError`."""
    connection.sendall(LENGTH.pack(len(data)))
    connection.sendall(data)


def receive(connection: socket.socket) -> bytearray | None:
    """Read one message; None at the end of the stream, wherever it comes. Raises `OSError`."""
    header = _read(connection, LENGTH.size)
    return None if header is None else _read(connection, LENGTH.unpack(header)[0])


def _read(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        count = connection.recv_into(view[done:])
        if count == 0:
            return None
        done += count
    return data


def serve(fd: int) -> None:
    """Check what comes until the stream ends."""
    connection = socket.socket(fileno=fd)
    relax_collector()
    answers: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_answer, args=(connection, answers), daemon=True).start()
    context: CheckContext | None = None
    while (data := receive(connection)) is not None:
        try:
            told = unpack(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, the auditor must hear of it
            answers.put(pickle.dumps((FAULT, error), pickle.HIGHEST_PROTOCOL))
            continue
        if isinstance(told, CheckContext):
            if context is None and not told.parse_leaves:
                _step_back()
            context = told
            relax_collector()
        elif context is not None:
            answers.put(_check(context, told))


def _step_back() -> None:
    """Where blocks are replayed, whoever replays is the one all wait for: checking, which is ahead, takes what is left."""
    with suppress(OSError):
        os.nice(NICER)


def _check(context: CheckContext, piece: Piece) -> bytes:
    answer: tuple[int, object]
    try:
        answer = DONE, check_piece(context, piece)
    except Exception as error:  # noqa: BLE001 - whatever it is, the auditor must hear of it
        answer = FAULT, error
    return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)


def _answer(connection: socket.socket, answers: SimpleQueue[bytes]) -> None:
    try:
        while True:
            send(connection, answers.get())
    except OSError:
        return  # the auditor is gone; so is the stream that `serve` reads
