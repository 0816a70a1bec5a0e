"""Charts as SVG text: bars, bars in groups, stacked bars, and lines. Text stays text, colours hold in print.

Not here: which figures are drawn (see `report`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final
from xml.sax.saxutils import escape

WIDTH: Final = 720
HEIGHT: Final = 340
LEFT: Final = 70
RIGHT: Final = 20
TOP: Final = 64
BOTTOM: Final = 56
COLOURS: Final = (
    "#1f5fa8", "#c8641e", "#2e7d46", "#8a3ffc", "#b0302c", "#6b6b6b", "#0f8b8d", "#9a7d0a",
    "#5b2c6f", "#d98880", "#117864", "#7b7d7d", "#34495e",
)  # fmt: skip


def bars(title: str, names: Sequence[str], values: Sequence[float]) -> str:
    """One bar for each name, its value above it."""
    return grouped(title, names, {"": values})


def grouped(title: str, names: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """For each name a bar of each series side by side."""
    top = _nice(max((value for values in series.values() for value in values), default=1.0))
    parts = [*_frame(title, series), *_scale(top)]
    step = _inner_width() / max(1, len(names))
    width = step * 0.8 / max(1, len(series))
    for number, name in enumerate(names):
        for place, values in enumerate(series.values()):
            x = LEFT + number * step + step * 0.1 + place * width
            parts.append(_bar(x, values[number] / top, width, place, 0.0))
            if width > 16:
                parts.append(_text(x + width / 2, _y(values[number] / top) - 4, _short(values[number]), 10))
        parts.append(_text(LEFT + (number + 0.5) * step, HEIGHT - BOTTOM + 16, name, 11))
    return _end(parts)


def ratios(title: str, values: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars over a logarithmic axis, from 1: to the right more than the other, to the left less."""
    left, row, reach = 300, 22, 1.0
    for _, value in values:
        reach = max(reach, abs(math.log10(value)) if value > 0 else 0.0)
    height = 56 + row * len(values) + 10
    zero = left + (WIDTH - left - 60) / 2
    unit = (WIDTH - left - 120) / 2 / reach
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(WIDTH / 2, 22, title, 15),
        f'<line x1="{zero:.1f}" y1="36" x2="{zero:.1f}" y2="{height - 8}" stroke="#404040"/>',
    ]
    for number, (name, value) in enumerate(values):
        y, long = 44 + number * row, unit * math.log10(value) if value > 0 else -unit * reach
        colour = COLOURS[2] if value >= 1 else COLOURS[1]
        x, end = (zero, "start") if long >= 0 else (zero + long, "end")
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{abs(long):.1f}" height="{row - 6}" fill="{colour}"/>')
        parts.append(_text(zero + long + (5 if long >= 0 else -5), y + 12, f"{value:.3g} ×", 11, end))
        parts.append(_text(left - 50, y + 12, name, 11, "end"))
    return _end(parts)


def stacked(title: str, names: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """For each name the series on top of each other, their sum above."""
    sums = [sum(values[number] for values in series.values()) for number in range(len(names))]
    top = _nice(max(sums, default=1.0))
    parts = [*_frame(title, series), *_scale(top)]
    step = _inner_width() / max(1, len(names))
    for number, name in enumerate(names):
        x, base = LEFT + number * step + step * 0.15, 0.0
        for place, values in enumerate(series.values()):
            parts.append(_bar(x, values[number] / top, step * 0.7, place, base))
            base += values[number] / top
        parts.append(_text(x + step * 0.35, _y(base) - 5, _short(sums[number]), 11))
        parts.append(_text(x + step * 0.35, HEIGHT - BOTTOM + 16, name, 11))
    return _end(parts)


def lines(title: str, along: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """A line for each series over a logarithmic axis `along`."""
    points = [point for each in series.values() for point in each]
    top = _nice(max((y for _, y in points), default=1.0))
    places = sorted({x for x, _ in points})
    low, high = math.log(places[0]), math.log(places[-1])
    span = high - low or 1.0

    def across(x: float) -> float:
        return LEFT + 20 + (_inner_width() - 40) * (math.log(x) - low) / span

    parts = [*_frame(title, series), *_scale(top)]
    parts += [_text(across(x), HEIGHT - BOTTOM + 16, f"{x:,.0f}", 11) for x in places]
    parts.append(_text(WIDTH / 2, HEIGHT - 12, along, 12))
    for number, each in enumerate(series.values()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{across(x):.1f},{_y(y / top):.1f}" for x, y in sorted(each))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in each:
            parts.append(f'<circle cx="{across(x):.1f}" cy="{_y(y / top):.1f}" r="3.5" fill="{colour}"/>')
            parts.append(_text(across(x), _y(y / top) - 8, _short(y), 10))
    return _end(parts)


def _frame(title: str, series: Mapping[str, object]) -> list[str]:
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(WIDTH / 2, 22, title, 15),
    ]
    names = [name for name in series if name]
    step = _inner_width() / max(1, min(7, len(names)))
    for number, name in enumerate(names):
        x, y = LEFT + (number % 7) * step, 32 + 14 * (number // 7)
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 14, y + 9, name, 10, "start"))
    return parts


def _scale(top: float) -> list[str]:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(share)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d0d0d0"/>')
        parts.append(_text(LEFT - 6, y + 4, _short(top * share), 10, "end"))
    return parts


def _bar(x: float, height: float, width: float, colour: int, base: float) -> str:
    tall = (HEIGHT - TOP - BOTTOM) * height
    return (
        f'<rect x="{x:.1f}" y="{_y(base + height):.1f}" width="{width:.1f}" height="{tall:.1f}" '
        f'fill="{COLOURS[colour % len(COLOURS)]}"/>'
    )


def _text(x: float, y: float, text: str, size: int, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-family="sans-serif" font-size="{size}">'
        f"{escape(text)}</text>"
    )


def _end(parts: list[str]) -> str:
    return "\n".join([*parts, "</svg>"]) + "\n"


def _inner_width() -> float:
    return WIDTH - LEFT - RIGHT


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def _nice(value: float) -> float:
    """The next round number above `value`, so that the axis reads well."""
    if value <= 0:
        return 1.0
    unit: float = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * unit >= value)


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
