"""The worker process of an audit: gets a context and then pieces over one socket, and answers each with what it found.

Rules: answers leave by a thread of their own, so that the next piece is checked while the auditor is busy with the one
before; an error is an answer. Run as a process by `pool`. Not here: what a check is (see `verify.check`).
"""

from __future__ import annotations

import gc
import pickle
import socket
import struct
from queue import SimpleQueue
from threading import Thread
from typing import Final

from ledger.adapters.audit.carried import unpack_context
from ledger.verify.check import CheckContext, check_piece

LENGTH: Final = struct.Struct(">Q")
DONE: Final = 0
FAULT: Final = 1
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
    told = receive(connection)
    if told is None:
        return
    answers: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_answer, args=(connection, answers), daemon=True).start()
    # What is unpickled here comes from the auditor's own process, which started this one for it.
    context = unpack_context(told)
    relax_collector()
    while (data := receive(connection)) is not None:
        answers.put(_check(context, data))


def _check(context: CheckContext, data: bytearray) -> bytes:
    answer: tuple[int, object]
    try:
        answer = DONE, check_piece(context, pickle.loads(data))  # noqa: S301
    except Exception as error:  # noqa: BLE001 - whatever it is, the auditor must hear of it
        answer = FAULT, error
    return pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)


def _answer(connection: socket.socket, answers: SimpleQueue[bytes]) -> None:
    try:
        while True:
            send(connection, answers.get())
    except OSError:
        return  # the auditor is gone; so is the stream that `serve` reads
