"""`python -m ledger_node.intake.checkworker FD`: parses submissions and verifies their signatures for a node.

It holds no key, opens no file and answers only on the socket it was started with; it ends when the node does.
Not here: what the answers are used for (see `checker`).
"""

from __future__ import annotations

import signal
import socket
import sys

from ledger_node.intake.checkwire import LENGTH_BYTES, check_all, encode_message, parse_message


def serve(connection: socket.socket) -> None:
    """Answer until the other side closes."""
    with connection, connection.makefile("rb", buffering=1024 * 1024) as stream:
        while True:
            prefix = stream.read(LENGTH_BYTES)
            if len(prefix) < LENGTH_BYTES:
                return
            data = stream.read(int.from_bytes(prefix, "big"))
            for answers in check_all(parse_message(data)):
                connection.sendall(encode_message(answers))


def main() -> None:
    """Serve on the inherited socket."""
    # Ctrl-C reaches the whole group; the node decides when its worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
