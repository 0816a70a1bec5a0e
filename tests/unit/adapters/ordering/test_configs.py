"""Configs that were in force once are kept by hash, and believed by it alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ledger.adapters.ordering.configs import FOLDER, Configs
from ledger.core.config import config_hash
from ledger.errors import UnavailableError
from tests.models.tiny_ledger import make_config, make_genesis


def test_configs_are_there_after_a_restart(tmp_path: Path) -> None:
    """Each config is read back by its hash, by the object that kept it and by a new one."""
    first = make_config(make_genesis())
    kept = [first.encode(), replace(first, epoch=1).encode()]
    configs = Configs(tmp_path)
    for config in kept:
        configs.keep(config)
        configs.keep(config)
    for config in kept:
        assert configs.read(config_hash(config)) == config == Configs(tmp_path).read(config_hash(config))


def test_a_damaged_or_missing_config_is_not_served(tmp_path: Path) -> None:
    """A changed file is as good as none, and is written anew when its config is kept again."""
    config = make_config(make_genesis()).encode()
    Configs(tmp_path).keep(config)
    (path,) = (tmp_path / FOLDER).iterdir()
    path.write_bytes(config.replace(b'"epoch":0', b'"epoch":1'))
    with pytest.raises(UnavailableError) as caught:
        Configs(tmp_path).read(config_hash(config))
    assert caught.value.code == "proof-config"
    with pytest.raises(UnavailableError):
        Configs(tmp_path / "none").read(config_hash(config))
    Configs(tmp_path).keep(config)
    assert Configs(tmp_path).read(config_hash(config)) == config
