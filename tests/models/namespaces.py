"""Network namespaces for CometBFT's traffic: one for each validator on a bridge of its own, in which packets can vanish.

A wrapper in CometBFT's place enters the namespace and becomes the program; its unix sockets are files and stay where they
are. Nothing of the machine's own network is touched: bridge, veth pairs and addresses live in namespaces of this test,
which are removed at the end. Needs root and `ip`. Not here: connections that are ended (see `relay`).
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

PORT = 26656


def may_use() -> str:
    """Why namespaces cannot be used here; "" where they can."""
    if shutil.which("ip") is None:
        return "there is no `ip` command"
    name = f"sy{os.getpid()}t"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode:
        return made.stderr.strip()
    try:
        command = ["ip", "-n", name, "link", "add", "name", "one", "type", "veth", "peer", "name", "other"]
        linked = subprocess.run(command, capture_output=True, text=True, check=False)
        bridged = subprocess.run(
            ["ip", "-n", name, "link", "add", "name", "hub", "type", "bridge"],
            capture_output=True,
            text=True,
            check=False,
        )
        return (linked.stderr + bridged.stderr).strip()
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


class Namespaces:
    """One namespace a member and one for the bridge. `binaries` are the wrappers, `addresses` those of p2p, by member."""

    def __init__(self, folder: Path, members: Sequence[str], binary: Path) -> None:
        self._hub = f"sy{os.getpid()}h"
        self._names = {member: f"sy{os.getpid()}{member}" for member in members}
        self._hosts = {member: f"10.249.77.{number}" for number, member in enumerate(members, 1)}
        self.addresses = {member: f"{host}:{PORT}" for member, host in self._hosts.items()}
        self.binaries: dict[str, Path] = {}
        for member, name in self._names.items():
            self.binaries[member] = folder / f"cometbft-{member}"
            self.binaries[member].write_text(f'#!/bin/sh\nexec ip netns exec {name} {binary} "$@"\n', "utf-8")
            self.binaries[member].chmod(0o755)
        self._parted: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        try:
            _ip("netns", "add", self._hub)
            _ip("-n", self._hub, "link", "add", "name", "hub", "type", "bridge")
            _ip("-n", self._hub, "link", "set", "hub", "up")
            for member, name in self._names.items():
                self._connect(member, name)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    def part(self, *sides: set[str]) -> None:
        """Packets between members of different sides vanish, both ways."""
        for one, other in itertools.permutations(self._names, 2):
            if not any({one, other} <= side for side in sides):
                _ip("-n", self._names[one], "route", "add", "blackhole", f"{self._hosts[other]}/32")
                self._parted.append((one, other))

    def heal(self) -> None:
        """No packet vanishes any more."""
        while self._parted:
            one, other = self._parted.pop()
            _ip("-n", self._names[one], "route", "del", "blackhole", f"{self._hosts[other]}/32")

    def _connect(self, member: str, name: str) -> None:
        _ip("netns", "add", name)
        _ip(
            "-n",
            name,
            "link",
            "add",
            "name",
            "wire",
            "type",
            "veth",
            "peer",
            "name",
            f"to-{member}",
            "netns",
            self._hub,
        )
        _ip("-n", self._hub, "link", "set", f"to-{member}", "master", "hub", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", name, "addr", "add", f"{self._hosts[member]}/24", "dev", "wire")
        _ip("-n", name, "link", "set", "wire", "up")

    def _remove(self) -> None:
        for name in (*self._names.values(), self._hub):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
