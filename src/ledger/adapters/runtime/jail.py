"""Takes from this process what a rule never needs: files, network, other processes, memory without end.

Rules: each layer is tried and reported by name; one that the system does not offer is missing from the report, visibly, and
nothing is pretended. The order is: close descriptors, limits, no new privileges, Landlock, no further descriptor (Landlock's
own rules are one), seccomp last.
Called once, in the worker process, before any program text is loaded. Never here: deciding whether that is enough.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from typing import Any, Final

try:
    import resource
except ImportError:  # not a Unix
    resource = None  # type: ignore[assignment]

_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_PR_SET_DUMPABLE: Final = 4
_SECCOMP_MODE_FILTER: Final = 2
_LANDLOCK_CREATE: Final = 444  # the same numbers on every architecture
_LANDLOCK_RESTRICT: Final = 446

_LIMITS: Final = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NPROC": 0, "RLIMIT_MEMLOCK": 0}

_ALLOW: Final = 0x7FFF0000
_ERRNO_EPERM: Final = 0x00050000 | 1
_KILL: Final = 0x80000000

# Classic BPF: load word, jump if equal, jump if any bit, return.
_LD: Final = 0x20
_JEQ: Final = 0x15
_JSET: Final = 0x45
_RET: Final = 0x06
_PROT_EXEC: Final = 4

# What an interpreter without files or sockets to open still calls, by architecture: audit number, plain calls, and those
# that map memory, which may not make it executable. Reads and writes reach only the one descriptor that is left.
_SYSCALLS: Final[dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]]] = {
    # read write close munmap brk rt_sigaction rt_sigprocmask rt_sigreturn mremap madvise getpid sendto recvfrom exit
    # gettimeofday futex sched_yield clock_gettime exit_group restart_syscall sigaltstack getrandom rseq
    "x86_64": (
        0xC000003E,
        (0, 1, 3, 11, 12, 13, 14, 15, 25, 28, 39, 44, 45, 60, 96, 202, 24, 228, 231, 219, 131, 318, 334),
        (9, 10),
    ),
    "aarch64": (
        0xC00000B7,
        (63, 64, 57, 215, 214, 134, 135, 139, 216, 233, 172, 206, 207, 93, 169, 98, 124, 113, 94, 128, 132, 278, 293),
        (222, 226),
    ),
}  # fmt: skip


def confine(keep_fd: int, memory_bytes: int) -> list[str]:
    """Confine this process to descriptor `keep_fd` and `memory_bytes` of memory; names of the layers that hold."""
    layers: list[str] = []
    _close_descriptors(keep_fd)
    layers.append("descriptors")
    limited = _set_limits({**_LIMITS, "RLIMIT_AS": memory_bytes})
    libc = _libc()
    confined = [] if libc is None else _deny(libc)
    if _set_limits({"RLIMIT_NOFILE": 0}) and limited:
        layers.append("rlimits")
    layers += confined
    if libc is not None and _seccomp(libc):
        layers.append("seccomp")
    return layers


def _deny(libc: Any) -> list[str]:
    """What the kernel takes away for good, but for the filter of system calls."""
    layers: list[str] = []
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        layers.append("no-new-privs")
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if landlock(libc):
        layers.append("landlock")
    return layers


def _libc() -> Any:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None


def _close_descriptors(keep_fd: int) -> None:
    try:
        highest = os.sysconf("SC_OPEN_MAX")
    except (ValueError, OSError):
        highest = 1024
    os.closerange(0, keep_fd)
    os.closerange(keep_fd + 1, min(max(highest, 1024), 65536))


def _set_limits(wanted: dict[str, int]) -> bool:
    if resource is None:
        return False
    done = True
    for name, value in wanted.items():
        limit = getattr(resource, name, None)
        try:
            if limit is not None:
                resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):
            done = False
    return done


def landlock_abi(libc: Any) -> int:
    """The version of Landlock that this kernel offers; below 1 where it offers none."""
    return int(libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))


def landlock(libc: Any) -> bool:
    """Deny this thread every file operation, and TCP where the kernel knows how (ABI 4); whether it holds. It wants a
    descriptor to be free, and that no new privileges can be had."""
    abi = landlock_abi(libc)
    if abi < 1:
        return False
    files = (1 << (13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16)) - 1
    attributes = struct.pack("<QQ", files, 3) if abi >= 4 else struct.pack("<Q", files)
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    ruleset = libc.syscall(_LANDLOCK_CREATE, buffer, ctypes.c_size_t(len(attributes)), 0)
    if ruleset < 0:
        return False
    try:
        return bool(libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


class _Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def seccomp_filter(machine: str) -> bytes | None:
    """The BPF program for `machine`; None where its system calls are not known here."""
    known = _SYSCALLS.get(machine)
    if known is None:
        return None
    audit, plain, mapping = known
    # offsets of struct seccomp_data: 0 number, 4 architecture, 32 low word of the third argument (protection)
    code = [(_LD, 0, 0, 4), (_JEQ, 1, 0, audit), (_RET, 0, 0, _KILL), (_LD, 0, 0, 0)]
    for number in plain:
        code += [(_JEQ, 0, 1, number), (_RET, 0, 0, _ALLOW)]
    for number in mapping:
        code += [
            (_JEQ, 0, 4, number),
            (_LD, 0, 0, 32),
            (_JSET, 0, 1, _PROT_EXEC),
            (_RET, 0, 0, _ERRNO_EPERM),
            (_RET, 0, 0, _ALLOW),
        ]
    code.append((_RET, 0, 0, _ERRNO_EPERM))
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _seccomp(libc: Any) -> bool:
    code = seccomp_filter(platform.machine())
    if code is None:
        return False
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Filter(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p).value)
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)
