"""Draws a state table as SVG: states in layers from the start, what moves them on the lines between.

Rules: the drawing follows from the table alone and is the same everywhere (integers only), without scripts, fonts or
links; light and dark. A label is a box of the layout like a state, so that no label lies on another or on a line. What
leaves a state as it is stands inside the state. Not here: files, pages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from itertools import pairwise
from typing import Final

from ledger.rules.tables import Table

START: Final = ""  # the pseudo-state before an object exists
WIDE, NARROW = 13, 7  # pixels of a character
LINE: Final = 16
PAD: Final = 10
GAP_X, GAP_Y = 18, 20
DUMMY: Final = 10
SWEEPS: Final = 12
MARGIN: Final = 12

STYLE: Final = (
    ".d text{font-family:system-ui,'Noto Sans','Noto Sans CJK SC','PingFang SC','Microsoft YaHei',sans-serif;font-size:12px;"
    "fill:#1b2733}.d .s{font-weight:600;font-size:13px}.d .l{fill:#51606e}.d rect{fill:#f6f8fa;stroke:#8a99a8}"
    ".d .last{stroke-width:3}.d .e{fill:none;stroke:#51606e;stroke-width:1.3}.d .h{fill:#51606e}.d .dot{fill:#1b2733}"
    ".d .signal{font-style:italic}@media(prefers-color-scheme:dark){.d text{fill:#e4eaf0}.d .l{fill:#a7b4c0}"
    ".d rect{fill:#1d252d;stroke:#6b7885}.d .e{stroke:#a7b4c0}.d .h,.d .dot{fill:#a7b4c0}}"
)


@dataclass(slots=True)
class _Box:
    """A state, the label of an edge, or a bend of a long edge."""

    name: str
    layer: int
    width: int
    height: int
    lines: list[str] = field(default_factory=list)
    kind: str = "bend"
    x: int = 0  # centre
    y: int = 0  # top
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Line:
    """A drawn edge: boxes from its source to its target."""

    boxes: list[int]


def draw(table: Table, label: Callable[[str], str]) -> str:
    """The SVG of `table`; `label` says what an event kind or a `!signal` is called."""
    return _Drawing(table, label).svg()


def edges_of(table: Table) -> dict[tuple[str, str], list[str]]:
    """(status, next status) → kinds and signals, in the order of the table; the status before the start is ``START``."""
    found: dict[tuple[str, str], list[str]] = {}
    for kind, after in table.start.items():
        found.setdefault((START, after), []).append(kind)
    for status, moves in table.moves.items():
        for name, after in moves.items():
            found.setdefault((status, after), []).append(name)
    return found


def states_of(table: Table) -> list[str]:
    """Every status, in the order in which the table mentions them."""
    found: dict[str, None] = {}
    for _, after in edges_of(table):
        found.setdefault(after)
    for status in table.moves:
        found.setdefault(status)
    return list(found)


class _Drawing:
    def __init__(self, table: Table, label: Callable[[str], str]) -> None:
        self._table = table
        self._label = label
        self._edges = edges_of(table)
        self._states = [*([START] if table.start else []), *states_of(table)]
        self._boxes: list[_Box] = []
        self._lines: list[_Line] = []
        self._layers: list[list[int]] = []

    def svg(self) -> str:
        """The whole drawing."""
        ranks = self._ranks()
        self._make_boxes(ranks)
        self._order()
        self._place()
        return self._render()

    # --- layers --------------------------------------------------------------------------------------------------------

    def _ranks(self) -> dict[str, int]:
        """The layer of each state: the longest way from the start, along edges that do not lead back."""
        following: dict[str, list[str]] = {state: [] for state in self._states}
        for before, after in self._edges:
            if before != after:
                following[before].append(after)
        forward: dict[str, list[str]] = {state: [] for state in self._states}
        done: set[str] = set()
        path: list[str] = []

        def visit(state: str) -> None:
            path.append(state)
            for after in following[state]:
                if after not in path:
                    forward[state].append(after)
                    if after not in done:
                        visit(after)
            path.pop()
            done.add(state)

        for state in self._states:
            if state not in done:
                visit(state)
        ranks = dict.fromkeys(self._states, 0)
        for _ in self._states:
            for state in self._states:
                for after in forward[state]:
                    ranks[after] = max(ranks[after], ranks[state] + 1)
        return ranks

    def _make_boxes(self, ranks: dict[str, int]) -> None:
        places: dict[str, int] = {}
        for state in self._states:
            own = [f"↻ {self._label(name)}" for name in self._edges.get((state, state), [])]
            box = _state_box(state, 2 * ranks[state], own)
            if state != START and not any(before == state != after for before, after in self._edges):
                box.kind = "last"
            places[state] = self._add(box)
        for (before, after), names in self._edges.items():
            if before == after:
                continue
            down = ranks[before] < ranks[after]
            top, bottom = (before, after) if down else (after, before)
            first, last = 2 * ranks[top], 2 * ranks[bottom]
            if first == last:  # only possible for states that lie beside each other in a cycle
                last = first + 2
            label_layer = first + 1 if down else last - 1
            chain = [places[top]]
            for layer in range(first + 1, last):
                lines = [self._label(name) for name in names] if layer == label_layer else []
                chain.append(self._add(_label_box(layer, lines)))
            chain.append(places[bottom])
            for upper, lower in pairwise(chain):
                self._boxes[upper].below.append(lower)
                self._boxes[lower].above.append(upper)
            self._lines.append(_Line(chain if down else chain[::-1]))

    def _add(self, box: _Box) -> int:
        while len(self._layers) <= box.layer:
            self._layers.append([])
        self._boxes.append(box)
        self._layers[box.layer].append(len(self._boxes) - 1)
        return len(self._boxes) - 1

    # --- order and place -----------------------------------------------------------------------------------------------

    def _order(self) -> None:
        """Few crossings: boxes of a layer in the order of the means of their neighbours, down and up again."""
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for layer in self._layers if down else self._layers[::-1]:
                ranks = {each: 1000 * number for one in self._layers for number, each in enumerate(one)}
                means: dict[int, int] = {}
                for each in layer:
                    near = self._boxes[each].above if down else self._boxes[each].below
                    means[each] = sum(ranks[other] for other in near) // len(near) if near else ranks[each]
                layer.sort(key=lambda each: (means[each], ranks[each]))

    def _place(self) -> None:
        y = MARGIN
        for layer in self._layers:
            height = max((self._boxes[each].height for each in layer), default=0)
            for each in layer:
                box = self._boxes[each]
                if box.kind == "bend":
                    box.height = height  # a line passes a tall state straight, not behind its corners
                box.y = y + (height - box.height) // 2
            y += height + GAP_Y
            x = 0
            for each in layer:
                box = self._boxes[each]
                box.x = x + box.width // 2
                x += box.width + GAP_X
        for sweep in range(2 * SWEEPS):
            for layer in self._layers if sweep % 2 == 0 else self._layers[::-1]:
                self._align(layer)
        left = min(box.x - box.width // 2 for box in self._boxes)
        for box in self._boxes:
            box.x += MARGIN - left

    def _align(self, layer: list[int]) -> None:
        """Each box towards its neighbours, none into another: the mean of pushing to the right and to the left."""
        wished = []
        for each in layer:
            box = self._boxes[each]
            near = box.above + box.below
            wished.append(sum(self._boxes[other].x for other in near) // len(near) if near else box.x)
        room = [(self._boxes[a].width + self._boxes[b].width) // 2 + GAP_X for a, b in pairwise(layer)]
        right = list(wished)
        for number in range(1, len(layer)):
            right[number] = max(wished[number], right[number - 1] + room[number - 1])
        left = list(wished)
        for number in range(len(layer) - 2, -1, -1):
            left[number] = min(wished[number], left[number + 1] - room[number])
        for number, each in enumerate(layer):
            self._boxes[each].x = (right[number] + left[number]) // 2

    # --- drawing -------------------------------------------------------------------------------------------------------

    def _render(self) -> str:
        width = max(box.x + box.width // 2 for box in self._boxes) + MARGIN
        height = max(box.y + box.height for box in self._boxes) + MARGIN
        title = escape(self._table.object)
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        opened = f'<svg class="d" xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{title}">'
        parts = [opened, f"<title>{title}</title><style>{STYLE}</style>"]
        parts += [self._edge(line) for line in self._lines]
        parts += [self._box(box) for box in self._boxes if box.kind != "bend"]
        return "".join(parts) + "</svg>"

    def _box(self, box: _Box) -> str:
        if box.kind == "start":
            return f'<circle class="dot" cx="{box.x}" cy="{box.y + box.height // 2}" r="6"/>'
        parts = []
        if box.kind in ("state", "last"):
            place = f'x="{box.x - box.width // 2}" y="{box.y}" width="{box.width}" height="{box.height}" rx="7"'
            style = ' class="last"' if box.kind == "last" else ""
            parts.append(f"<rect{style} {place}/>")
        for number, line in enumerate(box.lines):
            is_name = number == 0 and box.kind != "label"
            style = "s" if is_name else "l signal" if "!" in line else "l"
            y = box.y + LINE * (number + 1) + (2 if box.kind != "label" else -4)
            parts.append(f'<text class="{style}" x="{box.x}" y="{y}" text-anchor="middle">{escape(line)}</text>')
        return "".join(parts)

    def _edge(self, line: _Line) -> str:
        """Curves from box to box; through a label the line pauses. The arrow points at the target."""
        parts: list[str] = []
        pairs = list(pairwise(line.boxes))
        for number, (one, other) in enumerate(pairs):
            first, second = self._boxes[one], self._boxes[other]
            down = first.layer < second.layer
            x1, x2 = self._port(one, other), self._port(other, one)
            y1 = first.y + (first.height if down else 0)
            y2 = second.y + (0 if down else second.height)
            last = number == len(pairs) - 1
            end = y2 - (7 if down else -7) if last else y2
            middle = (y1 + end) // 2
            parts.append(f'<path class="e" d="M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {end}"/>')
            if second.kind == "bend" and not last:
                parts.append(f'<path class="e" d="M{x2} {second.y}V{second.y + second.height}"/>')
            if last:
                tip, back = (y2, y2 - 9) if down else (y2, y2 + 9)
                parts.append(f'<path class="h" d="M{x2} {tip}L{x2 - 4} {back}H{x2 + 4}Z"/>')
        return "".join(parts)

    def _port(self, at: int, towards: int) -> int:
        """Where the line between two boxes meets the first: lines of one side of a state stand apart."""
        box = self._boxes[at]
        if box.kind not in ("state", "last"):
            return box.x
        side = box.below if self._boxes[towards].layer > box.layer else box.above
        ordered = sorted(side, key=lambda each: self._boxes[each].x)
        number = ordered.index(towards)
        return box.x - box.width // 2 + box.width * (number + 1) // (len(ordered) + 1)


def _state_box(state: str, layer: int, own: list[str]) -> _Box:
    if state == START:
        return _Box(START, layer, 14, 14, [], "start")
    lines = [state, *own]
    width = max(map(text_width, lines)) + 2 * PAD
    return _Box(state, layer, width, LINE * len(lines) + PAD, lines, "state")


def _label_box(layer: int, lines: list[str]) -> _Box:
    if not lines:
        return _Box("", layer, DUMMY, LINE)
    return _Box("", layer, max(map(text_width, lines)) + PAD, LINE * len(lines), lines, "label")


def text_width(text: str) -> int:
    """About how many pixels wide a text is."""
    return sum(WIDE if ord(char) >= 0x2E80 else NARROW for char in text)


__all__ = ["START", "draw", "edges_of", "states_of", "text_width"]
