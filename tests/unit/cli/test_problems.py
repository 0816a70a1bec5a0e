"""What the operating system refuses, told so that a person knows which file it was and what to do."""

from __future__ import annotations

import errno
import os

import pytest

from ledger.cli.problems import from_os, sentences
from ledger.cli.texts import Texts


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EIO])
@pytest.mark.parametrize("name", ["city/node.toml", None])
def test_every_refusal_names_what_it_can(language: str, number: int, name: str | None) -> None:
    """The file where there is one, the reason where there is none, and what to do; never a gap in the sentence."""
    error = OSError(number, os.strerror(number), name) if name else OSError(number, os.strerror(number))
    what, advice = sentences(Texts(language), from_os(error))
    assert advice and "{" not in what + advice and "  " not in what
    if name:
        assert name in what
    elif number != errno.ENOSPC:
        assert os.strerror(number) in what
