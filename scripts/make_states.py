"""Draws the state tables of contracts/data-sharing: docs/rulebook/STATES.md, STATES.zh.md, and an SVG a table each.

`make_states.py` writes them, `--check` says which differ (exit code 1) and writes nothing. What is drawn is what
`ledger rules docs` draws; a drawing whose table is gone is removed. Not here: the drawing (`ledger.rules.diagram`).
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Final

from ledger.adapters.home.network import read_rulebook
from ledger.rules.diagram import draw, edges_of
from ledger.rules.program import Program
from ledger.rules.rulebook import Rulebook
from ledger.rules.tables import Table

ROOT: Final = Path(__file__).resolve().parent.parent
RULEBOOK: Final = ROOT / "contracts" / "data-sharing"
FOLDER: Final = ROOT / "docs" / "rulebook"
PAGES: Final = {"en": "STATES.md", "zh": "STATES.zh.md"}

_WORDS: Final = {
    "en": {
        "head": "# States of the rulebook {title}, version {version}",
        "other": "[中文](STATES.zh.md)",
        "text": "Drawn from `tables.toml` by `scripts/make_states.py`. An arrow is named by the kind of event that moves\n"
        "the object along it, or by the `!signal` of a rule; what leaves a state as it is stands inside the state.\n"
        "A request that no arrow allows is refused; an act is recorded as irregular. How tables are written:\n"
        "[RULES.md](../RULES.md).",
        "before": "From",
        "after": "To",
        "movers": "Moved by",
        "picture": "States of {title}",
        "kept": "Stages that are no state of their own",
    },
    "zh": {
        "head": "# 规则集《{title}》的状态图（版本 {version}）",
        "other": "[English](STATES.md)",
        "text": "由 `scripts/make_states.py` 根据 `tables.toml` 绘制。箭头上是使对象转移状态的事项，\n"
        "或者规则发出的 `!信号`；不改变状态的事项写在状态框内。\n"
        "没有箭头允许的申请被拒绝；没有箭头允许的行为照样记录，记为有问题。\n"
        "状态表的写法见 [RULES.md](../RULES.md)。",
        "before": "原状态",
        "after": "新状态",
        "movers": "由何事项转移",
        "picture": "{title}的状态图",
        "kept": "没有单列为状态的环节",
    },
}  # fmt: skip

# What the law names and no table has: where it stands.
_KEPT: Final = {
    "en": [
        ("Stage of the law", "Where it stands"),
        ("Application filed", "`under_review` from the moment it is filed; `incomplete` while contents are lacking"),
        ("Reply extended", "the due date of duty A3"),
        ("Data delivered, delivery overdue",
         ("the grant: `agreed` becomes `live`; `delivered` and `late` "
          "keep when, and whether after the term")),
        ("Service changed or ended by the provider",
         ("the grant: `provider_change`, then `live` again or, at the "
          "day filed, `expired`")),
        ("Copy derived from",
         ("`live_children` of the copy; what was derived is a copy "
          "that names it among its `parents`")),
        ("Disposal due",
         ("the grant: `expired`, `purpose_ended` or `terminated`, with "
          "duty C2; a copy's state says what was done to it")),
        ("Entrustment assessed, checked",
         ("no entrustment begins without a valid assessment; `checked` "
          "keeps the newest check")),
        ("Incident, progress reported", "it stays `reported`; each report stands in its stream"),
        ("Settlement metered", "the months on the grant's use account; a statement begins as `stated`"),
    ],
    "zh": [
        ("法定环节", "记在何处"),
        ("申请已提交", "提交即为 `under_review`；内容欠缺期间为 `incomplete`"),
        ("答复延期", "义务 A3 的到期时间"),
        ("数据已提供、逾期未提供", "授权由 `agreed` 转为 `live`；`delivered`、`late` 记何时提供、是否逾期"),
        ("提供方变更或终止服务", "授权为 `provider_change`，备案后恢复 `live`，或者到备案之日转为 `expired`"),
        ("已据以衍生", "副本的 `live_children`；衍生结果是以其为 `parents` 的副本"),
        ("应当处置", "授权为 `expired`、`purpose_ended` 或 `terminated`，并有义务 C2；副本状态只说已对其做了什么"),
        ("委托已评估、已检查", "没有有效评估不能开始委托；`checked` 记最近一次检查"),
        ("事件续报", "仍为 `reported`；各次报告都在事件的流中"),
        ("结算已计量", "授权使用台账上的各月；对账单自 `stated` 开始"),
    ],
}  # fmt: skip


def make() -> dict[str, str]:
    """Every file of docs/rulebook by name."""
    book = Program.compile(*read_rulebook(RULEBOOK)).book
    found = {page: _page(book, language) for language, page in PAGES.items()}
    for language in PAGES:
        label = partial(_title, book, language)
        found |= {f"{table.object}.{language}.svg": draw(table, label) for table in book.tables.values()}
    return found


def _title(book: Rulebook, language: str, name: str) -> str:
    """What an event kind or a `!signal` is called on an arrow."""
    kind = book.kinds.get(name)
    return name if kind is None else f"{kind.title[language]} {name}"


def _page(book: Rulebook, language: str) -> str:
    words = _WORDS[language]
    parts = [
        words["head"].format(title=book.title[language], version=book.version),
        words["other"],
        words["text"],
        *(_section(book, table, language) for table in book.tables.values()),
        _kept(language),
    ]
    return "\n\n".join(parts) + "\n"


def _kept(language: str) -> str:
    head, *rows = [f"| {stage} | {where} |" for stage, where in _KEPT[language]]
    return "\n".join([f"## {_WORDS[language]['kept']}", "", head, "|---|---|", *rows])


def _section(book: Rulebook, table: Table, language: str) -> str:
    words, title = _WORDS[language], book.objects[table.object].title[language]
    rows = [f"| {words['before']} | {words['after']} | {words['movers']} |", "|---|---|---|"]
    for (before, after), names in edges_of(table).items():
        movers = ", ".join(
            f"{book.kinds[name].title[language]} `{name}`" if name in book.kinds else f"`{name}`" for name in names
        )
        rows.append(f"| {f'`{before}`' if before else '—'} | `{after}` | {movers} |")
    picture = f"![{words['picture'].format(title=title)}]({table.object}.{language}.svg)"
    return "\n\n".join([f"## {title} `{table.object}.{table.field}`", picture, "\n".join(rows)])


def main() -> int:
    """Write or check every file; exit code 1 when `--check` finds one that differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a file differs")
    check: bool = parser.parse_args().check
    wanted, differing = make(), []
    there = {path.name for path in FOLDER.iterdir()} if FOLDER.is_dir() else set()
    for name in sorted(there | wanted.keys()):
        path = FOLDER / name
        if name in there and wanted.get(name) == path.read_text(encoding="utf-8"):
            continue
        differing.append(name)
        if check:
            continue
        if name in wanted:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    for name in differing:
        print(f"{'differs' if check else 'written' if name in wanted else 'removed'}: docs/rulebook/{name}")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
