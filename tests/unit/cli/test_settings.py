"""Where a setting comes from, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ledger.cli.exits import Exit
from ledger.cli.settings import KNOWN, NAMES, SettingError, Settings, variable
from ledger.errors import NotFoundError
from tests.unit.cli.runner import ledger


def config(folder: Path, text: str) -> dict[str, str]:
    """An environment whose configuration file holds `text`."""
    path = folder / "config.toml"
    path.write_text(text, "utf-8")
    return {"LEDGER_CONFIG": str(path)}


def test_precedence_is_flag_variable_secret_file_default(tmp_path: Path) -> None:
    """Each source wins over all below it, and names itself."""
    env = config(tmp_path, 'member = "from-toml"')
    assert Settings({}).value("member").origin == "default"
    assert Settings(env).value("member").text == "from-toml"
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "member").write_text("from-secret\n", "utf-8")
    env["LEDGER_SECRETS_DIR"] = str(secrets)
    assert Settings(env).value("member").text == "from-secret"
    env["LEDGER_MEMBER"] = "from-env"
    assert Settings(env).value("member").origin == "env LEDGER_MEMBER"
    found = Settings(env, {"member": "from-flag"}).value("member")
    assert (found.text, found.origin) == ("from-flag", "flag")
    # A flag that was not given is no flag.
    assert Settings(env, {"member": None}).value("member").text == "from-env"


def test_systemd_credentials_are_a_secrets_directory(tmp_path: Path) -> None:
    """$CREDENTIALS_DIRECTORY is read like LEDGER_SECRETS_DIR."""
    (tmp_path / "passphrase").write_text("open sesame\n", "utf-8")
    assert Settings({"CREDENTIALS_DIRECTORY": str(tmp_path)}).passphrase() == b"open sesame"


def test_a_node_of_ones_own_is_read_with_its_token(tmp_path: Path) -> None:
    """With `--data` the node's token says who asks, where it asks that node; what is set for readers wins."""
    assert ledger("network", "demo", tmp_path / "city").code == 0
    folder = tmp_path / "city" / "ga"
    token = (folder / "token").read_text("utf-8").strip()
    found = Settings({}, {"data": str(folder)})
    assert (found.get("reader-token"), found.get("token")) == (token, token)
    assert Settings({}, {"data": str(folder), "node": "http://127.0.0.1:1"}).get("reader-token") is None
    assert Settings({"LEDGER_READER_TOKEN": "mine"}, {"data": str(folder)}).get("reader-token") == "mine"
    assert Settings(config(tmp_path, 'reader-token = "toml"'), {"data": str(folder)}).get("reader-token") == "toml"
    assert Settings({}).get("reader-token") is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('nodes = "x"', "setting-unknown"),
        ("[node]\nrole = 1", "setting-value"),
        ("node = [1]", "setting-value"),
        ("node = ", "setting-file"),
    ],
)
def test_a_configuration_file_with_a_mistake_is_refused(tmp_path: Path, text: str, code: str) -> None:
    """Unknown keys, other types and broken TOML are errors that name the file."""
    with pytest.raises(SettingError) as caught:
        Settings(config(tmp_path, text))
    assert caught.value.code == code


def test_a_mistyped_variable_is_an_error_and_others_are_not_ours() -> None:
    """LEDGER_MEMBR is refused with what was meant; LEDGER_HTTP_PORT belongs to the node."""
    with pytest.raises(SettingError) as caught:
        Settings({"LEDGER_MEMBR": "x"})
    assert caught.value.evidence["meant"] == "LEDGER_MEMBER"
    others = {"LEDGER_HTTP_PORT": "1", "LEDGER_NODE_ROLE": "x", "LEDGER_LOG_LEVEL": "x", "LEDGER_LANG": "zh"}
    assert Settings(others).unknown_variables() == ["LEDGER_HTTP_PORT", "LEDGER_LOG_LEVEL", "LEDGER_NODE_ROLE"]


def test_a_named_configuration_file_has_to_exist(tmp_path: Path) -> None:
    """LEDGER_CONFIG that points nowhere is told, not ignored."""
    with pytest.raises(NotFoundError) as caught:
        Settings({"LEDGER_CONFIG": str(tmp_path / "none.toml")})
    assert caught.value.code == "config-file"


def test_a_needed_setting_says_how_to_set_it() -> None:
    """The error names flag and variable; the exit code is usage."""
    ran = ledger("spool", "status")
    assert ran.code == Exit.USAGE and "--spool" in ran.err and "LEDGER_SPOOL" in ran.err


@pytest.mark.parametrize("text", ["0", "-1", "soon", "1e9", "nan"])
def test_a_timeout_is_positive_and_bounded(text: str) -> None:
    """Other time-outs are refused."""
    with pytest.raises(SettingError):
        Settings({"LEDGER_TIMEOUT": text}).timeout_s()


def test_config_show_names_every_origin_and_no_secret(tmp_path: Path) -> None:
    """Each setting stands with its origin; token and passphrase are never printed."""
    env = {**config(tmp_path, 'token = "very-secret"'), "LEDGER_PASSPHRASE": "also-secret", "LEDGER_NODE": "http://h:1"}
    plain = ledger("config", "show", env=env)
    document = ledger("config", "show", "--json", env=env).json
    assert plain.code == 0
    assert "very-secret" not in plain.out + str(document) and "also-secret" not in plain.out + str(document)
    assert set(document["settings"]) == {setting.name for setting in KNOWN}
    assert document["settings"]["node"] == {
        "value": "http://h:1",
        "origin": "env LEDGER_NODE",
        "variable": variable("node"),
    }


def test_every_variable_can_be_set_in_a_shell() -> None:
    """Names of variables hold letters, digits and underscores only, and each is read: a reader's token too."""
    for name in NAMES:
        assert re.fullmatch(r"LEDGER_[A-Z0-9_]+", variable(name))
        assert Settings({variable(name): "x", "HOME": "/nonexistent"}, {}).get(name) == "x"
