"""How a report looks: aligned text for a terminal, and one self-contained page that prints well.

Rules: nothing of the ledger reaches the page unescaped; no script, no address of elsewhere. Times are shown in the
rulebook's zone. Not here: what the figures are (see `ledger.report`).
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

from ledger.cli.output import Console
from ledger.cli.tables import fields, screen_columns, table
from ledger.cli.texts import Texts
from ledger.core.ident import TIME_MS_MAX, format_time
from ledger.report.build import AT_END, CODE, COUNT, DAYS, RATE, TIME, Column, Report, Table
from ledger.rules.kinds import Title

_LANGUAGES: Final = {"zh", "en"}  # the keys of a title; any other map is of the ledger, like copies by holder
TEXT_ROWS_MAX: Final = 40  # of one table in a terminal; the page and the JSON document have them all

_STYLE: Final = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif;color:#1a1a1a;background:#fff;
max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .2rem}h2{font-size:1.15rem;margin:2rem 0 .4rem}p{margin:.3rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:1rem 0}
dt{color:#555}dd{margin:0;overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}
th{border-bottom:2px solid #888}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.c{font-family:ui-monospace,Consolas,monospace;font-size:.9em}
.note{border-left:.3rem solid #946200;padding:.2rem .8rem;background:#fff8e6}
@media print{body{margin:0;max-width:none;font-size:11px}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def text_tables(report: Report, console: Console) -> str:
    """The report for a terminal: at most forty rows of each table."""
    texts = console.texts
    parts = [fields(_facts(report, texts)), *(note for note in _notes(report, texts))]
    columns = screen_columns(console.out, console.environment)
    for each in report.tables:
        head = [column.title[texts.language] for column in each.columns]
        rows = [_cells(each, row, texts.language, report.zone_ms) for row in each.rows[:TEXT_ROWS_MAX]]
        lines = [_title(each, texts), *([AT_END[texts.language]] if each.at_end else []), table(rows, head, columns)]
        if each.total > TEXT_ROWS_MAX:
            lines.append(_text(texts, "report.more", count=each.total - TEXT_ROWS_MAX))
        parts.append("\n".join(lines))
    if not report.tables:
        parts.append(_text(texts, "report.nothing"))
    return "\n\n".join(part for part in parts if part)


def html_page(report: Report, texts: Texts) -> str:
    """The report as one HTML page, complete in itself."""
    title = escape(_text(texts, "report.title"))
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in _facts(report, texts))
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in _notes(report, texts))
    tables = "".join(_html_table(each, texts, report.zone_ms) for each in report.tables)
    body = tables or f"<p>{escape(_text(texts, 'report.nothing'))}</p>"
    language = "zh-CN" if texts.language == "zh" else "en"
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><main><h1>{title}</h1>"
        f"<p>{escape(report.rulebook[texts.language])}</p><dl>{rows}</dl>{notes}{body}</main></body></html>\n"
    )


def _html_table(each: Table, texts: Texts, zone_ms: int) -> str:
    heads = "".join(
        f'<th scope="col"{_class(column)}>{escape(column.title[texts.language])}</th>' for column in each.columns
    )
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{_class(column)}>{escape(cell)}</td>"
            for column, cell in zip(each.columns, _cells(each, row, texts.language, zone_ms), strict=True)
        )
        + "</tr>"
        for row in each.rows
    )
    left = each.total - len(each.rows)
    note = f"<p>{escape(AT_END[texts.language])}</p>" if each.at_end else ""
    more = f"<p>{escape(_text(texts, 'report.more', count=left))}</p>" if left > 0 else ""
    return (
        f'<section><h2 id="{escape(each.id)}">{escape(_title(each, texts))}</h2>{note}<div class="scroll">'
        f'<table aria-labelledby="{escape(each.id)}"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{more}</section>"
    )


def _class(column: Column) -> str:
    if column.type in (COUNT, DAYS, RATE):
        return ' class="n"'
    return ' class="c"' if column.type == CODE else ""


def _title(each: Table, texts: Texts) -> str:
    return f"{each.title[texts.language]} ({each.total:,})"


def _facts(report: Report, texts: Texts) -> list[tuple[str, object]]:
    wanted = report.filter
    head = _text(
        texts, "report.head", height=report.height, size=f"{report.size:,}", time=_time(report.time, report.zone_ms)
    )
    rows: list[tuple[str, object]] = [
        (_text(texts, "label.source"), report.source),
        (_text(texts, "label.origin"), report.origin),
        (_text(texts, "label.head"), head),
    ]
    if wanted.member:
        rows.append((_text(texts, "report.member"), wanted.member))
    if wanted.dataset:
        rows.append((_text(texts, "report.dataset"), wanted.dataset))
    if wanted.since is not None or wanted.until is not None:
        ends = [
            "" if when is None else _time(when - shift, report.zone_ms)[:10]
            for when, shift in ((wanted.since, 0), (wanted.until, 1))
        ]
        rows.append((_text(texts, "report.period"), "..".join(ends)))
    return rows


def _notes(report: Report, texts: Texts) -> list[str]:
    notes = [_text(texts, "report.checked")]
    if report.simulated:
        notes.append(_text(texts, "label.simulated"))
    return notes


def _cells(each: Table, row: tuple[Any, ...], language: str, zone_ms: int) -> list[str]:
    return [_cell(column, value, language, zone_ms) for column, value in zip(each.columns, row, strict=True)]


def _cell(column: Column, value: Any, language: str, zone_ms: int) -> str:
    if value is None:
        return ""
    if column.type == TIME and isinstance(value, int):
        return _time(value, zone_ms) if value else ""
    if column.type == COUNT and isinstance(value, int):
        return f"{value:,}"
    if column.type == RATE:
        return f"{value} %"
    if isinstance(value, dict):
        title: Title = value
        return (
            title[language] if value.keys() == _LANGUAGES else ", ".join(f"{k} {v}" for k, v in sorted(value.items()))
        )
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def _time(ms: int, zone_ms: int) -> str:
    """A time in the rulebook's zone, to the minute."""
    moment = ms + zone_ms
    return format_time(moment)[:16].replace("T", " ") if 0 <= moment <= TIME_MS_MAX else str(ms)


def _text(texts: Texts, key: str, **values: object) -> str:
    return texts.text(key, catalogue_name="verify", **values)
