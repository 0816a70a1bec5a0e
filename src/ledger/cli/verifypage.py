"""The report of an audit as one page: self-contained, printable, in the reader's language.

Rules: every value is escaped, and control and bidirectional characters are shown as such; no script, no address of
elsewhere, and a policy that forbids both. What colour says stands in words too. Not here: what any of it means (see
`ledger.verify.report`).
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from ledger.cli.output import Console
from ledger.cli.reasons import of_finding
from ledger.cli.tables import safe
from ledger.cli.verifyreport import Shown, gap_text, head_rows, place_words, verdict_text
from ledger.core.ident import format_time
from ledger.verify.findings import LEVELS, Finding
from ledger.verify.report import CHECKED, FAILED, NOT_CHECKED, PARTLY

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_MARKS: Final = {CHECKED: "√", FAILED: "×", PARTLY: "~", NOT_CHECKED: "–"}
_STYLE: Final = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:15px/1.5 system-ui,"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif;color:#1a1a1a;background:#fff;
max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .6rem}h2{font-size:1.15rem;margin:2rem 0 .4rem}p{margin:.3rem 0}
.verdict{font-size:1.15rem;font-weight:600;padding:.6rem .9rem;border:2px solid;border-left-width:.6rem}
.intact{border-color:#14662f;color:#0d4a21;background:#eef8f1}.incomplete{border-color:#946200;color:#5c3d00;background:#fff8e6}
.broken{border-color:#a31621;color:#7d0f19;background:#fdf0f0}
dl{display:grid;grid-template-columns:minmax(7rem,max-content) 1fr;gap:.15rem 1rem;margin:1rem 0}dt{color:#555}
dd{margin:0;overflow-wrap:anywhere}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}
thead th{border-bottom:2px solid #767676}tbody th{font-weight:400}.mark{display:inline-block;width:1.3em;font-weight:700}
.checked .mark{color:#14662f}.failed .mark,.failed td{color:#a31621}.failed td{font-weight:600}.partly td{color:#7a5200}
ol,ul{padding-left:1.4rem}li{margin:.5rem 0}
code{font:.9em ui-monospace,Consolas,"Liberation Mono",monospace;overflow-wrap:anywhere;color:#444}
footer{margin-top:2.5rem;border-top:1px solid #ccc;padding-top:.5rem;color:#555;font-size:.9em}
@media print{body{margin:0;max-width:none;font-size:11px}h2{break-after:avoid}tr,li,dl>*{break-inside:avoid}
.verdict,.mark{-webkit-print-color-adjust:exact;print-color-adjust:exact}.scroll{overflow:visible}}
"""


def page(console: Console, shown: Shown, made_ms: int) -> str:
    """The HTML document; `made_ms` is when it was made (unix ms)."""
    report = shown.report
    title = _words(console, "page.title")
    language = "zh-CN" if console.language == "zh" else "en"
    parts = [
        f"<header><h1>{title}</h1>",
        f'<p class="verdict {report.verdict}" role="status">{_safe(verdict_text(console, report))}</p></header>',
        _facts(head_rows(console, shown)),
        _levels(console, shown),
        _findings(console, shown),
        _gaps(console, shown),
        "<footer>",
        f"<p>{_words(console, 'page.made', time=format_time(made_ms))}</p>",
        f"<p>{_words(console, f'page.meaning-{report.verdict}')}</p>",
        f"<p>{_words(console, 'page.meaning-resumed')}</p></footer>" if report.resumed is not None else "</footer>",
    ]
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _facts(rows: Iterable[tuple[str, object]]) -> str:
    shown = (f"<dt>{_safe(name)}</dt><dd>{_safe(value)}</dd>" for name, value in rows if value is not None)
    return f"<dl>{''.join(shown)}</dl>"


def _levels(console: Console, shown: Shown) -> str:
    heads = "".join(f'<th scope="col">{_words(console, f"page.{name}")}</th>' for name in ("level", "state"))
    rows = []
    for name in LEVELS:
        status = shown.report.level(name)
        mark = f'<span class="mark" aria-hidden="true">{_MARKS[status]}</span>'
        rows.append(
            f'<tr class="{status}"><th scope="row">{_words(console, f"level.{name}")}</th>'
            f"<td>{mark}{_words(console, f'status.{status}')}</td></tr>"
        )
    return _section(
        console, "levels", f'<div class="scroll"><table aria-labelledby="levels"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>",
    )  # fmt: skip


def _findings(console: Console, shown: Shown) -> str:
    findings = shown.report.findings
    if not findings.total:
        return ""
    items = "".join(_finding(console, each) for each in findings.kept)
    rest = findings.total - len(findings.kept)
    codes = ", ".join(f"{code} {count}" for code, count in sorted(findings.counts.items()))
    more = f"<p>{_words(console, 'label.more', count=rest, codes=codes)}</p>" if rest else ""
    return _section(console, "findings", f"<ol>{items}</ol>{more}")


def _finding(console: Console, finding: Finding) -> str:
    lines = [f"{_words(console, f'finding.{finding.code}')} <code>{_safe(finding.code)}</code>"]
    where = place_words(console, finding)
    if where:
        lines.append(f"<p>{escape(', '.join(where))}</p>")
    pairs = [
        (console.texts.text(f"label.{name}", catalogue_name="verify"), of_finding(console.texts, value))
        for name in ("expected", "got")
        if (value := getattr(finding, name)) is not None
    ]
    if pairs:
        lines.append(_facts(pairs))
    return f"<li>{''.join(lines)}</li>"


def _gaps(console: Console, shown: Shown) -> str:
    if not shown.report.gaps:
        return ""
    items = "".join(
        f"<li>{escape(gap_text(console, each))} <code>{_safe(each.code)}</code></li>" for each in shown.report.gaps
    )
    return _section(console, "gaps", f"<ul>{items}</ul>")


def _section(console: Console, name: str, body: str) -> str:
    return f'<section><h2 id="{name}">{_words(console, f"label.{name}")}</h2>{body}</section>'


def _words(console: Console, key: str, **values: object) -> str:
    return _safe(console.texts.text(key, catalogue_name="verify", **values))


def _safe(value: object) -> str:
    return escape(safe(value))
