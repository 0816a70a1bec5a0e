"""Columns line up by display width, lines stay within the screen, and strangers' text cannot forge it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.cli.output import Console
from ledger.cli.progress import Progress
from ledger.cli.tables import cut, fields, pad, safe, table, width, wrap
from tests.unit.cli.runner import Stream

TEXTS = st.text(st.sampled_from("ab 数据集,，é\u0301"), max_size=30)


def test_wide_characters_take_two_columns() -> None:
    """Chinese counts double, combining marks nothing."""
    assert width("数据ab") == 6 and width("e\u0301") == 1 and width("，") == 2


@given(TEXTS, st.integers(2, 40))
def test_cut_text_fits(text: str, columns: int) -> None:
    """A cut text is never wider than asked, and a short one stays whole."""
    assert width(cut(text, columns)) <= columns
    if width(text) <= columns:
        assert cut(text, columns) == text
        assert width(pad(text, columns)) == columns


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
def test_columns_begin_at_one_place(rows: list[tuple[str, str]]) -> None:
    """Each row's second column begins at the same display column, whatever stands in the first."""
    lines = table([(first, f"|{second}") for first, second in rows]).split("\n")
    assert len({width(line.partition("|")[0]) for line in lines}) == 1


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=6))
def test_a_table_keeps_to_80_columns(rows: list[tuple[str, str, str]]) -> None:
    """On a screen of 80 columns no line is wider."""
    wide = [(a * 3, b * 3, c * 3) for a, b, c in rows]
    text = table(wide, ["seq", "时间", "about"], 80)
    assert max(width(line) for line in text.split("\n")) <= 80


@given(TEXTS.map(lambda text: text * 5), st.integers(20, 80))
def test_wrapped_lines_fit(text: str, columns: int) -> None:
    """Text with wide characters wraps anywhere between them and never passes the edge by more than punctuation."""
    for line in wrap(text, columns, "  ").split("\n"):
        assert width(line) <= columns + 4 or " " not in line.strip()


@given(st.text(max_size=40))
def test_a_stranger_cannot_move_the_cursor(text: str) -> None:
    """Control, bidirectional and zero-width characters are shown escaped, on one line."""
    shown = safe(text)
    assert "\n" not in shown and "\x1b" not in shown and "\u202e" not in shown and "\u200b" not in shown


def test_fields_have_one_value_column() -> None:
    """Names in two scripts are padded to one width; unset values are left out."""
    assert fields([("成员", "ga"), ("role", "x"), ("gone", None)]) == "成员  ga\nrole  x"


def test_progress_shows_rate_and_time_left_and_leaves_nothing() -> None:
    """On a terminal the line has share, rate and time left, and is wiped at the end; into a pipe there is nothing."""
    for terminal in (True, False):
        err = Stream(terminal=terminal)
        console = Console(out=Stream(), err=err, environment={"TERM": "xterm", "COLUMNS": "80"})
        with Progress(console, "发送", 200) as progress:
            progress._began -= 1.0
            progress.at(100)
        shown = err.text()
        if not terminal:
            assert shown == ""
        else:
            assert "50%" in shown and "100/200" in shown and "/s" in shown and "~" in shown
            assert shown.endswith("\r") and not shown.rsplit("\r", 2)[1].strip()
