"""What stands in `deploy/`: the systemd unit and the container file say what they must, and are ones to their programs."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from ledger_node.comet import binary
from scripts.engine import COMMAND, SUMS
from tests.architecture.tree import ROOT, text

UNIT, CONTAINER = "deploy/suyuan-node.service", "deploy/Containerfile"
OPERATIONS = ("docs/OPERATIONS.md", "docs/OPERATIONS.zh.md")
HARDENED = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectKernelModules": "yes",
    "RestrictNamespaces": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "UMask": "0077",
}
CONFINING = ("seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self")


def unit() -> dict[str, dict[str, list[str]]]:
    """Values by section and name; every line is a comment, a section or a setting."""
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in text(UNIT).splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line.strip() and not line.startswith("#"):
            name, separator, value = line.partition("=")
            assert separator and section, line
            found[section][name].append(value)
    return found


def instructions() -> list[tuple[str, str]]:
    """(instruction, arguments) of the container file, continued lines joined."""
    lines = [line for line in text(CONTAINER).splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def test_unit_restarts_whatever_happened() -> None:
    """The unit starts again after every end, exit code 0 included, for ever, and gives the node time to stop CometBFT."""
    service = unit()["Service"]
    assert service["Restart"] == ["always"]
    assert unit()["Unit"]["StartLimitIntervalSec"] == ["0"]
    assert service["KillMode"] == ["mixed"] and int(service["TimeoutStopSec"][0].removesuffix("s")) >= 45
    assert service["ExecStart"] == ["/opt/suyuan/bin/ledger node start /var/lib/suyuan/node"]


def test_unit_is_hardened() -> None:
    """The unit takes away what a node never needs, and runs as a user of its own."""
    service = unit()["Service"]
    assert {name: service[name][0] for name in HARDENED} == HARDENED
    assert service["User"] == ["suyuan"] and service["StateDirectoryMode"] == ["0700"]
    # Unix sockets for CometBFT, internet ones for HTTP and p2p; Go lists network interfaces over netlink.
    assert service["RestrictAddressFamilies"] == ["AF_UNIX AF_INET AF_INET6 AF_NETLINK"]


def test_unit_lets_the_rule_worker_confine_itself() -> None:
    """No filter of the unit takes the calls away by which the rule worker gives up its own."""
    allowed = " ".join(unit()["Service"]["SystemCallFilter"])
    assert "~" not in allowed and "@system-service" in allowed
    assert [call for call in CONFINING if call not in allowed.split()] == []


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """systemd itself finds nothing wrong with the unit, but that the program is not installed here."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze: the unit is parsed by the tests alone")
    copy = tmp_path / Path(UNIT).name
    copy.write_text(re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", text(UNIT), flags=re.MULTILINE), encoding="utf-8")
    done = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_container_pins_the_engine() -> None:
    """The image builds the CometBFT that the nodes were tested with, and compares the checksum of its sources."""
    (build,) = (arguments for name, arguments in instructions() if name == "RUN" and "go install" in arguments)
    assert f"{COMMAND}@{binary.VERSION} " in build
    assert f'"{SUMS[binary.VERSION]}"' in build


def test_container_names_no_registry() -> None:
    """Base images are named without a registry and can be replaced; every other stage is one of the file's own."""
    found = instructions()
    defaults = [arguments.partition("=")[2] for name, arguments in found if name == "ARG"]
    assert defaults and all("/" not in image and ":" in image for image in defaults)
    names = [arguments.partition("=")[0] for name, arguments in found if name == "ARG"]
    bases = [arguments.split()[0] for name, arguments in found if name == "FROM"]
    assert {base.strip("${}") for base in bases} == set(names)
    stages = [arguments.split()[2] for name, arguments in found if name == "FROM" and " AS " in arguments]
    copied = re.findall(r"--from=(\S+)", text(CONTAINER))
    assert sorted(copied) == sorted(stages)


def test_container_runs_as_nobody_special_and_says_how_it_is() -> None:
    """The image runs as a user without rights, is asked for its readiness, and stops on TERM; what it copies exists."""
    found = instructions()
    last = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    final = dict(found[last:])
    assert final["USER"] == "10001:10001"
    assert '["ledger", "node", "status", "--data", "/var/lib/suyuan/node"]' in final["HEALTHCHECK"]
    assert final["ENTRYPOINT"] == '["ledger", "node"]' and final["CMD"] == '["start", "/var/lib/suyuan/node"]'
    assert final["STOPSIGNAL"] == "SIGTERM"
    for name, arguments in found:
        if name == "COPY" and "--from" not in arguments:
            assert [part for part in arguments.split()[:-1] if not (ROOT / part).exists()] == []
    assert "--require-hashes" in text(CONTAINER) and "requirements.lock" in text(CONTAINER)


@pytest.mark.parametrize("document", OPERATIONS)
def test_image_is_built_in_a_format_that_keeps_its_health_check(document: str) -> None:
    """An image in OCI's format has no HEALTHCHECK, so every line that builds this one asks for docker's."""
    lines = [line for name in (document, CONTAINER) for line in text(name).splitlines() if "podman build" in line]
    assert len(lines) == 2 and all("podman build --format docker -f deploy/Containerfile" in line for line in lines)


@pytest.mark.parametrize("document", OPERATIONS)
def test_programs_are_installed_where_the_unit_starts_them(document: str) -> None:
    """The steps for a server make the programs, the user and the folder that the unit names, before they enable it."""
    service, steps = unit()["Service"], text(document).partition("podman build")[0]
    (program,) = (line.split()[0] for line in service["ExecStart"])
    folder = program.removesuffix("/bin/ledger")
    cometbft = service["Environment"][0].removeprefix("LEDGER_COMETBFT=")
    wanted = [
        f"python3 -m venv {folder}\n", f"{folder}/bin/pip install --no-index --find-links files . ./node\n",
        f" {cometbft}\n", f"--home-dir /var/lib/{service['StateDirectory'][0]} ", f"cp {UNIT} /etc/systemd/system/\n",
        f"{program} node init {service['ExecStart'][0].split()[-1]} ", f"systemctl enable --now {Path(UNIT).stem}\n",
    ]  # fmt: skip
    found = [steps.find(part) for part in wanted]
    assert -1 not in found and found == sorted(found), list(zip(wanted, found, strict=True))


@pytest.mark.parametrize("document", OPERATIONS)
def test_container_steps_are_whole(document: str) -> None:
    """One host name binds the signer states from `init` on; the proxy shares the node's network, p2p is published, and the
    folder belongs to the image's user."""
    block = next(part for part in text(document).split("```") if part.startswith("sh\npodman build"))
    final = dict(instructions())
    assert set(re.findall(r"--hostname (\S+)", block)) == {"ga-node"} and block.count("--hostname") == 2
    made = re.search(r"podman pod create --name (\S+) --hostname", block)
    assert made is not None and block.count(f"--pod {made[1]} ") == 2
    assert f"-p {final['EXPOSE']}:{final['EXPOSE']} " in block and f'p2p_listen = "0.0.0.0:{final["EXPOSE"]}"' in block
    assert f"chown -R {final['USER']} ga" in block
    outside, inside = re.findall(r"-p (\d+):(\d+)\n", block)[0]
    assert f"listen {inside} ssl" in text(document) and f"10.0.0.2:{outside} ssl" in text(document)
    assert block.count(f"{final['VOLUME']} ") >= 1 and "podman healthcheck run" in block
