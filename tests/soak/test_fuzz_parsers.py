"""Every parser of bytes from outside, with damaged inputs for as long as the budget allows: a value or a named error.

`LEDGER_SOAK_MINUTES` is the budget of a run; the default suite tries each parser for a moment with the same inputs every
time. A failure names the parser and the seed, which makes the same input again.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from ledger.errors import LedgerError
from tests.soak.budget import FUZZ_SHARE, budget_s
from tests.soak.mutations import damaged
from tests.soak.parsers import Parser, every_parser

SLOWEST_S = 10.0  # for one input of some kilobytes on a machine that others use too
QUICK_INPUTS = 40
SLOW = ("rulebook", "calendar")  # half a second for one input


@pytest.fixture(scope="module")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> list[Parser]:
    """All parsers with their samples."""
    return every_parser(tmp_path_factory.mktemp("fuzz"))


def try_one(parser: Parser, data: bytes, seed: str) -> bool:
    """Whether the parser took `data`; fails when it does anything but answer or refuse by name."""
    told = f"{parser.name}, seed {seed}: {data[:400]!r}"
    started = time.perf_counter()
    try:
        value = parser.parse(data)
    except LedgerError:
        return False
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} · {told}") from error
    finally:
        assert time.perf_counter() - started < SLOWEST_S, f"slow · {told}"
        if parser.check is not None:
            parser.check(data)
    if parser.again is not None:
        assert parser.again(value) == data, f"two forms of one value · {told}"
    return True


def test_samples_are_accepted(parsers: list[Parser]) -> None:
    """What the damage starts from is valid, so that a refusal later is the damage's."""
    for parser in parsers:
        assert parser.samples, parser.name
        # A rulebook is compiled whole for each of its files; some of them say as much.
        for sample in parser.samples[:: 1 + len(parser.samples) // 8] if parser.name in SLOW else parser.samples:
            assert try_one(parser, sample, "sample"), f"{parser.name} refuses its sample {sample[:200]!r}"


def test_a_few_damaged_inputs(parsers: list[Parser]) -> None:
    """Some inputs for each parser, the same in every run."""
    for parser in parsers:
        for number in range(QUICK_INPUTS if parser.name not in SLOW else 3):
            seed = f"quick {parser.name} {number}"
            try_one(parser, damaged(parser.samples, random.Random(seed)), seed)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_damaged_inputs_for_as_long_as_asked(parsers: list[Parser], capsys: pytest.CaptureFixture[str]) -> None:
    """New inputs all the time, each parser for its share; the counts are printed."""
    begun = os.environ.get("LEDGER_SOAK_SEED") or str(time.time_ns())
    whole, weights = budget_s(FUZZ_SHARE), sum(parser.weight for parser in parsers)
    lines = [f"seed {begun}"]
    for parser in parsers:
        until, number, taken = time.monotonic() + whole * parser.weight / weights, 0, 0
        while time.monotonic() < until:
            seed = f"{begun} {parser.name} {number}"
            taken += try_one(parser, damaged(parser.samples, random.Random(seed)), seed)
            number += 1
        assert number, f"{parser.name} was not tried"
        lines.append(f"{parser.name:18} {number:9,} inputs, {taken:8,} accepted")
    with capsys.disabled():
        print("\n" + "\n".join(lines))


def test_a_seed_repeats_its_input(parsers: list[Parser]) -> None:
    """The same seed damages the same sample in the same way."""
    for parser in parsers:
        first, second = (damaged(parser.samples, random.Random(f"7 {parser.name}")) for _ in range(2))
        assert first == second
