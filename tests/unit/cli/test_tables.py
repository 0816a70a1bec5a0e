"""Columns line up by display width, lines stay within the screen, and strangers' text cannot forge it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.cli.output import Console, Painted
from ledger.cli.progress import Progress
from ledger.cli.tables import cut, fields, fitted, on_screen, pad, safe, table, width, wrap
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


@given(
    st.sampled_from(["", "  - ", "origin  ", "来源  ", "√ "]), TEXTS.map(lambda text: text * 5), st.integers(20, 100)
)
def test_a_long_line_keeps_to_the_screen(head: str, text: str, columns: int) -> None:
    """Broken lines are no wider than the screen but for words that are, lose nothing but spaces, and hang below the text."""
    line = (head + text).rstrip()
    shown = fitted(line, columns)
    longest = max((width(word) for word in line.split()), default=0)
    for part in shown.split("\n"):
        assert width(part) <= max(columns, longest + 4) + 4, (part, line)
    assert "".join(shown.split()) == "".join(line.split())
    if width(line) <= columns:
        assert shown == line


def test_lines_hang_where_their_text_begins() -> None:
    """Values stay in their column, items behind their hyphen; a hash that has no room there gets its own line whole."""
    assert fitted("read  5 blocks and 4 events", 18) == "read  5 blocks and\n      4 events"
    assert fitted("  - not checked at all", 16) == "  - not checked\n    at all"
    assert fitted("origin  " + "a" * 20, 22) == "origin\n  " + "a" * 20
    assert fitted("x/y.toml:3: error: a long tale", 20) == "x/y.toml:3: error:\n  a long tale"
    assert fitted("\x1b[31mBROKEN:\x1b[0m 12 findings", 19) == "\x1b[31mBROKEN:\x1b[0m 12 findings"


def test_only_a_screen_breaks_lines() -> None:
    """Into a pipe every line stays whole; a terminal that cannot tell its width has 80 columns."""
    line = "word " * 40
    for terminal in (False, True):
        console = Console(out=Stream(terminal=terminal), err=Stream(), environment={"TERM": "xterm"})
        widest = max(map(width, on_screen(console, line).split("\n")))
        assert (widest <= 80) is terminal and on_screen(console, line, console.err) == line


@given(st.text(max_size=40))
def test_a_stranger_cannot_move_the_cursor(text: str) -> None:
    """Control, bidirectional and zero-width characters are shown escaped, on one line."""
    shown = safe(text)
    assert "\n" not in shown and "\x1b" not in shown and "\u202e" not in shown and "\u200b" not in shown


@given(TEXTS, st.text(st.sampled_from("ab 数\x1b\u202e"), max_size=10))
def test_our_own_colour_is_no_column_and_no_text(text: str, stranger: str) -> None:
    """A coloured cell lines up as the plain one does, with its codes whole; a stranger's codes beside it are escaped."""
    painted, plain = ([(mark, stranger, "|end")] for mark in (Painted(text, "red"), text))
    shown = table(painted)
    assert shown.replace("\x1b[31m", "").replace("\x1b[0m", "") == table(plain)
    assert shown.count("\x1b") == 2 and fields([("votes", Painted("√", "green"))]) == "votes  \x1b[32m√\x1b[0m"


def test_a_cut_colour_does_not_run_on() -> None:
    """A coloured text that does not fit is cut as plain text: no code is cut in half, none stays switched on."""
    assert cut(Painted("数据数据数据", "red"), 8) == cut("数据数据数据", 8) == "数据数.."


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


def test_a_whole_column_is_never_cut() -> None:
    """Ids that people copy keep every character on a narrow screen; the other columns give way."""
    shown = table([("a" * 64, "b" * 40)], columns=60, whole=(0,))
    assert shown == "a" * 64 + "  " + "b" * 6 + ".."
    assert table([("a" * 64,)], columns=10, whole=(0,)) == "a" * 64
