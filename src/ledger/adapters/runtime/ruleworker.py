"""The worker process of the rules: reads calls from one socket, runs the program, writes outcomes.

Rules: it is confined before it sees a program; it holds no key, file or other socket; it answers one message at a time.
A failure that is the machine's (memory, stack) ends the call as a fault, never as a verdict.
Run as a process by `worker`; never imported by the node.
"""

from __future__ import annotations

import gc
import marshal
import os
import socket
import struct
import sys
from typing import Any

import msgpack

from ledger.adapters.runtime.jail import confine
from ledger.rules.execute import run_parts

LENGTH = struct.Struct(">I")
COLLECT_AFTER = 200_000  # container objects between two searches for cyclic garbage: about those of one full block


def read_message(connection: socket.socket) -> bytes | None:
    """One length-prefixed message; None at the end of the stream."""
    header = _read(connection, LENGTH.size)
    if header is None:
        return None
    return _read(connection, LENGTH.unpack(header)[0])


def _read(connection: socket.socket, size: int) -> bytes | None:
    data = bytearray(size)
    view = memoryview(data)
    done = 0
    while done < size:
        count = connection.recv_into(view[done:], size - done)
        if count == 0:
            return None
        done += count
    return bytes(data)


def serve(fd: int, memory_bytes: int) -> None:
    """Confine this process, report how, load the program that is sent, and answer calls until the stream ends."""
    connection = socket.socket(fileno=fd)
    msgpack.unpackb(msgpack.packb([1, b"", "é"]))  # whatever is imported lazily is imported now
    layers = confine(fd, memory_bytes)
    _send(connection, ["ready", layers])
    code = read_message(connection)
    if code is None:
        return
    # From the process that started this one, whose interpreter is the same.
    run: Any = run_parts(marshal.loads(code))["_run_block"]  # noqa: S302
    # Rules make no cycles, and a block's values go when it is answered: looking for cycles amid them is mostly waste.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 20, 100)
    _send(connection, ["loaded"])
    while (data := read_message(connection)) is not None:
        try:
            call = msgpack.unpackb(data, use_list=True, raw=False, strict_map_key=True)
            answer = ["ok", run(call["time"], call["objects"], call["steps"])]
        except MemoryError:
            os._exit(77)  # the heap is in doubt: a fresh process is cheaper than a wrong answer
        except Exception as error:  # noqa: BLE001 - whatever it is, the host must hear of it
            answer = ["fault", f"{type(error).__name__}: {error}"]
        _send(connection, answer)


def _send(connection: socket.socket, value: object) -> None:
    data = msgpack.packb(value, use_bin_type=True)
    connection.sendall(LENGTH.pack(len(data)) + data)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
