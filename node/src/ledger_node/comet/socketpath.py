"""How a unix socket is named whose path is too long: the kernel takes at most 107 bytes, data directories may be deeper.

Rule: a path that fits is used as it is; else, on Linux, the folder is held open and named through /proc/self/fd. Elsewhere
a path that is too long is refused with the way out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.errors import MalformedError

SOCKET_PATH_BYTES_MAX: Final = 103
"""Linux takes 107 bytes, macOS and BSD 103."""
_DESCRIPTORS: Final = Path("/proc/self/fd")


@contextmanager
def socket_path(folder: Path, name: str) -> Iterator[str]:
    """A path of `folder/name` that `connect` and `bind` take, good while the context lasts.

    Raises `MalformedError` (`socket-path`) where there is none, `OSError` where the folder cannot be opened.
    """
    path = folder / name
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
        yield str(path)
        return
    if not _DESCRIPTORS.is_dir():
        raise MalformedError("socket-path", "the data directory's path is too long for a socket", path=str(path))
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield str(_DESCRIPTORS / str(held) / name)
    finally:
        os.close(held)
