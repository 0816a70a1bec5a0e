"""TCP relays between processes of this machine that can be cut and joined again: a partition that needs no privileges.

Each relay listens on a port of its own and forwards to one address, so that every direction between two nodes is one of its
own. A cut relay ends its connections and every new one at once. Not here: packets that vanish silently (see `namespaces`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Self

HOST = "127.0.0.1"
CHUNK = 64 * 1024
CALL_S = 10.0


class Relay:
    """One way to one address; used on the loop of its `Relays` only."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target, self._cut = target, False
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def cut(self, yes: bool) -> None:
        self._cut = yes
        if yes:
            for writer in tuple(self._writers):
                writer.transport.abort()

    async def close(self) -> None:
        await self.cut(True)
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        try:
            away = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        if self._cut:  # while it was calling
            writer.transport.abort()
            away[1].transport.abort()
            return
        self._writers |= {writer, away[1]}
        try:
            await asyncio.gather(_pump(reader, away[1]), _pump(away[0], writer))
        finally:
            self._writers -= {writer, away[1]}
            for each in (writer, away[1]):
                each.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


class Relays:
    """All relays of a test, on one thread; by (from, to, what)."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relays", daemon=True)
        self._relays: dict[tuple[str, str, str], Relay] = {}
        self._spare: list[Relay] = []
        self.reserved: set[int] = set()
        """Ports that no relay may take."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for relay in (*self._relays.values(), *self._spare):
            self._call(relay.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_S)
        self._loop.close()

    def add(self, source: str, to: str, what: str, port: int) -> int:
        """A new relay; the port to call instead of `port`."""
        while True:
            relay = Relay((HOST, port))
            self._call(relay.open())
            if relay.port not in self.reserved:
                break
            self._spare.append(relay)
        self.reserved.add(relay.port)
        self._relays[source, to, what] = relay
        return relay.port

    def partition(self, *sides: set[str]) -> None:
        """Only those of one side hear each other."""
        for (source, to, _), relay in self._relays.items():
            self._call(relay.cut(not any({source, to} <= side for side in sides)))

    def heal(self) -> None:
        """Everybody hears everybody again."""
        for relay in self._relays.values():
            self._call(relay.cut(False))

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_S)
