"""State diagrams: everything of the table is drawn, nothing lies on anything else, and it is the same everywhere."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.diagram import _Drawing, draw, edges_of, states_of, text_width
from ledger.rules.tables import Table
from tests.unit.rules.books import contract_program

SVG = "{http://www.w3.org/2000/svg}"
STATES = ("draft", "open", "under_review", "late", "done", "gone")
KINDS = ("a.make", "a.move", "a.long_name.of_kind", "!signal", "!overdue")

names = st.sampled_from(STATES)
tables = st.builds(
    Table,
    object=st.just("thing"),
    field=st.just("status"),
    start=st.dictionaries(st.sampled_from(KINDS[:3]), names, min_size=1, max_size=2),
    moves=st.dictionaries(names, st.dictionaries(st.sampled_from(KINDS), names, max_size=5), max_size=6),
    otherwise=st.just({}),
)


def texts(svg: str) -> list[str]:
    """Every text of a drawing."""
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


@given(tables)
def test_everything_is_drawn(table: Table) -> None:
    """Every state is a box, every kind and signal a label as often as the table moves by it, and it is well-formed."""
    svg = draw(table, lambda name: name)
    said = texts(svg)
    assert sorted(each for each in said if each in STATES) == sorted(states_of(table))
    labels = [each.removeprefix("↻ ") for each in said if each not in STATES]
    assert sorted(labels) == sorted(name for names in edges_of(table).values() for name in names)
    assert draw(table, lambda name: name) == svg


@given(tables)
def test_boxes_and_labels_keep_apart(table: Table) -> None:
    """No state, label or bend of a line overlaps another, and everything lies inside the drawing."""
    drawing = _Drawing(table, lambda name: f"事件 {name}")
    root = ET.fromstring(drawing.svg())
    width, height = int(root.get("width")), int(root.get("height"))
    boxes = drawing._boxes
    for box in boxes:
        assert box.x - box.width // 2 >= 0 and box.x + box.width // 2 <= width
        assert box.y >= 0 and box.y + box.height <= height
    for one, other in combinations(boxes, 2):
        apart = abs(one.x - other.x) >= (one.width + other.width) // 2
        above = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert apart or above, (one, other)


@pytest.mark.parametrize("name", sorted(contract_program().book.tables))
def test_the_shipped_tables_are_drawn(name: str) -> None:
    """The tables of the rulebook fit on a page: no wider than a screen, with no script and no link."""
    svg = draw(contract_program().book.tables[name], lambda each: each)
    root = ET.fromstring(svg)
    assert int(root.get("width")) < 1400 and int(root.get("height")) < 2000
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "") and "<script" not in svg


def test_arrows_point_at_their_targets() -> None:
    """Each edge between two states ends in one arrow; a move back points up."""
    table = Table("t", "status", {"k.new": "one"}, {"one": {"k.go": "two"}, "two": {"k.back": "one"}}, {})
    root = ET.fromstring(draw(table, lambda name: name))
    heads = [path.get("d") for path in root.iter(f"{SVG}path") if path.get("class") == "h"]
    assert len(heads) == 3
    tips = []
    for head in heads:
        tip, rest = head[1:].split("L", 1)
        tips.append(int(rest.split(" ")[1].split("H")[0]) < int(tip.split(" ")[1]))
    assert sorted(tips) == [False, True, True]


def test_wide_characters_are_wide() -> None:
    """Chinese text is given its room."""
    assert text_width("甲乙") == 26 and text_width("ab") == 14
