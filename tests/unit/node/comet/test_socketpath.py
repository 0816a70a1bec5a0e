"""Sockets in folders of any depth."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from ledger_node.comet.socketpath import SOCKET_PATH_BYTES_MAX, socket_path


def test_a_short_path_stays(tmp_path: Path) -> None:
    """What the kernel takes is used as it is."""
    with socket_path(Path("/run/x"), "a.sock") as path:
        assert path == "/run/x/a.sock"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux names held folders through /proc")
def test_a_long_path_works(tmp_path: Path) -> None:
    """Server and client meet in a folder whose path no socket could have."""
    folder = tmp_path / ("数" * 30) / ("x" * 60)
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with socket_path(folder, "a.sock") as path:
            assert len(path) < SOCKET_PATH_BYTES_MAX
            server.bind(path)
        server.listen()
        assert (folder / "a.sock").is_socket()
        with socket_path(folder, "a.sock") as path:
            client.connect(path)
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"x")
            assert accepted.recv(1) == b"x"
