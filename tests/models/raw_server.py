"""A server on loopback whose answers are whatever bytes a test wants, at whatever pace."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Script = Callable[[socket.socket], None]
"""What is done with one connection before it is closed."""

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@contextmanager
def serve_raw(script: Script) -> Iterator[int]:
    """The port of a server that runs `script` on each connection, each on a thread of its own."""
    server = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def one(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            script(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connections.append(server.accept()[0])
                threads.append(threading.Thread(target=one, args=(connections[-1],), daemon=True))
                threads[-1].start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for connection in connections:  # nothing of a test goes on behind it
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for each in threads:
            each.join(1.0)  # a script that sleeps is let sleep


def answering(data: bytes) -> Script:
    """Every request on a connection has this answer."""

    def script(connection: socket.socket) -> None:
        while connection.recv(65536):
            connection.sendall(data)

    return script


def dripping(begin: bytes, drop: bytes, pause_s: float = 0.02) -> Script:
    """One answer that begins with `begin` and goes on with `drop` after `drop`, until the asker hangs up."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(begin)
        while True:
            connection.sendall(drop)
            time.sleep(pause_s)

    return script
